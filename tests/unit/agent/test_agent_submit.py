from typing import Any

import anthropic
import pytest

from agent_pipeline.agent.tools.submit import Submit, strict
from agent_pipeline.documents import schema
from agent_pipeline.errors import PolicyError
from agent_pipeline.mediator.gate import Gate, Result


def tool(changed: tuple[str, ...] = ("a",), *, refused: str = "", ran: tuple[str, ...] = ("quick",)) -> Submit:
    return Submit(lambda: changed, lambda path: f"`{path}` may not change" if path == refused else None, ran)


def claim(**changes: Any) -> dict[str, Any]:
    return {"summary": "s", "rationale": "r", "files": ["a"], "checks": ["quick"]} | changes


def submit(ours: Submit, arguments: Any) -> Result:
    return Gate([ours]).call("submit_proposal", arguments)


def test_a_true_claim_is_accepted_once() -> None:
    ours = tool(("a", "b"))
    assert submit(ours, claim(files=["/workspace/b", "./a", "a"])).content == "accepted"
    assert ours.accepted is not None
    assert ours.accepted.files == ("a", "b")
    assert not submit(ours, claim()).ok


@pytest.mark.parametrize(
    ("arguments", "ours", "why"),
    [
        (claim(), tool(("a", "b")), "`b` changed but is not in `files`"),
        (claim(files=["a", "c"]), tool(), "`c` is in `files` but did not change"),
        (claim(files=[]), tool(), "`a` changed but is not in `files`"),
        (claim(checks=["quick", "full"]), tool(), "the check `full` is in `checks` but was not run"),
        (claim(), tool(refused="a"), "`a` may not change; put it back"),
    ],
)
def test_a_false_claim_is_sent_back(arguments: dict[str, Any], ours: Submit, why: str) -> None:
    result = submit(ours, arguments)
    assert not result.ok
    assert why in result.content
    assert (ours.accepted, ours.mismatched, ours.mismatches) == (None, True, 1)


def test_a_mended_claim_is_accepted() -> None:
    ours = tool()
    submit(ours, claim(files=[]))
    assert submit(ours, claim()).ok
    assert not ours.mismatched


@pytest.mark.parametrize(
    "arguments",
    [
        {},
        claim(summary=""),
        claim(summary="x" * 2001),
        claim(files="a"),
        claim(files=[""]),
        claim(extra=1),
        {"INVALID_JSON": "{"},
        [],
    ],
)
def test_a_claim_of_another_form_is_refused(arguments: Any) -> None:
    ours = tool()
    result = submit(ours, arguments)
    assert not result.ok
    assert (ours.accepted, ours.mismatches) == (None, 0)


def test_a_claimed_path_outside_is_refused() -> None:
    assert "outside /workspace" in submit(tool(), claim(files=["/etc/passwd"])).content


def test_a_workspace_that_cannot_be_proposed_is_said() -> None:
    def changed() -> tuple[str, ...]:
        raise PolicyError("more than 20 files changed")

    ours = Submit(changed, tool().refused, ())
    assert "more than 20 files changed" in submit(ours, claim()).content
    assert ours.mismatched


def test_many_problems_are_counted() -> None:
    result = submit(tool(tuple(f"f{number:03}" for number in range(100))), claim(files=[]))
    assert "and 80 more" in result.content
    assert len(result.content) < 2000


def test_the_strict_schema_holds_what_the_provider_takes() -> None:
    ours = strict(schema.load("submission"))
    assert anthropic.transform_schema(ours) == ours
    assert ours["required"] == schema.load("submission")["required"]
    assert set(ours["properties"]) == set(schema.load("submission")["properties"])
