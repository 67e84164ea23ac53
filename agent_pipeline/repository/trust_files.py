"""The trust root as files: `.agent-pipeline/trust/<version>.<first 8 of keyid>.dsse.json` in a commit's tree."""

from __future__ import annotations

import contextlib
import re
from collections.abc import Iterable, Iterator
from itertools import islice
from typing import Final

from pygit2.enums import FileMode

from agent_pipeline.documents import strict
from agent_pipeline.documents.envelope import Envelope
from agent_pipeline.documents.root import TrustRoot
from agent_pipeline.errors import GitError, SchemaError
from agent_pipeline.repository.clone import MAX_FOLDER, Clone
from agent_pipeline.repository.listing import GITLINK, TREE, Entry, children, read_tree
from agent_pipeline.repository.remotes import tracking

FOLDER = ".agent-pipeline/trust"
MAX_ENVELOPES: Final = 10_000  # of all versions: ten signatures under each of a thousand
MAX_TOTAL: Final = 256 << 20  # bytes of all envelopes
_MAX_FIRST: Final = 8  # envelopes of the first version that a branch is asked for: all have one payload
_MAX_FIRST_BYTES: Final = 128 * 1024  # the first version has one person when `init` makes it: some KiB
_MAX_FOLDER: Final = strict.MAX_BYTES  # bytes of the folder itself: its names, at some 50 bytes each
_NAME = re.compile(r"([1-9][0-9]{0,5})\.[0-9a-f]{8}\.dsse\.json")


def file_name(version: int, keyid: str) -> str:
    """Return the path of one signature's envelope over one version of the root."""
    return f"{FOLDER}/{version}.{keyid[:8]}.dsse.json"


def is_envelope(path: str) -> bool:
    """Return whether `path` is where a signature's envelope over a version of the root lies."""
    folder, _, name = path.rpartition("/")
    return folder == FOLDER and _NAME.fullmatch(name) is not None


def versions(clone: Clone, commit: str) -> tuple[tuple[bytes, ...], ...]:
    """Return the envelopes of every version in order, version 1 first; empty when there is no trust root.

    Raises `SchemaError` when a version is missing in between, and for more than any trust root has, before it is read;
    `GitError` for an object that is missing or damaged.
    """
    folder = _folder(clone, commit)
    if folder is None:
        return ()
    held = list(islice(_listed(clone, folder), MAX_ENVELOPES + 1))
    if len(held) > MAX_ENVELOPES:
        raise SchemaError(f"{FOLDER} holds more than {MAX_ENVELOPES} envelopes")
    numbers = {number for number, _ in held}
    if numbers and len(numbers) != max(numbers):
        raise SchemaError(f"{FOLDER}: a version of the trust root is missing between 1 and {max(numbers)}")
    _check_sizes(clone, held)
    contents: dict[str, bytes] = {}  # many names of one object are read once
    found: dict[int, list[bytes]] = {}
    for number, entry in held:
        if entry.oid not in contents:
            contents[entry.oid] = clone.blob(entry.oid)
        found.setdefault(number, []).append(contents[entry.oid])
    return tuple(tuple(found[number]) for number in sorted(found))


def _check_sizes(clone: Clone, held: list[tuple[int, Entry]]) -> None:
    total = 0
    for _, entry in held:
        size = clone.size(entry.oid)
        if size > strict.MAX_BYTES:
            raise SchemaError(f"{FOLDER}/{entry.path.decode()} has more than {strict.MAX_BYTES} bytes")
        total += size
    if total > MAX_TOTAL:
        raise SchemaError(f"the envelopes in {FOLDER} have {total} bytes; at most {MAX_TOTAL} are read")


def _folder(clone: Clone, commit: str) -> str | None:
    """Return the tree that the envelopes of a commit lie in, None when there is none."""
    tree = clone.tree(commit)
    for part in FOLDER.split("/"):
        if clone.size(tree) > MAX_FOLDER:
            raise SchemaError(f"tree {tree} has more than {MAX_FOLDER} bytes")
        try:
            item = read_tree(clone, tree)[part]
        except KeyError:
            return None
        if item.filemode != FileMode.TREE:
            return None
        tree = str(item.id)
    return tree


def _listed(clone: Clone, folder: str) -> Iterator[tuple[int, Entry]]:
    """Yield the version of every envelope, and where it lies, in the order of the names. Reads none of them."""
    if clone.size(folder) > _MAX_FOLDER:
        raise SchemaError(f"{FOLDER} has more names than any trust root: more than {_MAX_FOLDER} bytes of them")
    for entry in children(clone, folder):
        match = _NAME.fullmatch(entry.path.decode("utf-8", "replace"))
        if match is not None and entry.mode not in (TREE, GITLINK):
            yield int(match[1]), entry


def _by_size(clone: Clone, commits: Iterable[str]) -> list[str]:
    sizes: dict[str, int] = {}
    for commit in commits:
        with contextlib.suppress(GitError):  # a commit whose tree is not here carries no trust root
            sizes[commit] = clone.size(clone.tree(commit))
    return sorted(sizes, key=lambda commit: sizes[commit])


def first_root_branches(clone: Clone, remote: str | None) -> Iterator[tuple[str, str]]:
    """Yield (protected branch, digest of the first root) for the branches that carry a first root naming itself.

    The payload is only read here, never believed: the digest decides. Only the first version is read, every object
    once, and what is no trust root or larger than a first one is passed over: whoever may push could make it. Branches
    with the smallest top directories come first: nobody waits for those that somebody made large.
    """
    looked_at: set[str] = set()
    for commit in _by_size(clone, clone.refs(tracking(remote, "refs/heads/") if remote else "refs/heads/").values()):
        try:
            folder = _folder(clone, commit)
            if folder is None or folder in looked_at:
                continue
            looked_at.add(folder)
            firsts = [entry.oid for number, entry in _listed(clone, folder) if number == 1][:_MAX_FIRST]
        except (SchemaError, GitError):
            continue
        for oid in firsts:
            if oid in looked_at:
                continue
            looked_at.add(oid)
            try:
                if clone.size(oid) > _MAX_FIRST_BYTES:
                    continue
                payload = Envelope.from_json(clone.blob(oid)).payload
                root = TrustRoot.from_json(payload)
            except (SchemaError, GitError):
                continue
            yield root.branch, strict.sha256(payload)
