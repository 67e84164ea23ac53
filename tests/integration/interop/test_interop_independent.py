"""A verifier written from docs/wire-format.md alone says what ours says: yes to what is genuine, no to what is not."""

from __future__ import annotations

import ast
import base64
import contextlib
import json
import sys
from collections.abc import Callable
from dataclasses import replace
from datetime import timedelta
from pathlib import Path

import independent_verifier
import pytest
from cryptography.exceptions import InvalidSignature
from independent_trust import follow
from independent_verifier import Verdict
from independent_wire import Commit, Envelope, NoError, load_key, moment, ssh_signer
from support.bundles import Contents, Shared, bundled, changed, forged, manifest_of, proven
from support.carried import Carried, carried
from support.interop import P256, SCHEMES, STATEMENTS, both_forms, pair, with_key
from support.trust import NOW, TEAM, root_of, seal_root

from agent_pipeline.attestation import drafts, dsse, sshsig
from agent_pipeline.attestation.trust import load_root
from agent_pipeline.documents import moments
from agent_pipeline.documents.envelope import Envelope as SignedEnvelope
from agent_pipeline.documents.levels import level
from agent_pipeline.documents.root import first_digest
from agent_pipeline.documents.statement import PAYLOAD_TYPE
from agent_pipeline.documents.verification import PASSED
from agent_pipeline.errors import RejectedError
from agent_pipeline.repository import commits, records, trees
from agent_pipeline.repository.records import Record
from agent_pipeline.repository.trees import Put

At = Callable[[str], Shared]
HERE = Path(__file__).parent
STAGES = ("proposed", "staged", "approved", "merged")


@pytest.fixture(scope="module")
def at(tmp_path_factory: pytest.TempPathFactory) -> At:
    made = {stage: Shared.make(tmp_path_factory.mktemp(stage) / "r", stage) for stage in STAGES}
    return made.__getitem__


def independent(data: bytes, root: str) -> Verdict:
    return independent_verifier.verify(data, root, NOW)


def both_refuse(data: bytes, root: str) -> str:
    """Both say no; return what the independent one said."""
    with pytest.raises(NoError) as said:
        independent(data, root)
    with contextlib.suppress(RejectedError):
        assert proven(data, root).decision.verdict != PASSED
    return str(said.value)


def test_it_imports_nothing_of_ours() -> None:
    files = sorted(HERE.glob("independent_*.py"))
    assert len(files) == 5
    for file in files:
        nodes = list(ast.walk(ast.parse(file.read_text())))
        imported = {alias.name for node in nodes if isinstance(node, ast.Import) for alias in node.names}
        imported |= {str(node.module) for node in nodes if isinstance(node, ast.ImportFrom)}
        tops = {name.partition(".")[0] for name in imported}
        assert tops <= {*sys.stdlib_module_names, "cryptography", *(file.stem for file in files)}, file.name


@pytest.mark.parametrize("stage", STAGES)
def test_both_say_yes_and_the_same(at: At, stage: str) -> None:
    told, ours = independent(at(stage).data, at(stage).root), proven(at(stage).data, at(stage).root)
    assert ours.decision.verdict == PASSED
    assert told.proposal == ours.decision.proposal
    assert told.state == {"approved": "staged"}.get(stage, stage) == ours.state
    assert told.approvals == ({"rita"} if stage in ("approved", "merged") else set())
    assert told.people == {who for _, who in ours.vouched.signatures}
    levels = [level(word) for word in ours.decision.proofs]
    own = ("REVIEWED", "PERSONS") if stage != "merged" else ()  # are said of what was merged alone
    assert told.levels == [one for one in levels if not any(word in one for word in own)]


def test_another_pin_is_refused(at: At) -> None:
    assert "pinned" in both_refuse(at("merged").data, f"sha256:{'0' * 64}")


def test_a_byte_changed_in_any_content_is_refused(at: At) -> None:
    shared = at("merged")
    for content in manifest_of(shared.data).contents:

        def flip(held: Contents, name: str = content.name) -> None:
            held[name] = _flipped(held[name])

        with pytest.raises(NoError):
            independent(changed(shared.data, flip), shared.root)
    for place in range(0, len(shared.data), 97):
        with pytest.raises(NoError):
            independent(shared.data[:place] + bytes([shared.data[place] ^ 1]) + shared.data[place + 1 :], shared.root)
    for other in (shared.data[:-1], shared.data + b"\n", b"", b"agentpatch 1 "):
        both_refuse(other, shared.root)


def _flipped(data: bytes) -> bytes:
    middle = len(data) // 2
    return data[:middle] + bytes([data[middle] ^ 1]) + data[middle + 1 :]


DOCUMENTS = ("request.dsse.json", "proposal.json", "transcript.jsonl", "provenance.")
DOCUMENTS += ("summary.", "test-result.", "approval.", "merge.")  # fmt: skip


