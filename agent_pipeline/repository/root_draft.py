"""The next version of the trust root while signatures are still missing: `refs/agent-pipeline/root-draft`.

Its commit holds what will lie on the protected branch, one file for each signature. Whoever may push can write it:
nothing in it counts before the trust root in force says whose the signatures are.
"""

from __future__ import annotations

from collections.abc import Iterable
from datetime import datetime
from itertools import islice
from typing import Final

from agent_pipeline.documents.envelope import Envelope
from agent_pipeline.documents.strict import MAX_BYTES
from agent_pipeline.errors import GitError, SchemaError
from agent_pipeline.repository import commits, remotes, trees
from agent_pipeline.repository.clone import Clone
from agent_pipeline.repository.refs import RefUpdate
from agent_pipeline.repository.trees import Put
from agent_pipeline.repository.trust_files import FOLDER, file_name

REF: Final = "refs/agent-pipeline/root-draft"
MAX_SIGNATURES: Final = 100
_NAME, _EMAIL = "agent-pipeline", "trust@agent-pipeline.invalid"


def tip(clone: Clone, remote: str | None) -> str | None:
    """Return the draft's commit as the remote has it (this clone's own without one), None when there is no draft."""
    return clone.ref(remotes.tracking(remote, REF))


def read(clone: Clone, remote: str | None) -> tuple[bytes, ...]:
    """Return the envelopes of the draft, none when there is no draft. Raises `SchemaError` for what is no draft."""
    commit = tip(clone, remote)
    if commit is None:
        return ()
    try:
        held = list(islice(trees.entries(clone, clone.tree(commit)), MAX_SIGNATURES + 1))
    except GitError as error:
        raise SchemaError(f"{REF} is no draft: {error.message}") from error
    if len(held) > MAX_SIGNATURES:
        raise SchemaError(f"{REF} holds more than {MAX_SIGNATURES} files")
    for entry in held:
        if not entry.path.startswith(f"{FOLDER}/".encode()) or clone.size(entry.oid) > MAX_BYTES:
            raise SchemaError(f"{REF} holds something else than signatures of a trust root")
    return tuple(clone.blob(entry.oid) for entry in held)


def write(clone: Clone, remote: str | None, version: int, envelopes: Iterable[bytes], moment: datetime) -> RefUpdate:
    """Return the update that makes `envelopes` the draft of `version`, in place of any other. No ref moves."""
    files = {
        file_name(version, Envelope.from_json(data).keyid): Put(data.rstrip(b"\n") + b"\n", "100644")
        for data in envelopes
    }
    tree = trees.build(clone, str(clone.objects.TreeBuilder().write()), files)
    message = f"Draft of version {version} of the trust root\n"
    commit = commits.write(clone, commits.draft(clone, tree, [], message, _NAME, _EMAIL, moment), None)
    return RefUpdate(REF, tip(clone, remote), commit)


def discard(clone: Clone, remote: str | None) -> RefUpdate | None:
    """Return the update that takes the draft away, None when there is none."""
    old = tip(clone, remote)
    return RefUpdate(REF, old, None) if old is not None else None
