"""What a bundle proves at each stage, where no repository is; and that it holds no more than it must."""

from __future__ import annotations

from collections.abc import Callable
from datetime import timedelta
from pathlib import Path

import pytest
from support.bundles import Shared, bundled, changed, failed, manifest_of, outcome, proven
from support.carried import FILES, carried
from support.trust import NOW, alone

from agent_pipeline.bundle import logs
from agent_pipeline.bundle.exporting import export
from agent_pipeline.documents import bundle
from agent_pipeline.documents.approval import REJECTED
from agent_pipeline.documents.verification import FAILED, PASSED, SKIPPED, UNKNOWN
from agent_pipeline.errors import SignatureError
from agent_pipeline.repository.trees import Put

At = Callable[[str], Shared]
PROOFS = {
    "proposed": ("signed", "one person"),
    "staged": ("signed", "replayed", "regression", "reviewed 0/1", "2 persons"),
    "approved": ("signed", "replayed", "regression", "reviewed 1/1", "3 persons"),
    "merged": ("signed", "replayed", "regression", "reviewed 1/1", "3 persons"),
}
SIGNED = [("request", "ada"), ("provenance", "ada"), ("test-result", "robot"), ("summary", "robot")]
SIGNED += [("approval", "rita"), ("merge", "robot")]
STAGE = {"proposed": 2, "staged": 4, "approved": 5, "merged": 6}


@pytest.mark.parametrize("stage", PROOFS)
def test_it_proves_at_each_stage_what_was_done_by_then(at: At, stage: str) -> None:
    found = proven(at(stage).data, at(stage).root)
    assert failed(found.decision) == set()
    assert found.decision.verdict == PASSED
    assert found.decision.proofs == PROOFS[stage]
    assert found.state == {"approved": "staged"}.get(stage, stage)
    assert list(found.vouched.signatures) == SIGNED[: STAGE[stage]]


@pytest.mark.parametrize("stage", PROOFS)
def test_what_nobody_can_tell_offline_is_never_passed(at: At, stage: str) -> None:
    decision = proven(at(stage).data, at(stage).root).decision
    outcome_, why = outcome(decision, "later")
    assert outcome_ == SKIPPED
    size = logs.carried(bundle.read(at(stage).data)).size
    assert (f"entry {size - 1} of the log" if size else "an empty log") in why
    assert "version 1 of the trust root" in why
    if stage != "merged":
        assert outcome(decision, "target at the base")[0] == SKIPPED
        assert outcome(decision, "merge")[0] == SKIPPED
    if stage == "proposed":
        assert {outcome(decision, name)[0] for name in ("policy", "image", "trial", "rules")} == {SKIPPED}
    else:
        assert outcome(decision, "rules") == (PASSED, "robot admitted it under this policy")


def test_the_same_record_gives_the_same_bytes(at: At, tmp_path: Path) -> None:
    for stage in PROOFS:
        assert bundled(at(stage).made) == at(stage).data
    assert Shared.make(tmp_path / "again", "merged").data == at("merged").data


def test_a_merged_bundle_holds_long_after(at: At) -> None:
    years = NOW + timedelta(days=3000)
    assert proven(at("merged").data, at("merged").root, years).decision.verdict == PASSED
    late = proven(at("approved").data, at("approved").root, years).decision
    assert outcome(late, "trust root")[0] == UNKNOWN
    assert (late.verdict, late.proofs) == (UNKNOWN, ())


def test_it_goes_on_holding_when_the_rules_change_after_the_merge(tmp_path: Path) -> None:
    made = carried(tmp_path / "r", "merged")
    made.land({".agent-pipeline/policy.yaml": made.policy.replace(b"persons: 3", b"persons: 4")})
    found = proven(bundled(made), made.root)
    assert (found.state, found.decision.verdict) == ("merged", PASSED), failed(found.decision)


def test_the_size_follows_the_change_and_not_the_repository(tmp_path: Path) -> None:
    much = {f"d{number % 50}/e{number % 7}/f{number}.txt": b"x" * 5000 for number in range(2000)}
    small, large = (carried(tmp_path / name, "proposed", files=FILES | more) for name, more in (("a", {}), ("b", much)))
    sizes = [len(bundled(one)) for one in (small, large)]
    assert sizes[1] - sizes[0] < 3000  # the names of fifty more folders beside the changed ones


def test_nothing_of_other_files_is_in_it_and_no_old_content(at: At) -> None:
    for stage in PROOFS:
        data = at(stage).data
        assert b"secret-secret" not in data
        assert b"far from it" not in data
        assert b"beside it" not in data
        blobs = [one for name, one in bundle.read(data).below("objects").items() if one.startswith(b"blob ")]
        assert sorted(blobs) == [b"blob 4\0new\n", b"blob 9\0assert 1\n"]


