"""Attacks 62 and 64: signatures on a staged commit that Git calls good, and that count for nothing here.

Every one of them is shown to both: a real `git verify-commit` with an allowed-signers file as a repository may have it,
and the step that decides.
"""

from __future__ import annotations

import subprocess
from dataclasses import replace
from datetime import timedelta
from pathlib import Path

import pytest
from support.courts import refused, refusing
from support.gitrepos import IDENTITY, Project, make_project
from support.logs import prove
from support.trust import NOW, TEAM, Maker, public, root_of

from agent_pipeline.attestation import drafts, keys
from agent_pipeline.documents.verification import PASSED
from agent_pipeline.repository import commits
from agent_pipeline.verify import decide

GOOD = 'Good "git" signature'
LATER = NOW + timedelta(days=365)


@pytest.fixture
def git(tmp_path: Path) -> Project:
    return make_project(tmp_path / "project", {"a.py": b"x = 1\n"})


def git_says(git: Project, staged: tuple[bytes, str], *allowed: tuple[str, str]) -> tuple[int, str]:
    """What `git verify-commit` ends with and prints; `allowed` are principals (with options) and names of keys."""
    oid = commits.write(git.clone, *staged)
    assert commits.signature_of(git.clone, oid) == (staged[0], staged[1].strip())  # the very bytes that we decide on
    lines = [f"{said} {keys.openssh_from_key(public(name))}\n" for said, name in allowed]
    (git.folder / "allowed").write_text("".join(lines))
    done = subprocess.run(
        ["git", "-c", f"gpg.ssh.allowedSignersFile={git.folder / 'allowed'}", "verify-commit", oid],
        cwd=git.folder, env=IDENTITY | {"PATH": "/usr/bin:/bin", "HOME": "/nonexistent", "LC_ALL": "C"},
        capture_output=True, text=True, check=False, timeout=60,
    )  # fmt: skip
    return done.returncode, done.stdout + done.stderr


def test_062_a_date_in_git_gives_a_revoked_key_nothing(git: Project) -> None:
    """Git judges a key's end by the date that the commit gives itself, which is the thief's to choose."""
    team = root_of({**TEAM, "robin": ("ci", "merger")}, bots=("robot", "robin"))
    maker = Maker(root=team)
    payload, _ = maker.staged()
    assert b"committer CI <ci@example.org> 1772366400" in payload  # 2026-03-01, long before anything was stolen
    assert git_says(git, maker.staged(), ('ci@example.org valid-before="20260301"', "robot"))[0] == 1
    code, text = git_says(git, maker.staged(), ('ci@example.org valid-before="20260302"', "robot"))
    assert (code, GOOD in text) == (0, True), text  # whatever day it is
    for since, missing in ((0, {"34 admitted", "35 staged"}), (1, set[str]())):
        root = drafts.revoke(team, public("robot").keyid, since=since, expires=LATER)
        told = {"request": None, "number": None, "statement": None, "since": since, "root": root.version}
        log = [maker.admission()]
        log.append(Maker(root=root, ci="robin").entry(log, "revoked", keys=(public("robot").keyid,), **told))
        given = maker.landing()
        inputs = replace(given.inputs, root=root, log=prove(log, given.inputs.request, root))
        found = refusing(decide(replace(given, inputs=inputs, merger=public("robin").keyid)))
        assert found >= missing
        assert bool(found) is bool(missing)


ALLOWED = {
    "nobody's, and Git names no principal": ("eve", ("ci@example.org", "robot"), 1, "is nobody's in version"),
    "nobody's, and allowed for everybody": ("eve", ("*", "eve"), 0, "is nobody's in version"),
    "nobody's, and allowed in CI's name": ("eve", ("ci@example.org", "eve"), 0, "is nobody's in version"),
    "a reviewer's": ("rita", ("rita@example.org", "rita"), 0, "is no ci"),
    "a reviewer's, and allowed in CI's name": ("rita", ("ci@example.org", "rita"), 0, "is no ci"),
    "the runner's": ("ada", ("ci@example.org", "ada"), 0, "is no ci"),
}


@pytest.mark.parametrize("whose", ALLOWED)
def test_064_a_good_signature_by_nobody_is_none(git: Project, whose: str) -> None:
    """`git verify-commit` says `Good "git" signature` of any key; how it ends is up to the allowed-signers file."""
    given = Maker().landing()
    key, allowed, code, word = ALLOWED[whose]
    staged = Maker().staged(key=key)
    done, text = git_says(git, staged, allowed)
    assert (done, GOOD in text) == (code, True), text
    refused(decide(replace(given, staged=staged)), "35 staged", word, alone=True)


def test_064_what_ci_signed_is_good_for_both(git: Project) -> None:
    given = Maker().landing()
    assert given.staged is not None
    code, text = git_says(git, given.staged, ("ci@example.org", "robot"))
    assert (code, GOOD in text) == (0, True), text
    assert decide(given).verdict == PASSED
