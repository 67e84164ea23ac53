"""Characters that cannot be seen, or that move what is seen (CVE-2021-42574), in one place for paths and terminals."""

from __future__ import annotations

import unicodedata
from typing import Final

# Default_Ignorable_Code_Point of Unicode (UAX #44) outside the categories of `_UNSEEN`.
_IGNORABLE: Final = frozenset(
    character
    for first, last in (
        (0x034F, 0x034F),
        (0x115F, 0x1160),
        (0x17B4, 0x17B5),
        (0x180B, 0x180F),
        (0x3164, 0x3164),
        (0xFE00, 0xFE0F),
        (0xFFA0, 0xFFA0),
        (0xE0100, 0xE01EF),
    )
    for character in range(first, last + 1)
)
_UNSEEN: Final = frozenset(["Cc", "Cf", "Cn", "Co", "Cs", "Zl", "Zp"])


def is_ignorable(character: str) -> bool:
    """Return whether `character` is an assigned one that draws nothing: HFS+ and readers pass over it."""
    return ord(character) in _IGNORABLE


def is_hidden(character: str) -> bool:
    """Return whether `character` draws nothing of its own, moves what others draw, or has no meaning yet."""
    return is_ignorable(character) or unicodedata.category(character) in _UNSEEN


def visible(text: str) -> str:
    """Return `text` with everything that cannot be seen, or moves what is seen, written as an escape."""
    return "".join(
        character if character == " " or (character.isprintable() and not is_ignorable(character))
        else character.encode("unicode_escape", "surrogatepass").decode("ascii")
        for character in text
    )  # fmt: skip
