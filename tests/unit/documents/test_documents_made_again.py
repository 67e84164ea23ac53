"""Statements that say a thing twice: a reader makes each again, and refuses one that differs anywhere."""

from __future__ import annotations

import copy
from collections.abc import Callable
from dataclasses import replace
from typing import Any

import pytest
from support.interop import STATEMENTS
from support.trust import Maker

from agent_pipeline.documents.closure import Closure
from agent_pipeline.documents.envelope import Envelope
from agent_pipeline.documents.offer import Offer
from agent_pipeline.documents.statement import Statement
from agent_pipeline.documents.test_result import ReplayTest
from agent_pipeline.documents.verification import FAILED, UNKNOWN, Check
from agent_pipeline.errors import SchemaError

Change = Callable[[dict[str, Any]], object]
MAKER = Maker()
TEST = Statement.from_json(Envelope.from_json(MAKER.test_result()).payload)
ZEROS = "0" * 64


def changed(statement: Statement, change: Change) -> Statement:
    value = {
        "name": statement.subject,
        "sha256": statement.sha256,
        "type": statement.predicate_type,
        "predicate": copy.deepcopy(statement.predicate),
    }
    change(value)
    return Statement(value["name"], value["sha256"], value["type"], value["predicate"])


def configured(change: Callable[[list[Any]], object]) -> Change:
    return lambda value: change(value["predicate"]["configuration"])


POLICY = {"name": "policy", "digest": {"sha256": ZEROS}}
TESTS: dict[str, Change] = {
    "another digest beside the right one": configured(lambda items: items[1]["digest"].update(sha512=ZEROS)),
    "another policy, placed first": configured(lambda items: items.insert(0, POLICY)),
    "another policy, placed last": configured(lambda items: items.append(POLICY)),
    "policy and image exchanged": configured(lambda items: items.reverse()),
    "no policy": configured(lambda items: items.pop()),
    "the image twice": configured(lambda items: items.__setitem__(1, items[0])),
    "something unknown": configured(lambda items: items.append({"name": "kernel", "digest": {"sha256": ZEROS}})),
    "an unknown member of an item": configured(lambda items: items[0].update(uri="x")),
    "another image": configured(lambda items: items[0]["digest"].update(sha256=ZEROS)),
    "a test that passed listed as failed": lambda value: value["predicate"].update(failedTests=["replay: tree"]),
    "a test that passed left out": lambda value: value["predicate"]["passedTests"].pop(),
    "tests in another order": lambda value: value["predicate"]["passedTests"].reverse(),
    "another verdict": lambda value: value["predicate"].update(result="FAILED"),
    "with warnings": lambda value: value["predicate"].update(result="WARNED"),
    "another check": lambda value: value["predicate"]["x-agent-pipeline"]["checks"][0].update(outcome="failed"),
    "an unknown member of the result": lambda value: value["predicate"]["x-agent-pipeline"].update(more=1),
    "no result": lambda value: value["predicate"]["x-agent-pipeline"].clear(),
    "an unknown member": lambda value: value["predicate"].update(url="https://example.org"),
    "another subject": lambda value: value.update(name="other.json"),
    "another type": lambda value: value.update(type="https://in-toto.io/attestation/test-result/v0.2"),
}


def test_a_test_result_is_read_and_written_as_it_was() -> None:
    read = ReplayTest.from_statement(TEST)
    assert read.result == MAKER.result()
    assert read.to_statement(TEST.sha256) == TEST
    checks = (Check("replay: tree", FAILED, "no"), Check("replay: full", UNKNOWN, "?"))
    bad = Maker(result_change=lambda result: replace(result, checks=checks))
    statement = Statement.from_json(Envelope.from_json(bad.test_result()).payload)
    assert statement.predicate["result"] == "FAILED"
    assert statement.predicate["failedTests"] == ["replay: tree", "replay: full"]
    assert ReplayTest.from_statement(statement).result.checks == checks


@pytest.mark.parametrize("change", TESTS.values(), ids=TESTS)
def test_a_test_result_that_differs_anywhere_is_refused(change: Change) -> None:
    with pytest.raises(SchemaError):
        ReplayTest.from_statement(changed(TEST, change))


def test_a_test_result_about_another_manifest_is_read_as_such() -> None:
    other = changed(TEST, lambda value: value.update(sha256=ZEROS))
    assert ReplayTest.from_statement(other).to_statement(ZEROS) == other


SUBJECTS: dict[str, Change] = {
    "another name": lambda value: value.update(name="anything"),
    "another digest": lambda value: value.update(sha256=ZEROS),
    "another type": lambda value: value.update(type="https://agent-pipeline.dev/approval/v1"),
    "another document": lambda value: value["predicate"].update(created="2026-03-02T12:00:00Z"),
    "an unknown member": lambda value: value["predicate"].update(more=1),
}


@pytest.mark.parametrize("change", SUBJECTS.values(), ids=SUBJECTS)
@pytest.mark.parametrize(("name", "kind"), [("closure", Closure), ("offer", Offer)])
def test_what_is_about_itself_is_about_nothing_else(name: str, kind: Any, change: Change) -> None:
    statement = Statement.from_json(STATEMENTS[name])
    assert kind.from_statement(statement).to_statement() == statement
    with pytest.raises(SchemaError):
        kind.from_statement(changed(statement, change))


def test_an_offer_in_anothers_name_is_none() -> None:
    statement = Statement.from_json(STATEMENTS["offer"])
    with pytest.raises(SchemaError, match="contradicts itself"):
        Offer.from_statement(changed(statement, lambda value: value.update(name="offer-eve")))
