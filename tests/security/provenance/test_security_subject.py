"""Attacks 23 to 36: the subject and the change. Those about readers of diffs are about the manifest here."""

from __future__ import annotations

import json
import zlib
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest
from support.courts import Court, refused
from support.gitrepos import make_project
from support.pushers import Pusher
from support.trust import Maker, change, seal, sign

from agent_pipeline.documents import strict
from agent_pipeline.documents.envelope import Envelope
from agent_pipeline.documents.proposal import Change
from agent_pipeline.documents.statement import PAYLOAD_TYPE
from agent_pipeline.errors import AgentPipelineError
from agent_pipeline.repository import trees
from agent_pipeline.repository.cross_check import cross_check
from agent_pipeline.repository.trees import Put
from agent_pipeline.verify import verify

MAKER = Maker()
GOOD = MAKER.inputs()
FILE = Put(b"x = 1\n", "100644")
SOURCE = b"def mean(values):\n    return 0.0\n"
# For trees that no manifest can describe: any change at all.
ANY = (Change("calc.py", "put", "100644", "0" * 64, 1, "1" * 40),)


def with_manifest(change_it: Callable[[dict[str, Any]], object]) -> bytes:
    value = json.loads(GOOD.manifest)
    change_it(value)
    return strict.canonical(value)


def test_023_a_proposal_signed_for_another_manifest() -> None:
    other = Maker(changes=(change(text="evil\n"),), facts_change=lambda facts: facts)
    swapped = replace(GOOD, manifest=other.proposal().to_json(), tree_facts=other.facts())
    refused(verify(swapped), "13 manifest", "SHA-256")
    same_change = with_manifest(lambda value: value.update(summary="something harmless"))
    refused(verify(replace(GOOD, manifest=same_change)), "13 manifest", "SHA-256", alone=True)


SUBJECT = MAKER.proposal().digest()
DIGESTS: dict[str, dict[str, str]] = {
    "sha1 alone": {"sha1": "a" * 40},
    "md5 alone": {"md5": "a" * 32},
    "gitTree alone": {"gitTree": "d" * 40},
    "upper case": {"sha256": SUBJECT.upper()},
    "cut": {"sha256": SUBJECT[:63]},
    "longer": {"sha256": SUBJECT + "0"},
    "with a newline": {"sha256": SUBJECT + "\n"},
    "none": {},
}


def with_subject(subject: list[dict[str, Any]]) -> bytes:
    value = json.loads(Envelope.from_json(GOOD.provenance_envelope).payload) | {"subject": subject}
    return seal(PAYLOAD_TYPE, strict.canonical(value), "ada")


@pytest.mark.parametrize("what", DIGESTS)
def test_024_a_subject_without_a_whole_sha256(what: str) -> None:
    subject = [{"name": "proposal.json", "digest": DIGESTS[what]}]
    refused(verify(replace(GOOD, provenance_envelope=with_subject(subject))), "01 documents", "statement: subject/0")


@pytest.mark.parametrize("other", ["sha512", "sha1", "gitTree", "SHA256"])
def test_025_the_right_sha256_beside_another_digest(other: str) -> None:
    subject = [{"name": "proposal.json", "digest": {"sha256": SUBJECT, other: "0" * 64}}]
    refused(verify(replace(GOOD, provenance_envelope=with_subject(subject))), "01 documents", "subject/0/digest")


@pytest.mark.parametrize("second", ["proposal.json", "other.json"])
def test_026_two_subjects(second: str) -> None:
    mine = {"name": "proposal.json", "digest": {"sha256": SUBJECT}}
    for subject in ([mine, {"name": second, "digest": {"sha256": "0" * 64}}], [mine, mine], []):
        refused(verify(replace(GOOD, provenance_envelope=with_subject(subject))), "01 documents", "subject")
    renamed = sign(replace(MAKER.statement(), subject="other.json"), "ada")
    refused(verify(replace(GOOD, provenance_envelope=renamed)), "01 documents", "subject")


