"""What an agent did not get is counted in full, listed within bounds, and read back as it was noted, or not at all."""

from __future__ import annotations

from pathlib import Path

import pytest
from support.gitrepos import make_project

from agent_pipeline.agent.recorder import Recorder
from agent_pipeline.documents import strict, transcript
from agent_pipeline.workspace import Workspace, absent
from agent_pipeline.workspace.copy import Missing
from agent_pipeline.workspace.materialise import Copied

HEADER = {"type": "header", "version": 1, "engine": "command", "request": "a" * 16, "task": "0" * 64, "tools": []}
HEADER |= {"tools_digest": "0" * 64, "command": ["true"]}


def lacking(withheld: list[bytes], left_out: list[bytes]) -> Workspace:
    missing = Missing(lambda: Copied(None, withheld, left_out))
    return Workspace(Path("/nowhere"), "0" * 40, "copy", False, None, None, missing)  # noqa: FBT003


def transcript_with(*notes: tuple[str, str]) -> bytes:
    recorder = Recorder(None, notes)
    recorder.add(HEADER)
    recorder.add({"type": "note", "event": "later", "detail": "x"})
    return recorder.data


def test_what_is_noted_is_read_back() -> None:
    found = absent.lists(lacking([b"b", b"\xff\n,", "\u202eé".encode(), b"\\udc80"], [b"x" * 256]))
    assert found == {
        "withheld": {"count": 4, "paths": ["\\udc80", "b", "\\u202eé", "\\udcff\\n,"]},
        "left_out": {"count": 1, "paths": ["x" * 256]},
    }
    assert absent.noted(transcript_with(absent.note(found))) == found
    assert absent.told(found) == [
        "withheld by the policy (paths.read): \\udc80, b, \\u202eé, \\udcff\\n,",
        f"left out, since no directory can hold it: {'x' * 256}",
    ]
    assert absent.told(absent.lists(lacking([], []))) == []


@pytest.mark.parametrize(
    ("count", "said"),
    [
        (5, "0000, 0001, 0002, 0003, 0004"),
        (6, "0000, 0001, 0002, 0003, 0004 and 1 more; HERE lists all"),
        (200, "0000, 0001, 0002, 0003, 0004 and 195 more; HERE lists all"),
        (5000, "0000, 0001, 0002, 0003, 0004 and 4995 more; HERE lists the first 200"),
    ],
)
def test_the_first_few_are_told_and_all_are_counted(count: int, said: str) -> None:
    found = absent.lists(lacking([b"%04d" % number for number in range(count)], []))
    assert found["withheld"]["count"] == count
    assert len(found["withheld"]["paths"]) == min(count, absent.LISTED)
    assert absent.told(found, "HERE") == [f"withheld by the policy (paths.read): {said}"]


def test_long_names_do_not_make_the_list_long() -> None:
    found = absent.lists(lacking([b"%04d/" % number + b"x" * 4000 for number in range(300)], []))
    assert found["withheld"]["count"] == 300
    assert 20 < len(found["withheld"]["paths"]) < 30
    assert transcript.parse(transcript_with(absent.note(found)) + transcript.line(END))


END = {"type": "end", "outcome": "finished", "records": 4}


def test_notes_follow_the_header_once() -> None:
    kinds = [record["event"] for record in transcript.parse(transcript_with(("a", ""), ("b", "")) + end(5))[1:-1]]
    assert kinds == ["a", "b", "later"]


def end(records: int) -> bytes:
    return transcript.line(END | {"records": records})


@pytest.mark.parametrize(
    "detail",
    [
        "",
        "null",
        "[]",
        "{",
        "\\",
        '{"withheld":{"count":1,"paths":["a"]}}',
        '{"left_out":{"count":0,"paths":[]},"withheld":{"count":0,"paths":["a"]}}',
        '{"left_out":{"count":0,"paths":[]},"withheld":{"count":true,"paths":[]}}',
        '{"left_out":{"count":0,"paths":[]},"withheld":{"count":1,"paths":[1]}}',
        '{"left_out":{"count":0,"paths":[]},"withheld":{"count":1,"paths":"a"}}',
        '{"left_out":{"count":0,"paths":[]},"withheld":{"count":1,"paths":[],"more":1}}',
        '{"left_out":[],"withheld":[]}',
    ],
)
def test_a_note_of_another_form_says_nothing(detail: str) -> None:
    assert absent.noted(transcript_with((absent.EVENT, detail))) is None
    assert absent.told(absent.parsed(detail)) == []


def test_a_transcript_without_the_note_says_nothing() -> None:
    for data in (b"", b"\n\n\n\n\n", b"{", transcript_with(), transcript_with(("other", "x")), b"\xff" * 100):
        assert absent.noted(data) is None
    late = strict.canonical({"type": "note", "event": absent.EVENT, "detail": "{}"})
    assert absent.noted(b"\n".join([b"{}"] * 10 + [late])) is None


def test_a_real_copy_says_what_it_lacks(tmp_path: Path) -> None:
    from agent_pipeline.workspace import create  # noqa: PLC0415 - beside the one test that makes one

    project = make_project(tmp_path / "p", {"a": b"1", "s/1": b"x", "s/2": b"x"})
    blob = project.blob(b"1")
    project.git("update-index", "--add", "--cacheinfo", f"100644,{blob},{'x' * 256}")
    tree = project.git("write-tree")
    with create(
        project.clone, tree, may_read=lambda path: not path.startswith("s/"), scope="no s",
        lowers=tmp_path / "lowers", parent=tmp_path / "runs", disk_mb=8, uid=10001,
    ) as copy:  # fmt: skip
        assert absent.lists(copy) == {
            "withheld": {"count": 2, "paths": ["s/1", "s/2"]},
            "left_out": {"count": 1, "paths": ["x" * 256]},
        }
