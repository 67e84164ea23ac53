from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st
from support.agent_cases import policy
from support.local_sandbox import LocalSandbox

from agent_pipeline.agent.tools.editor import LISTING_LIMIT, VIEW_LIMIT, Editor
from agent_pipeline.mediator.gate import Gate, Result
from agent_pipeline.mediator.places import writable


def act(files: dict[str, str | bytes], **arguments: Any) -> tuple[Result, dict[str, bytes]]:
    with LocalSandbox(files) as sandbox:
        editor = Editor(sandbox, lambda path: writable(policy(), path, ()))
        result = Gate([editor]).call(editor.name, arguments)
        return result, {name: sandbox.read(name) for name in sandbox.changed() if (sandbox.root / name).exists()}


def test_view_numbers_lines() -> None:
    result, _ = act({"src/a": "one\ntwo\n"}, command="view", path="src/a")
    assert result.content == "     1\tone\n     2\ttwo"


def test_view_a_range() -> None:
    text = "".join(f"line {number}\n" for number in range(1, 11))
    assert (
        act({"a": text}, command="view", path="a", view_range=[9, -1])[0].content == "     9\tline 9\n    10\tline 10"
    )
    assert act({"a": text}, command="view", path="/workspace/a", view_range=[2, 2])[0].content == "     2\tline 2"
    assert act({"a": text}, command="view", path="a", view_range=[10, 99])[0].content == "    10\tline 10"


@pytest.mark.parametrize("view_range", [[0, 1], [3, 2], [99, 100], [1], [1, 2, 3], ["a", "b"], [-1, -1]])
def test_a_wrong_range_is_refused(view_range: list[Any]) -> None:
    assert not act({"a": "x\ny\n"}, command="view", path="a", view_range=view_range)[0].ok


def test_view_counts_only_newlines() -> None:
    result, _ = act({"a": "one\x0ctwo\u2028three\rfour\n"}, command="view", path="a")
    assert result.content.count("\t") == 1


def test_view_a_directory_shows_two_levels() -> None:
    files: dict[str, str | bytes] = {"src/a/b/c": "x", "src/d": "x", ".hidden/e": "x"}
    assert act(files, command="view", path=".")[0].content.split("\n") == [
        "./ (two levels)", ".hidden/", "src/", "src/a/", "src/d",
    ]  # fmt: skip
    assert act(files, command="view", path="/workspace/src")[0].content.split("\n") == [
        "src/ (two levels)", "a/", "a/b/", "d",
    ]  # fmt: skip


def test_view_a_crowded_directory_is_cut() -> None:
    result, _ = act({f"d{number // 40:02}/f{number}": "" for number in range(1200)}, command="view", path=".")
    lines = result.content.split("\n")
    assert len(lines) == LISTING_LIMIT + 1
    assert "there is more" in lines[-1]


def test_view_what_is_not_there() -> None:
    result, _ = act({}, command="view", path="src/none")
    assert not result.ok
    assert "there is no `src/none`" in result.content


def test_view_a_long_file_is_cut_with_advice() -> None:
    result, _ = act({"a": "x" * 99 + "\n" * 1 + ("y" * 99 + "\n") * 2000}, command="view", path="a")
    assert result.ok
    assert "use view_range" in result.content
    assert len(result.content) < VIEW_LIMIT + 500


def test_view_bytes_that_are_no_text() -> None:
    assert act({"a": b"\xff\x00ok\n"}, command="view", path="a")[0].content == "     1\t\\xff\x00ok"


def test_create_and_replace() -> None:
    result, changed = act({}, command="create", path="src/new/a.py", file_text="x = 1\n")
    assert (result.content, changed) == ("created src/new/a.py (1 line)", {"src/new/a.py": b"x = 1\n"})
    result, changed = act({"src/a": "old"}, command="create", path="/workspace/src/a", file_text="")
    assert (result.content, changed) == ("replaced src/a (0 lines)", {"src/a": b""})


def test_create_over_a_directory_is_refused() -> None:
    result, changed = act({"src/a/b": "x"}, command="create", path="src/a", file_text="x")
    assert (result.ok, changed) == (False, {})


@pytest.mark.parametrize("path", ["README", "src/vendored/x", ".agent-pipeline/policy.yaml", "/etc/passwd", "../x"])
@pytest.mark.parametrize(
    "rest",
    [
        {"command": "create", "file_text": "x"},
        {"command": "str_replace", "old_str": "x", "new_str": "y"},
        {"command": "insert", "insert_line": 0, "insert_text": "y"},
    ],
)
def test_no_command_writes_what_the_policy_does_not_allow(path: str, rest: dict[str, Any]) -> None:
    files: dict[str, str | bytes] = {"README": "x", "src/vendored/x": "x", ".agent-pipeline/policy.yaml": "x"}
    result, changed = act(files, path=path, **rest)
    assert (result.ok, changed) == (False, {})


