"""The virtual copy below a real sandbox: an overlay on either engine, with root and without, harvested when it died."""

from __future__ import annotations

import json
import os
import sys
from dataclasses import replace
from pathlib import Path

import pytest
from support import agent_cases
from support.gitrepos import Project, make_project

from agent_pipeline import process
from agent_pipeline.config import Config
from agent_pipeline.documents.submission import Submission
from agent_pipeline.errors import CheckError
from agent_pipeline.sandbox.contract import UID, Bounds, Engine, Image, Spec
from agent_pipeline.sandbox.images import unpack
from agent_pipeline.workspace import create, harvest
from agent_pipeline.workspace.proposing import changed_paths, collect, propose

pytestmark = pytest.mark.containers

FILES = {
    "kept": b"1\n",
    "edited": b"1\n",
    "gone/a": b"1\n",
    "anew/a": b"1\n",
    "anew/b": b"2\n",
    "secret/key": b"s",
}
# What an agent may do to a tree, honestly and not.
WORK = """
set -e
test ! -e secret
echo 2 >>edited; touch kept; chmod 640 kept; rm -r gone; rm -r anew; mkdir anew; echo 1 >anew/a; echo 3 >'new file'
ln edited linked; truncate -s 400M sparse; rm sparse
python3 - <<'END'
import os, socket
for name in ("user.overlay.opaque", "trusted.overlay.opaque", "user.overlay.whiteout"):
    for path in (".", "edited"):
        try: os.setxattr(path, name, b"y")
        except OSError: pass
try: os.mknod("forged", 0o020000, 0)
except OSError as error: print("refused", error.errno)
socket.socket(socket.AF_UNIX).bind("socket")
END
"""
FOUND = {"puts": ["edited", "linked", "new file"], "deletes": ["anew/b", "gone/a"], "refused": ["socket"]}
FULL = "dd if=/dev/zero of=big bs=1M count=100 2>&1 | grep -c 'No space left'"
CHILD = """
import json, sys
from pathlib import Path
import pygit2
from agent_pipeline import config
from agent_pipeline.repository.clone import Clone
from agent_pipeline.sandbox import engines
from agent_pipeline.sandbox.contract import UID, Bounds, Image, Spec
from agent_pipeline.workspace import create, harvest
pygit2.option(pygit2.enums.Option.SET_OWNER_VALIDATION, 0)
folder, name, identity, image, work, full = sys.argv[1:]
settings, clone = config.load(), Clone.discover(Path(folder))
box, tree = engines.engine("bubblewrap", settings), clone.tree(clone.commit("HEAD"))
assert box.available() is None, box.available()
for _ in range(2):
    with create(clone, tree, may_read=lambda path: not path.startswith("secret/"), scope="s", lowers=settings.lowers,
                parent=settings.runs, disk_mb=16, uid=UID, reach=box.reach) as copy:
        spec = Spec(Image(name, identity, Path(image)), copy.path, Bounds(256, 64, "1", 16, 60), "test",
                    namespace=copy.namespace)
        look = lambda: harvest(clone, copy, ignore=[], max_bytes=1 << 20, max_files=100)
        with box.start(spec) as sandbox:
            done = sandbox.run(["sh", "-c", work], seconds=30)
            assert done.code == 0, done.output
            live = sorted(look().puts)
            filled = sandbox.run(["sh", "-c", full], seconds=30).output.decode()
            sandbox.run(["rm", "-f", "big"], seconds=5)
        found = look()
print(json.dumps({"mode": copy.mode, "bounded": copy.bounded, "unenforced": sandbox.facts.unenforced, "filled": filled,
    "live": live, "puts": list(found.puts), "deletes": list(found.deletes),
    "refused": [path for path, _ in found.refused], "withheld": copy.withheld}))
"""


@pytest.fixture
def project(folder: Path) -> Project:
    return make_project(folder / "project", FILES)


@pytest.mark.skipif(os.geteuid() != 0, reason="only root mounts an overlay that the Docker engine sees")
def test_what_a_sandbox_did_is_harvested_from_its_overlay(
    engine: Engine, image: Image, project: Project, folder: Path
) -> None:
    clone = project.clone
    with create(
        clone,
        project.git("rev-parse", "HEAD^{tree}"),
        may_read=lambda path: not path.startswith("secret/"),
        scope="s",
        lowers=folder / "lowers",
        parent=folder / "runs",
        disk_mb=16,
        uid=UID,
        reach=engine.reach,
    ) as copy:
        assert (copy.mode, copy.bounded, copy.namespace) == ("overlay", True, None)
        spec = Spec(image, copy.path, Bounds(256, 64, "1", 16, 60, require=("disk",)), "test")
        with engine.start(spec) as sandbox:
            done = sandbox.run(["sh", "-c", WORK], seconds=30)
            assert (done.code, done.output) == (0, b"refused 1\n"), done.output
            assert sandbox.run(["sh", "-c", FULL], seconds=30).output == b"1\n"
            sandbox.run(["rm", "-f", "big"], seconds=5)
            mounts = sandbox.run(["cat", "/proc/self/mountinfo"], seconds=5).output
            (ours,) = [line for line in mounts.splitlines() if b" /workspace " in line]
            assert b" - overlay " in ours
            assert str(folder).encode() not in ours.partition(b" - ")[2]
        found = harvest(clone, copy, ignore=[], max_bytes=1 << 20, max_files=100)
    assert {"puts": list(found.puts), "deletes": list(found.deletes), "refused": [p for p, _ in found.refused]} == FOUND
    assert found.puts["edited"].content == found.puts["linked"].content == b"1\n2\n"
    assert list((folder / "runs").iterdir()) == []


