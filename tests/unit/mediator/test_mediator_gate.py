from collections.abc import Mapping
from typing import Any

import pytest

from agent_pipeline.errors import SandboxError
from agent_pipeline.mediator.gate import RESULT_LIMIT, Gate
from agent_pipeline.mediator.places import ToolError


class Echo:
    name = "echo"
    schema = {  # noqa: RUF012 - as the tools have it
        "type": "object",
        "properties": {"text": {"type": "string"}},
        "required": ["text"],
        "additionalProperties": False,
    }
    definition = {"name": "echo"}  # noqa: RUF012 - as the tools have it

    def call(self, arguments: Mapping[str, Any]) -> str:
        text: str = arguments["text"]
        if text == "refuse":
            raise ToolError("no, because")
        if text == "gone":
            raise SandboxError("the sandbox is gone")
        return text


def test_a_call_is_carried_out() -> None:
    result = Gate([Echo()]).call("echo", {"text": "hello"})
    assert (result.ok, result.content, result.truncated) == (True, "hello", False)


def test_an_unknown_tool_is_an_error_that_names_the_others() -> None:
    result = Gate([Echo()]).call("rm" * 100, {})
    assert not result.ok
    assert "there are: echo" in result.content
    assert len(result.content) < 200


@pytest.mark.parametrize(
    "arguments", [{}, {"text": 1}, {"text": "x", "more": 1}, None, [], "text", {"INVALID_JSON": "{"}]
)
def test_input_of_another_form_is_an_error(arguments: Any) -> None:
    result = Gate([Echo()]).call("echo", arguments)
    assert not result.ok
    assert "input of `echo` is not valid" in result.content


def test_a_refusal_is_an_error_with_its_reason() -> None:
    result = Gate([Echo()]).call("echo", {"text": "refuse"})
    assert (result.ok, result.content) == (False, "no, because")


def test_a_dead_sandbox_is_no_answer() -> None:
    with pytest.raises(SandboxError):
        Gate([Echo()]).call("echo", {"text": "gone"})


def test_long_results_are_cut_in_the_middle() -> None:
    result = Gate([Echo()]).call("echo", {"text": "a" * RESULT_LIMIT + "z" * 1000})
    assert result.truncated
    assert "1000 characters left out" in result.content
    assert result.content.startswith("aaa")
    assert result.content.endswith("zzz")


def test_secrets_are_taken_out_before_the_cut() -> None:
    secret = "AKIA" + "ABCDEFGHIJKLMNOP"
    text = "x " * (RESULT_LIMIT // 4 - 4) + secret + " y" * RESULT_LIMIT
    result = Gate([Echo()]).call("echo", {"text": text})
    assert "AKIA" not in result.content
    assert result.redacted == {"AWS access key id": 1}


def test_what_no_json_carries_is_written_out() -> None:
    assert Gate([Echo()]).call("echo", {"text": "a\udcffb"}).content == "a\\udcffb"


def test_an_empty_result_says_so() -> None:
    assert Gate([Echo()]).call("echo", {"text": ""}).content == "(nothing)"
