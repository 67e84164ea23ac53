"""From a bootstrapped root file system to the entries of a canonical layer.

What differs between two bootstraps of the same packages, or between hosts, is left out: device nodes, caches, lists,
logs, locks, backups, the builder's names and resolvers. What nobody needs without a network and a login is left out
too: passwords, private keys, documentation except licences.
"""

from __future__ import annotations

import tarfile
from collections.abc import Iterable, Iterator
from typing import IO, Final

from agent_pipeline.documents.image_recipe import ImageRecipe, ImageUser
from agent_pipeline.errors import SandboxError
from agent_pipeline.sandbox.images.layers import DIRECTORY, FILE, LINK, Entry

_EMPTIED: Final = (
    *("boot", "dev", "proc", "run", "sys", "tmp"),
    *("var/cache", "var/log", "var/tmp", "var/lib/apt", "var/lib/systemd", "etc/apt", "etc/ssl/private"),
)
_DROPPED: Final = (
    *("etc/machine-id", "etc/hostname", "etc/hosts", "etc/resolv.conf", "etc/mtab", "etc/fstab"),
    *("etc/shadow", "etc/gshadow", "etc/subuid", "etc/subgid", "etc/dpkg/dpkg.cfg.d/99mmdebstrap"),
    *("etc/passwd-", "etc/group-", "etc/shadow-", "etc/gshadow-", "etc/security/opasswd", ".dockerenv"),
    *("var/lib/dpkg/lock", "var/lib/dpkg/lock-frontend", "var/lib/dpkg/triggers/Lock", "var/lib/dpkg/available"),
    *("usr/share/locale", "usr/share/man", "usr/share/info", "usr/share/lintian", "usr/share/groff"),
)
_BACKUPS: Final = ("-old", ".dpkg-old", ".dpkg-new", ".dpkg-dist")
_LICENCE: Final = "copyright"
_NOLOGIN: Final = "/usr/sbin/nologin"


def entries(archive: IO[bytes], recipe: ImageRecipe) -> Iterator[Entry]:
    """Yield the normalised entries of a bootstrapped tar archive, which must stay open until they are written.

    Raises `SandboxError` when the archive is not what mmdebstrap writes.
    """
    try:
        archive.seek(0)
        tar = tarfile.open(fileobj=archive, mode="r:", encoding="utf-8", errors="strict")  # noqa: SIM115 - closed with the archive
        members = {_name(info): info for info in tar}
    except (tarfile.TarError, UnicodeError) as error:
        raise SandboxError(f"the bootstrapped archive cannot be read: {error}") from error
    for path, info in members.items():
        if path and not _left_out(path, recipe):
            yield from _entry(path, info, members, archive)
    yield from _accounts(archive, members, recipe.user)


def packages(archive: IO[bytes]) -> dict[str, str]:
    """Return the installed packages and versions that a bootstrapped tar archive's dpkg status lists."""
    archive.seek(0)
    with tarfile.open(fileobj=archive, mode="r:") as tar:
        status = tar.extractfile("./var/lib/dpkg/status")
        text = status.read().decode("utf-8") if status is not None else ""
    found = {}
    for paragraph in text.split("\n\n"):
        fields = dict(
            line.split(": ", 1) for line in paragraph.splitlines() if ": " in line and not line.startswith(" ")
        )
        if fields.get("Status", "").endswith(" installed"):
            found[fields["Package"]] = fields["Version"]
    return found


def added(files: dict[str, bytes], directories: Iterable[str]) -> Iterator[Entry]:
    """Yield the entries of the layer with what we copy in."""
    for path, content in files.items():
        yield Entry(path, FILE, content=content)
    for path in directories:
        yield Entry(path, DIRECTORY)


def _name(info: tarfile.TarInfo) -> str:
    return "" if info.name in (".", "./") else info.name.removeprefix("./").rstrip("/")


def _left_out(path: str, recipe: ImageRecipe) -> bool:
    if path in ("etc/passwd", "etc/group") or path.endswith(_BACKUPS):
        return True
    if any(path.startswith(f"{folder}/") for folder in _EMPTIED):
        return True
    if any(path == gone or path.startswith(f"{gone}/") for gone in (*_DROPPED, *recipe.remove)):
        return True
    if path.startswith("usr/share/doc/"):
        return not path.endswith(f"/{_LICENCE}")
    compiled = any(path.startswith(f"{folder}/") for folder in recipe.compile)
    return "__pycache__" in path.split("/") and not compiled


def _entry(
    path: str, info: tarfile.TarInfo, members: dict[str, tarfile.TarInfo], archive: IO[bytes]
) -> Iterator[Entry]:
    while info.islnk():  # a hard link is one more name of a file; here it is the file itself
        info = members[info.linkname.removeprefix("./")]
    if info.isdir():
        yield Entry(path, DIRECTORY)
    elif info.isfile():
        executable = bool(info.mode & 0o111)
        yield Entry(path, FILE, executable, source=archive, offset=info.offset_data, size=info.size)
    elif info.issym():
        yield Entry(path, LINK, link=info.linkname)
    elif not (info.ischr() or info.isblk() or info.isfifo()):
        raise SandboxError(f"the bootstrapped archive has {path!r} of unknown kind {info.type!r}")


def _accounts(archive: IO[bytes], members: dict[str, tarfile.TarInfo], user: ImageUser) -> Iterator[Entry]:
    """Yield passwd and group with the account that untrusted code runs as; nobody can log in."""
    lines = {
        "etc/passwd": f"{user.name}:x:{user.uid}:{user.uid}::{user.home}:/bin/bash\n",
        "etc/group": f"{user.name}:x:{user.uid}:\n",
    }
    for path, line in lines.items():
        info = members[path]
        archive.seek(info.offset_data)
        kept = [text for text in archive.read(info.size).decode().splitlines(keepends=True) if text.strip()]
        if path == "etc/passwd":
            kept = [f"{text.rstrip().rsplit(':', 1)[0]}:{_NOLOGIN}\n" for text in kept]
        yield Entry(path, FILE, content="".join([*kept, line]).encode())
