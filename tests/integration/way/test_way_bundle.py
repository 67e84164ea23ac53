"""A proposal as one file: out of a team's repository, verified where there is none, into another clone, and landed."""

from __future__ import annotations

import os
import shutil
import subprocess
import sys
import tempfile
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
from support.desks import refused
from support.people import FIX, Done, Person, ask, project
from support.teams import Stages, Team, staged_team

pytestmark = pytest.mark.containers
NOBODY = 65534
INDEPENDENT = Path(__file__).parents[1] / "interop" / "independent_verifier.py"


@pytest.fixture(scope="module")
def at() -> Iterator[Stages]:
    with staged_team() as stages:
        yield stages


def exported(team: Team, *argv: str, by: Person | None = None) -> Path:
    """Let somebody export Alice's request."""
    file = team.top / f"{team.id}.1.agentpatch"
    file.unlink(missing_ok=True)
    said = (by or team.rosa).yes("bundle", "export", team.id, str(file), *argv)
    assert said["proposal"] == f"{team.id}.1"
    assert file.stat().st_size == said["bytes"]
    return file


def alone(folder: Path, file: Path, *argv: str) -> Done:
    """Verify a file as somebody without rights, network, repository, engine or anything of ours but the program."""
    folder.mkdir()
    copy = folder / "it.agentpatch"
    shutil.copyfile(file, copy)
    folder.chmod(0o777)
    copy.chmod(0o644)
    launch = ["unshare", "--map-root-user", "--net"]
    if (
        os.geteuid() == 0
    ):  # the interpreter may lie where only root can look: reading is left to nobody, and nothing else
        read = ("--inh-caps=-all,+dac_read_search", "--ambient-caps=-all,+dac_read_search")
        launch = ["unshare", "--net", "setpriv", f"--reuid={NOBODY}", f"--regid={NOBODY}", "--clear-groups", *read]
    env = {"PATH": os.environ["PATH"], "HOME": str(folder), "TMPDIR": str(folder)}
    command = [*launch, sys.executable, "-P", "-m", "agent_pipeline", "bundle", "verify", str(copy), *argv]
    done = subprocess.run(
        command, cwd=folder, env=env, capture_output=True, text=True, check=False, timeout=120,
        stdin=subprocess.DEVNULL,
    )  # fmt: skip
    assert "Traceback" not in done.stderr, done.stderr
    assert {path.name for path in folder.iterdir()} <= {"it.agentpatch", ".cache", ".local"}, list(folder.iterdir())
    return Done(tuple(argv), done.returncode, done.stdout, done.stderr)


def root_of(team: Team) -> str:
    return str(team.rosa.yes("trust", "show")["root"])


def test_a_merged_proposal_is_verified_where_nothing_is(at: Stages, open_tmp: Path) -> None:
    team = at("merged")
    file = exported(team)
    root = root_of(team)
    done = alone(open_tmp / "yes", file, "--root", root, "--json")
    assert done.code == 0, str(done)
    said = done.document
    assert (said["state"], said["verdict"], said["persons"]) == ("merged", "passed", 3)
    assert said["proofs"] == ["signed", "replayed", "regression", "reviewed 1/1", "3 persons"]
    assert [one["who"] for one in said["signatures"]] == ["alice", "alice", "ci", "ci", "rosa", "ci"]
    assert said["checks"][-1]["outcome"] == "skipped"
    assert {one["seen_by"] for one in said["checks"] if one["name"].startswith("replay: ")} == {"ci"}
    assert {one["seen_by"] for one in said["checks"] if one["name"][0].isdigit()} == {"here"}
    assert (said["engine"], said["command"][0]) == ("command", "python")
    told = alone(open_tmp / "told", file, "--root", root)
    assert f"as of       entry {said['log_entries'] - 1} of the log" in told.out
    assert "proofs      signed · replayed · regression · reviewed 1/1 · 3 persons" in told.out
    parts = ("\nasserted by the runner\n", "\nseen by CI\n", "\nverified here\n", "\nsigned by ")
    assert sorted(parts, key=told.out.index) == list(parts)
    between = told.out.partition(parts[1])[2].partition(parts[2])
    assert "replay: full" in between[0]
    assert "replay: " not in between[2]

    no_pin = alone(open_tmp / "no-pin", file, "--json")
    error = refused(no_pin, 2, "nothing is pinned", "--root sha256:", "trust show")
    assert root not in error["message"] + error["hint"]  # a pin that comes with what it is to prove proves nothing
    refused(alone(open_tmp / "other", file, "--root", f"sha256:{'0' * 64}", "--json"), 1, "is pinned")
    refused(alone(open_tmp / "odd", file, "--root", "sha256:0", "--json"), 2, "64 hexadecimal digits")
    for number, data in enumerate((file.read_bytes()[:-1], b"PK\x03\x04")):
        bad = open_tmp / f"bad-{number}.agentpatch"
        bad.write_bytes(data)
        refused(alone(open_tmp / f"bad-{number}", bad, "--root", root, "--json"), 1)
    refused(team.rosa.run("bundle", "verify", str(open_tmp / "none"), "--root", root, "--json"), 2, "cannot be read")
    os.mkfifo(open_tmp / "pipe")
    refused(team.rosa.run("bundle", "verify", str(open_tmp / "pipe"), "--root", root, "--json"), 2, "ordinary file")