@pytest.mark.parametrize("document", DOCUMENTS)
def test_a_byte_changed_in_a_document_is_refused_though_everything_around_it_was_made_again(
    tmp_path: Path, document: str
) -> None:
    made = carried(tmp_path / "r", "merged")
    path = next(path for path in Record(made.id, made.tip, made.clone).files() if document in path)
    whole = bundled(made)
    independent(whole, made.root)
    both_refuse(forged(made, whole, record=_rewritten(made, path, _flipped)), made.root)


def _rewritten(made: Carried, path: str, change: Callable[[bytes], bytes]) -> str:
    """A record of one step that has all files, one of them changed."""
    record, clone = Record(made.id, made.tip, made.clone), made.clone
    data, carrier = record.read(path), record.carrier(1)
    assert data is not None
    assert carrier is not None
    tree = trees.build(clone, clone.tree(made.tip), {path: Put(change(data), "100644")})
    draft = commits.draft(clone, tree, [carrier], records._RECORD_MESSAGE, *records._WHO, records._WHEN)
    return commits.write(clone, draft, None)


@pytest.mark.parametrize("which", ["staged", "merge"])
def test_a_signed_commit_whose_message_was_changed_is_refused(tmp_path: Path, which: str) -> None:
    made = carried(tmp_path / "r", "merged")
    whole = bundled(made)
    raw = made.clone.raw(str(getattr(manifest_of(whole), which)))
    head, _, message = raw.partition(b"\n\n")
    signed = head.partition(b"gpgsig ")[2].decode().replace("\n ", "\n")
    draft = head.partition(b"gpgsig ")[0].rstrip(b"\n") + b"\n\n" + message + b"more\n"
    other = commits.write(made.clone, draft, signed)
    both_refuse(forged(made, whole, **{which: other}), made.root)


def test_a_strangers_approval_counts_for_nothing(tmp_path: Path) -> None:
    for name in ("mallory", "ada", "robot"):  # unknown, who asked, CI
        made = carried(tmp_path / name, "approved", reviewers=(name,))
        assert independent(bundled(made), made.root).approvals == set()
        landed = carried(tmp_path / f"{name}-merged", "merged", reviewers=(name,))
        assert "fewer people approved" in both_refuse(bundled(landed), landed.root)


def test_one_person_with_two_approvals_is_one(tmp_path: Path) -> None:
    made = carried(tmp_path / "r", "approved", reviewers=("rita",))
    again = made.maker.approval("rita", reason="twice")
    made.attest(("approval", again))
    assert independent(bundled(made), made.root).approvals == {"rita"}


def test_both_count_the_one_form_of_an_approval_on_p256_and_not_its_twin(tmp_path: Path) -> None:
    rita = pair(P256, "rita")
    made = carried(tmp_path / "r", "staged", root=with_key(root_of(TEAM, bots=("robot",)), "rita", rita.public))
    payload = SignedEnvelope.from_json(made.maker.approval("rita")).payload
    low, high = both_forms(rita.sign(dsse.pae(PAYLOAD_TYPE, payload)))
    for signature, people_counted in ((high, set()), (low, {"rita"})):
        made.attest(("approval", SignedEnvelope(PAYLOAD_TYPE, payload, rita.public.keyid, signature).to_json()))
        data = bundled(made)
        assert independent(data, made.root).approvals == people_counted
        assert {who for what, who in proven(data, made.root).vouched.signatures} & {"rita"} == people_counted


def test_a_proof_of_the_log_that_leaves_something_out_is_refused(at: At) -> None:
    shared = at("merged")
    for member in ("entries", "nodes"):
        proof = json.loads(_contents(shared.data)["log/proof.json"])
        assert proof[member]
        for place in range(len(proof[member])):
            less = proof | {member: proof[member][:place] + proof[member][place + 1 :]}
            data = json.dumps(less, sort_keys=True, separators=(",", ":")).encode()
            both_refuse(changed(shared.data, lambda held: held.update({"log/proof.json": data})), shared.root)  # noqa: B023 - called at once


def test_a_newest_entry_that_is_written_in_another_way_is_refused(at: At) -> None:
    shared = at("merged")
    proof = json.loads(_contents(shared.data)["log/proof.json"])
    head = base64.b64encode(base64.b64decode(proof["head"]) + b"\n").decode()
    data = json.dumps(proof | {"head": head}, sort_keys=True, separators=(",", ":")).encode()
    said = both_refuse(changed(shared.data, lambda held: held.update({"log/proof.json": data})), shared.root)
    assert "one form" in said


def test_an_approval_that_came_after_the_merge_adds_nothing(tmp_path: Path) -> None:
    made = carried(tmp_path / "r", "merged", root=root_of({**TEAM, "ruth": ("reviewer",)}, bots=("robot",)))
    levels = independent(bundled(made), made.root).levels
    made.attest(("approval", made.maker.approval("ruth")))
    data = bundled(made)
    assert independent(data, made.root).levels == levels
    assert [level(word) for word in proven(data, made.root).decision.proofs] == levels


