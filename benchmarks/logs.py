"""`log-...`: what the shared log costs, and how that grows: at 100,000 entries against 1,000, in the same run."""

from __future__ import annotations

import atexit
import shutil
import subprocess  # noqa: TID251 - the peer is git's own command
import sys
import tempfile
from collections.abc import Callable
from dataclasses import replace
from functools import cache
from pathlib import Path

from agent_pipeline.attestation import log_tree, merkle
from agent_pipeline.audit import log as audit_log
from agent_pipeline.audit.walking import Finding, walk
from agent_pipeline.documents.log_entry import LogEntry
from agent_pipeline.documents.verification import PASSED
from agent_pipeline.repository import refs
from agent_pipeline.repository.clone import Clone
from agent_pipeline.repository.records import LOG
from agent_pipeline.repository.refs import RefUpdate
from agent_pipeline.verify import verify
from agent_pipeline.verify.log import check_proof
from benchmarks.measure import Result, in_turn

sys.path.insert(0, str(Path(__file__).resolve().parent.parent / "tests"))

from support.trust import Maker, sign

from benchmarks.long_logs import LARGE, SMALL, written

MAKER = Maker()
_LAST = 100
_SAME = f"the same at {SMALL:,} entries"


@cache
def _logs() -> tuple[Clone, Clone]:
    """Write both logs, once for all that is measured in this run; they are removed at its end."""
    folder = Path(tempfile.mkdtemp(prefix="agent-pipeline-bench-"))
    atexit.register(shutil.rmtree, folder, ignore_errors=True)
    return written(folder / "large", LARGE, MAKER), written(folder / "small", SMALL, MAKER)


def _append(clone: Clone) -> Callable[[], None]:
    """Return what reads the log, signs the next entry in process, and moves the ref; no audit of what came before."""

    def append() -> None:
        log = audit_log.read(clone, None, MAKER.root)
        roots = log.following()
        honest = {name: getattr(roots, name) for name in ("index", "previous", "history", "state")}
        envelope = MAKER.entry((), "admitted", request="z" * 16, **honest)
        refs.update(clone, [RefUpdate(LOG, log.head, audit_log.append(log, roots, envelope))])

    return append


def append() -> Result:
    """A whole append at 1,000 entries, against one signed file put on a ref by git's own commands."""
    with tempfile.TemporaryDirectory(prefix="agent-pipeline-bench-") as folder:
        clone = written(Path(folder) / "small", SMALL, MAKER)
        entry: LogEntry = audit_log.log_entries.read_unsigned(MAKER.entry([], "admitted"))

        def git(*argv: str, stdin: bytes = b"") -> str:
            done = subprocess.run(
                ["git", f"--git-dir={clone.path}", *argv],  # noqa: S607 - as its users start it
                input=stdin,
                capture_output=True,
                check=True,
            )
            return done.stdout.decode().strip()

        git("update-ref", "refs/peer", "HEAD")

        def peer() -> None:
            blob = git("hash-object", "-w", "--stdin", stdin=sign(entry.to_statement(), MAKER.ci))
            tree = git("mktree", stdin=f"100644 blob {blob}\tentry.dsse.json\n".encode())
            old = git("rev-parse", "refs/peer")
            new = git("-c", "user.name=b", "-c", "user.email=b@example.org", "commit-tree", tree, "-p", old, "-m", "x")
            git("update-ref", "refs/peer", new, old)

        return in_turn("log-append", _append(clone), peer, peer_name="git, one signed file", runs=30)


def append_growth() -> Result:
    """A whole append at 100,000 entries, against one at 1,000."""
    large, small = _logs()
    return in_turn("log-append-growth", _append(large), _append(small), peer_name=_SAME, runs=30)


def _prove(clone: Clone) -> Callable[[], None]:
    request = MAKER.request().id

    def prove() -> None:
        log = audit_log.read(clone, None, MAKER.root)
        checked = check_proof(log.prove(request), MAKER.root, request)
        assert [one.entry.event for one in checked.signed] == ["admitted"]

    return prove


def prove() -> Result:
    """Everything that the log says about a request, read, proven and checked: at 100,000 entries against 1,000."""
    large, small = _logs()
    return in_turn("log-prove", _prove(large), _prove(small), peer_name=_SAME, runs=30, inner=5)


def _continues(clone: Clone) -> Callable[[], None]:
    def continues() -> None:
        log = audit_log.read(clone, None, MAKER.root)
        assert log.newest is not None
        size, root = log.newest.entry.index, bytes.fromhex(log.newest.entry.history)
        old = audit_log.log_entries.read_unsigned(log.entry(size // 3))
        proof = log_tree.inclusion(log.file, size // 3, size)
        merkle.check_inclusion(log_tree.leaf_of(log.entry(size // 3)), size // 3, size, proof, root)
        proof = log_tree.consistency(log.file, size // 3, size)
        merkle.check_consistency(size // 3, size, proof, bytes.fromhex(old.history), root)

    return continues


def continues() -> Result:
    """That a log continues an older head, by inclusion and consistency: at 100,000 entries against 1,000."""
    large, small = _logs()
    return in_turn("log-continues", _continues(large), _continues(small), peer_name=_SAME, runs=30, inner=5)


def _decide(clone: Clone) -> Callable[[], None]:
    inputs = MAKER.inputs()

    def decide() -> None:
        log = audit_log.read(clone, None, MAKER.root)
        assert verify(replace(inputs, log=log.prove(inputs.request))).verdict == PASSED

    return decide


def decision() -> Result:
    """The verifier's whole decision about a proposal, the log's proof included: at 100,000 entries against 1,000."""
    large, small = _logs()
    return in_turn("log-decide", _decide(large), _decide(small), peer_name=_SAME, runs=30, inner=5)


def _audit(clone: Clone) -> Callable[[], None]:
    """Return what goes through the last entries, as an audit goes through every one."""
    head = clone.ref(LOG)
    assert head is not None
    base = head
    for _ in range(_LAST):
        base = audit_log.before(clone, base) or base

    def audit() -> None:
        steps = list(walk(clone, MAKER.root, head, base))
        assert len(steps) == _LAST
        assert not any(isinstance(step, Finding) for step in steps)

    return audit


def audit() -> Result:
    """Auditing the last 100 entries, everything that they store compared: at 100,000 entries against 1,000."""
    large, small = _logs()
    return in_turn("log-audit", _audit(large), _audit(small), peer_name=_SAME, runs=20)


ALL: dict[str, Callable[[], Result]] = {
    "log-append": append,
    "log-append-growth": append_growth,
    "log-prove": prove,
    "log-continues": continues,
    "log-decide": decision,
    "log-audit": audit,
}