def test_deleted_new_and_emptied_folders_are_told_as_they_are(tmp_path: Path) -> None:
    files = FILES | {"gone/a/b/c.txt": b"1", "gone/a/d.txt": b"2", "kept/x.txt": b"3"}
    puts: dict[str, Put | None] = {
        "gone/a/b/c.txt": None, "gone/a/d.txt": None, "kept/x.txt": None, "kept/y/z.txt": Put(b"4", "100644"),
    }  # fmt: skip
    shared = Shared.make(tmp_path / "r", "approved", files=files, puts=puts)
    found = proven(shared.data, shared.root)
    assert failed(found.decision) == set()
    assert sorted(found.dossier.proposal.paths) == sorted(puts)


def test_a_rejected_proposal_is_a_no(tmp_path: Path) -> None:
    made = carried(tmp_path / "r", "staged")
    rejection = made.maker.approval("rita", REJECTED, reason="it hides the mistake")
    made.attest(("approval", rejection))
    before = proven(bundled(made), made.root)
    assert "it hides the mistake" in outcome(before.decision, "rejections")[1]
    made.append("rejected", [rejection])
    found = proven(bundled(made), made.root)
    assert (found.state, found.decision.verdict) == ("rejected", FAILED)
    assert failed(found.decision) >= {"open", "rejections"}
    assert found.decision.proofs == ()


def test_without_the_pinned_root_it_says_nothing(at: At) -> None:
    with pytest.raises(SignatureError, match="is pinned"):
        proven(at("merged").data, f"sha256:{'0' * 64}")


def test_an_old_bundle_says_as_of_when(tmp_path: Path) -> None:
    """A key that was revoked since still counts in a bundle from before: it says up to where it knows."""
    made = carried(tmp_path / "r", "staged", requester="mel")
    old = bundled(made)
    made.revoke("mel", since=0)
    found = proven(bundled(made), made.root).decision
    assert "requester" in failed(found)
    assert found.verdict == FAILED
    before = proven(old, made.root).decision
    assert before.verdict == PASSED
    assert outcome(before, "later")[0] == SKIPPED
    assert "entry 0 of the log" in outcome(before, "later")[1]
    assert "version 1 of the trust root" in outcome(before, "later")[1]


def test_whoever_left_after_the_merge_still_counts_in_it(tmp_path: Path) -> None:
    made = carried(tmp_path / "r", "merged")
    made.revoke("rita", since=len(made.log), revoked=False)
    found = proven(bundled(made), made.root).decision
    assert failed(found) == set()
    assert found.proofs == PROOFS["merged"]


def test_one_person_alone_has_bundles_too(tmp_path: Path) -> None:
    solo = alone()
    who = {name: getattr(solo, name) for name in ("root", "requester", "runner", "ci", "merger", "reviewers")}
    made = carried(tmp_path / "r", "staged", policy=solo.policy, **who)
    found = proven(bundled(made), made.root).decision
    assert failed(found) == set()
    assert found.proofs[-1] == "one person"


def test_each_proposal_of_a_request_has_a_bundle_of_its_own(tmp_path: Path) -> None:
    made = carried(tmp_path / "r", "staged")
    first = bundled(made)
    made.propose_again({"src/app.py": Put(b"newer\n", "100644")})
    second = export(made.desk, made.id)[1]
    one = export(made.desk, f"{made.id}.1")[1]
    assert (manifest_of(second).number, manifest_of(one).number) == (2, 1)
    assert manifest_of(second).record == manifest_of(one).record != manifest_of(first).record
    for data, proofs in ((second, PROOFS["proposed"]), (one, PROOFS["staged"])):
        found = proven(data, made.root).decision
        assert (failed(found), found.proofs) == (set(), proofs)


def test_files_of_git_and_submodules_beside_the_change_do_no_harm(tmp_path: Path) -> None:
    files = FILES | {".gitmodules": b"[submodule]\n", ".gitattributes": b"* text=auto\n", "src/.gitignore": b"x\n"}
    shared = Shared.make(tmp_path / "r", "approved", files=files)
    assert failed(proven(shared.data, shared.root).decision) == set()


def test_a_trial_says_that_it_is_one(tmp_path: Path) -> None:
    shared = Shared.make(tmp_path / "r", "proposed", trial=True)
    found = proven(shared.data, shared.root)
    assert (found.state, failed(found.decision)) == ("trial", set())
    assert outcome(found.decision, "trial")[0] == SKIPPED
    lied = changed(shared.data, lambda _held: None, trial=False)
    assert "trial" in failed(proven(lied, shared.root).decision)
