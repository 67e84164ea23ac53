"""What contradicts itself, signed by CI itself: a replay counts in the one form that it has, as does a closure."""

from __future__ import annotations

import json
from collections.abc import Callable
from dataclasses import replace
from typing import Any

import pytest
from support.courts import failed, refused
from support.logs import prove
from support.trust import NOW, Maker, seal, sign

from agent_pipeline.documents import moments, strict
from agent_pipeline.documents.closure import PREDICATE_TYPE, Closure
from agent_pipeline.documents.envelope import Envelope
from agent_pipeline.documents.statement import PAYLOAD_TYPE, Statement
from agent_pipeline.documents.verification import PASSED, Verification
from agent_pipeline.verify import decide, verify

MAKER = Maker()
GOOD = MAKER.inputs()
ZEROS = "0" * 64
Change = Callable[[dict[str, Any]], object]


def landed_with(change: Change) -> Verification:
    """The decision when CI signed its replay otherwise, its summary names that, and the log both."""
    value = json.loads(Envelope.from_json(MAKER.test_result()).payload)
    change(value)
    tested = seal(PAYLOAD_TYPE, strict.canonical(value), MAKER.ci)
    maker = Maker(summary_change=lambda one: replace(one, inputs=(*one.inputs[:-1], strict.sha256(tested))))
    landing = maker.landing()
    attestations = tuple(tested if data == maker.test_result() else data for data in landing.attestations)
    log = prove([maker.entry([], "admitted", [tested, maker.summary()])], GOOD.request)
    return decide(replace(landing, attestations=attestations, inputs=replace(landing.inputs, log=log)))


def configured(change: Callable[[list[Any]], object]) -> Change:
    return lambda value: change(value["predicate"]["configuration"])


POLICY = {"name": "policy", "digest": {"sha256": ZEROS}}
CHANGES: dict[str, Change] = {
    "a wrong sha512 beside the right sha256": configured(lambda items: items[0]["digest"].update(sha512="0" * 128)),
    "a second policy, a wrong one, before the right one": configured(lambda items: items.insert(0, POLICY)),
    "a thing nobody knows": configured(lambda items: items.append({"name": "kernel", "digest": {"sha256": ZEROS}})),
    "failed, what passed": lambda value: value["predicate"].update(failedTests=["replay: tree"]),
    "another subject's name": lambda value: value["subject"][0].update(name="other.json"),
}


def test_the_replay_that_all_of_these_change_counts() -> None:
    assert landed_with(lambda _value: None).verdict == PASSED


@pytest.mark.parametrize("change", CHANGES.values(), ids=CHANGES)
def test_a_replay_that_contradicts_itself_proves_nothing(change: Change) -> None:
    decision = landed_with(change)
    refused(decision, "36 proofs", "needs to be replayed and regression")
    assert "replayed" not in decision.proofs


def test_a_closure_about_something_else_closes_nothing() -> None:
    said = Closure(1, GOOD.request, "ada", moments.write(NOW), "changed my mind")
    assert set(failed(verify(replace(GOOD, closures=(sign(said.to_statement(), "ada"),))))) == {"open"}
    for name, digest in (("anything", ZEROS), ("closure", ZEROS), ("closure.json", said.digest())):
        other = sign(Statement(name, digest, PREDICATE_TYPE, said.to_dict()), "ada")
        assert verify(replace(GOOD, closures=(other,))).verdict == PASSED
