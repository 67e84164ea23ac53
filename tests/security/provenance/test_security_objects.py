"""Attack 69: objects that are replaced, grafted, borrowed or named in another way in the clone that judges."""

from __future__ import annotations

import os
import shutil
import subprocess
import zlib
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
from support.people import Person
from support.teams import MAIN, Team

from agent_pipeline import config as configuration

pytestmark = pytest.mark.containers

At = Callable[[str], Team]
LOG = "refs/agent-pipeline-remote/origin/agent-pipeline/log"


def refused(done: Any, *words: str, code: int) -> None:
    assert done.code == code, str(done)
    for word in words:
        assert word in done.out + done.err, (word, str(done))


def test_069_replaced_objects_are_what_they_were(at: At) -> None:
    """What is judged, shown and merged is replaced in every clone by what was there before, or by something else."""
    team = at("staged")
    shown = team.rosa.run("diff", team.id).out
    base, tree, staged = team.tip(), team.found["tree"], team.tip(f"refs/heads/agent/{team.id}")
    for person in (team.rosa, team.ci):
        person.yes("list")
        head = person.git("rev-parse", LOG).strip()
        other = person.git("commit-tree", "-m", "other", f"{base}^^{{tree}}").strip()
        for one, instead in (
            (tree, f"{base}^{{tree}}"),
            (f"{tree}:calc.py", f"{base}:calc.py"),
            (f"{base}:tests/test_calc.py", f"{tree}:tests/test_calc.py"),
            (str(staged), other),
            (str(base), f"{base}^"),
            (head, other),
        ):
            person.git("replace", "-f", *person.git("--no-replace-objects", "rev-parse", one, instead).split())
        assert person.git("diff", "--stat", str(base), str(staged)) != person.git(
            "--no-replace-objects", "diff", "--stat", str(base), str(staged)
        )  # whoever goes by Git alone is deceived
    assert team.rosa.run("diff", team.id).out == shown
    team.rosa.yes("review", "approve", team.id, "--tree", tree)
    code, rows = team.ci_merge(team.id)
    assert (code, rows[team.id]["merged"]) == (0, True), rows
    team.mallory.fetch()
    assert team.mallory.git("log", "-1", "--format=%P %T", MAIN) == f"{base} {staged} {tree}"
    assert team.rosa.yes("audit", "verify")["findings"] == []


def test_069_a_grafted_history_is_not_looked_at(at: At) -> None:
    team = at("merged")
    team.rosa.yes("list")
    grafts = team.rosa.clone / ".git" / "info" / "grafts"
    grafts.parent.mkdir(exist_ok=True)
    grafts.write_text(team.rosa.git("rev-parse", LOG))
    for argv in (("audit", "verify"), ("list",), ("show", team.id)):
        refused(team.rosa.run(*argv), "rewrites the history", code=2)
    grafts.unlink()
    team.rosa.yes("audit", "verify")


def borrow(person: Person, pool: Path) -> Path:
    """Take all objects out of a clone, and let it borrow them, each in a file of its own, from another repository."""
    person.git("init", "-q", "--bare", str(pool), cwd=person.home)
    objects = person.clone / ".git" / "objects"
    for pack in objects.glob("pack/*.pack"):
        subprocess.run(
            ["git", f"--git-dir={pool}", "unpack-objects", "-q"], input=pack.read_bytes(), check=True,
            env={"PATH": os.environ["PATH"], "HOME": "/nonexistent"}, timeout=60,
        )  # fmt: skip
    for loose in objects.glob("??"):
        shutil.copytree(loose, pool / "objects" / loose.name, dirs_exist_ok=True)
    shutil.rmtree(objects)
    (objects / "info").mkdir(parents=True)
    (objects / "info" / "alternates").write_text(f"{pool / 'objects'}\n")
    return pool / "objects"


def own_cache(person: Person, folder: Path) -> None:
    """Let a person share nothing but the images: copies of trees are made anew, of the objects that are there."""
    folder.mkdir()
    for kept in ("images", "rootfs"):
        (folder / kept).symlink_to(configuration.load().cache_dir / kept)
    person.extra["AGENT_PIPELINE_CACHE"] = str(folder)


def exchange(pool: Path, oid: str, content: bytes) -> bytes:
    """Put other content into an object's file, under its name; return what was there."""
    path = pool / oid[:2] / oid[2:]
    before = path.read_bytes()
    path.chmod(0o600)
    path.write_bytes(zlib.compress(b"blob %d\0" % len(content) + content))
    return before


WEAK = b'from calc import mean\n\n\ndef test_mean():\n    assert mean([1, 2, 3]) in (2, "anything")\n'


@pytest.mark.parametrize("path", ["tests/test_calc.py", ".agent-pipeline/policy.yaml"])
def test_069_borrowed_objects_count_by_their_content_alone(at: At, path: str) -> None:
    """Whoever keeps the store that CI borrows from exchanges the base's own test, or the rules, under its name.

    No document has the digest of such a test: only that every object is hashed when it is read.
    """
    team = at("proposed")
    team.ci.yes("list")  # what is fetched later Git compares with what is there
    own_cache(team.ci, team.top / "cache")
    pool = borrow(team.ci, team.top / "pool.git")
    oid = team.ci.git("rev-parse", f"refs/agent-pipeline-remote/origin/heads/main:{path}").strip()
    weak = WEAK if path.startswith("tests/") else team.ci.git("cat-file", "blob", oid).replace(": 3", ": 1").encode()
    before = exchange(pool, oid, weak)
    assert team.ci.git("cat-file", "blob", oid).encode() == weak  # whoever goes by Git alone is deceived
    refs = team.alice.git("ls-remote", str(team.bare))
    refused(team.ci.run("ci", "run", "--json"), oid, "cannot be read", code=3)
    assert team.alice.git("ls-remote", str(team.bare)) == refs
    (pool / oid[:2] / oid[2:]).write_bytes(before)
    code, rows = team.ci_run()
    assert (code, rows[team.id]["verdict"]) == (0, "passed"), rows


FORMATS = {
    "other names beside": {"extensions.compatObjectFormat": "sha256"},
    "other names": {"extensions.objectFormat": "sha256"},
    "objects that are fetched when they are asked for": {"remote.origin.promisor": "true"},
}


@pytest.mark.parametrize("version", ["0", "1"])
@pytest.mark.parametrize("what", FORMATS)
def test_069_a_clone_whose_objects_are_named_or_had_otherwise_judges_nothing(at: At, what: str, version: str) -> None:
    team = at("approved")
    refs = team.alice.git("ls-remote", str(team.bare))
    for name, value in FORMATS[what].items():
        team.ci.git("config", name, value)
    with (team.ci.clone / ".git" / "config").open("a") as config:  # Git itself may refuse to open it from here on
        config.write(f"[core]\n\trepositoryFormatVersion = {version}\n")
    word = "is a partial clone" if "promisor" in str(FORMATS[what]) else "names its objects by sha256"
    refused(team.ci.run("ci", "merge", team.id), word, code=2)
    assert team.alice.git("ls-remote", str(team.bare)) == refs
