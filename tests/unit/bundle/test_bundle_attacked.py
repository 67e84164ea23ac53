"""Bundles that somebody made by hand, every digest of their form right: refused, or they prove less, never more."""

from __future__ import annotations

import contextlib
import time
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from support.bundles import Contents, Shared, bundled, changed, failed, forged, manifest_of, outcome, proven
from support.carried import Carried, carried
from support.logs import prove
from support.trust import TEAM, Maker, root_of

from agent_pipeline.documents import strict
from agent_pipeline.documents.approval import REJECTED
from agent_pipeline.documents.git_object import GitObject
from agent_pipeline.documents.levels import level
from agent_pipeline.documents.summary import Summary
from agent_pipeline.documents.verification import FAILED, PASSED, SKIPPED, UNKNOWN
from agent_pipeline.errors import AgentPipelineError, RejectedError, SchemaError, SignatureError
from agent_pipeline.repository import commits, records, trees
from agent_pipeline.repository.records import Record
from agent_pipeline.repository.trees import Put

At = Callable[[str], Shared]
ELSEWHERE = "https://git.example.org/evil/app"


def names(data: bytes, folder: str) -> list[str]:
    return [content.name for content in manifest_of(data).contents if content.name.startswith(f"{folder}/")]


CHANGES: dict[str, Callable[[Contents, str], object]] = {
    "gone": lambda held, name: held.pop(name),
    "emptied": lambda held, name: held.update({name: b""}),
    "longer": lambda held, name: held.update({name: held[name] + b"\n"}),
}


@pytest.mark.parametrize("change", CHANGES.values(), ids=CHANGES)
def test_nothing_can_be_taken_out_or_changed_in_place(at: At, change: Callable[[Contents, str], object]) -> None:
    shared = at("merged")
    held = names(shared.data, "objects") + names(shared.data, "record") + names(shared.data, "rules")
    for name in held[:: 1 if change is CHANGES["gone"] else 5]:
        other = changed(shared.data, lambda contents: change(contents, name))  # noqa: B023 - called at once
        with pytest.raises(SchemaError):
            proven(other, shared.root)


def test_contents_cannot_change_places(at: At) -> None:
    shared = at("approved")
    held = names(shared.data, "record")

    def swap(contents: Contents) -> None:
        contents[held[0]], contents[held[1]] = contents[held[1]], contents[held[0]]

    with pytest.raises(SchemaError, match="exactly what its commits need"):
        proven(changed(shared.data, swap), shared.root)


BLOB = GitObject("blob", b"a stowaway")
ADDED = {
    "an object": {f"objects/{BLOB.name()}": BLOB.to_bytes()},
    "a file in the record": {"record/1/reports/more.json": b"{}"},
    "a rule": {"rules/trust/2.00000000.dsse.json": b"{}"},
    "the same object twice": {f"objects/{GitObject('blob', b'{}').name()}": GitObject("blob", b"{}").to_bytes()},
}


@pytest.mark.parametrize("more", ADDED.values(), ids=ADDED)
def test_nothing_can_be_put_in(at: At, more: Contents) -> None:
    with pytest.raises(SchemaError, match="exactly what its commits need"):
        proven(changed(at("merged").data, lambda held: held.update(more)), at("merged").root)


def test_an_object_under_another_name_is_refused(at: At) -> None:
    name = names(at("proposed").data, "objects")[0]
    with pytest.raises(SchemaError, match="is another one"):
        proven(
            changed(at("proposed").data, lambda held: held.update({f"objects/{'0' * 40}": held.pop(name)})),
            at("proposed").root,
        )


def test_the_manifest_cannot_point_elsewhere(at: At) -> None:
    shared = at("merged")
    said = manifest_of(shared.data)
    for more in (
        {"request": "a" * 16}, {"number": 2}, {"repository": ELSEWHERE}, {"branch": "refs/heads/other"},
        {"merge": None}, {"staged": None}, {"record": said.rules},
        {"rules": said.record}, {"merge": said.staged}, {"staged": said.merge}, {"merge": said.record},
    ):  # fmt: skip
        try:
            found = proven(changed(shared.data, lambda _held: None, **more), shared.root)
        except RejectedError:
            continue
        assert found.decision.verdict == FAILED, more


def test_a_trial_can_neither_be_claimed_nor_denied(at: At) -> None:
    found = proven(changed(at("staged").data, lambda _held: None, trial=True), at("staged").root).decision
    assert "trial" in failed(found)


LOST = {"summary": "admitted", "test-result": "proofs", "approval": "reviews"}
MERGED_WITHOUT = {
    "summary": {"admitted", "proofs", "persons", "merge summary"},
    "test-result": {"proofs", "merge summary"},
    "approval": {"reviews", "persons", "merge summary"},
    "merge": {"merge summary"},
}


