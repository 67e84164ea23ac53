"""Each engine of ours in a real sandbox, on both backends."""

from __future__ import annotations

import os
import shutil
import tempfile
from collections.abc import Iterator
from pathlib import Path

import pytest
from support.agent_cases import FILES, claude_job, job, request
from support.messages_peer import MessagesPeer
from support.scripted import bash, create, edit, insert, run_check, submit, turn, view

from agent_pipeline import config as configuration
from agent_pipeline.agent.outcome import Outcome
from agent_pipeline.agent.run import run
from agent_pipeline.documents import transcript
from agent_pipeline.documents.request import EngineChoice, Limits
from agent_pipeline.sandbox import engines, layout
from agent_pipeline.sandbox.contract import Bounds, Sandbox, Spec
from agent_pipeline.sandbox.images import build

pytestmark = pytest.mark.containers


class Contained:
    """A sandbox, and what its workspace holds, as the host sees it."""

    def __init__(self, sandbox: Sandbox, folder: Path) -> None:
        self.sandbox, self.folder = sandbox, folder

    def files(self) -> dict[str, bytes]:
        found = (path for path in self.folder.rglob("*") if path.is_file())
        return {str(path.relative_to(self.folder)): path.read_bytes() for path in found if path.suffix != ".pyc"}

    def changed(self) -> tuple[str, ...]:
        base, now = {name: text.encode() for name, text in FILES.items()}, self.files()
        return tuple(sorted(name for name in now | base if now.get(name) != base.get(name)))


@pytest.fixture(params=engines.NAMES)
def contained(request: pytest.FixtureRequest) -> Iterator[Contained]:
    config = configuration.load()
    engine = engines.engine(request.param, config)
    assert engine.available() is None, engine.available()
    image = build.ensure(config, "python", lambda _line: None)[1]
    top = Path(tempfile.mkdtemp(prefix="agent-pipeline-test-"))
    top.chmod(0o755)
    workspace = top / "workspace"
    for name, text in FILES.items():
        (workspace / name).parent.mkdir(parents=True, exist_ok=True)
        (workspace / name).write_text(text)
    if os.geteuid() == 0:
        for path in (workspace, *workspace.rglob("*")):
            os.chown(path, layout.owner(), layout.group())
    bounds = Bounds(memory_mb=256, pids=64, cpus="1", disk_mb=64, seconds=60)
    try:
        with engine.start(Spec(image, workspace, bounds, "test")) as sandbox:
            yield Contained(sandbox, workspace)
    finally:
        shutil.rmtree(top)


def test_a_model_works_in_it_and_its_run_can_be_played(contained: Contained) -> None:
    turns = [
        turn(view("."), view("src/add.py"), bash("id -u; ls /workspace; cat /etc/hostname")),
        turn(edit("src/add.py", "a - b", "a + b"), insert("tests/test_add.py", 4, "    assert add(2, 2) == 4\n")),
        turn(create("src/new/deep.py", "x = 1\n"), create("README", "no"), view("/etc/passwd"), view("src/none")),
        turn(bash("rm -r src/new"), run_check("quick")),
        turn(submit(["src/add.py", "tests/test_add.py"], checks=["quick"])),
    ]
    with MessagesPeer(turns) as peer:
        outcome = run(claude_job(peer, contained, changed=contained.changed), contained.sandbox)
    assert outcome.outcome is Outcome.SUBMITTED, outcome.transcript.decode()
    assert contained.files()["src/add.py"] == b"def add(a, b):\n    return a + b\n"
    tools = [record for record in transcript.parse(outcome.transcript) if record["type"] == "tool"]
    assert [tool["ok"] for tool in tools] == [True] * 6 + [False] * 3 + [True] * 3
    assert tools[0]["content"].split("\n")[1:] == ["README", "src/", "src/add.py", "tests/", "tests/test_add.py"]
    assert "exit code 0" in tools[10]["content"]
    for name, text in FILES.items():
        contained.sandbox.write(name, text.encode())
    engine = EngineChoice("recorded")
    played = run(job(contained, engine, recording=outcome.transcript), contained.sandbox)
    assert played.outcome is Outcome.SUBMITTED
    assert contained.changed() == ("src/add.py", "tests/test_add.py")


def test_a_check_that_hangs_or_floods_does_not_end_the_run(contained: Contained) -> None:
    with MessagesPeer([turn(bash("yes")), turn(bash("sleep 60")), turn(submit([]))]) as peer:
        limited = request(limits=Limits(9, 4, "1"))
        outcome = run(claude_job(peer, contained, changed=contained.changed, request=limited), contained.sandbox)
    assert outcome.outcome is Outcome.SECONDS
    assert float(outcome.usage.seconds) < 20


def test_a_command_is_the_agent(contained: Contained) -> None:
    engine = EngineChoice("command", command=("sed", "-i", "s/a - b/a + b/", "src/add.py"))
    outcome = run(job(contained, engine), contained.sandbox)
    assert outcome.outcome is Outcome.FINISHED
    assert contained.changed() == ("src/add.py",)
