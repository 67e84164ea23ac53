"""Every leaf of every signed document of a complete, accepted record, changed one by one.

With the old signature: refused at the signature, always. Signed again by the right key: refused by a step that binds
it, or on the list of what only its signer can know, with the reason. No member that a schema has is left out.
"""

from __future__ import annotations

import json
from collections.abc import Iterator
from dataclasses import replace
from typing import Any

import pytest
from support.courts import failed
from support.interop import STATEMENTS
from support.leaves import Path, changed, leaves, named, renamed, tried
from support.logs import prove
from support.members import missing, of_records, of_statement, places
from support.signed import (
    ENGINES,
    MAKER,
    NOT_ASKED,
    RECORD,
    ROOTS,
    WORDS,
    Signed,
    merged,
)
from support.trust import NOW, seal, seal_root

from agent_pipeline.attestation import log_entries, statements, trust
from agent_pipeline.documents import schema, strict
from agent_pipeline.documents.envelope import Envelope
from agent_pipeline.documents.root import PAYLOAD_TYPE as ROOT_TYPE
from agent_pipeline.documents.root import TrustRoot, first_digest
from agent_pipeline.documents.statement import PAYLOAD_TYPE
from agent_pipeline.documents.verification import PASSED
from agent_pipeline.errors import AgentPipelineError, SignatureError
from agent_pipeline.verify import decide, verify
from agent_pipeline.verify.inputs import Inputs

GOOD = MAKER.inputs()
LANDING = MAKER.landing()


def harmless(document: Signed, path: Path) -> bool:
    return any(named(path) == known or named(path).startswith(f"{known}/") for known in document.harmless)


@pytest.mark.parametrize("name", RECORD)
def test_every_leaf_with_the_old_signature_is_refused_at_the_signature(name: str) -> None:
    document = RECORD[name]
    assert document.counts(document.envelope)
    envelope = Envelope.from_json(document.envelope)
    altered = [*tried(envelope.payload), *renamed(envelope.payload)]
    assert len(altered) > 20
    for path, payload in altered:
        forged = replace(envelope, payload=payload)
        with pytest.raises(SignatureError, match="not one by key"):
            statements.signer(forged, document.root)
        assert not document.counts(forged.to_json()), named(path)


@pytest.mark.parametrize("name", RECORD)
def test_every_leaf_signed_again_is_bound_or_on_the_list(name: str) -> None:
    document = RECORD[name]
    for path, payload in tried(document.payload):
        again = seal(PAYLOAD_TYPE, payload, document.signer)
        assert document.counts(again) == harmless(document, path), named(path)


@pytest.mark.parametrize("name", RECORD)
def test_every_member_under_another_name_is_refused_whoever_signs_it(name: str) -> None:
    document = RECORD[name]
    for path, payload in renamed(document.payload):
        assert not document.counts(seal(PAYLOAD_TYPE, payload, document.signer)), named(path)


# Documents whose subject is their own predicate: a change in one place contradicts itself, so here the subject follows
# it. What their signer may say otherwise then:
FREE = {
    "request": {},
    "closure": {"predicate/created": WORDS, "predicate/reason": WORDS},
    "log_entry": {},
    "offer": {
        "predicate/created": WORDS,
        "predicate/repository": "as whoever offers addresses it; who takes the key in compares it",
    },
}


def about_itself(payload: bytes) -> bytes:
    value = json.loads(payload)
    value["subject"][0]["digest"]["sha256"] = strict.sha256(strict.canonical(value["predicate"]))
    return strict.canonical(value)


@pytest.mark.parametrize("name", [name for name, one in RECORD.items() if one.stem in FREE])
def test_every_leaf_of_what_is_about_itself_is_signed_and_bound_when_its_subject_follows(name: str) -> None:
    document = RECORD[name]
    envelope = Envelope.from_json(document.envelope)
    assert about_itself(envelope.payload) == envelope.payload
    for path, altered in tried(envelope.payload):
        if path[0] == "predicate":
            payload = about_itself(altered)
            assert not document.counts(replace(envelope, payload=payload).to_json()), named(path)
            again = seal(PAYLOAD_TYPE, payload, document.signer)
            assert document.counts(again) == (named(path) in FREE[document.stem]), named(path)