@pytest.mark.parametrize("stage", ["proposed", "staged", "approved", "merged"])
def test_a_verifier_written_from_the_document_says_yes_too(at: Stages, tmp_path: Path, stage: str) -> None:
    """What the commands really write is what docs/wire-format.md says: see tests/integration/interop."""
    team = at(stage)
    file = exported(team)

    def ask_it(path: Path) -> Done:
        command = [sys.executable, str(INDEPENDENT), str(path), root_of(team)]
        done = subprocess.run(command, capture_output=True, text=True, check=False, timeout=60)
        return Done(tuple(command), done.returncode, done.stdout, done.stderr)

    done = ask_it(file)
    assert done.code == 0, str(done)
    assert f"state='{'staged' if stage == 'approved' else stage}'" in done.out
    assert ("rosa" in done.out) == (stage in ("approved", "merged"))
    data = file.read_bytes()
    bad = tmp_path / "bad.agentpatch"
    bad.write_bytes(data[:-1] + bytes([data[-1] ^ 1]))
    refused = ask_it(bad)
    assert (refused.code, refused.err[:3]) == (1, "no:"), str(refused)


@pytest.fixture
def open_tmp() -> Iterator[Path]:
    """A directory that others can reach; pytest's own are closed to them."""
    with tempfile.TemporaryDirectory(prefix="agent-pipeline-open-") as name:
        Path(name).chmod(0o755)
        yield Path(name)


def test_pins_and_the_variable_say_which_root_too(at: Stages, tmp_path: Path) -> None:
    team = at("staged")
    file = exported(team)
    root = root_of(team)
    outside = Person("rosa", team.rosa.home, tmp_path)  # her pins, away from her clone
    assert outside.yes("bundle", "verify", str(file))["state"] == "staged"
    assert team.rosa.yes("bundle", "verify", str(file), AGENT_PIPELINE_ROOT=root)["verdict"] == "passed"
    nobody = Person("zed", tmp_path / "home", tmp_path)
    assert nobody.yes("bundle", "verify", str(file), AGENT_PIPELINE_ROOT=root)["verdict"] == "passed"
    refused(nobody.run("bundle", "verify", str(file), "--json"), 2, "nothing is pinned")


def test_it_is_the_same_file_for_everybody_and_never_written_over_another(at: Stages, tmp_path: Path) -> None:
    team = at("approved")
    data = exported(team).read_bytes()
    assert exported(team, by=team.alice).read_bytes() == data
    assert exported(team, by=team.ci).read_bytes() == data
    file = tmp_path / "x.agentpatch"
    file.write_bytes(b"something of mine")
    refused(team.rosa.run("bundle", "export", team.id, str(file), "--json"), 2, "is there already", "--force")
    assert file.read_bytes() == b"something of mine"
    team.rosa.yes("bundle", "export", f"{team.id}.1", str(file), "--force")
    assert file.read_bytes() == data
    assert [path.name for path in tmp_path.iterdir()] == ["x.agentpatch"]
    refused(team.rosa.run("bundle", "export", f"{team.id}.2", str(file), "--force", "--json"), 2, "no such proposal")
    refused(team.rosa.run("bundle", "export", team.id, str(tmp_path / "a" / "b"), "--json"), 3, "cannot be written")