def test_replace_exactly_one() -> None:
    result, changed = act(
        {"src/a": "a = 1\nb = 2\n"}, command="str_replace", path="src/a", old_str="b = 2", new_str="b = 3"
    )
    assert changed == {"src/a": b"a = 1\nb = 3\n"}
    assert result.content == "edited src/a:\n     1\ta = 1\n     2\tb = 3"


def test_replace_without_a_replacement_deletes() -> None:
    assert act({"src/a": "ab"}, command="str_replace", path="src/a", old_str="a")[1] == {"src/a": b"b"}


@pytest.mark.parametrize(("old", "why"), [("c", "does not occur"), ("a", "occurs 2 times")])
def test_replace_none_or_many_is_refused(old: str, why: str) -> None:
    result, changed = act({"src/a": "a\na\n"}, command="str_replace", path="src/a", old_str=old, new_str="x")
    assert (result.ok, changed) == (False, {})
    assert why in result.content


def test_replace_keeps_windows_line_ends() -> None:
    _, changed = act(
        {"src/a": b"a\r\nb\r\nc\r\n"}, command="str_replace", path="src/a", old_str="a\nb", new_str="x\ny\nz"
    )
    assert changed == {"src/a": b"x\r\ny\r\nz\r\nc\r\n"}


def test_replace_keeps_mixed_line_ends_as_they_are() -> None:
    _, changed = act({"src/a": b"a\r\nb\n"}, command="str_replace", path="src/a", old_str="b\n", new_str="c\n")
    assert changed == {"src/a": b"a\r\nc\n"}


def test_replace_keeps_bytes_that_are_no_text() -> None:
    _, changed = act({"src/a": b"\xff\xfe a"}, command="str_replace", path="src/a", old_str="a", new_str="b")
    assert changed == {"src/a": b"\xff\xfe b"}


@pytest.mark.parametrize(
    ("before", "line", "text", "after"),
    [
        ("a\nb\n", 0, "x\n", "x\na\nb\n"),
        ("a\nb\n", 1, "x", "a\nx\nb\n"),
        ("a\nb\n", 2, "x\n", "a\nb\nx\n"),
        ("a\nb", 2, "x\n", "a\nb\nx\n"),
        ("", 0, "x", "x"),
        ("a\r\nb\r\n", 1, "x\ny\n", "a\r\nx\r\ny\r\nb\r\n"),
    ],
)
def test_insert_after_a_line(before: str, line: int, text: str, after: str) -> None:
    result, changed = act({"src/a": before}, command="insert", path="src/a", insert_line=line, insert_text=text)
    assert result.ok
    assert changed == {"src/a": after.encode()}


def test_insert_beyond_the_end_is_refused() -> None:
    assert not act({"src/a": "a\n"}, command="insert", path="src/a", insert_line=2, insert_text="x")[0].ok


@pytest.mark.parametrize(
    "arguments",
    [
        {},
        {"command": "undo_edit", "path": "src/a"},
        {"command": "view"},
        {"command": "create", "path": "src/a"},
        {"command": "create", "path": "src/a", "file_text": 1},
        {"command": "str_replace", "path": "src/a", "old_str": ""},
        {"command": "insert", "path": "src/a", "insert_line": -1, "insert_text": "x"},
        {"command": "insert", "path": "src/a", "insert_line": 1.5, "insert_text": "x"},
        {"command": "view", "path": "src/a", "more": 1},
        {"command": "view", "path": ""},
    ],
)
def test_malformed_input_is_refused(arguments: dict[str, Any]) -> None:
    result, changed = act({"src/a": "a"}, **arguments)
    assert (result.ok, changed) == (False, {})
    assert "not valid" in result.content


@given(st.text(), st.text(min_size=1), st.text(), st.text())
def test_replacing_there_and_back_changes_nothing(head: str, old: str, new: str, tail: str) -> None:
    before = (head + old + tail).encode("utf-8", "replace")
    with LocalSandbox({"src/a": before}) as sandbox:
        editor = Editor(sandbox, lambda path: path)
        there = Gate([editor]).call(
            editor.name, {"command": "str_replace", "path": "src/a", "old_str": old, "new_str": new}
        )
        text = sandbox.read("src/a").decode("utf-8", "surrogateescape")
        crlf = b"\n" in before and before.count(b"\r\n") == before.count(b"\n")
        if not there.ok:
            assert sandbox.read("src/a") == before
        elif not crlf:
            assert text == before.decode().replace(old, new, 1)
