"""Every leaf of every signed document of a complete, accepted record, changed one by one.

With the old signature: refused at the signature, always. Signed again by the right key: refused by a step that binds
it, or on the list of what only its signer can know, with the reason.
"""

from __future__ import annotations

import json
from collections.abc import Callable, Iterator
from dataclasses import dataclass, replace
from datetime import timedelta
from typing import Any

import pytest
from support.courts import failed
from support.logs import prove, standing
from support.trust import NOW, Maker, root_of, seal, seal_root, sign

from agent_pipeline.attestation import statements, trust
from agent_pipeline.documents import moments, strict
from agent_pipeline.documents.closure import Closure
from agent_pipeline.documents.envelope import Envelope
from agent_pipeline.documents.root import PAYLOAD_TYPE as ROOT_TYPE
from agent_pipeline.documents.root import first_digest
from agent_pipeline.documents.statement import PAYLOAD_TYPE
from agent_pipeline.documents.verification import PASSED
from agent_pipeline.errors import AgentPipelineError, SignatureError
from agent_pipeline.verify import decide, verify

Path = tuple[Any, ...]
MAKER = Maker()
GOOD = MAKER.inputs()
LANDING = MAKER.landing()
NOT_ASKED = "the runner's word about its own run: shown as `asserted by the runner`, and no decision reads it"
WORDS = "words for people; no decision reads them"


def leaves(value: Any, path: Path = ()) -> Iterator[Path]:
    items = value.items() if isinstance(value, dict) else enumerate(value) if isinstance(value, list) else None
    if items is None or not value:
        yield path
        return
    for name, item in items:
        yield from leaves(item, (*path, name))


def other(leaf: Any) -> Any:
    """A value of the same kind, and where it can be of the same form, that is not the same."""
    if isinstance(leaf, bool):
        return not leaf
    if isinstance(leaf, int):
        return leaf + 1
    if isinstance(leaf, list):
        return ["a"]
    if isinstance(leaf, dict):
        return {"a": "a"}
    if leaf.endswith("Z") and leaf[4:5] == "-":
        return moments.write(moments.parse(leaf) + timedelta(seconds=1))
    return leaf[:-1] + ("0" if leaf[-1] == "1" else "1") if leaf else "a"


def changed(payload: bytes, path: Path) -> bytes:
    value = json.loads(payload)
    place = value
    for name in path[:-1]:
        place = place[name]
    place[path[-1]] = other(place[path[-1]])
    return strict.canonical(value)


def named(path: Path) -> str:
    return "/".join(str(part) for part in path)


@dataclass(frozen=True)
class Signed:
    """One signed document of the record: its envelope, who signs it, and whether the record still does with another.

    `accepts` says whether everything passes with that envelope in its place. `harmless` are the leaves that a genuine
    signer may have changed, each with the reason; a path ends there, or goes on below it.
    """

    envelope: bytes
    signer: str
    accepts: Callable[[bytes], bool]
    harmless: dict[str, str]


def in_attestations(old: bytes) -> Callable[[bytes], bool]:
    """Exchange an envelope beside the proposal, and in the log's entry that admitted it, so that this is not why."""

    def accepts(new: bytes) -> bool:
        kept = tuple(new if data == old else data for data in LANDING.attestations)
        return decide(replace(LANDING, attestations=kept)).verdict == PASSED

    return accepts


def chained(new: bytes) -> bool:
    """The entry in the middle of a log: the next one names its envelope, and cannot be exchanged with it."""
    try:
        standing((new, NEXT), MAKER.root)
    except AgentPipelineError:
        return False
    return True


ENTRY = MAKER.admission()
NEXT = MAKER.entry([ENTRY], "approved")
TEST, SUMMARY, APPROVAL = LANDING.attestations[1:4]
CLOSURE_SAID = Closure(1, GOOD.request, "ada", moments.write(NOW), "changed my mind")
CLOSURE = sign(CLOSURE_SAID.to_statement(), "ada")
ROOT = root_of({"ada": ("root",), "bob": ("root",), "robot": ("ci",)}, threshold=1)
AGENT = "predicate/buildDefinition/internalParameters"
DETAILS = "predicate/runDetails"