@pytest.mark.parametrize("kind", LOST)
def test_a_stripped_attestation_is_missed(tmp_path: Path, kind: str) -> None:
    """The record is written anew without what somebody signed: the log knows of it, or there is one proof fewer."""
    made = carried(tmp_path / "r", "approved")
    whole = bundled(made)
    less = proven(forged(made, whole, record=_without(made, kind)), made.root).decision
    assert outcome(proven(whole, made.root).decision, LOST[kind])[0] == PASSED
    assert outcome(less, LOST[kind])[0] in (SKIPPED, FAILED)
    assert outcome(less, "admitted")[0] == (FAILED if kind == "summary" else PASSED)
    assert not set(less.proofs) >= {"replayed", "reviewed 1/1", "3 persons"}, less.proofs


def test_an_attestation_stripped_from_what_was_merged_is_a_no(tmp_path: Path) -> None:
    made = carried(tmp_path / "r", "merged")
    for kind, steps in MERGED_WITHOUT.items():
        less = proven(forged(made, bundled(made), record=_without(made, kind)), made.root).decision
        assert failed(less) == steps, kind
        assert less.verdict == FAILED


def _without(made: Carried, kind: str) -> str:
    """A record of one step that has all but one kind of attestation."""
    clone, record = made.clone, Record(made.id, made.tip, made.clone)
    gone: dict[str, Put | None] = {path: None for path in record.files() if f"/{kind}." in path}
    carrier = record.carrier(1)
    assert gone
    assert carrier is not None
    tree = trees.build(clone, clone.tree(made.tip), gone)
    draft = commits.draft(clone, tree, [carrier], records._RECORD_MESSAGE, *records._WHO, records._WHEN)
    return commits.write(clone, draft, None)


def test_a_log_of_another_repository_proves_nothing(at: At) -> None:
    shared = at("staged")
    other = Maker(entry_change=lambda one: replace(one, repository=ELSEWHERE))
    request = manifest_of(shared.data).request
    proof = prove([other.entry([], "admitted", [], request=request)], request).to_json()
    found = proven(changed(shared.data, lambda held: held.update({names(shared.data, "log")[0]: proof})), shared.root)
    assert "another repository" in outcome(found.decision, "log")[1]
    assert found.decision.verdict == FAILED


def test_a_trust_root_of_another_repository_is_not_the_pinned_one(tmp_path: Path, at: At) -> None:
    stranger = Shared.make(tmp_path / "r", "proposed", root=root_of({"ada": ("root", "requester", "runner", "policy"),
        "robot": ("ci", "merger"), "rita": ("reviewer",)}, bots=("robot",), repository=ELSEWHERE))  # fmt: skip
    with pytest.raises(SignatureError, match="is pinned"):
        proven(stranger.data, at("staged").root)


def test_rules_of_the_bundles_own_are_said_to_be_so(tmp_path: Path) -> None:
    """A runner that makes up a policy gets no further than being called the only one who says so; CI's word ends it."""
    loose = carried(tmp_path / "r").policy.replace(b'deny: [".github/**"]', b"deny: []")
    put = {".github/workflows/x.yml": Put(b"on: push\n", "100644")}
    made = carried(tmp_path / "loose", "proposed", policy=loose, puts=put)
    found = proven(bundled(made), made.root).decision
    assert outcome(found, "rules")[0] == SKIPPED
    assert outcome(found, "policy")[0] == SKIPPED
    assert "only its own rules say so" in outcome(found, "policy")[1]
    strict_ = carried(tmp_path / "strict", "proposed", puts=put)
    assert "allowed paths" in failed(proven(bundled(strict_), strict_.root).decision)


def test_rules_exchanged_under_an_admitted_proposal_are_found(tmp_path: Path) -> None:
    made = carried(tmp_path / "r", "staged")
    made.land({".agent-pipeline/policy.yaml": made.policy.replace(b"reviewers: 1", b"reviewers: 0")})
    found = proven(bundled(made), made.root).decision
    assert {"policy", "admitted"} <= failed(found)


MERGES = {"another tree": "tree", "another base": "base", "another staged commit": "staged", "not a merger": "key"}


