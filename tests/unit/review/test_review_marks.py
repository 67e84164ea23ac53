"""What was taken back is found in bounded time, whatever is pushed on top of it or beside it.

What is measured is the process's own time, with many times what it takes now.
"""

from __future__ import annotations

import contextlib
import time
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest
from support.carried import Carried, carried

from agent_pipeline.documents import strict
from agent_pipeline.documents.approval import REJECTED
from agent_pipeline.errors import SchemaError
from agent_pipeline.repository.dossier import attestation_path
from agent_pipeline.repository.records import MAX_STEPS, Record
from agent_pipeline.review import marks
from agent_pipeline.review.marks import Mark

SECONDS = 20.0
MANY = 10_050  # files: more than any record has
WHO = "agent-pipeline <agent-pipeline@localhost> 946684800 +0000"


@pytest.fixture
def made(tmp_path: Path) -> Carried:
    return carried(tmp_path / "project", "proposed")


@contextlib.contextmanager
def bounded() -> Iterator[None]:
    begun = time.process_time()
    yield
    assert time.process_time() - begun < SECONDS


def reject(made: Carried) -> str:
    """Let a reviewer reject the proposal; return the digest of the envelope."""
    said = made.maker.approval("rita", REJECTED, reason="no")
    made.attest(("approval", said))
    return strict.sha256(said)


def found(made: Carried, tip: str) -> tuple[Mark, ...]:
    return marks.unlogged(Record(made.id, tip, made.clone), (), made.maker.root)


def folder(made: Carried, files: int, mode: str = "100644") -> str:
    blob = made.project.blob(b"x")
    return made.project.raw_tree(*((mode, b"f%06d" % number, blob) for number in range(files)))


def pushed(made: Carried, count: int, *, on: str, changed: Callable[[int], str]) -> str:
    """Put `count` steps on a step, each with these changes of its files in the form of `git fast-import`."""
    parts = []
    for number in range(1, count + 1):
        after = on if number == 1 else f":{number - 1}"
        parts.append(f"commit refs/heads/pushed\nmark :{number}\nauthor {WHO}\ncommitter {WHO}\ndata 7\nRecord\n\n")
        parts.append(f"from {after}\n{changed(number)}\n")
    made.project.git("fast-import", "--force", "--quiet", stdin="".join(parts).encode())
    return made.project.git("rev-parse", "refs/heads/pushed")


def test_a_rejection_under_steps_with_one_tree_that_nobody_can_read(made: Carried) -> None:
    said, large = reject(made), folder(made, MANY)
    tip = pushed(made, 1000, on=made.tip, changed=lambda n: f"M 040000 {large} 9\n" if n == 1 else "")
    with bounded():
        assert [mark.envelope for mark in found(made, tip)] == [said]


def test_a_rejection_under_steps_that_are_each_another_large_one(made: Carried) -> None:
    said, large, blob = reject(made), folder(made, MANY), made.project.blob(b"y")

    def changed(number: int) -> str:
        return (f"M 040000 {large} 9\n" if number == 1 else "") + f"M 100644 {blob} 9/f{number:06d}\n"

    tip = pushed(made, 400, on=made.tip, changed=changed)
    with bounded():
        assert [mark.envelope for mark in found(made, tip)] == [said]


def test_a_rejection_under_many_small_steps_that_nobody_can_read(made: Carried) -> None:
    said, blob = reject(made), made.project.blob(b"request.dsse.json")
    tip = pushed(made, 3000, on=made.tip, changed=lambda n: f"M 120000 {blob} 2/link{n}\nD 2/link{n - 1}\n")
    with bounded():
        assert [mark.envelope for mark in found(made, tip)] == [said]


def test_a_rejection_under_large_requests_that_are_none(made: Carried) -> None:
    said, zeros = reject(made), made.project.blob(bytes(strict.MAX_BYTES + 1))
    wide = b"[" + b"[]," * (strict.MAX_BYTES // 3 - 9) + b"%03d]"

    def changed(number: int) -> str:
        asked = made.project.blob(wide % number) if number % 3 else zeros
        return f"M 100644 {asked} request.dsse.json\nM 100644 {zeros} {number}.x\n"

    tip = pushed(made, 150, on=made.tip, changed=changed)
    with bounded():
        assert [mark.envelope for mark in found(made, tip)] == [said]


def test_what_was_passed_over_is_never_said_to_hold_nothing(made: Carried) -> None:
    """A step that is as large as what lies on it is not looked at: then nobody says that nothing was taken back."""
    before, blob, large = made.tip, made.project.blob(b"y"), folder(made, MANY)
    readable = pushed(made, 1, on=before, changed=lambda _: f"M 040000 {folder(made, 5000)} 8\n")
    assert found(made, readable) == ()
    made.tip = readable
    said = reject(made)
    assert [mark.envelope for mark in found(made, made.tip)] == [said]
    tip = pushed(
        made,
        30,
        on=made.tip,
        changed=lambda n: (f"M 040000 {large} 9\n" if n == 1 else "") + f"M 100644 {blob} 9/f{n:06d}\n",
    )
    with bounded(), pytest.raises(SchemaError, match=made.id):
        found(made, tip)


def test_a_rejection_in_a_record_of_too_many_steps(made: Carried) -> None:
    said = reject(made)
    tip = pushed(made, MAX_STEPS, on=made.tip, changed=lambda _: "")
    with bounded():
        assert [mark.envelope for mark in found(made, tip)] == [said]
    large = folder(made, MANY)
    tip = pushed(made, MAX_STEPS, on=made.tip, changed=lambda n: f"M 040000 {large} 9\n" if n == 1 else "")
    with bounded(), pytest.raises(SchemaError, match=made.id):
        found(made, tip)


def test_a_rejection_among_as_many_names_and_proposals_as_a_record_holds(made: Carried) -> None:
    said = made.maker.approval("rita", REJECTED, reason="no")
    blob, junk = made.project.blob(said), made.project.blob(b"{}")
    names = [attestation_path(1, f"x{number}", said) for number in range(6000)]
    rows = [f"M 100644 {blob} {name}\n" for name in names]
    rows += [f"M 100644 {junk} {number}/proposal.json\n" for number in range(2, 1500)]
    tip = pushed(made, 1, on=made.tip, changed=lambda _: "".join(rows))
    with bounded():
        assert [mark.envelope for mark in found(made, tip)] == [strict.sha256(said)]
