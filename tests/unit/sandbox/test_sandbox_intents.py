from __future__ import annotations

import contextlib
import os
import sys
from pathlib import Path

import pytest

from agent_pipeline import process
from agent_pipeline.errors import SandboxError
from agent_pipeline.sandbox import intents

HOLD = """
import sys
from pathlib import Path
from agent_pipeline.sandbox import intents
with intents.intent(Path(sys.argv[1]), "thing", ["one", "two"]):
    print("held", flush=True)
    sys.stdin.read()
"""


def holder(folder: Path) -> process.Process:
    child = process.spawn(
        [sys.executable, "-c", HOLD, str(folder)], env={"PYTHONPATH": os.pathsep.join(p for p in sys.path if p)}
    )
    assert child.stdout is not None
    assert child.stdout.readline() == b"held\n"
    return child


def end(child: process.Process) -> None:
    process.kill_group(child)
    for pipe in (child.stdin, child.stdout):
        assert pipe is not None
        pipe.close()


def test_a_living_owners_things_are_not_touched_and_a_dead_ones_are(tmp_path: Path) -> None:
    removed: list[str] = []
    child = holder(tmp_path)
    try:
        assert intents.sweep(tmp_path, {"thing": removed.append}) == ()
    finally:
        end(child)
    assert intents.sweep(tmp_path, {"thing": removed.append}) == ("one", "two")
    assert removed == ["one", "two"]
    assert list(tmp_path.iterdir()) == []


def test_an_intent_is_forgotten_when_its_block_is_left(tmp_path: Path) -> None:
    folder = tmp_path / "runs"
    with contextlib.suppress(KeyError), intents.intent(folder, "thing", ["x"]):
        assert len(list(folder.iterdir())) == 1
        raise KeyError
    assert list(folder.iterdir()) == []


def test_another_engines_intents_and_other_files_stay(tmp_path: Path) -> None:
    (tmp_path / "0.intent").write_text("other\nname")
    (tmp_path / "workspace").mkdir()
    (tmp_path / "file").touch()
    assert intents.sweep(tmp_path, {"thing": lambda _name: None}) == ()
    assert sorted(path.name for path in tmp_path.iterdir()) == ["0.intent", "file", "workspace"]


def test_an_intent_that_was_never_finished_names_nothing(tmp_path: Path) -> None:
    (tmp_path / "0.intent-new").write_text("thing\nhalf-a-na")
    assert intents.sweep(tmp_path, {"thing": lambda _name: pytest.fail("removed")}) == ()
    assert list(tmp_path.iterdir()) == []


def test_what_cannot_be_removed_is_tried_again(tmp_path: Path) -> None:
    (tmp_path / "0.intent").write_text("thing\nx")

    def refuse(_name: str) -> None:
        raise SandboxError("no")

    with pytest.raises(SandboxError):
        intents.sweep(tmp_path, {"thing": refuse})
    assert intents.sweep(tmp_path, {"thing": lambda _name: None}) == ("x",)


def test_a_link_in_the_directory_is_not_followed(tmp_path: Path) -> None:
    outside = tmp_path / "outside"
    outside.write_text("thing\nx")
    runs = tmp_path / "runs"
    runs.mkdir()
    (runs / "0.intent").symlink_to(outside)
    assert intents.sweep(runs, {"thing": lambda _name: pytest.fail("removed")}) == ()


def test_what_was_made_by_then_has_a_remover_of_its_own(tmp_path: Path) -> None:
    removed: list[str] = []
    removers = {"thing": lambda _name: pytest.fail("waited for it"), "made thing": removed.append}
    with intents.intent(tmp_path, "thing", ["one", "two"]) as written:
        written.made()
        assert intents.named(tmp_path) >= {"one", "two"}
        text = next(tmp_path.glob("*.intent")).read_bytes()
    (tmp_path / "0.intent").write_bytes(text)  # as a killed owner leaves it
    assert intents.sweep(tmp_path, removers) == ("one", "two")
    assert removed == ["one", "two"]


def test_half_a_mark_is_none(tmp_path: Path) -> None:
    removed: list[str] = []
    (tmp_path / "0.intent").write_text("thing\none\n")
    assert intents.sweep(tmp_path, {"thing": removed.append}) == ("one",)
    assert removed == ["one"]
