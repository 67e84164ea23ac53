"""How far the trust root was seen to come on this machine: a protected branch that was rewound is not believed.

The mark lies outside the repository, where nobody who may push can reach it, by the digest of the first root: all
clones of one person share it. Where nothing is kept, as in CI, the log says it: entries name the version they go by.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from pathlib import Path

from agent_pipeline.config import Config
from agent_pipeline.documents import strict
from agent_pipeline.documents.anchor import Anchor
from agent_pipeline.documents.envelope import Envelope
from agent_pipeline.documents.root import TrustRoot
from agent_pipeline.documents.seen_root import SeenRoot
from agent_pipeline.errors import SchemaError, SignatureError, UsageError
from agent_pipeline.files import written_whole


def check(
    config: Config, anchor: Anchor, versions: Sequence[Sequence[bytes]], commit: str, tell: Callable[[str], None]
) -> None:
    """Raise `SignatureError` when `versions`, whose chain holds, lack what was seen before; remember them otherwise.

    `versions[i]` are the envelopes of version i + 1, as the commit `commit` has them.
    """
    path = _path(config, anchor)
    digests = [strict.sha256(Envelope.from_json(envelopes[0]).payload) for envelopes in versions]
    seen = _load(path)
    if seen is not None and (seen.root_version > len(digests) or digests[seen.root_version - 1] != seen.payload):
        raise SignatureError(
            f"{anchor.branch} was rewound or replaced: version {seen.root_version} of the trust root was seen here "
            f"(in {seen.commit[:12]}), and now the newest is version {len(digests)}, without it",
            hint="fetch (run it without --no-push); if it stays so, find out who moved the branch and put it back to "
            f"{seen.commit[:12]} or later. Only if you are sure that it is right as it is: rm {path}",
        )
    if seen is None or seen.root_version < len(digests):
        _save(path, SeenRoot(1, len(digests), digests[-1], commit), tell)


def remember(config: Config, anchor: Anchor, root: TrustRoot, commit: str, tell: Callable[[str], None]) -> None:
    """Keep that `root` was put on the protected branch by this very machine, in the commit `commit`."""
    _save(_path(config, anchor), SeenRoot(1, root.version, strict.sha256(root.to_json()), commit), tell)


def _path(config: Config, anchor: Anchor) -> Path:
    return config.state_dir / "roots" / f"{anchor.root_digest}.json"


def _load(path: Path) -> SeenRoot | None:
    if not path.exists():
        return None
    try:
        return SeenRoot.from_json(path.read_bytes())
    except SchemaError as error:
        raise UsageError(
            f"{path} cannot be read: {error.message}", hint="mend it, or remove it when you are sure of the branch"
        ) from error


def _save(path: Path, mark: SeenRoot, tell: Callable[[str], None]) -> None:
    """Replace the file whole. One that cannot be written is said: the mark before goes on to hold."""
    try:
        path.parent.mkdir(parents=True, exist_ok=True)
        with written_whole(path) as file:
            file.write(mark.to_json() + b"\n")
    except OSError as error:
        tell(f"note: which trust root was seen cannot be kept in {path.parent}: {error.strerror}")
