from __future__ import annotations

import importlib.util
import os
import sys
from types import ModuleType
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from agent_pipeline import process
from agent_pipeline.documents.schema import data_folder
from agent_pipeline.sandbox import frames

SOURCE = data_folder("sandbox_images") / "python" / "frame_agent.py"


def load() -> ModuleType:
    spec = importlib.util.spec_from_file_location("frame_agent", SOURCE)
    assert spec is not None
    assert spec.loader is not None
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    return module


AGENT: Any = load()


def test_both_halves_of_the_protocol_have_the_same_numbers() -> None:
    names = [name for name, value in vars(frames).items() if name.isupper() and isinstance(value, int)]
    shared = [name for name in names if hasattr(AGENT, name)]
    assert len(shared) >= 20
    assert {name: getattr(AGENT, name) for name in shared} == {name: getattr(frames, name) for name in shared}


@given(st.lists(st.binary(max_size=100), max_size=10))
def test_both_halves_pack_alike(fields: list[bytes]) -> None:
    assert AGENT.pack(fields) == frames.pack(fields)
    assert tuple(AGENT.unpack(frames.pack(fields))) == tuple(fields)


def test_it_refuses_to_be_anything_but_pid_1() -> None:
    done = process.run([sys.executable, "-I", "-S", str(SOURCE)], env={}, timeout=20)
    assert done.code == 2
    assert b"PID 1" in done.stderr


def test_sweeping_anywhere_else_ends_it_instead_of_everybody() -> None:
    code = f"import runpy; m = runpy.run_path({str(SOURCE)!r}); m['sweep'](); print('still here')"
    done = process.run([sys.executable, "-I", "-S", "-c", code], env={}, timeout=20)
    assert (done.code, done.stdout) == (0, b"")
    assert os.getppid() > 0


@given(st.lists(st.binary(min_size=1, max_size=300), max_size=30), st.integers(0, 1000))
def test_output_is_kept_within_its_limit_with_both_ends(chunks: list[bytes], limit: int) -> None:
    kept = AGENT.Kept(limit)
    for chunk in chunks:
        kept.add(chunk)
    whole, value = b"".join(chunks), kept.value()
    assert len(value) <= limit
    if len(whole) <= limit:
        assert value == whole
    else:
        assert value[: kept.half] == whole[: kept.half]
        if limit > 2 * AGENT.MARKER_ROOM:
            assert b"bytes cut" in value
            assert value.endswith(whole[len(whole) - kept.half :])


@pytest.mark.parametrize(("program", "env"), [(b"sh", {b"PATH": b"/usr/bin:/bin"}), (b"/bin/sh", {}), (b"sh", {})])
def test_programs_are_found_on_the_commands_own_path(program: bytes, env: dict[bytes, bytes]) -> None:
    assert os.path.basename(AGENT.locate(program, env)) == b"sh"  # noqa: PTH119 - bytes


def test_a_program_that_is_not_there_is_not_found() -> None:
    with pytest.raises(FileNotFoundError):
        AGENT.locate(b"no-such-program", {b"PATH": b"/usr/bin"})