@pytest.mark.parametrize("part", MERGES.values(), ids=MERGES)
def test_a_merge_commit_of_something_else_is_refused(tmp_path: Path, part: str) -> None:
    made = carried(tmp_path / "r", "approved")
    other = made.project.commit({"README": b"another\n"}, "elsewhere")
    tree = made.clone.tree(other)
    made.project.git("reset", "--quiet", "--hard", made.maker.proposal().base)
    made.merge()
    right = bundled(made)
    assert proven(right, made.root).decision.verdict == PASSED
    said = {"tree": tree, "base": other, "staged": other, "key": "ada"}[part]
    draft = made.merge_draft(**({} if part == "key" else {part: said}))
    merge = made.signed_commit(draft, said if part == "key" else made.maker.merger)
    try:
        found = proven(forged(made, right, merge=merge), made.root).decision
    except RejectedError:
        assert part == "base"  # that commit has no such rules
        return
    assert "merge" in failed(found)
    assert found.verdict == FAILED


def test_a_merge_onto_a_branch_that_had_moved_is_refused(tmp_path: Path) -> None:
    """The merger's own: signed, logged, of exactly this tree, and it undoes what landed in between."""
    made = carried(tmp_path / "r", "approved")
    made.land({"README": b"landed meanwhile\n"})
    moved = str(made.clone.ref("refs/heads/main"))
    made.merge()
    merge = made.signed_commit(made.merge_draft(base=moved), made.maker.merger)
    found = proven(forged(made, bundled(made), merge=merge), made.root).decision
    assert {"target at the base", "merge"} <= failed(found)
    assert found.verdict == FAILED


CLAIMS: dict[str, tuple[Callable[[Summary], Summary], str]] = {
    "another reviewer": (lambda one: _instead(one, "REVIEWED", "reviewed 2/1"), "its envelopes prove"),
    "another person": (lambda one: _instead(one, "PERSONS", "4 persons"), "its envelopes prove"),
    "another proof": (lambda one: _instead(one, "REGRESSION", "re-derived"), "its envelopes prove"),
    "one proof fewer": (lambda one: replace(one, levels=one.levels[1:]), "its envelopes prove"),
    "another policy": (lambda one: replace(one, policy="0" * 64), "in force was"),
    "a failure": (lambda one: replace(one, passed=False), "another result"),
    "another tree": (lambda one: replace(one, tree="1" * 40), "another change"),
    "another commit that it was put on": (lambda one: replace(one, merged_on="1" * 40), "another change"),
    "another target": (lambda one: replace(one, target="refs/heads/other"), "another target"),
    "another repository": (lambda one: replace(one, repository=ELSEWHERE), "another repository"),
    "an envelope that is nowhere": (lambda one: replace(one, inputs=(*one.inputs, "0" * 64)), "another envelopes"),
    "an envelope fewer": (lambda one: replace(one, inputs=one.inputs[1:]), "another envelopes"),
}


def _instead(summary: Summary, part: str, proof: str) -> Summary:
    return replace(summary, levels=tuple(level(proof) if part in one else one for one in summary.levels))


@pytest.mark.parametrize("claim", CLAIMS)
def test_a_merger_who_claims_something_else_is_refused(tmp_path: Path, claim: str) -> None:
    """The merger's own key signs it, and the log names it."""
    change, why = CLAIMS[claim]
    made = carried(tmp_path / "r", "approved")
    made.merge_change = change
    made.merge()
    found = proven(bundled(made), made.root).decision
    assert failed(found) == {"merge summary"}
    assert why in outcome(found, "merge summary")[1]
    assert (found.verdict, found.proofs) == (FAILED, ())


def test_a_level_that_nobody_here_knows_tells_nothing(tmp_path: Path) -> None:
    made = carried(tmp_path / "r", "approved")
    made.merge_change = lambda one: replace(one, levels=("ORG_SOURCE_AGENT_TOMORROW",))
    made.merge()
    found = proven(bundled(made), made.root)
    assert outcome(found.decision, "merge summary")[0] == UNKNOWN
    assert (found.decision.verdict, found.decision.proofs, found.vouched.signatures) == (UNKNOWN, (), ())


@pytest.mark.parametrize("which", ["the older", "the newer"])
def test_a_merge_by_somebody_who_changed_her_mind_twice_holds(tmp_path: Path, which: str) -> None:
    """Approved, rejected, approved again: whichever of her approvals the merge names (their bytes decide), it holds."""
    made = carried(tmp_path / "r", "staged")
    yes = made.maker.approval("rita", reason="it is right")
    no = made.maker.approval("rita", REJECTED, reason="it is not")
    again = made.maker.approval("rita", takes_back=(strict.sha256(no),))
    made.attest(("approval", yes), ("approval", no))
    made.append("rejected", [no], reviewer="rita")
    made.attest(("approval", again))
    made.append("approved", [again, no], reviewer="rita")
    made.counted = (yes if which == "the older" else again,)
    made.merge()
    found = proven(bundled(made), made.root).decision
    assert failed(found) == set()
    assert "reviewed 1/1" in found.proofs


