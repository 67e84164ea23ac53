"""The system calls that run in a sandbox: our own allow-list, one JSON for both backends.

`sandbox_images/seccomp.json` has Docker's form. Docker takes it as it is; for bubblewrap libseccomp compiles it into
the BPF program that the kernel loads. Anything that the list does not name is refused with EPERM; another
architecture's call kills.
"""

from __future__ import annotations

import ctypes
import hashlib
import json
import os
from functools import cache
from typing import Any, Final

from agent_pipeline.documents.schema import data_folder
from agent_pipeline.errors import SandboxError

_LIBRARY: Final = "libseccomp.so.2"
_ALLOW: Final = 0x7FFF0000
_ERRNO: Final = 0x00050000
_COMPARE: Final = {
    "SCMP_CMP_NE": 1,
    "SCMP_CMP_LT": 2,
    "SCMP_CMP_LE": 3,
    "SCMP_CMP_EQ": 4,
    "SCMP_CMP_GE": 5,
    "SCMP_CMP_GT": 6,
    "SCMP_CMP_MASKED_EQ": 7,
}


class _Compare(ctypes.Structure):
    """`struct scmp_arg_cmp` of seccomp.h."""

    _fields_ = (("arg", ctypes.c_uint), ("op", ctypes.c_int), ("a", ctypes.c_uint64), ("b", ctypes.c_uint64))


@cache
def profile() -> bytes:
    """Return the allow-list's bytes."""
    return (data_folder("sandbox_images") / "seccomp.json").read_bytes()


@cache
def digest() -> str:
    """Return the SHA-256 of the allow-list, which provenance names."""
    return hashlib.sha256(profile()).hexdigest()


@cache
def library() -> ctypes.CDLL:
    """Load libseccomp. Raises `SandboxError` when it is not installed."""
    try:
        lib = ctypes.CDLL(_LIBRARY)
    except OSError as error:
        raise SandboxError(
            f"{_LIBRARY} is not installed, and bubblewrap's system call filter needs it",
            hint="install the package libseccomp2",
        ) from error
    lib.seccomp_init.restype = ctypes.c_void_p
    lib.seccomp_init.argtypes = (ctypes.c_uint32,)
    lib.seccomp_release.argtypes = (ctypes.c_void_p,)
    lib.seccomp_export_bpf.argtypes = (ctypes.c_void_p, ctypes.c_int)
    lib.seccomp_syscall_resolve_name.argtypes = (ctypes.c_char_p,)
    lib.seccomp_rule_add_array.argtypes = (
        ctypes.c_void_p,
        ctypes.c_uint32,
        ctypes.c_int,
        ctypes.c_uint,
        ctypes.POINTER(_Compare),
    )
    return lib


@cache
def program() -> bytes:
    """Return the allow-list as the BPF program for this machine. Raises `SandboxError`."""
    lib, document = library(), json.loads(profile())
    context = lib.seccomp_init(_action(document["defaultAction"], document["defaultErrnoRet"]))
    if not context:
        raise SandboxError("libseccomp cannot make a filter on this machine")
    try:
        for rule in document["syscalls"]:
            _add(lib, context, rule)
        return _export(lib, context)
    finally:
        lib.seccomp_release(context)


def memory_file() -> int:
    """Return the descriptor of an anonymous file that holds the program, at its start. The caller closes it."""
    descriptor = os.memfd_create("seccomp")
    with open(descriptor, "wb", closefd=False) as file:
        file.write(program())
    os.lseek(descriptor, 0, os.SEEK_SET)
    return descriptor


def _action(name: str, errno: int = 1) -> int:
    return _ALLOW if name == "SCMP_ACT_ALLOW" else _ERRNO | errno


def _add(lib: ctypes.CDLL, context: int, rule: dict[str, Any]) -> None:
    action = _action(rule["action"], rule.get("errnoRet", 1))
    args = rule.get("args", [])
    compared = (_Compare * len(args))(
        *(_Compare(arg["index"], _COMPARE[arg["op"]], arg["value"], arg["valueTwo"]) for arg in args)
    )
    for name in rule["names"]:
        number = lib.seccomp_syscall_resolve_name(name.encode())
        if number < 0:
            continue  # this architecture or library does not know it: it stays refused
        if (status := lib.seccomp_rule_add_array(context, action, number, len(args), compared)) != 0:
            raise SandboxError(f"sandbox_images/seccomp.json: {name}: libseccomp refuses the rule ({status})")


def _export(lib: ctypes.CDLL, context: int) -> bytes:
    descriptor = os.memfd_create("seccomp-export")
    try:
        if (status := lib.seccomp_export_bpf(context, descriptor)) != 0:
            raise SandboxError(f"libseccomp cannot compile sandbox_images/seccomp.json ({status})")
        return os.pread(descriptor, os.fstat(descriptor).st_size, 0)
    finally:
        os.close(descriptor)