@pytest.mark.parametrize("name", [name for name, one in RECORD.items() if one.stem == "log_entry"])
def test_every_leaf_of_the_log_s_newest_entry_is_signed(name: str) -> None:
    """Nothing after it says which it was: its signature alone does."""
    envelope = Envelope.from_json(RECORD[name].envelope)
    log_entries.read(envelope.to_json(), MAKER.root)
    for path, altered in tried(envelope.payload):
        if path[0] == "predicate":
            with pytest.raises(AgentPipelineError):
                log_entries.read(replace(envelope, payload=about_itself(altered)).to_json(), MAKER.root)


# What a merger may say otherwise in a summary that the log names. The bundle's step `merge summary` asks the rest.
SAID = {
    "predicate/verifier/version/agent-pipeline": WORDS,
    "predicate/timeVerified": WORDS,
    "predicate/x-agent-pipeline/checks/0/name": WORDS,
    "predicate/x-agent-pipeline/checks/0/reason": WORDS,
    "predicate/policy/digest/sha256": "which one was in force then only the merge's base says: tests/unit/bundle",
}


def test_every_leaf_of_a_merge_s_summary_that_the_log_names_is_bound_when_the_merger_signs_it() -> None:
    for path, payload in tried(RECORD["merge"].payload):
        again = seal(PAYLOAD_TYPE, payload, RECORD["merge"].signer)
        assert merged(MAKER, again)(again) == (named(path) in SAID), named(path)


@pytest.mark.parametrize("name", RECORD)
def test_the_list_names_what_is_there_and_why(name: str) -> None:
    document = RECORD[name]
    paths = [named(path) for path in leaves(json.loads(document.payload))]
    for known, why in document.harmless.items():
        assert [path for path in paths if path == known or path.startswith(f"{known}/")], known
        assert why


# What CI may say otherwise when it signs again and logs that: its word about itself, and what each reader finds anew.
CI_S_OWN = {
    "test-result": {},
    "summary": {
        "verifier/version": NOT_ASKED,
        "timeVerified": NOT_ASKED,
        "verifiedLevels": "CI's words; a merge computes its own",
        "x-agent-pipeline/checks/0/name": WORDS,
        "x-agent-pipeline/checks/0/reason": WORDS,
    },
}


@pytest.mark.parametrize("name", CI_S_OWN)
def test_every_leaf_of_what_the_log_admits_is_bound_when_ci_signs_again(name: str) -> None:
    """A summary and a test result that CI signed anew, and that the log names: CI's word counts, and its own checks."""
    old, free = RECORD[name].envelope, CI_S_OWN[name]
    payload = Envelope.from_json(old).payload
    for path in leaves(json.loads(payload)):
        new = seal(PAYLOAD_TYPE, changed(payload, path), "robot")
        kept = tuple(new if data == old else data for data in LANDING.attestations)
        log = prove([MAKER.entry([], "admitted", [kept[1], kept[2]])], GOOD.request)
        decision = decide(replace(LANDING, attestations=kept, inputs=replace(GOOD, log=log)))
        said = named(path).removeprefix("predicate/")
        assert (decision.verdict == PASSED) == any(said.startswith(known) for known in free), said


PIN = first_digest(ROOTS[0].to_json())


def loaded(*versions: bytes, pin: str = PIN) -> TrustRoot | None:
    """The newest version, None when it is refused."""
    try:
        return trust.load_root([[data] for data in versions], pin=pin, now=NOW)
    except AgentPipelineError:
        return None


def test_every_leaf_of_the_trust_root_is_signed_and_the_first_is_pinned() -> None:
    (envelope,) = seal_root(ROOTS[0], "ada")
    assert loaded(envelope) == ROOTS[0]
    for path, altered in (*tried(ROOTS[0].to_json()), *renamed(ROOTS[0].to_json())):
        old = replace(Envelope.from_json(envelope), payload=altered)
        with pytest.raises(SignatureError, match="not one by key"):
            statements.signer(old, ROOTS[0], ROOT_TYPE)
        again = seal(ROOT_TYPE, altered, "ada")
        for data, at in ((old.to_json(), PIN), (old.to_json(), first_digest(altered)), (again, PIN)):
            assert loaded(data, pin=at) is None, named(path)