def test_an_approval_that_came_after_the_merge_adds_nothing_and_takes_nothing(tmp_path: Path) -> None:
    root = root_of({**TEAM, "ruth": ("reviewer",)}, bots=("robot",))
    made = carried(tmp_path / "r", "merged", root=root)
    before = proven(bundled(made), made.root).decision
    made.attest(("approval", made.maker.approval("ruth")))
    after = proven(bundled(made), made.root).decision
    assert (after.verdict, after.proofs) == (before.verdict, before.proofs) == (PASSED, before.proofs)


STAGED = {"another tree": "tree", "a commit in between": "parent", "for another proposal": "words", "not CI's": "key"}


@pytest.mark.parametrize("part", STAGED.values(), ids=STAGED)
def test_a_staged_commit_of_something_else_is_refused(tmp_path: Path, part: str) -> None:
    made = carried(tmp_path / "r", "approved")
    proposal, right = made.maker.proposal(), made._staged()
    other = made.project.raw_commit(proposal.tree, proposal.base)
    tree = made.clone.tree(proposal.base)
    draft = {
        "tree": right.replace(proposal.tree.encode(), tree.encode(), 1),
        "parent": right.replace(proposal.base.encode(), other.encode(), 1),
        "words": right.replace(made.maker.statement().digest().encode(), b"0" * 64),
        "key": right,
    }[part]
    assert draft != right or part == "key"
    staged = made.signed_commit(draft, "ada" if part == "key" else made.maker.ci)
    found = proven(forged(made, bundled(made), staged=staged), made.root).decision
    assert failed(found) == {"staged"}
    assert found.verdict == FAILED


def test_trees_that_git_refuses_never_get_in(tmp_path: Path) -> None:
    made = carried(tmp_path / "r", "proposed")
    base = made.maker.proposal().base
    blob = made.project.blob(b"x")
    for row in (("40000", b".git"), ("100644", b"a/b"), ("100644", b"..")):
        inner = made.project.raw_tree(("100644", b"config", blob))
        tree = made.project.raw_tree((row[0], row[1], inner if row[0] == "40000" else blob))
        carrier = records.carrier(made.clone, base, tree)
        record = Record(made.id, made.tip, made.clone)
        tip = records.extend(made.clone, record, made.id, {"2/proposal.json": b"{}"}, carrier)
        with pytest.raises(AgentPipelineError):
            proven(forged(made, bundled(made), record=tip), made.root)


def test_trees_that_name_each_other_over_and_over_are_given_up(tmp_path: Path) -> None:
    """Directories that unfold without end, each differing from its neighbour: bounded in time before anything else."""
    made = carried(tmp_path / "r", "proposed")
    data, base = bundled(made), made.maker.proposal().base
    sides = []
    for content in (b"x", b"y"):
        inner = made.project.raw_tree(("100644", b"f", made.project.blob(content)))
        for depth in range(40):
            rows = [("40000", b"d%03d" % number, inner) for number in range(200)]
            inner = made.project.raw_tree(*rows, ("100644", b"z%d" % depth, made.project.blob(content)))
        sides.append(inner)
    first = made.project.raw_commit(sides[0], base)
    carrier = records.carrier(made.clone, first, sides[1])
    tip = records.extend(
        made.clone, Record(made.id, made.tip, made.clone), made.id, {"2/proposal.json": b"{}"}, carrier
    )
    begun = time.monotonic()
    with contextlib.suppress(RejectedError):
        assert proven(forged(made, data, record=tip), made.root).decision.verdict == PASSED
    assert time.monotonic() - begun < 60


@settings(max_examples=25, suppress_health_check=[HealthCheck.function_scoped_fixture], deadline=None)
@given(data=st.data())
def test_whatever_is_changed_it_is_refused_or_says_no_more_than_before(at: At, data: st.DataObject) -> None:
    """Somebody changes bytes of any content and makes all digests of the form right again."""
    shared = at("merged")
    held = manifest_of(shared.data).contents
    name = data.draw(st.sampled_from([content.name for content in held]))
    size = next(content.size for content in held if content.name == name)
    place, more = data.draw(st.integers(0, size)), data.draw(st.binary(max_size=8))
    cut = data.draw(st.integers(0, 8))

    def change(contents: Contents) -> None:
        contents[name] = contents[name][:place] + more + contents[name][place + cut :]

    other = changed(shared.data, change)
    if other == shared.data:
        return
    try:
        found = proven(other, shared.root).decision
    except RejectedError:
        return
    assert found.verdict != PASSED, (name, place, more, cut)
