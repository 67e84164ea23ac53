"""Which paths a proposal may carry, decided on the text alone.

A path that passes means the same file to Git, to the tools that read Git and on every common file system: Linux, macOS
(HFS+ folds case, drops invisible characters), Windows (folds case, drops trailing dots and spaces, has devices, streams
and short names). Whatever Git itself refuses with `core.protectHFS` and `core.protectNTFS` is refused here too; Git
accepts much more than that (threat T13), so this list is longer than Git's.

Nothing here looks at a tree: collisions with neighbours are found by comparing `collision_key` beside them.
"""

from __future__ import annotations

import re
import unicodedata
from itertools import groupby
from typing import Final

from agent_pipeline.documents.characters import is_ignorable, visible
from agent_pipeline.documents.unicode_14 import is_assigned
from agent_pipeline.errors import PathError

MAX_BYTES: Final = 4000  # Linux opens at most 4095, and a prefix such as `/workspace/` must still fit
MAX_COMPONENT_BYTES: Final = 255
MAX_DEPTH: Final = 100
_CATEGORIES: Final = {
    "Cc": "a control character",
    "Cf": "an invisible or direction-changing character",
    "Co": "a private-use character",
    "Cs": "bytes that are no UTF-8",
    "Cn": "a character that Unicode 14.0 has not assigned",
    "Zl": "a line separator",
    "Zp": "a paragraph separator",
    "Zs": "a space that is not the plain one",
}
_FORBIDDEN: Final = frozenset('\\:*?"<>|')  # a separator, a stream or a wildcard on Windows; magic in pathspecs
_ASCII_BAD: Final = re.compile(r'[\x00-\x1f\x7f\\:*?"<>|]')
_DEVICE: Final = re.compile(r"(con|prn|aux|nul|clock\$|conin\$|conout\$|com[0-9]|lpt[0-9])(\..*)?")
# What FAT and NTFS call a long name beside it: `GIT~1` is `.git`, `GI7EBA~1` is `.gitmodules` (git's is_ntfs_dotgit).
_SHORT_NAME: Final = re.compile(r"[^.]{1,7}~[0-9]{1,6}(\.[^.]{0,3})?")
_GIT_SHORT_NAME: Final = re.compile(r"git~[0-9]+")
_NEVER: Final = {
    ".git": "Git's own directory",
    ".gitmodules": "Git's own settings",
    ".gitattributes": "Git's own settings",
}
_EXACT_ONLY: Final = frozenset([".gitignore", ".mailmap", ".agent-pipeline"])


def check(path: str) -> None:
    """Raise `PathError` when no proposal may carry `path` (relative, separated by `/`)."""
    try:
        size = len(path.encode("utf-8"))
    except UnicodeEncodeError:
        raise _refused(path, "it holds bytes that are no UTF-8") from None
    if size > MAX_BYTES:
        raise _refused(path, f"it has {size} bytes; at most {MAX_BYTES} can be opened everywhere")
    components = path.split("/")
    if len(components) > MAX_DEPTH:
        raise _refused(path, f"it is deeper than {MAX_DEPTH} directories")
    for component in components:
        if (reason := _component(component)) is not None:
            raise _refused(path, reason)


def reason_against(name: str) -> str | None:
    """Return why a single file or directory name is refused, or None."""
    return "it holds a `/`" if "/" in name else _component(name)


def collision_key(path: str) -> str:
    """Return what `path` becomes when case, compatibility forms and invisible characters do not count.

    Two names in one directory with the same key are one file on some file system. Idempotent. What Unicode 14.0 has not
    assigned stays as it is: a newer version may fold it, and the key would depend on who makes it.
    """
    if path.isascii():
        return path.lower()
    runs = ((known, "".join(run)) for known, run in groupby(path, is_assigned))
    return "".join(_folded(run) if known else run for known, run in runs)


def _folded(key: str) -> str:
    before = None
    while key != before:  # folding can bring up what normalising folds again; three rounds are the most seen
        before = key
        drawn = "".join(character for character in key if not _ignorable(character))
        key = unicodedata.normalize("NFKC", unicodedata.normalize("NFKC", drawn).casefold())
    return key


def is_git_directory(name: str) -> bool:
    """Return whether some file system takes the single name `name` for `.git`."""
    return _is_git(collision_key(name))


def _is_git(key: str) -> bool:
    key = key.split(":", 1)[0].rstrip(". ")
    return key == ".git" or _GIT_SHORT_NAME.fullmatch(key) is not None


def has_surrogates(text: str) -> bool:
    """Return whether `text` stands for bytes that are no UTF-8, so that no JSON document can hold it."""
    return any("\ud800" <= character <= "\udfff" for character in text)


def _ignorable(character: str) -> bool:
    return is_ignorable(character) or unicodedata.category(character) == "Cf"


def _component(name: str) -> str | None:
    """Return why this name between two slashes is refused, or None."""
    if name in {"", ".", ".."}:
        return "it holds an empty, `.` or `..` component"
    if len(name.encode("utf-8", "surrogatepass")) > MAX_COMPONENT_BYTES:
        return f"one name is longer than {MAX_COMPONENT_BYTES} bytes"
    if (reason := _characters(name)) is not None:
        return reason
    if name.startswith("-"):
        return "a name begins with `-`, which programs take for an option"
    if name.endswith((".", " ")):
        return "a name ends in a dot or a space, which Windows drops"
    return _special(name)


def _characters(name: str) -> str | None:
    if name.isascii():
        return 'it holds a control character or one of \\ : * ? " < > |' if _ASCII_BAD.search(name) else None
    for character in name:
        kind = unicodedata.category(character) if is_assigned(character) else "Cn"
        if kind in _CATEGORIES:
            return f"it holds {_CATEGORIES[kind]} (U+{ord(character):04X})"
        if is_ignorable(character):
            return f"it holds an invisible character (U+{ord(character):04X})"
        if character in _FORBIDDEN:
            return f"it holds `{character}`"
    if not unicodedata.is_normalized("NFC", name):
        return "it is not in Unicode's composed form (NFC), so the same name could be written twice"
    return None


def _special(name: str) -> str | None:  # noqa: PLR0911 - a list of reasons
    key = collision_key(name).rstrip(". ")
    if _is_git(key):
        return "some file system takes it for `.git`"
    if key in _NEVER:
        return f"it names {_NEVER[key]} (`{key}`), which a proposal never carries"
    if key in _EXACT_ONLY and name != key:
        return f"some file system takes it for `{key}`"
    if key in {"", ".", ".."} or "/" in key or "\\" in key or ":" in key:
        return "some programs take one of its characters for a separator"
    if _DEVICE.fullmatch(key) or _DEVICE.fullmatch(key.split(".", 1)[0].rstrip()):
        return "it is the name of a device on Windows"
    if _SHORT_NAME.fullmatch(key):
        return "it has the form of a Windows short name, which stands for another file"
    return None


def _refused(path: str, reason: str) -> PathError:
    shown = visible(path)
    shown = shown if len(shown) <= 200 else f"{shown[:200]}..."  # noqa: PLR2004 - enough to find it
    return PathError(f"`{shown}` cannot be part of a proposal: {reason}", hint="choose another name for the file")