@pytest.mark.parametrize("number", [2, 3])
def test_every_leaf_of_a_later_version_of_the_trust_root_is_signed(number: int) -> None:
    """No pin holds these: the signatures of who may make the next one do, and those alone."""
    versions = [seal_root(root, "ada")[0] for root in ROOTS[:number]]
    assert loaded(*versions) == ROOTS[number - 1]
    envelope = Envelope.from_json(versions[-1])
    for path, altered in (*tried(envelope.payload), *renamed(envelope.payload)):
        forged = replace(envelope, payload=altered)
        with pytest.raises(SignatureError, match="not one by key"):
            statements.signer(forged, ROOTS[number - 1], ROOT_TYPE)
        assert loaded(*versions[:-1], forged.to_json()) is None, named(path)


@pytest.mark.parametrize("number", [2, 3])
def test_no_signature_on_a_leaf_by_who_may_not_make_the_next_version_helps(number: int) -> None:
    versions = [seal_root(root, "ada")[0] for root in ROOTS[: number - 1]]
    for path, altered in tried(ROOTS[number - 1].to_json()):
        assert loaded(*versions, seal(ROOT_TYPE, altered, "robot")) is None, named(path)


def test_every_leaf_of_the_manifest_is_bound() -> None:
    """The manifest is signed as the provenance's subject."""
    for path, altered in tried(GOOD.manifest):
        found = failed(verify(replace(GOOD, manifest=altered)))
        assert {"manifest", "documents"} & set(found), named(path)


def told(records: list[dict[str, Any]]) -> list[dict[str, Any]]:
    """A run's records with everything that any record may have."""
    header, *middle, end = records
    header |= {"system_digest": "a" * 64, "sdk": "0.40.0"} if header["engine"] != "command" else {}
    turn: dict[str, Any] = {"type": "turn", "step": 1, "request_digest": "b" * 64, "stop_reason": "tool_use"}
    turn |= {"content": [{"type": "text", "text": "I look"}], "usage": {"input_tokens": 1}, "model": "m"}
    turn |= {"request_id": "r", "message_id": "i", "stop_details": {"type": "none"}}
    tool = {"type": "tool", "step": 1, "id": "t", "name": "run_check", "ok": True, "content": "", "truncated": False}
    middle = [one | {"truncated": False} if one["type"] == "command" else one for one in middle]
    kept = [header, *middle, *([] if header["engine"] == "command" else [turn, tool])]
    return [*kept, end | {"records": len(kept) + 1, "detail": "done"}]


RUNS = {engine: replace(maker, made={}, records_change=told).inputs() for engine, maker in ENGINES.items()}


def lines(run: Inputs) -> Iterator[tuple[str, Path, bytes]]:
    """Every leaf of every record: the record's type, the leaf, and the transcript in which it is another."""
    kept = run.transcript.splitlines()
    for number, line in enumerate(kept):
        for path, altered in tried(line):
            yield json.loads(line)["type"], path, b"\n".join([*kept[:number], altered, *kept[number + 1 :], b""])


@pytest.mark.parametrize("engine", RUNS)
def test_every_leaf_of_the_transcript_is_bound(engine: str) -> None:
    assert verify(RUNS[engine]).verdict == PASSED
    for kind, path, altered in lines(RUNS[engine]):
        assert set(failed(verify(replace(RUNS[engine], transcript=altered)))) == {"transcript"}, (kind, named(path))


def test_every_byte_of_the_policy_is_bound() -> None:
    for position in range(len(GOOD.policy_bytes)):
        altered = bytearray(GOOD.policy_bytes)
        altered[position] ^= 1
        if position % 16 == 0:
            assert {"policy", "documents"} & set(failed(verify(replace(GOOD, policy_bytes=bytes(altered))))), position
        assert strict.sha256(bytes(altered)) != strict.sha256(GOOD.policy_bytes)