@pytest.mark.containers
def test_027_a_result_tree_that_the_manifest_does_not_make(court: Court) -> None:
    """The carrier brings one tree, the manifest lists its changes, and names the tree of something else."""
    runner = court.runner
    shown, hidden = runner.built({"calc.py": FILE}), runner.built({"calc.py": FILE, "evil.py": FILE})
    said = court.shown(shown)
    lies: tuple[tuple[str, dict[str, str]], ...] = (hidden, {}), (shown, {"tree": hidden}), (hidden, {"tree": shown})
    asked = [runner.propose(tree, changes=said, manifest=manifest) for tree, manifest in lies]
    for verification in court.judge_all(asked):
        refused(verification, "14 changes", alone=True)


def replaced_object(folder: Path, oid: str, content: bytes) -> None:
    """Put other content into the file of an object, under the same name."""
    path = folder / ".git" / "objects" / oid[:2] / oid[2:]
    path.chmod(0o600)
    path.write_bytes(zlib.compress(b"blob %d\0" % len(content) + content))


def test_028_git_s_ids_agree_and_the_contents_do_not(tmp_path: Path) -> None:
    """A collision's stand-in: the same blob ids and trees, other bytes. SHA-256 of every content is in the manifest."""
    collides = MAKER.changes[0]
    other = replace(collides, sha256=strict.sha256(b"evil\n"))
    facts = replace(GOOD.tree_facts, changes_computed=(other, *MAKER.changes[1:]))
    refused(verify(replace(GOOD, tree_facts=facts)), "14 changes", "differ about src/app.py", alone=True)
    project = make_project(tmp_path / "p", {"a.py": b"x = 1\n"})
    base = project.git("rev-parse", "HEAD^{tree}")
    tree = trees.build(project.clone, base, {"a.py": Put(b"x = 2\n", "100644")})
    blob = trees.compare(project.clone, base, tree)[0].object
    assert blob is not None
    replaced_object(project.folder, blob, b"evil=1")
    with pytest.raises(AgentPipelineError, match=f"{blob}: object hash mismatch"):
        trees.compare(project.clone, base, tree)


NAMES = (
    "/etc/passwd", "../x", "a/../x", "./x", "a//b", "a/", ".git/config", ".GIT/config", "git~1/config", "GIT~1",
    "a/.git/hooks/x", ".g\u200cit/config", ".git\u200d", ".git ", ".git.", "a\\b", "C:x", "aux.py",
    "a:stream",
)  # fmt: skip


@pytest.mark.parametrize("name", NAMES)
def test_029_names_that_are_another_place_somewhere(name: str) -> None:
    verification = verify(Maker(changes=(change(name),)).inputs())
    refused(verification, "16 paths", "cannot be part of a proposal")


@pytest.mark.containers
def test_030_through_a_link(court: Court) -> None:
    """A link in the proposal, a file in a link's place, a link and a folder of one name, a file below a link."""
    link = f"120000:{court.blob(b'/etc')}"
    tree = court.with_entry("calc.py", link)
    refused(court.judge(court.runner.propose(tree, changes=ANY)), "14 changes", "mode 120000")
    pusher = Pusher(court.runner.clone.path, court.runner.team.bare)
    inner, evil = court.blob(b"/etc"), pusher.tree({"evil": b"x"})
    both = pusher.raw_tree(
        *sorted(
            [*listed(pusher, court.runner.base), ("120000", "s", inner), ("40000", "s", evil)], key=lambda row: row[1]
        )
    )
    request = court.runner.propose(both, changes=ANY)
    told: list[str] = []
    court.desk(told.append)  # Git's own checks refuse the object, and the record stays outside
    assert [line for line in told if line.startswith(f"refs/agent-pipeline/requests/{request}: left out")]
    court.runner.team.alice.git("push", "-q", "origin", f":refs/agent-pipeline/requests/{request}")
    below = (replace(change("s/evil", base=None), base_object=inner, base_mode="120000"),)
    refused(verify(Maker(changes=below).inputs()), "17 allowed paths", "link")


