"""Which files differ between two trees, by path and object: for what we stored ourselves, where nothing is a secret."""

from __future__ import annotations

from typing import Final

import pygit2
from pygit2.enums import FileMode

from agent_pipeline.repository.clone import Clone
from agent_pipeline.repository.compare import differences

_PLAIN: Final = f"{FileMode.BLOB:o}"


def changed_files(clone: Clone, old: str | None, new: str) -> dict[str, str | None]:
    """Return the object of every file that `new` has otherwise than `old` (None: the empty tree), None for one gone.

    What is no regular file is given with its mode before the object, so that it equals nothing that is expected. Bytes
    that are no UTF-8 are escaped in the names. Raises as `differences` does. libgit2's own diff of two trees unfolds
    all of both: an audit, which compares each entry of the log with the one before, would take the square of its
    length.
    """
    return {
        path.decode("utf-8", "backslashreplace"): None if after is None else _object(*after)
        for path, _, after in differences(clone, old, new)
    }


def _object(mode: str, oid: str) -> str:
    return oid if mode == _PLAIN else f"{mode} {oid}"


def blob_id(data: bytes) -> str:
    """Return the id of the blob with this content; nothing is stored."""
    return str(pygit2.hash(data))
