from typing import Any

import pytest
from support.local_sandbox import LocalSandbox

from agent_pipeline.agent.tools.commands import OUTPUT_LIMIT, RunCheck, Shell
from agent_pipeline.documents.policy import CheckPolicy
from agent_pipeline.mediator.gate import Gate, Result

CHECKS = {
    "quick": CheckPolicy(("cat", "a.txt"), 10),
    "fails": CheckPolicy(("sh", "-c", "echo bad; exit 3"), 10, ("tests/test_x.py::test_old",)),
    "hangs": CheckPolicy(("sleep", "30"), 1),
    "floods": CheckPolicy(("sh", "-c", "yes | head -c 300000"), 10),
    "missing": CheckPolicy(("no-such-program-here",), 10),
}


def check(name: Any, *, left: float = 60) -> tuple[Result, set[str]]:
    with LocalSandbox({"a.txt": "content\n"}) as sandbox:
        tool = RunCheck(sandbox, CHECKS, lambda: left)
        return Gate([tool]).call("run_check", {"name": name}), tool.ran


def shell(arguments: dict[str, Any], *, left: float = 60) -> Result:
    with LocalSandbox({"a.txt": "content\n"}) as sandbox:
        return Gate([Shell(sandbox, lambda: left)]).call("bash", arguments)


def test_a_check_runs_in_the_workspace() -> None:
    result, ran = check("quick")
    assert (result.ok, result.content, ran) == (True, "exit code 0\ncontent", {"quick"})


def test_a_failing_check_is_a_result_and_names_old_failures() -> None:
    result, ran = check("fails")
    assert result.ok
    assert result.content.startswith("exit code 3\nbad")
    assert "Known to fail before any change:\ntests/test_x.py::test_old" in result.content
    assert ran == {"fails"}


def test_a_check_that_hangs_is_killed() -> None:
    assert check("hangs")[0].content == "killed after 1 seconds"


def test_a_check_that_floods_is_cut() -> None:
    result, _ = check("floods")
    assert len(result.content) < OUTPUT_LIMIT + 200
    assert "left out" in result.content


def test_a_check_that_is_not_there_says_so() -> None:
    assert "not found" in check("missing")[0].content


@pytest.mark.parametrize("name", ["other", "", None, ["quick"], "quick; rm -rf /"])
def test_only_named_checks_run(name: Any) -> None:
    result, ran = check(name)
    assert (result.ok, ran) == (False, set())


def test_no_check_begins_without_time() -> None:
    result, ran = check("quick", left=0)
    assert (result.ok, ran) == (False, set())


def test_a_check_gets_no_more_time_than_the_run_has() -> None:
    assert check("hangs", left=0.2)[0].content == "killed after 0 seconds"


def test_the_shell_runs_a_line() -> None:
    assert shell({"command": "cat a.txt | tr a-z A-Z; exit 2"}).content == "exit code 2\nCONTENT"


def test_a_command_that_no_shell_can_be_given_is_refused() -> None:
    result = shell({"command": "echo a\0b"})
    assert not result.ok
    assert "NUL" in result.content


def test_the_shell_has_nothing_to_restart() -> None:
    assert shell({"restart": True}).ok


@pytest.mark.parametrize("arguments", [{}, {"command": ""}, {"command": ["ls"]}, {"command": "ls", "cwd": "/"}])
def test_malformed_shell_input_is_refused(arguments: dict[str, Any]) -> None:
    assert not shell(arguments).ok


def test_the_tools_definitions() -> None:
    with LocalSandbox() as sandbox:
        assert Shell(sandbox, lambda: 1).definition == {"type": "bash_20250124", "name": "bash"}
        definition = RunCheck(sandbox, CHECKS, lambda: 1).definition
    assert definition["strict"] is True
    assert definition["input_schema"]["properties"]["name"]["enum"] == sorted(CHECKS)