@pytest.mark.parametrize("claim", ["policy", "levels", "inputs", "tree"])
def test_a_merger_who_claims_something_else_is_refused(tmp_path: Path, claim: str) -> None:
    other = {"policy": "0" * 64, "levels": (level("signed"),), "inputs": ("0" * 64,), "tree": "1" * 40}[claim]
    made = carried(tmp_path / "r", "approved")
    made.merge_change = lambda one: replace(one, **{claim: other})
    made.merge()
    assert "claims" in (said := both_refuse(bundled(made), made.root)) or "summary" in said


def test_what_was_rejected_closed_or_stopped_is_refused(tmp_path: Path) -> None:
    of_nothing = dict.fromkeys(("request", "number", "statement"))
    events = (("rejected", {"reviewer": "rita"}), ("rejected", {}), ("closed", {}), ("stopped", of_nothing))
    for event, fields in events:
        made = carried(tmp_path / f"{event}{len(fields)}", "approved")
        made.append(event, [], **fields)
        both_refuse(bundled(made), made.root)


ENDS = {"the reviewer, before": ("rita", 0), "the reviewer, at her approval": ("rita", 1)}
ENDS |= {"the reviewer, after": ("rita", 2), "CI and merger, after": ("robot", 2)}


@pytest.mark.parametrize("revoked", [True, False], ids=["revoked", "retired"])
@pytest.mark.parametrize("end", ENDS)
def test_keys_that_ended_count_by_the_log(tmp_path: Path, end: str, *, revoked: bool) -> None:
    name, since = ENDS[end]
    made = carried(tmp_path / "r", "merged")
    made.revoke(name, since=since, revoked=revoked)
    data = bundled(made)
    if since == 2:
        assert independent(data, made.root).state == "merged"
        assert proven(data, made.root).decision.verdict == PASSED
    else:
        assert "fewer people" in both_refuse(data, made.root)


def both_follow(versions: list[tuple[bytes, ...]], pin: str) -> bool:
    """Whether both say yes to a chain of versions; they never differ."""
    try:
        ours = load_root(versions, pin=pin, now=NOW).version
    except RejectedError:
        ours = 0
    try:
        told = follow([[Envelope.read(data) for data in version] for version in versions], pin).version
    except (NoError, InvalidSignature, ValueError):
        told = 0
    assert ours == told
    return told > 0


def test_the_roots_chain_counts_people_and_keeps_what_ended() -> None:
    later = NOW + timedelta(days=300)
    first = root_of({"ada": ("root", "ci"), "bob": ("root",), "rosa": ("reviewer",)}, threshold=2)
    pin = first_digest(first.to_json())
    second = drafts.remove(first, "rosa", (), until=3, expires=later)
    signed = [seal_root(first, "ada", "bob"), seal_root(second, "ada", "bob")]
    assert both_follow(signed, pin)
    assert not both_follow(signed, "0" * 64)
    assert not both_follow(signed[1:], pin)
    for who in (("ada",), ("ada", "ada"), ("ada", "rosa"), ("ada", "eve")):
        assert not both_follow([signed[0], seal_root(second, *who)], pin), who
        assert not both_follow([seal_root(first, *who)], pin), who
    third = drafts.renew(second, expires=later + timedelta(days=1))
    assert both_follow([*signed, seal_root(third, "ada", "bob")], pin)
    (ended,) = third.former
    for former in ((), (replace(ended, until=4),), (replace(ended, roles=()),), (replace(ended, owner="ada"),)):
        assert not both_follow([*signed, seal_root(replace(third, former=former), "ada", "bob")], pin), former
    assert not both_follow([signed[0], seal_root(replace(second, former=()), "ada", "bob")], pin)


def test_both_read_the_same_moments() -> None:
    ends = ("1000-01-01T00:00:00Z", "9998-12-31T23:59:59Z", "2024-02-29T00:00:00Z")
    for text in ends:
        assert moment(text) == moments.parse(text)
    others = ("0999-12-31T23:59:59Z", "9999-01-01T00:00:00Z", "2025-02-29T00:00:00Z", "2026-01-31T12:00:60Z")
    for text in (*others, "2026-01-31T12:00:00z", "2026-01-31 12:00:00Z", "2026-01-31T24:00:00Z", f"{ends[0]}\n"):
        with pytest.raises((NoError, ValueError)):
            moment(text)
        with pytest.raises(RejectedError):
            moments.parse(text)


@pytest.mark.parametrize("scheme", SCHEMES)
def test_it_reads_both_schemes(scheme: str) -> None:
    one = pair(scheme)
    key = load_key(one.public.keyid, one.public.scheme, one.public.public)
    Envelope.read(one.seal(PAYLOAD_TYPE, STATEMENTS["approval"])).check(key, PAYLOAD_TYPE)
    draft = b"tree " + b"0" * 40 + b"\n\nmessage\n"
    armor = sshsig.armor(one.sign(sshsig.blob_to_sign(draft)), one.public).strip().replace("\n", "\n ")
    commit = Commit.read(b"tree " + b"0" * 40 + f"\ngpgsig {armor}\n\nmessage\n".encode())
    assert commit.signed == draft
    assert ssh_signer(commit) == one.public.keyid


def _contents(data: bytes) -> Contents:
    found: Contents = {}
    changed(data, found.update)
    return found