def _python(uid: int) -> str:
    """An interpreter that this user may start again by themselves, as the sweeper does: ours may lie in root's home."""
    drop = ["setpriv", f"--reuid={uid}", f"--regid={uid}", "--clear-groups"]
    for candidate in (sys.executable, "/usr/bin/python3"):
        if process.run([*drop, "sh", "-c", 'exec "$0" -c ""', candidate], env=process.inherited("PATH")).ok:
            return candidate
    pytest.fail("no interpreter that another user may execute")


@pytest.mark.skipif(os.geteuid() != 0, reason="it takes root to become somebody else")
def test_without_privileges_the_overlay_lies_in_a_namespace(
    config: Config, folder: Path, image: Image, project: Project
) -> None:
    uid = 54_321
    cache = folder / "ca,che: \\x"  # no character of a path has a meaning in the mounts
    cache.mkdir()
    (cache / "rootfs").symlink_to(unpack.rootfs(config, image).parent)  # unpacked once, readable by everybody
    os.chown(cache, uid, uid)
    argv = [_python(uid), "-c", CHILD, str(project.folder), image.name, image.identity, str(image.folder), WORK, FULL]
    env = {"PYTHONPATH": os.pathsep.join(path for path in sys.path if path), "HOME": "/nonexistent"}
    env |= {"AGENT_PIPELINE_CACHE": str(cache)} | process.inherited("PATH")
    drop = ["setpriv", f"--reuid={uid}", f"--regid={uid}", f"--groups={uid},4,100", "--no-new-privs"]
    done = process.run([*drop, *argv], env=env, timeout=100)
    assert done.ok, done.explain()
    said = json.loads(done.stdout)
    assert (said["mode"], said["bounded"], said["filled"]) == ("overlay", True, "1\n")
    assert "disk" not in said["unenforced"]
    assert {name: said[name] for name in FOUND} == FOUND
    assert said["live"] == FOUND["puts"]
    assert said["withheld"] == ["secret/key"]
    assert list((cache / "runs").iterdir()) == []
    assert len([path for path in (cache / "lowers").iterdir() if not path.name.startswith(".")]) == 1


@pytest.mark.skipif(os.geteuid() != 0, reason="only root mounts an overlay that the Docker engine sees")
def test_what_comes_after_the_claim_is_noticed(engine: Engine, image: Image, project: Project, folder: Path) -> None:
    """The claim is compared while the sandbox lives; the manifest is made of the files of the dead one, and decides.

    Nothing of the workload outlives its command. Were something to, as whoever writes from outside here, then what it
    does after the claim is either in the manifest and missing in the claim, which is refused, or in both.
    """
    clone, policy = project.clone, agent_cases.policy()
    allowed = replace(policy, paths=replace(policy.paths, write=replace(policy.paths.write, allow=("*",))))
    request = agent_cases.request(base=project.git("rev-parse", "HEAD"))
    late = "(trap '' HUP TERM; setsid sh -c 'sleep 2; echo late >late; echo late >kept') >/dev/null 2>&1 & exit 0"
    with create(
        clone, clone.tree(request.base), may_read=lambda _: True, scope="all", lowers=folder / "lowers",
        parent=folder / "runs", disk_mb=16, uid=UID, reach=engine.reach,
    ) as copy:  # fmt: skip
        with engine.start(Spec(image, copy.path, Bounds(256, 64, "1", 16, 60), "test")) as sandbox:
            assert sandbox.run(["sh", "-c", f"echo 2 >edited; {late}"], seconds=10).code == 0
            claim = Submission("s", "r", changed_paths(collect(clone, copy, allowed)), ())
            assert claim.files == ("edited",)
            assert sandbox.run(["sleep", "3"], seconds=10).code == 0
        dead = collect(clone, copy, allowed)
        assert propose(clone, dead, allowed, request, 1, claim)[0].paths == ("edited",)

        (copy.path / "edited").write_bytes(b"later\n")  # after the claim: what was claimed to change, changed again
        proposal, carrier = propose(clone, collect(clone, copy, allowed), allowed, request, 1, claim)
        assert clone.file(carrier, "edited") == b"later\n"
        assert proposal.changes[0].object == project.blob(b"later\n")

        (copy.path / "late").write_bytes(b"late\n")
        with pytest.raises(CheckError, match="not what changed: changed without being declared: late"):
            propose(clone, collect(clone, copy, allowed), allowed, request, 1, claim)
        (copy.path / "edited").write_bytes(b"1\n")  # as in the base again
        with pytest.raises(CheckError, match="declared without having changed: edited"):
            propose(clone, collect(clone, copy, allowed), allowed, request, 1, claim)
