"""A million names in a copy: harvesting says so, in bounded time and memory, and the copy can still be removed."""

from __future__ import annotations

import json
import sys
from collections.abc import Iterator
from pathlib import Path

import pytest
from support.gitrepos import Project, make_project

from agent_pipeline import process
from agent_pipeline.workspace import Workspace, create

pytestmark = [pytest.mark.soak]

NAMES = 1_000_000
DISK_MB = 4200  # as many names as that, by the rule of one for each 4 KiB
MEMORY = 400 << 20  # bytes that a reader may have at most, Python and all

MAKE = """
import os, sys
top, count, kind, folders = sys.argv[1], int(sys.argv[2]), sys.argv[3], 100
for number in range(folders):
    os.mkdir(f"{top}/d{number}")
    here = os.open(f"{top}/d{number}", os.O_RDONLY)
    for one in range(count // folders):
        if kind == "pipes":
            os.mkfifo(f"p{one}", dir_fd=here)
        else:
            os.close(os.open(f"f{one}" + (".pyc" if kind == "ignored" else ""), os.O_CREAT | os.O_WRONLY, dir_fd=here))
    os.close(here)
"""
READ = """
import json, resource, sys
from pathlib import Path
from agent_pipeline import clock
from agent_pipeline.errors import PolicyError
from agent_pipeline.repository.clone import Clone
from agent_pipeline.workspace import harvest
from agent_pipeline.workspace.copy import Layers, Missing, Workspace
from agent_pipeline.workspace.materialise import Copied
project, path, tree, upper, lower, opaque = sys.argv[1:]
layers = Layers(Path(upper), Path(lower), opaque, False)
copy = Workspace(Path(path), tree, "overlay", True, None, layers, Missing(lambda: Copied((), ())))
started = clock.monotonic()
try:
    found = harvest(Clone.discover(Path(project)), copy, ignore=["*.pyc"], max_bytes=1 << 20, max_files=1000)
    said = [len(found.puts), len(found.refused), found.refused[-1:], len(found.ignored), found.ignored[-1:]]
except PolicyError as error:
    said = error.message
took, peak = clock.monotonic() - started, resource.getrusage(resource.RUSAGE_SELF).ru_maxrss * 1024
print(json.dumps({"said": said, "took": took, "peak": peak}))
"""


@pytest.fixture
def project(tmp_path: Path) -> Project:
    return make_project(tmp_path / "p", {"a": b"1\n"})


@pytest.fixture
def copy(project: Project, tmp_path: Path) -> Iterator[Workspace]:
    with create(
        project.clone,
        project.git("rev-parse", "HEAD^{tree}"),
        may_read=lambda _: True,
        scope="",
        lowers=tmp_path / "lowers",
        parent=tmp_path / "runs",
        disk_mb=DISK_MB,
        uid=10001,
    ) as made:
        assert made.layers is not None, "root alone has an overlay on the host"
        yield made


@pytest.mark.parametrize(
    ("kind", "said"),
    [
        ("files", "more than 1000 files changed"),
        ("pipes", [0, 1001, [["...", f"and {NAMES - 1000} more"]], 0, []]),
        ("ignored", [0, 0, [], 1001, [f"... and {NAMES - 1000} more"]]),
    ],
)
def test_a_million_names_cost_bounded_time_and_memory(
    project: Project, copy: Workspace, kind: str, said: object
) -> None:
    env = {"PYTHONPATH": ":".join(path for path in sys.path if path)} | process.inherited("PATH", "HOME")
    made = process.run([sys.executable, "-c", MAKE, str(copy.path), str(NAMES), kind], env=env, timeout=300)
    assert made.ok, made.explain()
    assert copy.layers is not None
    where = [copy.path, copy.tree, copy.layers.upper, copy.layers.lower, copy.layers.opaque]
    read = [sys.executable, "-c", READ, str(project.folder), *map(str, where)]
    done = process.run(read, env=env, timeout=200)
    assert done.ok, done.explain()
    found = json.loads(done.stdout)
    assert found["took"] < 90  # its own bound is 60, looked at at each name
    assert found["peak"] < MEMORY
    assert found["said"] in (said, "reading what changed took too long")