def test_a_runner_without_the_remote_hands_its_proposal_over(at: Stages, tmp_path: Path) -> None:
    team = at("ready")
    team.alice.yes("list")  # the last time that she reaches the remote
    asked = ask(team.alice, "bubblewrap", FIX, "--no-push")
    assert asked.code == 0, str(asked)
    found = asked.document
    file = tmp_path / "it.agentpatch"
    team.alice.yes("bundle", "export", found["id"], str(file), "--no-push")
    assert team.tip(f"refs/agent-pipeline/requests/{found['id']}") is None
    before = {ref: team.tip(ref) for ref in ("refs/heads/main", "refs/agent-pipeline/log")}

    done = team.ci.yes("bundle", "import", str(file))
    assert (done["imported"], done["old"]) == (True, None)
    assert team.tip(f"refs/agent-pipeline/requests/{found['id']}") == done["new"]
    assert {ref: team.tip(ref) for ref in before} == before
    again = team.ci.yes("bundle", "import", str(file))
    assert (again["imported"], again["new"]) == (False, done["new"])

    code, rows = team.ci_run()
    assert (code, rows[found["id"]]["verdict"]) == (0, "passed")
    later = team.ci.yes("bundle", "import", str(file))  # the record went on: what the file has is part of it
    assert later["imported"] is False
    team.rosa.yes("review", "approve", found["id"], "--tree", found["tree"])
    code, rows = team.ci_merge()
    assert rows[found["id"]]["merged"], rows
    refused(team.ci.run("bundle", "verify", str(tmp_path), "--json"), 2)


def test_another_record_under_the_same_id_is_refused_and_nothing_moves(at: Stages) -> None:
    team = at("staged")
    file = exported(team)
    ref = f"refs/agent-pipeline/requests/{team.id}"
    other = team.mallory.rewrite(ref, lambda files: files["1"].pop("reports"))
    refused(team.ci.run("bundle", "import", str(file), "--json"), 1, "another record")
    assert team.tip(ref) == other
    team.mallory.delete(ref)
    done = team.ci.yes("bundle", "import", str(file))
    assert done["imported"]
    assert team.tip(ref) == done["new"]


def test_a_record_that_the_remote_has_lost_is_not_exported_from_an_old_copy(at: Stages, tmp_path: Path) -> None:
    team = at("merged")
    file, ref = tmp_path / "x.agentpatch", f"refs/agent-pipeline/requests/{team.id}"
    tip = team.tip(ref)
    assert team.alice.git("rev-parse", ref).strip() != tip  # her own copy is from before CI came
    team.alice.yes("list")
    team.mallory.delete(ref)
    export = ("bundle", "export", team.id, str(file), "--json")
    error = refused(team.alice.run(*export), 3, "gone from origin", "entry 0 of the log names it")
    assert f"git push --force origin {tip}:{ref}" in error["hint"]
    local = team.alice.run(*export, "--no-push")  # her own log may be as old as her copy: then they fit
    assert (local.code == 3) or team.alice.git("for-each-ref", "refs/agent-pipeline/log") == "", str(local)
    file.unlink(missing_ok=True)
    team.mallory.push(ref, str(tip))

    def without_the_summary(files: dict[str, Any]) -> None:
        folder = files["1"]["attestations"]
        for name in [name for name in folder if name.startswith("summary.")]:
            del folder[name]

    team.mallory.rewrite(ref, without_the_summary)
    refused(team.alice.run(*export), 3, "lacks 1 envelope that entry 0 of the log (admitted) names", "git push --force")
    assert not file.exists()
    team.mallory.push(ref, str(tip))
    team.alice.yes(*export[:-1])


def test_what_does_not_verify_is_not_imported(at: Stages, tmp_path: Path) -> None:
    """A bundle of another repository, of a rejected proposal, of a hand-written record, on a base that is not here."""
    team = at("staged")
    team.rosa.yes("review", "reject", team.id, "--reason", "it hides the mistake")
    file = exported(team)
    ref = f"refs/agent-pipeline/requests/{team.id}"
    team.mallory.delete(ref)
    refused(team.ci.run("bundle", "import", str(file), "--json"), 1, "it hides the mistake")
    assert team.tip(ref) is None

    stranger = Person("sam", tmp_path / "home", tmp_path / "clone")
    project(stranger)
    stranger.yes("init")
    refused(stranger.run("bundle", "import", str(file), "--json"), 1, "is pinned")
    assert stranger.git("for-each-ref", "refs/agent-pipeline/requests") == ""


def test_a_record_that_was_written_by_hand_is_not_imported(at: Stages) -> None:
    team = at("proposed")
    ref = f"refs/agent-pipeline/requests/{team.id}"
    team.mallory.fetch()
    tree = team.mallory.git("rev-parse", f"{ref}^{{tree}}")
    odd = team.mallory.commit(tree, team.mallory.ref(ref), team.mallory.ref("refs/heads/main"))
    team.mallory.push(ref, odd)
    file = exported(team)
    team.mallory.delete(ref)
    refused(team.ci.run("bundle", "import", str(file), "--json"), 1, "none that this program writes")
    assert team.tip(ref) is None