RECORD = {
    "request": Signed(
        GOOD.request_envelope, "ada", lambda new: verify(replace(GOOD, request_envelope=new)).verdict == PASSED, {}
    ),
    "provenance": Signed(
        GOOD.provenance_envelope,
        "ada",
        lambda new: verify(replace(GOOD, provenance_envelope=new)).verdict == PASSED,
        {
            f"{AGENT}/sandboxPolicy/engine_version": NOT_ASKED,
            f"{AGENT}/sandboxPolicy/runtime": "asserted; checked when the policy names a runtime",
            f"{AGENT}/sandboxPolicy/unenforced": "asserted; held against what the policy requires",
            f"{AGENT}/sandboxPolicy/seccomp": NOT_ASKED,
            f"{AGENT}/sandboxPolicy/posture": NOT_ASKED,
            "predicate/buildDefinition/resolvedDependencies/2/annotations/rootVersion": "an older one than the newest, "
            "by which all keys are judged whatever the run knew; one that is newer is refused",
            f"{DETAILS}/builder/version/agent-pipeline": NOT_ASKED,
            f"{DETAILS}/byproducts/1/annotations": "usage: asserted, held to the limits only",
            f"{DETAILS}/metadata/startedOn": "asserted, held between asking and finishing only",
            f"{DETAILS}/metadata/finishedOn": "asserted, held between starting and now only",
            "predicate/buildDefinition/externalParameters/prompt/rendered": NOT_ASKED,
        },
    ),
    "test result": Signed(TEST, "robot", in_attestations(TEST), {}),
    "summary": Signed(SUMMARY, "robot", in_attestations(SUMMARY), {}),
    "approval": Signed(
        APPROVAL,
        "rita",
        in_attestations(APPROVAL),
        {
            "predicate/created": "held before now and near its expiry only; order is the log's",
            "predicate/expires": "the reviewer's to choose, within the policy's days",
        },
    ),
    "log entry": Signed(ENTRY, "robot", chained, {}),
}


def harmless(document: Signed, path: Path) -> bool:
    return any(named(path) == known or named(path).startswith(f"{known}/") for known in document.harmless)


@pytest.mark.parametrize("name", RECORD)
def test_every_leaf_with_the_old_signature_is_refused_at_the_signature(name: str) -> None:
    document = RECORD[name]
    assert document.accepts(document.envelope)
    envelope = Envelope.from_json(document.envelope)
    paths = list(leaves(json.loads(envelope.payload)))
    assert len(paths) > 10
    for path in paths:
        altered = replace(envelope, payload=changed(envelope.payload, path))
        with pytest.raises(SignatureError, match="not one by key"):
            statements.signer(altered, MAKER.root)
        assert not document.accepts(altered.to_json()), named(path)


@pytest.mark.parametrize("name", RECORD)
def test_every_leaf_signed_again_is_bound_or_on_the_list(name: str) -> None:
    document = RECORD[name]
    payload = Envelope.from_json(document.envelope).payload
    for path in leaves(json.loads(payload)):
        again = seal(PAYLOAD_TYPE, changed(payload, path), document.signer)
        assert document.accepts(again) == harmless(document, path), named(path)


@pytest.mark.parametrize("name", RECORD)
def test_the_list_names_what_is_there_and_why(name: str) -> None:
    document = RECORD[name]
    paths = [named(path) for path in leaves(json.loads(Envelope.from_json(document.envelope).payload))]
    for known, why in document.harmless.items():
        assert [path for path in paths if path == known or path.startswith(f"{known}/")], known
        assert why


# What CI may say otherwise when it signs again and logs that: its word about itself, and what each reader finds anew.
CI_S_OWN = {
    "test result": {},
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


def test_every_leaf_of_the_manifest_is_bound() -> None:
    """The manifest is signed as the provenance's subject."""
    for path in leaves(json.loads(GOOD.manifest)):
        found = failed(verify(replace(GOOD, manifest=changed(GOOD.manifest, path))))
        assert {"manifest", "documents"} & set(found), named(path)


def test_every_leaf_of_the_transcript_is_bound() -> None:
    lines = GOOD.transcript.splitlines()
    for number, line in enumerate(lines):
        for path in leaves(json.loads(line)):
            altered = b"\n".join([*lines[:number], changed(line, path), *lines[number + 1 :], b""])
            assert set(failed(verify(replace(GOOD, transcript=altered)))) == {"transcript"}, named(path)


def test_every_byte_of_the_policy_is_bound() -> None:
    for position in range(len(GOOD.policy_bytes)):
        altered = bytearray(GOOD.policy_bytes)
        altered[position] ^= 1
        if position % 16 == 0:
            assert {"policy", "documents"} & set(failed(verify(replace(GOOD, policy_bytes=bytes(altered))))), position
        assert strict.sha256(bytes(altered)) != strict.sha256(GOOD.policy_bytes)


def test_every_leaf_of_the_trust_root_is_signed_and_the_first_is_pinned() -> None:
    pin = first_digest(ROOT.to_json())
    (envelope,) = seal_root(ROOT, "ada")
    assert trust.load_root([[envelope]], pin=pin, now=NOW) == ROOT
    for path in leaves(json.loads(ROOT.to_json())):
        altered = changed(ROOT.to_json(), path)
        old = replace(Envelope.from_json(envelope), payload=altered).to_json()
        for data, at in ((old, pin), (old, first_digest(altered)), (seal(ROOT_TYPE, altered, "ada"), pin)):
            with pytest.raises(AgentPipelineError):
                trust.load_root([[data]], pin=at, now=NOW)


def test_every_leaf_of_a_closure_is_signed() -> None:
    assert set(failed(verify(replace(GOOD, closures=(CLOSURE,))))) == {"open"}
    envelope = Envelope.from_json(CLOSURE)
    for path in leaves(json.loads(envelope.payload)):
        altered = replace(envelope, payload=changed(envelope.payload, path)).to_json()
        assert verify(replace(GOOD, closures=(altered,))).verdict == PASSED, named(path)  # as if it were not there


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
