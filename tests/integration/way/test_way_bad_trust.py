"""Keys, pins and rules that are missing, open to others or not landed: nothing is signed or believed then."""

from __future__ import annotations

import os
from pathlib import Path

import pytest
from support.desks import POLICY, Desk, refused, request_line
from support.people import Person

pytestmark = pytest.mark.containers

REFUSING = """#!/bin/sh
while read -r old new ref; do
  if [ "$ref" = refs/heads/main ]; then echo "main is protected: open a pull request" >&2; exit 1; fi
done
"""


def key_of(desk: Desk) -> Path:
    return desk.config / "keys" / "default"


def without_key(desk: Desk) -> None:
    key_of(desk).unlink()
    Path(f"{key_of(desk)}.pub").unlink()


def test_no_key(desk: Desk) -> None:
    without_key(desk)
    before = desk.refs()
    for argv in (request_line("pass"), ("ci", "run"), ("ci", "merge")):
        refused(desk.run(*argv), 2, str(key_of(desk).parent), "agent-pipeline keys generate")
    assert desk.refs() == before
    assert desk.run("list").code == 0  # reading needs none


def test_a_key_that_the_trust_root_does_not_know(desk: Desk) -> None:
    without_key(desk)
    assert desk.run("keys", "generate").code == 0
    refused(desk.request(), 1, "`requester`", "agent-pipeline join")


@pytest.mark.parametrize("mode", [0o640, 0o604, 0o620, 0o666])
def test_a_key_file_that_others_can_read(desk: Desk, mode: int) -> None:
    key_of(desk).chmod(mode)
    before = desk.refs()
    for argv in (request_line("pass"), ("join",)):
        refused(desk.run(*argv), 2, str(key_of(desk)), f"{mode:04o}", "chmod 600")
    (listed,) = desk.run("keys", "list").document["unusable"]
    assert (listed["path"], f"{mode:04o}" in listed["reason"]) == (str(key_of(desk)), True)
    assert "chmod 600" in listed["hint"]
    assert desk.refs() == before


def test_a_key_file_that_is_none(desk: Desk) -> None:
    key_of(desk).write_text("not a key\n")
    refused(desk.request(), 2, str(key_of(desk)), "private key")
    key_of(desk).unlink()
    Path(f"{key_of(desk)}.pub").unlink()
    os.mkfifo(key_of(desk), 0o600)
    refused(desk.request(), 2, str(key_of(desk).parent))


@pytest.mark.parametrize("text", ["/nowhere/key", "-----BEGIN OPENSSH PRIVATE KEY-----\nbroken\n", "\n"])
def test_a_key_of_ci_that_is_none(desk: Desk, text: str) -> None:
    refused(desk.run("ci", "run", AGENT_PIPELINE_KEY=text), 2, "key")


def test_an_encrypted_key_without_its_passphrase(desk: Desk) -> None:
    without_key(desk)
    assert desk.run("keys", "generate", AGENT_PIPELINE_KEY_PASSPHRASE="correct horse").code == 0
    Path(f"{key_of(desk)}.pub").unlink()
    refused(desk.request(), 2, "encrypted", "AGENT_PIPELINE_KEY_PASSPHRASE")
    refused(desk.request(AGENT_PIPELINE_KEY_PASSPHRASE="wrong"), 2, "passphrase")


def test_no_pin(desk: Desk) -> None:
    (desk.config / "pins.json").unlink()
    before = desk.refs()
    for argv in (request_line("pass"), ("list",), ("trust", "show"), ("ci", "run")):
        refused(desk.run(*argv), 2, str(desk.clone), "agent-pipeline trust pin")
    assert desk.refs() == before
    root = desk.run("trust", "pin").document["root"]
    assert desk.run("list", AGENT_PIPELINE_ROOT=root).code == 0


def test_a_pins_file_that_cannot_be_read(desk: Desk) -> None:
    (desk.config / "pins.json").write_text("{")
    refused(desk.run("list"), 2, "pins.json")


@pytest.mark.parametrize(("root", "word"), [("sha256:" + "0" * 64, "no branch"), ("yes", "64 hexadecimal")])
def test_an_anchor_of_ci_that_does_not_fit(desk: Desk, root: str, word: str) -> None:
    refused(desk.run("ci", "run", AGENT_PIPELINE_ROOT=root), 2, word, "AGENT_PIPELINE_ROOT")


