"""What the images' Python is: the platform that wheels are chosen for, and what markers are evaluated in."""

from __future__ import annotations

import platform
from typing import Final

from packaging.markers import Marker

PYTHON: Final = "3.11"
_FULL: Final = "3.11.2"
_GLIBC: Final = 36  # 2.36, Debian bookworm's
_OLDEST: Final = 5
_ALIASES: Final = {17: "manylinux2014", 12: "manylinux2010", 5: "manylinux1"}


def platforms() -> tuple[str, ...]:
    """Return the wheel platforms that run in the images on this machine, newest first (PEP 600)."""
    machine, tags = platform.machine(), []
    for minor in range(_GLIBC, _OLDEST - 1, -1):
        tags.append(f"manylinux_2_{minor}_{machine}")
        if minor in _ALIASES:
            tags.append(f"{_ALIASES[minor]}_{machine}")
    return (*tags, f"linux_{machine}")


def arguments() -> list[str]:
    """Return pip's arguments that choose wheels for the images' Python."""
    chosen = ["--only-binary=:all:", f"--python-version={PYTHON}", "--implementation=cp"]
    return [*chosen, *(f"--platform={name}" for name in platforms())]


def holds(marker: Marker | None, extras: tuple[str, ...] = ()) -> bool:
    """Whether a requirement with that environment marker applies in the images, when `extras` were asked for."""
    if marker is None:
        return True
    return any(marker.evaluate({**_environment(), "extra": extra}) for extra in extras or ("",))


def _environment() -> dict[str, str]:
    return {
        "implementation_name": "cpython",
        "implementation_version": _FULL,
        "os_name": "posix",
        "platform_machine": platform.machine(),
        "platform_python_implementation": "CPython",
        "platform_release": "",
        "platform_system": "Linux",
        "platform_version": "",
        "python_full_version": _FULL,
        "python_version": PYTHON,
        "sys_platform": "linux",
    }
