"""Makes everything in `golden/` again: `python golden/regenerate.py`; with `--check`, compares and changes nothing.

`demo/transcript.jsonl` is played by the demo. It comes from the turns in `demo/case.json`, played through the real
loop in a real sandbox on the real project; no model is asked, and its header says so. What tools said may differ
between machines (times, say), so that is left out when comparing.

`accepted/` holds every document of one proposal, from fixed keys and a fixed time, compared byte for byte. `merged/`
holds the bundle of a merged one, from a real repository made of fixed keys and times, and what it proves.
"""

from __future__ import annotations

import argparse
import json
import os
import sys
import tempfile
from contextlib import ExitStack
from pathlib import Path
from typing import Any

ROOT = Path(__file__).resolve().parent.parent
sys.path[:0] = [str(ROOT), str(ROOT / "tests")]

from support.bundles import Shared, proven  # noqa: E402 - the path is set just above
from support.scripted import comparable, record, turns_of  # noqa: E402 - the path is set just above
from support.trust import Maker  # noqa: E402

from agent_pipeline import clock, pipeline  # noqa: E402
from agent_pipeline import config as configuration  # noqa: E402
from agent_pipeline.agent.job import Job  # noqa: E402
from agent_pipeline.cli import demo  # noqa: E402
from agent_pipeline.cli.output import Output  # noqa: E402
from agent_pipeline.documents.request import EngineChoice, Limits, Request  # noqa: E402
from agent_pipeline.policy import rules  # noqa: E402
from agent_pipeline.replay.checks import bounds, set_up, setup_env  # noqa: E402
from agent_pipeline.repository.clone import Clone  # noqa: E402
from agent_pipeline.repository.landed import open_desk  # noqa: E402
from agent_pipeline.repository.version import base_version  # noqa: E402
from agent_pipeline.sandbox.contract import UID, Spec  # noqa: E402
from agent_pipeline.sandbox.engines import choose  # noqa: E402
from agent_pipeline.verify.verifier import verify  # noqa: E402
from agent_pipeline.workspace import create  # noqa: E402
from agent_pipeline.workspace.proposing import changed_paths, collect  # noqa: E402

DEMO, ACCEPTED, MERGED = (ROOT / "golden" / name for name in ("demo", "accepted", "merged"))


def demo_transcript() -> bytes:
    """Play the demo's turns on the demo's project and return the transcript."""
    case = json.loads((DEMO / "case.json").read_bytes())
    with ExitStack() as stack:
        folder = Path(stack.enter_context(tempfile.TemporaryDirectory()))
        stage = demo.Stage(folder, folder / "project", Output(as_json=False))
        demo.unpack(case, stage)
        stage.type("init", "--test", case["test"])
        os.environ |= {"XDG_CONFIG_HOME": str(folder / "config"), "XDG_STATE_HOME": str(folder / "state")}
        desk = open_desk(Clone.discover(stage.project), configuration.load(), print, clock.now(), push=False)
        request = _request(case, desk.landed.commit, desk.landed.anchor.branch)
        policy = desk.landed.policy
        engine = choose(desk.config, policy.sandbox.backends, None)
        tree = desk.clone.tree(request.base)
        workspace = stack.enter_context(
            create(
                desk.clone,
                tree,
                may_read=lambda path: rules.may_read(policy, path),
                scope=rules.read_scope(policy),
                lowers=desk.config.lowers,
                parent=desk.config.runs,
                disk_mb=policy.sandbox.disk_mb,
                uid=UID,
                reach=engine.reach,
            )
        )
        env = setup_env(policy, base_version(desk.clone, request.base))
        image = pipeline.locked_image(desk, engine)
        spec = Spec(image, workspace.path, bounds(policy, 900), "golden", env, namespace=workspace.namespace)
        sandbox = stack.enter_context(engine.start(spec))
        problem = set_up(sandbox, policy)
        if problem is not None:
            sys.exit(problem)
        job = Job(request, policy, lambda: changed_paths(collect(desk.clone, workspace, policy)))
        return record(job, sandbox, turns_of(case["turns"]))


def _request(case: dict[str, Any], base: str, target: str) -> Request:
    return Request(
        version=1,
        nonce="0" * 32,
        repository="local:golden",
        target=target,
        base=base,
        kind=case["kind"],
        text=case["request"],
        only=(),
        engine=EngineChoice("recorded", prompt=f"{case['kind']}@1"),
        limits=Limits(60, 1800, "5"),
        sandbox="docker",
        requester="demo",
        created="2026-01-01T00:00:00Z",
        trial=False,
    )


def accepted() -> dict[str, bytes]:
    """Return every document of one accepted proposal, made from fixed keys and a fixed time."""
    maker = Maker()
    inputs = maker.inputs()
    found = verify(inputs)
    return {
        "request.dsse.json": inputs.request_envelope,
        "transcript.jsonl": inputs.transcript,
        "proposal.json": inputs.manifest,
        "provenance.dsse.json": inputs.provenance_envelope,
        "verification.json": found.to_json(),
    }


def merged() -> dict[str, bytes]:
    """Return the bundle of one merged proposal, and what is decided about it."""
    with tempfile.TemporaryDirectory() as folder:
        shared = Shared.make(Path(folder) / "repository", "merged")
        found = proven(shared.data, shared.root).decision
    return {
        "merged.agentpatch": shared.data,
        "root": f"{shared.root}\n".encode(),
        "verification.json": found.to_json(),
    }


def main() -> None:
    """Write everything, or say what differs."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--check", action="store_true", help="compare, change nothing")
    arguments = parser.parse_args()
    made = {ACCEPTED / name: data for name, data in accepted().items()}
    made |= {MERGED / name: data for name, data in merged().items()}
    transcript = demo_transcript()
    if not arguments.check:
        for file, data in made.items():
            file.parent.mkdir(exist_ok=True)
            file.write_bytes(data)
        (DEMO / "transcript.jsonl").write_bytes(transcript)
        print(f"wrote {len(made) + 1} files")
        return
    stale = [str(file.relative_to(ROOT)) for file, data in made.items() if file.read_bytes() != data]
    if comparable((DEMO / "transcript.jsonl").read_bytes()) != comparable(transcript):
        stale.append("demo/transcript.jsonl")
    if stale:
        sys.exit(f"stale: {', '.join(stale)}; look at why, then run `python golden/regenerate.py`")
    print("all as made")


if __name__ == "__main__":
    main()
