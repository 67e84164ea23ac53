"""Where wheels come from beyond what pip is configured for: a directory of one's own, and secrets for private indexes.

A secret is read once and lives in memory: pip, and no other process, gets it as an open file that has no name on any
disk; no argument, no environment variable, no cache, no layer and no lock holds it, and what pip says is searched for
it before anybody sees it. The sandbox that installs has neither secret nor network. The lock says the same wherever a
wheel came from.
"""

from __future__ import annotations

import base64
import hashlib
import netrc
import os
import re
import stat
from collections.abc import Iterator
from contextlib import ExitStack, contextmanager
from dataclasses import dataclass, field
from pathlib import Path
from typing import Final
from urllib.parse import quote, unquote

from packaging.utils import InvalidWheelFilename, canonicalize_name, parse_wheel_filename
from packaging.version import Version

from agent_pipeline.errors import RejectedError, UsageError

NETRC: Final = "netrc"
PIP_CONF: Final = "pip.conf"
_HOST: Final = re.compile(r"[A-Za-z0-9](?:[A-Za-z0-9.-]{0,250}[A-Za-z0-9])?")
_MAX_SECRET: Final = 64 << 10
_SHORTEST: Final = 3
_TOKEN_USER: Final = "__token__"  # noqa: S105 - the name that indexes give to whoever shows a token
_USERINFO: Final = re.compile(r"//([^/@\s'\"]+)@")
HIDDEN: Final = "[secret]"


@dataclass(frozen=True, slots=True)
class Secret:
    """What pip needs to get in: a whole `netrc` or `pip.conf`, or for a host `user:password` or a token alone."""

    name: str
    value: str = field(repr=False)


@dataclass(frozen=True, slots=True)
class Wheel:
    """A wheel in the directory."""

    path: Path
    name: str
    version: Version
    sha256: str


@dataclass(frozen=True, slots=True)
class Given:
    """What one call of pip gets, and what of its words nobody is to see."""

    arguments: tuple[str, ...]
    env: dict[str, str]
    descriptors: tuple[int, ...]
    words: tuple[str, ...] = field(repr=False)

    def scrubbed(self, said: str) -> str:
        """Return what pip said without any secret."""
        for word in self.words:
            said = said.replace(word, HIDDEN)
        return said


@dataclass(frozen=True, slots=True)
class Sources:
    """A directory of wheels, and secrets. Nothing at all is what pip is configured for."""

    folder: Path | None = None
    wheels: tuple[Wheel, ...] = ()
    secrets: tuple[Secret, ...] = ()

    @contextmanager
    def given(self) -> Iterator[Given]:
        """Give what one call of pip gets; afterwards the secrets' files are gone."""
        arguments = [] if self.folder is None else [f"--find-links={self.folder}"]
        arguments += ["--no-cache-dir"] if self.secrets else []  # pip keeps `Authorization` where an index says Vary
        env, descriptors = {}, []
        with ExitStack() as stack:
            for variable, text in self._files().items():
                descriptor = os.memfd_create("agent-pipeline", os.MFD_CLOEXEC)
                stack.callback(os.close, descriptor)
                os.write(descriptor, text.encode())
                descriptors.append(descriptor)
                env[variable] = f"/proc/self/fd/{descriptor}"
            yield Given(tuple(arguments), env, tuple(descriptors), self._words())

    def constraints(self) -> tuple[str, ...]:
        """Return what keeps pip from taking a stranger's package for one of the directory's, by the same name."""
        lines = []
        for name, found in self._by_name().items():
            newest = max(wheel.version for wheel in found)
            only = f"{name} @ {found[0].path.as_uri()}" if len(found) == 1 else f"{name}<={newest}"
            lines.append(only)
        return tuple(lines)

    def check(self, name: str, version: str, sha256: str) -> None:
        """Raise `RejectedError` for a package that has a name of the directory's and is not from there."""
        found = self._by_name().get(name, [])
        if found and all(wheel.sha256 != sha256 for wheel in found):
            raise RejectedError(
                f"{name} {version} would come from an index, and {self.folder} has a {name} of its own",
                hint="take it out of that directory, or see who publishes that name: a stranger's is never taken",
            )

    def _by_name(self) -> dict[str, list[Wheel]]:
        found: dict[str, list[Wheel]] = {}
        for wheel in self.wheels:
            found.setdefault(wheel.name, []).append(wheel)
        return found

    def _files(self) -> dict[str, str]:
        """Return the content of what pip reads, by the variable that names it."""
        by_name = {secret.name: secret.value for secret in self.secrets}
        files = {"PIP_CONFIG_FILE": by_name.pop(PIP_CONF)} if PIP_CONF in by_name else {}
        if by_name:
            whole = by_name.pop(NETRC, "")
            files["NETRC"] = "\n".join([whole, *(_machine(host, *_login(text)) for host, text in by_name.items())])
        return files

    def _words(self) -> tuple[str, ...]:
        """Return every form of a secret that could be in pip's words, the longest first."""
        pairs = [_login(secret.value) for secret in self.secrets if secret.name not in (NETRC, PIP_CONF)]
        for secret in self.secrets:
            if secret.name == NETRC:
                pairs += [(login, password) for login, _, password in _hosts(secret.value).values()]
            if secret.name == PIP_CONF:
                pairs += [_login(info) for info in _USERINFO.findall(secret.value)]
        words = set()
        for user, password in pairs:
            plain = {password, unquote(password), f"{user}:{password}"}
            words |= plain | {quote(word, safe="") for word in plain}
            for charset in ("utf-8", "latin-1"):  # as pip's HTTP library writes what Latin-1 has no letters for
                words |= {base64.b64encode(word.encode(charset, "replace")).decode() for word in plain}
        return tuple(sorted((word for word in words if len(word) >= _SHORTEST), key=len, reverse=True))