def listed(pusher: Pusher, ref: str) -> list[tuple[str, str, str]]:
    """The rows of a tree: mode, name, object."""
    rows = []
    for row in pusher.git("ls-tree", "-z", ref).split("\0"):
        if row:
            head, _, name = row.partition("\t")
            mode, _, oid = head.split(" ")
            rows.append((mode.lstrip("0"), name, oid))
    return rows


LISTS: dict[str, tuple[Callable[[tuple[Change, ...]], tuple[Change, ...]], str]] = {
    "a file twice": (lambda changes: (*changes, changes[1]), "twice"),
    "a file put and deleted": (
        lambda changes: (*changes, Change(changes[1].path, "delete", base_object="e" * 40, base_mode="100644")),
        "differ about tests/test_app.py",
    ),
    "in another order": (lambda changes: changes[::-1], "not sorted"),
    "something that is not there": (lambda changes: (*changes, change("zzz.py")), "does not change: zzz.py"),
    "less than there is": (lambda changes: changes[:1], "does not list: tests/test_app.py"),
}  # fmt: skip


@pytest.mark.parametrize("what", LISTS)
def test_031_a_manifest_that_can_be_read_in_two_ways(what: str) -> None:
    """What a diff has twice (headers, names, mail around it) a manifest has once: a list, sorted, each path once."""
    make, word = LISTS[what]
    inputs = Maker(proposal_change=lambda proposal: replace(proposal, changes=make(proposal.changes))).inputs()
    refused(verify(inputs), "14 changes", word, alone=True)


def test_031_a_manifest_of_nothing() -> None:
    altered = with_manifest(lambda value: value.update(changes=[]))
    refused(verify(replace(GOOD, manifest=altered)), "01 documents", "changes")


def test_031_a_rename_a_copy_or_a_diff_has_no_form_in_a_manifest() -> None:
    for extra in (
        {"op": "rename"},
        {"op": "copy"},
        {"op": "patch"},
        {"from": "src/app.py"},
        {"diff": "--- a\n+++ b\n"},
    ):
        altered = with_manifest(lambda value, extra=extra: value["changes"][0].update(extra))  # type: ignore[misc]
        refused(verify(replace(GOOD, manifest=altered)), "01 documents", "changes/0")


KINDS: dict[str, tuple[str, str, str, str]] = {
    "a submodule": ("lib", "160000", "", "mode 160000"),
    "its settings": (".gitmodules", "100644", "[submodule]", "Git"),
    "attributes": (".gitattributes", "100644", "* filter=x", "Git"),
    "attributes in capitals": ("tests/.GitAttributes", "100644", "* filter=x", "Git"),
    "a link": ("link", "120000", "calc.py", "mode 120000"),
    "setuid": ("calc.py", "104755", "x", "is not what its own"),
}


@pytest.mark.containers
def test_032_what_is_no_plain_file(court: Court) -> None:
    asked = []
    for name, mode, content, _word in KINDS.values():
        oid = "1" * 40 if mode == "160000" else court.blob(content.encode())
        asked.append(court.runner.propose(court.with_entry(name, f"{mode}:{oid}"), changes=ANY))
    for verification, (*_, word) in zip(court.judge_all(asked), KINDS.values(), strict=True):
        refused(verification, "14 changes", word)


@pytest.mark.containers
def test_032_what_becomes_executable(court: Court) -> None:
    source = court.runner.clone.file(court.runner.base, "calc.py")
    assert source is not None
    tree = court.runner.built({"calc.py": Put(source, "100755")})
    refused(court.judge(court.runner.propose(tree)), "17 allowed paths", "becomes executable", alone=True)


PROTECTED = (
    ".github/workflows/ci.yml",
    ".gitlab-ci.yml",
    "CODEOWNERS",
    ".github/CODEOWNERS",
    ".agent-pipeline/policy.yaml",
)


