"""The requirements lock: which wheels go into a project's image, exactly.

Wheels only, because building a source distribution would run a stranger's code with a network. Each line is a name, a
version and the SHA-256 of the file that was chosen for the images' Python and platform; there is no index, host or
URL in it. Which index is asked is the operator's own pip configuration, and what `sources` adds to it.
"""

from __future__ import annotations

import hashlib
import json
import os
import re
import sys
from collections.abc import Callable, Iterable, Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Final

from packaging.requirements import InvalidRequirement, Requirement
from packaging.utils import canonicalize_name

from agent_pipeline import process, temporary
from agent_pipeline.documents.words import counted
from agent_pipeline.errors import RejectedError, UnavailableError, UsageError
from agent_pipeline.sandbox.images import target
from agent_pipeline.sandbox.images.discovery import candidate, discover
from agent_pipeline.sandbox.images.sources import NOWHERE_ELSE, Sources

Progress = Callable[[str], None]
SECONDS: Final = 900
_ROUNDS: Final = 12
_HEADER: Final = (
    "# Wheels for CPython {python} on Linux; `agent-pipeline init` wrote it. Each file is known by its SHA-256.\n"
)
_LINE: Final = re.compile(
    r"(?P<name>[a-z0-9](?:[a-z0-9-]{0,98}[a-z0-9])?)==(?P<version>[A-Za-z0-9.+!_-]{1,100})"
    r"(?P<hashes>(?: --hash=sha256:[0-9a-f]{64})+)"
)
# What pip may take from the environment: where wheels come from and how they are reached, never what it does.
_ENVIRONMENT: Final = (
    *("PIP_INDEX_URL", "PIP_EXTRA_INDEX_URL", "PIP_FIND_LINKS", "PIP_TRUSTED_HOST", "PIP_CERT", "PIP_CLIENT_CERT"),
    *("PIP_PROXY", "PIP_DEFAULT_TIMEOUT", "PIP_TIMEOUT", "PIP_CONFIG_FILE", "PIP_CACHE_DIR"),
    *("PIP_KEYRING_PROVIDER", "SSL_CERT_FILE", "SSL_CERT_DIR", "REQUESTS_CA_BUNDLE", "NETRC"),
    *("http_proxy", "https_proxy", "no_proxy", "HTTP_PROXY", "HTTPS_PROXY", "NO_PROXY", "ALL_PROXY", "all_proxy"),
    *("HOME", "XDG_CONFIG_HOME", "XDG_CACHE_HOME", "XDG_CONFIG_DIRS"),
)
_SAID: Final = 2000
_PATIENCE: Final = ("--retries=2", "--quiet")  # each retry is said, which tells "no answer" from "no such package"
_UNREACHABLE: Final = (
    *("NewConnectionError", "ConnectTimeoutError", "ReadTimeoutError", "NameResolutionError", "ProxyError", "SSLError"),
    *("Temporary failure in name resolution", "Connection refused", "Network is unreachable", "Could not fetch URL"),
)


@dataclass(frozen=True, slots=True)
class Pinned:
    """One line of the lock."""

    name: str
    version: str
    hashes: tuple[str, ...]


def resolve(requirement_lines: Iterable[str], progress: Progress, sources: Sources = NOWHERE_ELSE) -> bytes:
    """Return the lock for these requirements with all that they need in turn.

    Raises `UsageError` naming what cannot be resolved to wheels, `UnavailableError` when no index answers,
    `RejectedError` for a package that an index has under a name of the directory's own.
    """
    wanted = _applicable(requirement_lines)
    progress(f"resolving {counted(len(wanted), 'requirement')} to wheels for CPython {target.PYTHON}")
    for _ in range(_ROUNDS):
        items = _report(sorted(wanted), sources)
        missing = {text for text in _needed(items) if text not in wanted}
        if not missing:
            break
        wanted |= missing  # pip evaluated a marker for this machine's Python where the images' decides otherwise
    else:
        raise UsageError("the requirements do not come to an end", hint="give fewer, or pin the versions of some")
    pinned = sorted((_pin(item) for item in items), key=lambda pin: pin.name)
    for pin in pinned:
        sources.check(pin.name, pin.version, pin.hashes[0])
    progress(f"locked {counted(len(pinned), 'package')}: {', '.join(f'{pin.name} {pin.version}' for pin in pinned)}")
    return write(pinned)


def write(pinned: Iterable[Pinned]) -> bytes:
    """Return the lock's text."""
    lines = [
        f"{pin.name}=={pin.version}{''.join(f' --hash=sha256:{digest}' for digest in pin.hashes)}" for pin in pinned
    ]
    return (_HEADER.format(python=target.PYTHON) + "".join(f"{line}\n" for line in lines)).encode()


def read(lock: bytes) -> tuple[Pinned, ...]:
    """Read a lock strictly. It is a file of the repository: an option or a URL in it would reach pip on the host.

    Raises `RejectedError` naming the line.
    """
    try:
        text = lock.decode("ascii")
    except UnicodeDecodeError as error:
        raise RejectedError(
            f"the requirements lock is not ASCII: {error}", hint="`agent-pipeline image build project` writes it anew"
        ) from error
    pinned, names = [], set()
    for number, raw in enumerate(text.replace(" \\\n", "").split("\n"), 1):
        line = re.sub(r"\s+", " ", raw.strip(" "))
        if not line or line.startswith("#"):
            continue
        match = _LINE.fullmatch(line)
        if match is None or match["name"] in names:
            raise RejectedError(
                f"the requirements lock, line {number}: `{line[:120]}` is no package with hashes, or occurs twice",
                hint="a line is `name==version --hash=sha256:<digest>`; `agent-pipeline image build project` writes it",
            )
        names.add(match["name"])
        pinned.append(Pinned(match["name"], match["version"], tuple(match["hashes"].split(" --hash=sha256:")[1:])))
    return tuple(pinned)