NOWHERE_ELSE: Final = Sources()


def sources(secrets: tuple[str, ...], folder: Path | None) -> Sources:
    """Read what the command line names: `NAME=FILE` each, and a directory. Raises `UsageError`, quoting no secret."""
    found = tuple(_secret(text) for text in secrets)
    names = [secret.name for secret in found]
    if len(set(names)) != len(names):
        raise UsageError("a secret is given twice", hint="give each NAME once")
    if folder is None:
        return Sources(secrets=found)
    try:
        files = sorted(path for path in folder.resolve(strict=True).iterdir() if path.suffix == ".whl")
        wheels = tuple(_wheel(path) for path in files)
    except OSError as error:
        raise UsageError(f"{folder} cannot be read: {error.strerror}", hint="give a directory of wheels") from error
    if not wheels:
        raise UsageError(f"{folder} has no wheels in it", hint="only built wheels (.whl) are installed")
    return Sources(folder.resolve(), wheels, found)


def _secret(text: str) -> Secret:
    name, equals, file = text.partition("=")
    if not equals or not file or not (name in (NETRC, PIP_CONF) or _HOST.fullmatch(name)):
        raise UsageError(
            f"`{name[:60]}` is not the name of a secret with a file",
            hint=f"NAME=FILE, where NAME is {NETRC}, {PIP_CONF} or the host of a package index",
        )
    value = _content(name, Path(file))
    if name == NETRC:
        _hosts(value)
    elif name != PIP_CONF:
        _login(value)
    return Secret(name, value)


def _content(name: str, file: Path) -> str:
    """Read a file that nobody else can, or a pipe. Raises `UsageError`."""
    try:
        with file.open("rb") as opened:
            info = os.fstat(opened.fileno())
            data = opened.read(_MAX_SECRET + 1)
    except OSError as error:
        raise UsageError(f"the secret {name}: {file} cannot be read: {error.strerror}") from error
    if stat.S_ISREG(info.st_mode) and info.st_mode & 0o077:
        raise UsageError(f"the secret {name}: others may read {file}", hint=f"chmod 600 {file}")
    try:
        if len(data) > _MAX_SECRET or b"\0" in data:
            raise UsageError(f"the secret {name}: {file} is larger than {_MAX_SECRET} bytes, or no text")
        value = data.decode()
    except UnicodeDecodeError:
        raise UsageError(f"the secret {name}: {file} is not UTF-8") from None
    return value if name in (NETRC, PIP_CONF) else value.strip()


def _login(text: str) -> tuple[str, str]:
    """Split `user:password`; a token alone is a password. Raises `UsageError` for more than one line."""
    if not text or not text.isprintable():
        raise UsageError("a secret for a host is not one line", hint="`user:password`, or a token alone")
    user, colon, password = text.partition(":")
    return (user, password) if colon else (_TOKEN_USER, text)


def _machine(host: str, user: str, password: str) -> str:
    quoted = ['"' + word.replace("\\", "\\\\").replace('"', '\\"') + '"' for word in (user, password)]
    return f"machine {host} login {quoted[0]} password {quoted[1]}"


def _hosts(text: str) -> dict[str, tuple[str, str, str]]:
    """Return the entries of a netrc file. Raises `UsageError` with the line's number alone."""
    descriptor = os.memfd_create("agent-pipeline", os.MFD_CLOEXEC)
    try:
        os.write(descriptor, text.encode())
        entries = netrc.netrc(f"/proc/self/fd/{descriptor}").hosts
    except netrc.NetrcParseError as error:
        raise UsageError(f"the secret {NETRC} is no netrc file, line {error.lineno}") from None
    finally:
        os.close(descriptor)
    return {host: (login or "", account or "", password or "") for host, (login, account, password) in entries.items()}


def _wheel(path: Path) -> Wheel:
    try:
        name, version, _, _ = parse_wheel_filename(path.name)
    except InvalidWheelFilename as error:
        raise UsageError(f"{path.name} is not the name of a wheel: {error}") from error
    with path.open("rb") as file:
        digest = hashlib.file_digest(file, "sha256").hexdigest()
    return Wheel(path, canonicalize_name(name), version, digest)