def test_a_trust_root_that_is_not_the_pinned_one(desk: Desk) -> None:
    """Whoever can push main makes a root of their own: the pin outside the repository holds."""
    unset(desk)
    mallory = Person("mallory", desk.top / "mallory", desk.clone, desk.person.extra)
    mallory.yes("init")
    refused(desk.run("list"), 1, "trust root", "pin")
    refused(desk.request(), 1, "trust root", "pin")


def test_a_trust_root_that_is_malformed(desk: Desk) -> None:
    (file,) = (desk.clone / ".agent-pipeline" / "trust").iterdir()
    file.write_text('{"payload":"e30=","payloadType":"x","signatures":[{"keyid":"00","sig":"AA=="}]}')
    desk.person.git("commit", "-q", "-am", "Another root")
    refused(desk.run("list"), 1, ".agent-pipeline/trust")


def unset(desk: Desk) -> None:
    """Take the rules away, as if `init` had never been here."""
    desk.person.git("rm", "-q", "-r", ".agent-pipeline")
    desk.person.git("commit", "-q", "-m", "No rules yet")


def test_a_repository_that_is_not_set_up(desk: Desk) -> None:
    unset(desk)
    refused(desk.request(), 2, POLICY, "agent-pipeline init")


@pytest.mark.parametrize(
    ("old", "new", "word"),
    [
        ("version: 1", "version: 1\nsurprise: yes", "surprise"),
        ("version: 1", "version: [", "YAML"),
        ("reviewers: 0", "reviewers: many", "reviewers"),
    ],
)
def test_a_policy_that_is_malformed(desk: Desk, old: str, new: str, word: str) -> None:
    desk.edit_policy((old, new))
    for argv in (request_line("pass"), ("list",), ("policy", "check")):
        refused(desk.run(*argv), 1, word, "policy")
    refused(desk.run("list"), 1, POLICY)


def protected_remote(desk: Desk) -> Path:
    """A bare remote whose hook takes everything but a new main."""
    bare = desk.top / "origin.git"
    desk.person.git("init", "-q", "--bare", "-b", "main", str(bare), cwd=desk.top)
    desk.person.git("remote", "add", "origin", str(bare))
    desk.person.git("push", "-q", "origin", "main")
    hook = bare / "hooks" / "pre-receive"
    hook.write_text(REFUSING)
    hook.chmod(0o755)
    return bare


def test_rules_that_have_not_landed_yet(desk: Desk) -> None:
    """A trial: requests work by the rules that are to land, say so, and cannot land."""
    unset(desk)
    bare = protected_remote(desk)
    before = desk.person.git("rev-parse", "main")
    done = desk.run("init")
    assert done.code == 0, str(done)
    assert done.document["trial"]
    assert done.document["branch"] == "refs/heads/agent-pipeline-setup"
    assert "main is protected" in done.err
    assert desk.person.git("rev-parse", "main", "origin/main") == before * 2
    assert desk.person.git("status", "--porcelain") == ""

    asked = desk.request()
    assert asked.code == 0, str(asked)
    assert asked.document["state"] == "trial"
    assert asked.document["trial"]
    assert "on trial" in asked.err
    request = asked.document["id"]
    refused(desk.run("land", request), 1, "trial", "setup commit must land")
    merged = desk.run("ci", "merge", request)
    assert merged.code == 1, str(merged)
    assert not merged.document["results"][0]["merged"]
    admitted = desk.run("ci", "run", request)
    assert admitted.code == 1, str(admitted)
    assert desk.person.git("ls-remote", str(bare), "refs/heads/main").split()[0] == before.strip()
    assert not desk.person.git("ls-remote", str(bare), "refs/heads/agent/*")

    setup = desk.person.git("rev-parse", "origin/agent-pipeline-setup").strip()
    unsigned = desk.person.git("commit-tree", f"{setup}^{{tree}}", "-p", setup, "-m", "looser rules").strip()
    desk.person.git("push", "-q", "origin", f"{unsigned}:refs/heads/agent-pipeline-setup")
    refused(desk.request(), 1, unsigned[:12], "not signed", "put the branch back")
    desk.person.git("push", "-q", "--force", "origin", f"{setup}:refs/heads/agent-pipeline-setup")

    (bare / "hooks" / "pre-receive").unlink()
    desk.person.git("fetch", "-q", "origin")
    desk.person.git("merge", "-q", "--ff-only", "origin/agent-pipeline-setup")
    desk.person.git("push", "-q", "origin", "main")
    again = desk.request()
    assert again.code == 0, str(again)
    assert not again.document["trial"]
    assert desk.run("land", again.document["id"]).code == 0
    refused(desk.run("land", request), 1, "trial")