def fetch(lock: bytes, folder: Path, sources: Sources = NOWHERE_ELSE) -> None:
    """Download the locked wheels to `folder`, an empty directory; nothing of them is run.

    Raises `RejectedError` for a malformed lock, `UsageError` naming a wheel that is not to be had for this platform
    or has other content, `UnavailableError` when no index answers.
    """
    pinned = read(lock)
    if not pinned:
        return
    with temporary.scratch("wheels") as scratch:
        clean = scratch / "requirements.txt"
        clean.write_bytes(write(pinned))
        _pip(
            [
                "download",
                "--no-deps",
                "--require-hashes",
                f"--dest={folder}",
                *target.arguments(),
                f"--requirement={clean}",
            ],
            sources,
        )
    known = {digest for pin in pinned for digest in pin.hashes}
    files = sorted(folder.iterdir())
    for path in files:
        with path.open("rb") as file:
            digest = hashlib.file_digest(file, "sha256").hexdigest()
        if digest not in known or path.suffix != ".whl":
            raise UsageError(
                f"{path.name} is not a locked wheel (sha256:{digest})",
                hint="lock them again: agent-pipeline image build project",
            )
    if len(files) != len(pinned):
        raise UnavailableError(f"of {counted(len(pinned), 'locked wheel')} {len(files)} came", hint="try again")


def _applicable(lines: Iterable[str]) -> set[str]:
    """Return those requirements that apply in the images, without their markers."""
    wanted = set()
    for line in lines:
        try:
            requirement = Requirement(line)
        except InvalidRequirement as error:
            raise UsageError(f"`{line[:200]}` is not a requirement: {str(error).splitlines()[0]}") from error
        if requirement.url is not None:
            raise UsageError(f"`{line[:200]}` comes from a URL, which cannot be locked", hint="name a release instead")
        if target.holds(requirement.marker):
            wanted.add(_unmarked(requirement))
    return wanted


def _unmarked(requirement: Requirement) -> str:
    requirement.marker = None
    return str(requirement)


def _report(wanted: list[str], sources: Sources) -> list[dict[str, Any]]:
    """Let pip choose; return what it would install."""
    if not wanted:
        return []
    with temporary.scratch("wheels") as scratch:
        asked, report = scratch / "requirements.txt", scratch / "report.json"
        asked.write_text("".join(f"{text}\n" for text in wanted), encoding="utf-8")
        options = ["--dry-run", "--ignore-installed", f"--report={report}", *target.arguments()]
        if own := sources.constraints():
            (scratch / "constraints.txt").write_text("".join(f"{line}\n" for line in own), encoding="utf-8")
            options += [f"--constraint={scratch / 'constraints.txt'}"]
        _pip(["install", *options, f"--requirement={asked}"], sources)
        items: list[dict[str, Any]] = json.loads(report.read_bytes())["install"]
    return items


def _needed(items: list[dict[str, Any]]) -> Iterator[str]:
    """Yield what a chosen package needs in the images and pip did not choose."""
    chosen = {canonicalize_name(item["metadata"]["name"]) for item in items}
    for item in items:
        extras = ("", *item.get("requested_extras", ()))
        for text in item["metadata"].get("requires_dist", ()):
            requirement = Requirement(text)
            if canonicalize_name(requirement.name) not in chosen and target.holds(requirement.marker, extras):
                yield _unmarked(requirement)


def _pin(item: dict[str, Any]) -> Pinned:
    name, version = canonicalize_name(item["metadata"]["name"]), item["metadata"]["version"]
    info = item["download_info"]
    digest = info.get("archive_info", {}).get("hashes", {}).get("sha256")
    if digest is None:
        raise UsageError(
            f"the index does not give a SHA-256 for {name} {version}",
            hint="use an index that does (any that follows PEP 503 or 691), or name another version",
        )
    return Pinned(name, version, (digest,))


def _pip(arguments: list[str], sources: Sources) -> None:
    """Run this interpreter's pip, never a `pip.py` of the current directory (`-P`).

    Raises what its failure means, with the names that pip gave.
    """
    command = [sys.executable, "-P", "-m", "pip", "--no-input", "--disable-pip-version-check", "--no-color"]
    own = {"PATH": os.defpath, "LC_ALL": "C.UTF-8", "PIP_NO_INPUT": "1"}
    with sources.given() as given:
        done = process.run(
            [*command, *_PATIENCE, *arguments, *given.arguments],
            env={**process.inherited(*_ENVIRONMENT), **own, **given.env},
            timeout=SECONDS,
            pass_fds=given.descriptors,
        )
        said = given.scrubbed(done.stderr.decode("utf-8", "replace"))
    if done.ok:
        return
    error = said[max(said.find("ERROR: "), 0) :].replace("ERROR: ", "").strip()[:_SAID] or "it says nothing"
    answered = "from versions: none" not in said and "ERROR: " in said
    if done.timed_out or (not answered and any(word in said for word in _UNREACHABLE)):
        raise UnavailableError(
            f"no package index answers: {error}",
            hint="check the network and pip's configuration (`pip config list`); for a private index, or without a"
            " network: `agent-pipeline image build project --locked` with --secret or --wheels, or `image pull`",
        )
    raise UsageError(
        f"these requirements have no wheels for CPython {target.PYTHON} here, or do not fit together: {error}",
        hint="name versions that have wheels, or leave what has none out of the project's test requirements",
    )


__all__ = ["Pinned", "candidate", "discover", "fetch", "read", "resolve", "write"]