def test_every_byte_of_a_staged_commit_and_its_signature_is_bound() -> None:
    payload, armored = MAKER.staged()
    for position in range(0, len(payload), 3):
        altered = payload[:position] + bytes([payload[position] ^ 1]) + payload[position + 1 :]
        assert "staged" in failed(decide(replace(LANDING, staged=(altered, armored)))), position
    body = armored.index("\n") + 1, armored.rindex("\n-----END")
    for position in range(*body, 5):
        letter = "A" if armored[position] != "A" else "B"
        altered_armor = armored[:position] + letter + armored[position + 1 :]
        assert "staged" in failed(decide(replace(LANDING, staged=(payload, altered_armor)))), position


# Every form that there is, and for which nothing above changes anything, why.
SCHEMAS = {path.name.removesuffix(".schema.json") for path in schema.data_folder("schemas").glob("*.schema.json")}
UNSIGNED = {
    "bundle": "nobody signs it: what it carries is signed, and its digests are its form's own",
    "envelope": "what holds a signature; it signs the payload, and its type with it",
    "image_recipe": "where the images of the lock come from; no verifier reads it",
    "images_lock": "on the protected branch, as the policy is, whose every byte is changed above",
    "log_proof": "hashes up to what the log's newest entry commits to, which is changed above",
    "pins": "what somebody pinned for himself",
    "policy": "no JSON: its every byte is changed above",
    "seen_root": "what somebody saw himself",
    "submission": "what a model claims; what is signed is what the host found",
    "verification": "what a verifier says, to whoever asked it",
}


def altered_in(stem: str) -> set[Path]:
    """The leaves that the tests above change in the documents of one form."""
    match stem:
        case "root":
            return {path for root in ROOTS for path, _ in tried(root.to_json())}
        case "proposal":
            return {path for path, _ in tried(GOOD.manifest)}
        case "transcript":
            return {(kind, *path) for run in RUNS.values() for kind, path, _ in lines(run)}
        case _:
            return {path for one in RECORD.values() if one.stem == stem for path, _ in tried(one.payload)}


def of_form(stem: str) -> set[Path]:
    """All members that a form has."""
    if stem == "transcript":
        return of_records()
    return set(places(schema.load(stem))) if stem in {"root", "proposal"} else of_statement(stem)


SIGNED = {one.stem for one in RECORD.values()} | {"root", "proposal", "transcript"}


@pytest.mark.parametrize("stem", sorted(SIGNED))
def test_no_member_that_a_schema_has_is_left_out(stem: str) -> None:
    """A member that is new in a schema is in none of these documents yet: put it into one, so that it is changed."""
    assert len(of_form(stem)) > 5
    assert missing(of_form(stem), altered_in(stem)) == set()


def test_no_form_and_no_kind_is_left_out() -> None:
    inside = {"statement", "replay_result"}  # of every signed statement, and of a test result: `of_statement`
    assert SIGNED | inside | UNSIGNED.keys() == SCHEMAS
    assert not (SIGNED | inside) & UNSIGNED.keys()
    assert STATEMENTS.keys() <= RECORD.keys()
    wanted = schema.load("root")["properties"]["keys"]["additionalProperties"]["properties"]["scheme"]["enum"]
    assert {key.scheme for key in ROOTS[-1].keys} == {grant.scheme for grant in ROOTS[-1].former} == set(wanted)
    assert {grant.revoked for grant in ROOTS[-1].former} == {True, False}


def test_a_member_that_no_document_has_is_missed() -> None:
    """What the tests above rest on: the comparison itself says no."""
    form, there = of_form("approval"), altered_in("approval")
    assert missing(form | {("predicate", "seal")}, there) == {("predicate", "seal")}
    assert missing(form, {path for path in there if path[1:2] != ("takes_back",)}) == {
        ("predicate", "takes_back"),
        ("predicate", "takes_back", None),
    }