@pytest.mark.containers
def test_033_moved_or_copied_into_a_protected_place(court: Court) -> None:
    source = court.runner.clone.file(court.runner.base, "calc.py")
    assert source is not None
    copy = Put(source, "100644")
    copied = [court.runner.built({name: copy}) for name in PROTECTED]
    moved = court.runner.built({"calc.py": None, PROTECTED[0]: copy})
    asked = [court.runner.propose(tree) for tree in (*copied, moved)]
    for verification, name in zip(court.judge_all(asked), (*PROTECTED, PROTECTED[0]), strict=True):
        refused(verification, "17 allowed paths", name, alone=True)


@pytest.mark.parametrize(
    "char", ["\u202e", "\u2066", "\x1b", "\n", "\r", "\x7f", "\u0085", "\u2028", "\u00ad", "\ufeff"]
)
def test_034_names_that_look_like_others(char: str) -> None:
    verification = verify(Maker(changes=(change(f"a{char}b.py"),)).inputs())
    refused(verification, "16 paths", "cannot be part of a proposal")
    assert all(check.reason.isprintable() for check in verification.checks)


@pytest.mark.containers
def test_035_base_objects_that_are_not_the_base_s(court: Court) -> None:
    runner = court.runner
    tree = runner.built({"calc.py": FILE, "new.py": FILE})
    (first, second) = court.shown(tree)
    lies = (
        (replace(first, base_object="1" * 40), second),
        (replace(first, base_object=None, base_mode=None), second),
        (first, replace(second, base_object="1" * 40, base_mode="100644")),
        (replace(first, base_mode="100755"), second),
    )
    for verification in court.judge_all([runner.propose(tree, changes=lie) for lie in lies]):
        refused(verification, "14 changes", "differ about", alone=True)


RULES = ("policy.yaml", "trust/9.00000000.dsse.json", "images.lock.json", "requirements.lock", "x")


@pytest.mark.containers
def test_036_the_rules_by_which_it_is_judged(court: Court) -> None:
    asked = []
    for name in RULES:
        path = f".agent-pipeline/{name}"
        old = court.runner.clone.file(court.runner.base, path)
        asked.append(court.runner.propose(court.runner.built({path: Put((old or b"") + b"\n", "100644")})))
        if old:
            asked.append(court.runner.propose(court.runner.built({path: None})))
    for verification in court.judge_all(asked):
        refused(verification, "17 allowed paths", "never changed by an agent", alone=True)


# Beside the list.


@pytest.mark.containers
def test_a_carrier_with_another_parent_or_message(court: Court) -> None:
    runner = court.runner
    tree = runner.built({"calc.py": FILE})
    request = runner.propose(tree)
    pusher = Pusher(runner.clone.path, runner.team.bare)
    ref = f"refs/agent-pipeline/requests/{request}"
    record = runner.clone.tree(pusher.git("ls-remote", str(runner.team.bare), ref).split()[0])
    message = "Carrier of a proposed tree\n\nUnsigned and never merged: it only brings the tree along.\n"
    hidden = pusher.commit(tree, runner.base, message="hidden history\n")
    for parents, words in (((hidden,), message), ((runner.base, hidden), message), ((), message)):
        pusher.push(ref, pusher.commit(record, pusher.commit(tree, *parents, message=words)))
        refused(court.judge(request), "15 carrier")
    late = pusher.commit(tree, runner.base, message=f"{message}\nApproved-by: rosa\n")
    pusher.push(ref, pusher.commit(record, late))
    assert "no carrier" in court.failed(request)["changes"]


def test_two_readers_of_trees_must_agree(tmp_path: Path) -> None:
    """A mode that libgit2 and Git write differently: the second reader refuses what the first one accepts."""
    project = make_project(tmp_path / "p", {"a.py": b"x = 1\n"})
    base = project.git("rev-parse", "HEAD^{tree}")
    tree = project.raw_tree(("100664", b"a.py", project.blob(b"x = 2\n")))
    changes = trees.compare(project.clone, base, tree)
    with pytest.raises(AgentPipelineError):
        cross_check(project.clone, base, tree, changes)
