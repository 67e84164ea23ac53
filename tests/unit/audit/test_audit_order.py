"""An audit says when the log's own order forbids what it says was done, whoever signed it."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace
from pathlib import Path

import pytest
from support.carried import carried
from support.trust import Maker, ended

from agent_pipeline.attestation import log_entries
from agent_pipeline.audit.order import Order
from agent_pipeline.audit.whole import Audit
from agent_pipeline.documents import strict

MAKER = Maker()
NO = MAKER.approval("rita", "rejected", reason="it hides the mistake")
YES = MAKER.approval("rita", takes_back=(strict.sha256(NO),))
NOBODY = {"request": None, "number": None, "statement": None}
ANOTHER = {"request": "a" * 16, "statement": "b" * 64}
Step = tuple[str, Sequence[bytes], dict[str, object]]
ADMITTED: Step = ("admitted", (), {})
MERGED: Step = ("merged", (), {})
STOPPED: Step = ("stopped", (), NOBODY)
RESUMED: Step = ("resumed", (), NOBODY)
REJECTED: Step = ("rejected", (NO,), {"reviewer": "rita"})
TAKEN_BACK: Step = ("approved", (YES, NO), {"reviewer": "rita"})


def broken(*steps: Step) -> list[str]:
    """What an order says of a log in which CI signs these, one after the other."""
    order, log, found = Order(), list[bytes](), list[str]()
    for event, envelopes, fields in steps:
        entry = MAKER.entry(log, event, envelopes, **fields)
        found += order.broken_by(log_entries.read(entry, MAKER.root, len(log)))
        log.append(entry)
    return found


FORBIDDEN: dict[str, tuple[tuple[Step, ...], list[str]]] = {
    "merged while stopped": ((ADMITTED, STOPPED, MERGED), ["merged while everything was stopped, since entry 1"]),
    "admitted while stopped": ((STOPPED, ADMITTED), ["admitted while everything was stopped, since entry 0"]),
    "stopped again": ((STOPPED, RESUMED, STOPPED, ADMITTED), ["admitted while everything was stopped, since entry 2"]),
    "never admitted": ((MERGED,), ["merged what no entry before it admitted"]),
    "another admitted": ((("admitted", (), ANOTHER), MERGED), ["merged what no entry before it admitted"]),
    "closed": ((ADMITTED, ("closed", (), {}), MERGED), ["merged what entry 1 closed"]),
    "rejected by a reviewer": ((ADMITTED, REJECTED, MERGED), ["merged what entry 1 rejected"]),
    "rejected by CI": ((("rejected", (), {}), ADMITTED, MERGED), ["merged what entry 0 rejected"]),
    "rejected again": ((ADMITTED, REJECTED, TAKEN_BACK, REJECTED, MERGED), ["merged what entry 3 rejected"]),
    "merged twice": ((ADMITTED, MERGED, MERGED), ["merged what entry 1 had merged"]),
}
ALLOWED: dict[str, tuple[Step, ...]] = {
    "in order": (ADMITTED, MERGED),
    "after a stop": (STOPPED, RESUMED, ADMITTED, STOPPED, RESUMED, MERGED),
    "a rejection taken back": (ADMITTED, REJECTED, TAKEN_BACK, MERGED),
    "another's rejection": (ADMITTED, ("rejected", (), ANOTHER), ("closed", (), ANOTHER), MERGED),
    "closed while CI looked at it": (("closed", (), {}), ADMITTED),
}


LATER_VOID: dict[str, tuple[Step, ...]] = {
    "resumed": (STOPPED, RESUMED, ADMITTED, MERGED),
    "admitted": (ADMITTED, MERGED),
    "approved": (ADMITTED, REJECTED, TAKEN_BACK, MERGED),
    "stopped": (ADMITTED, STOPPED, MERGED),
    "rejected": (ADMITTED, REJECTED, MERGED),
    "merged": (ADMITTED, MERGED, MERGED),
}


@pytest.mark.parametrize("event", LATER_VOID)
def test_nobody_is_accused_for_what_became_void_after_it(event: str) -> None:
    """The first entry of that kind is by a key that was revoked since; whoever went on did so in good faith."""
    order, log, gone = Order(), list[bytes](), ended(MAKER.root, 0, "robot", revoked=True)[0]
    pending = [event]
    for said, envelopes, fields in LATER_VOID[event]:
        entry = MAKER.entry(log, said, envelopes, **fields)
        signed = log_entries.read(entry, MAKER.root, len(log))
        log.append(entry)
        if [said] == pending:
            pending.clear()
            order.pass_over(replace(signed, ended=gone))
        else:
            assert list(order.broken_by(signed)) == []


@pytest.mark.parametrize("case", FORBIDDEN)
def test_what_the_log_forbids_is_named(case: str) -> None:
    steps, said = FORBIDDEN[case]
    assert broken(*steps) == said


@pytest.mark.parametrize("case", ALLOWED)
def test_what_happens_to_honest_people_is_not(case: str) -> None:
    assert broken(*ALLOWED[case]) == []


@pytest.mark.parametrize(
    ("event", "fields", "said"),
    [
        ("stopped", NOBODY, "entry 2: merged while everything was stopped, since entry 1"),
        ("closed", {}, "entry 2: merged what entry 1 closed"),
    ],
)
def test_an_audit_names_the_entry_and_who_signed_it(
    tmp_path: Path, event: str, fields: dict[str, object], said: str
) -> None:
    """A merger whose program does not look: every ref, root and signature of the merge is right."""
    made = carried(tmp_path / "r", "approved")
    made.append(event, [], **fields)
    made.merge()
    first = next(Audit(made.desk).findings())
    assert (first.index, first.what, first.signer) == (2, said, "robot")
    assert first.committer is not None
