"""The trust root as files: `.agent-pipeline/trust/<version>.<first 8 of keyid>.dsse.json` in a commit's tree."""

from __future__ import annotations

import re
from collections.abc import Iterator

import pygit2

from agent_pipeline.documents import strict
from agent_pipeline.documents.envelope import Envelope
from agent_pipeline.documents.root import TrustRoot
from agent_pipeline.errors import GitError, SchemaError
from agent_pipeline.repository.clone import Clone
from agent_pipeline.repository.remotes import tracking

FOLDER = ".agent-pipeline/trust"
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

    Raises `SchemaError` when a version is missing in between.
    """
    found: dict[int, list[bytes]] = {}
    for name, data in _files(clone, commit):
        if (match := _NAME.fullmatch(name)) is not None:
            found.setdefault(int(match[1]), []).append(data)
    if sorted(found) != list(range(1, len(found) + 1)):
        raise SchemaError(f"{FOLDER}: a version of the trust root is missing between 1 and {max(found)}")
    return tuple(tuple(found[number]) for number in sorted(found))


def _files(clone: Clone, commit: str) -> Iterator[tuple[str, bytes]]:
    tree = clone.objects[commit].peel(pygit2.Tree)
    try:
        folder = tree[FOLDER]
    except (KeyError, ValueError, pygit2.GitError):
        return
    if isinstance(folder, pygit2.Tree):
        for entry in sorted(folder, key=lambda item: item.name or ""):
            if isinstance(entry, pygit2.Blob) and entry.name is not None and _NAME.fullmatch(entry.name):
                if entry.size > strict.MAX_BYTES:
                    raise SchemaError(f"{FOLDER}/{entry.name} has more than {strict.MAX_BYTES} bytes")
                yield entry.name, entry.data


def first_root_branches(clone: Clone, remote: str | None) -> Iterator[tuple[str, str]]:
    """Yield (protected branch, digest of the first root) for every branch that carries a first root naming itself.

    The payload is only read here, never believed: the digest decides. A branch whose files are no trust root is passed
    over: whoever may push could make one.
    """
    for commit in clone.refs(tracking(remote, "refs/heads/") if remote else "refs/heads/").values():
        try:
            first = next(iter(versions(clone, commit)), ())
        except (SchemaError, GitError):
            continue
        for envelope in first:
            try:
                payload = Envelope.from_json(envelope).payload
                root = TrustRoot.from_json(payload)
            except SchemaError:
                continue
            yield root.branch, strict.sha256(payload)
