"""Attacks 1 to 22: envelopes and keys. Every number is explained in `docs/attacks.md`."""

from __future__ import annotations

import base64
import dataclasses
import json
from collections.abc import Callable
from dataclasses import replace
from itertools import combinations
from pathlib import Path
from typing import Any

import pytest
from cryptography.hazmat.primitives import hashes
from cryptography.hazmat.primitives.asymmetric import ec
from support.carried import Carried, carried
from support.courts import refused, refusing
from support.interop import both_forms
from support.logs import prove, standing
from support.trust import NOW, POLICY, TEAM, Maker, private, public, root_of, seal, seal_root, sign

from agent_pipeline.attestation import dsse, keys, sshsig, statements, trust
from agent_pipeline.documents import moments, strict
from agent_pipeline.documents.approval import REJECTED
from agent_pipeline.documents.envelope import Envelope
from agent_pipeline.documents.root import Person, TrustRoot, first_digest
from agent_pipeline.documents.statement import PAYLOAD_TYPE, Statement
from agent_pipeline.documents.verification import FAILED, PASSED
from agent_pipeline.errors import SignatureError
from agent_pipeline.repository.records import Record
from agent_pipeline.review import marks
from agent_pipeline.review.marks import Mark
from agent_pipeline.verify import decide, verify
from agent_pipeline.verify.inputs import Inputs

MAKER = Maker()
GOOD = MAKER.inputs()
LANDING = MAKER.landing()
PROVENANCE = Envelope.from_json(GOOD.provenance_envelope)
REQUEST = Envelope.from_json(GOOD.request_envelope)


def test_the_set_that_all_attacks_change_passes() -> None:
    assert verify(GOOD).verdict == PASSED
    assert decide(LANDING).verdict == PASSED


def flipped(data: bytes, bit: int) -> bytes:
    changed = bytearray(data)
    changed[bit // 8 % len(data)] ^= 1 << bit % 8
    return bytes(changed)


def with_provenance(envelope: Envelope | bytes) -> Inputs:
    data = envelope.to_json() if isinstance(envelope, Envelope) else envelope
    return replace(GOOD, provenance_envelope=data)


def test_001_one_bit_of_the_payload() -> None:
    for bit in range(0, 8 * len(PROVENANCE.payload), 997):
        altered = replace(PROVENANCE, payload=flipped(PROVENANCE.payload, bit))
        refused(verify(with_provenance(altered)), "05 runner", "not one by key")
    for bit in range(0, 8 * len(REQUEST.payload), 499):
        altered = replace(REQUEST, payload=flipped(REQUEST.payload, bit))
        verification = verify(replace(GOOD, request_envelope=altered.to_json()))
        assert {"01 documents", "06 requester"} <= refusing(verification)
        with pytest.raises(SignatureError, match="not one by key"):
            statements.signer(altered, MAKER.root)


def test_002_one_bit_of_the_signature() -> None:
    for bit in range(0, 512, 7):
        altered = replace(PROVENANCE, signature=flipped(PROVENANCE.signature, bit))
        refused(verify(with_provenance(altered)), "05 runner", "not one by key", alone=True)
    refused(verify(with_provenance(replace(PROVENANCE, signature=PROVENANCE.signature[:-1]))), "05 runner", "not one")


def reshaped(**members: Any) -> bytes:
    return json.dumps(json.loads(GOOD.provenance_envelope) | members).encode()


def test_003_signatures_stripped_or_only_by_strangers() -> None:
    without = {name: value for name, value in json.loads(GOOD.provenance_envelope).items() if name != "signatures"}
    for data in (reshaped(signatures=[]), json.dumps(without).encode(), reshaped(signatures=None)):
        refused(verify(with_provenance(data)), "01 documents", "signatures")
    refused(verify(with_provenance(sign(MAKER.statement(), "eve"))), "05 runner", "nobody's")


def test_004_the_payload_type_altered_after_signing() -> None:
    for kind in (PAYLOAD_TYPE.upper(), "application/json", "x/y"):
        refused(verify(with_provenance(replace(PROVENANCE, payload_type=kind))), "05 runner", "the envelope carries")
    for kind in (f"{PAYLOAD_TYPE} ", f"{PAYLOAD_TYPE}\n", "", f"{PAYLOAD_TYPE}\u00e9"):
        refused(verify(with_provenance(reshaped(payloadType=kind))), "01 documents", "payloadType")


@pytest.mark.parametrize("kind", ["application/vnd.tuf+json", "application/json"])
def test_005_a_good_signature_for_another_protocol(kind: str) -> None:
    refused(
        verify(with_provenance(seal(kind, PROVENANCE.payload, "ada"))), "05 runner", "the envelope carries", alone=True
    )
    as_statement = seal(PAYLOAD_TYPE, MAKER.root.to_json(), "ada")  # and a statement's signature is no trust root's
    with pytest.raises(SignatureError, match="the envelope carries"):
        trust.load_root([[as_statement]], pin=first_digest(MAKER.root.to_json()), now=NOW)


def test_006_a_signature_over_the_bare_payload() -> None:
    for message in (
        PROVENANCE.payload,
        base64.b64encode(PROVENANCE.payload),
        strict.sha256(PROVENANCE.payload).encode(),
    ):
        bare = replace(PROVENANCE, signature=private("ada").sign(message))
        refused(verify(with_provenance(bare)), "05 runner", "not one by key", alone=True)


def test_007_a_commit_s_signature_in_an_envelope_and_an_envelope_s_on_a_commit() -> None:
    """The same key signs both; what is signed starts differently, so that neither passes for the other."""
    for message in (PROVENANCE.payload, dsse.pae(PAYLOAD_TYPE, PROVENANCE.payload)):
        as_commit = replace(PROVENANCE, signature=private("ada").sign(sshsig.blob_to_sign(message)))
        refused(verify(with_provenance(as_commit)), "05 runner", "not one by key", alone=True)
    whole = replace(PROVENANCE, signature=sshsig.armor(PROVENANCE.signature, public("ada")).encode())
    refused(verify(with_provenance(whole)), "05 runner", "not one by key", alone=True)
    payload, _ = MAKER.staged()
    for message in (payload, dsse.pae(PAYLOAD_TYPE, payload), dsse.pae("application/x-git-commit", payload)):
        armored = sshsig.armor(private("robot").sign(message), public("robot"))
        refused(decide(replace(LANDING, staged=(payload, armored))), "35 staged", "not one by key", alone=True)
    for namespace in ("file", "agent-pipeline"):
        signature = private("robot").sign(sshsig.blob_to_sign(payload, namespace))
        armored = sshsig.armor(signature, public("robot"), namespace)
        refused(decide(replace(LANDING, staged=(payload, armored))), "35 staged", "not for 'git'", alone=True)


def test_008_what_the_log_s_key_signed_offered_as_a_proposal_or_a_review() -> None:
    """The log's head is an entry's envelope, there is no other checkpoint: it is nothing but an entry anywhere."""
    entry = MAKER.entry([], "merged")
    refused(verify(with_provenance(entry)), "01 documents")
    refused(verify(with_provenance(entry)), "05 runner", "no runner")
    head = Envelope.from_json(entry)
    moved = replace(head, payload=PROVENANCE.payload)
    refused(verify(with_provenance(moved)), "05 runner", "not one by key")
    for by in (entry, Maker(ci="rita").entry([MAKER.admission()], "approved")):  # by the log's key, and by a reviewer's
        refused(decide(replace(LANDING, attestations=(*LANDING.attestations[:3], by))), "38 reviews", "0 of 1")


def test_009_a_trusted_key_id_on_another_key_s_signature() -> None:
    forged = private("eve").sign(dsse.pae(PAYLOAD_TYPE, PROVENANCE.payload))
    for name in ("ada", "robot"):
        named = replace(PROVENANCE, keyid=public(name).keyid, signature=forged)
        refused(verify(with_provenance(named)), "05 runner", "not one by key")
    by_rita = replace(PROVENANCE, keyid=public("rita").keyid)
    refused(verify(with_provenance(by_rita)), "05 runner", "not one by key", alone=True)


def test_010_the_same_signature_twice_for_a_threshold_of_two() -> None:
    maker = Maker(policy=POLICY.replace(b"reviewers: 1", b"reviewers: 2"))
    two = maker.landing()
    once, envelope = two.attestations[-1], json.loads(two.attestations[-1])
    inside = envelope | {"signatures": envelope["signatures"] * 2}
    for again in (
        once,
        json.dumps(envelope, indent=1).encode(),
        json.dumps(inside, separators=(",", ":")).encode(),
        maker.approval("rita", created=moments.write(NOW)),  # and another one by the same person
    ):
        refused(decide(replace(two, attestations=(*two.attestations, again))), "38 reviews", "1 of 2")
    assert decide(replace(two, attestations=(*two.attestations, maker.approval("rex")))).verdict == PASSED
    root = root_of({"ada": ("root",), "bob": ("root",)}, threshold=2)
    with pytest.raises(SignatureError, match="needs 2"):
        trust.load_root([seal_root(root, "ada", "ada")], pin=first_digest(root.to_json()), now=NOW)


def test_014_a_member_twice_in_the_envelope() -> None:
    text = GOOD.provenance_envelope
    for member in (b'"payload":"e30=",', b'"payloadType":"x",', b'"signatures":[],'):
        refused(verify(with_provenance(text.replace(b"{", b"{" + member, 1))), "01 documents", "duplicate member")


def test_015_a_member_twice_in_the_signed_payload() -> None:
    for member in (b'"predicateType":"x",', b'"subject":[],', b'"_type":"x",'):
        payload = PROVENANCE.payload.replace(b"{", b"{" + member, 1)
        refused(verify(with_provenance(seal(PAYLOAD_TYPE, payload, "ada"))), "01 documents", "duplicate member")


DEEP = b"[" * 65 + b"]" * 65
PARSERS = {
    "NaN": (b'{"a":NaN}', "no JSON"),
    "an infinity": (b'{"a":-Infinity}', "no JSON"),
    "a fraction": (b'{"a":1.0}', "not an integer"),
    "an integer that loses digits": (b'{"a":9007199254740993}', "2^53-1"),
    "a byte-order mark": (b"\xef\xbb\xbf{}", "strict JSON"),
    "something behind it": (b"{} {}", "strict JSON"),
    "depth": (b'{"a":' + DEEP + b"}", "nested deeper"),
    "half a character": (b'{"a":"\\ud800"}', "strict JSON"),
    "no UTF-8": (b'{"a":"\xff"}', "strict JSON"),
}


@pytest.mark.parametrize("what", PARSERS)
def test_016_what_parsers_disagree_about_or_choke_on(what: str) -> None:
    data, word = PARSERS[what]
    refused(verify(with_provenance(data)), "01 documents", word)
    refused(verify(with_provenance(seal(PAYLOAD_TYPE, data, "ada"))), "01 documents", word)
    one = json.loads(GOOD.provenance_envelope)["signatures"]
    refused(verify(with_provenance(reshaped(signatures=one * 17))), "01 documents", "items")
    refused(verify(with_provenance(GOOD.provenance_envelope + b" " * (1 << 20))), "01 documents", "at most")


def test_017_base64_in_another_spelling() -> None:
    text = json.loads(GOOD.provenance_envelope)["payload"]
    spellings = (
        f"{text[:8]}\n{text[8:]}",
        f" {text}",
        text.rstrip("=") + "===",
        text[:-1],
        text[:8] + "-_" + text[10:],
    )
    for odd in (*spellings, "e31=", "e30", "e3=="):  # the last ones have bits that say nothing, and are not zero
        refused(verify(with_provenance(reshaped(payload=odd))), "01 documents", "base64")
    signature = [{"keyid": PROVENANCE.keyid, "sig": base64.b64encode(PROVENANCE.signature).decode().rstrip("=")}]
    refused(verify(with_provenance(reshaped(signatures=signature))), "01 documents", "base64")


def test_018_what_was_read_is_what_was_verified() -> None:
    buffer = bytearray(GOOD.provenance_envelope)
    inputs = with_provenance(bytes(buffer))
    envelope = Envelope.from_json(bytes(buffer))
    buffer[:] = b"x" * len(buffer)
    assert statements.signer(envelope, MAKER.root).name == "ada"
    assert dsse.check(envelope, public("ada"), PAYLOAD_TYPE) is envelope.payload  # the very bytes, nothing parsed again
    assert verify(inputs).verdict == PASSED
    for field in ("payload", "keyid", "signature", "payload_type"):
        with pytest.raises(dataclasses.FrozenInstanceError):
            setattr(envelope, field, b"")
    with pytest.raises(dataclasses.FrozenInstanceError):
        inputs.provenance_envelope = b""  # type: ignore[misc]


P256 = ec.derive_private_key(7, ec.SECP256R1())


def twins(statement: Statement, keyid: str) -> tuple[bytes, bytes]:
    """A statement signed with the key on P-256, and the other signature that everybody can make of that one.

    The first is the one that counts where bytes are named.
    """
    payload = statement.to_json()
    signatures = both_forms(P256.sign(dsse.pae(PAYLOAD_TYPE, payload), ec.ECDSA(hashes.SHA256())))
    one, other = (Envelope(PAYLOAD_TYPE, payload, keyid, signature).to_json() for signature in signatures)
    return one, other


def with_p256(root: TrustRoot, name: str) -> TrustRoot:
    key = keys.key_from_public(P256.public_key(), name)
    people = tuple(replace(one, keys=(*one.keys, key.keyid)) if one.name == name else one for one in root.people)
    return replace(root, keys=tuple(sorted((*root.keys, key), key=lambda one: one.keyid)), people=people)


def test_019_the_twin_of_a_signature_on_p256() -> None:
    key = keys.key_from_public(P256.public_key())
    maker = Maker(root=with_p256(root_of(TEAM, bots=("robot",)), "ada"))
    good = maker.inputs()
    one, twin = twins(maker.statement(), key.keyid)
    assert one != twin
    merged = maker.entry([], "merged")
    for data in (one, twin):  # both hold, and are the one proposal that was consumed
        assert verify(replace(good, provenance_envelope=data)).verdict == PASSED
        refused(
            verify(replace(good, provenance_envelope=data, log=prove([merged], good.request))),
            "31 open",
            "merged",
            alone=True,
        )
    two = Maker(
        root=with_p256(root_of(TEAM, bots=("robot",)), "rita"), policy=POLICY.replace(b"reviewers: 1", b"reviewers: 2")
    )
    landing = two.landing()
    approval = Statement.from_json(Envelope.from_json(two.approval("rita")).payload)
    low, high = twins(approval, key.keyid)
    left = " reviews (1 envelope not in the one form that counts)"
    for given, word in (((low, high), f"1 of 2{left}"), ((low,), "1 of 2 reviews"), ((high,), f"0 of 2{left}")):
        counted = (*landing.attestations[:3], *given)
        refused(decide(replace(landing, attestations=counted)), "38 reviews", word)


def test_019_the_twin_of_a_rejection_that_was_ended_is_no_other_one(tmp_path: Path) -> None:
    """Whoever may push adds it: CI would log that the reviewer rejected it once more."""
    key = keys.key_from_public(P256.public_key())
    made = carried(tmp_path / "r", "staged", root=with_p256(root_of(TEAM, bots=("robot",)), "rita"))
    maker = made.maker
    no, twin = twins(Statement.from_json(Envelope.from_json(maker.approval("rita", "rejected")).payload), key.keyid)
    made.attest(("approval", twin))  # instead of hers: it is noted as hers all the same
    (mark,) = unlogged(made)
    assert (mark.event, mark.envelope) == ("rejected", strict.sha256(no))
    made.append("rejected", [no], reviewer="rita")
    yes = maker.approval("rita", takes_back=(strict.sha256(no),))
    made.attest(("approval", no), ("approval", yes))
    assert [mark.event for mark in unlogged(made)] == ["approved"]
    made.append("approved", [yes, no], reviewer="rita")
    for spelled in (twin, twin + b"\n", no + b"\n"):
        made.attest(("approval", spelled))
        assert unlogged(made) == ()


def unlogged(made: Carried) -> tuple[Mark, ...]:
    """What CI would put into the log."""
    record = Record(made.id, made.tip, made.clone)
    return marks.unlogged(record, standing(made.log, made.maker.root), made.maker.root)


def resigned(change: Callable[[dict[str, Any]], object]) -> Inputs:
    """The provenance changed behind its form's back, and signed again by the runner."""
    value = json.loads(PROVENANCE.payload)
    change(value)
    return with_provenance(seal(PAYLOAD_TYPE, strict.canonical(value), "ada"))


FORMS: dict[str, Callable[[dict[str, Any]], object]] = {
    "an older statement": lambda v: v.update(_type="https://in-toto.io/Statement/v0.1"),
    "an older provenance": lambda v: v.update(predicateType="https://slsa.dev/provenance/v0.2"),
    "another predicate": lambda v: v.update(predicateType="https://agent-pipeline.dev/approval/v1"),
    "another build type": lambda v: v["predicate"]["buildDefinition"].update(buildType="https://example.org/x/v1"),
    "an unknown parameter": lambda v: v["predicate"]["buildDefinition"]["externalParameters"].update(sudo=True),
    "an unknown member": lambda v: v.update(later=1),
    "another builder": lambda v: v["predicate"]["runDetails"]["builder"].update(id="https://example.org/runner"),
}


@pytest.mark.parametrize("what", FORMS)
def test_020_types_and_parameters_that_nobody_listed(what: str) -> None:
    assert verify(resigned(lambda _value: None)).verdict == PASSED
    refused(verify(resigned(FORMS[what])), "01 documents")


def test_021_a_trusted_key_in_another_role() -> None:
    refused(verify(Maker(runner="robot").inputs()), "05 runner", "no runner", alone=True)
    refused(verify(Maker(runner="rita").inputs()), "05 runner", "no runner", alone=True)
    refused(verify(Maker(requester="rita").inputs()), "06 requester", "no requester")
    for who in ("ada", "rita", "robot"):  # named by the log, each time: CI's role is all that is missing
        forged = forged_by(who)
        log = prove([MAKER.entry([], "admitted", forged)], GOOD.request)
        given = replace(LANDING, attestations=(*forged, MAKER.approval("rita")), inputs=replace(GOOD, log=log))
        if who == "robot":
            assert decide(given).verdict == PASSED
        else:
            refused(decide(given), "34 admitted", "no summary")
    refused(decide(replace(LANDING, merger=public("rita").keyid)), "40 merger", "no merger", alone=True)


def forged_by(who: str) -> tuple[bytes, ...]:
    maker = Maker(ci=who)
    return maker.test_result(), maker.summary()


def test_022_lines_taken_out_or_bad_ones_put_in_never_help() -> None:
    """Whatever is left out of a record or added to it by who has no role: a no stays a no, and a yes what it was.

    Each step that needs what is gone says so, and the rejection, which the log has, stands in each of them.
    """
    no = MAKER.approval("rex", REJECTED, reason="no")
    entries = [MAKER.admission()]
    entries.append(MAKER.entry(entries, "rejected", [no], reviewer="rex"))
    logged = prove(entries, GOOD.request)
    rejected = replace(LANDING, inputs=replace(LANDING.inputs, log=logged), attestations=(*LANDING.attestations, no))
    junk = (
        b"",
        b"{}",
        Maker(ci="eve").summary(),
        MAKER.approval("eve"),
        GOOD.request_envelope,
        LANDING.attestations[0][:-1],
    )
    for size in range(len(rejected.attestations) + 1):
        for kept in combinations(rejected.attestations, size):
            decision = decide(replace(rejected, attestations=(*kept, *junk)))
            assert refusing(decision) == {"31 open", "37 rejections"} | missing(kept)
            assert decision.verdict == FAILED
    assert decide(replace(LANDING, attestations=(*junk, *LANDING.attestations))) == decide(LANDING)
    for size in range(len(LANDING.attestations)):
        for kept in combinations(LANDING.attestations, size):
            decision = decide(replace(LANDING, attestations=kept))
            assert refusing(decision) == missing(kept)
            assert decision.verdict == (FAILED if missing(kept) else PASSED)


def missing(kept: tuple[bytes, ...]) -> set[str]:
    """The steps that want what is not among `kept`: the test's result, CI's summary, Rita's approval."""
    tested, summary, approval = LANDING.attestations[1:]
    needed = {
        tested: {"36 proofs"},
        summary: {"34 admitted", "36 proofs", "39 persons"},
        approval: {"38 reviews", "39 persons"},
    }
    return {step for data, steps in needed.items() if data not in kept for step in steps}


# Beside the list.


def in_name_of(name: str, signer: str) -> bytes:
    """An approval in `name`'s name by the key called `signer`, otherwise as good as any."""
    approval = Statement.from_json(Envelope.from_json(MAKER.approval("rita")).payload)
    return sign(replace(approval, predicate=approval.predicate | {"reviewer": name}), signer)


def test_a_requester_who_approves_himself_with_a_second_key() -> None:
    root = root_of({**TEAM, "ada": (*TEAM["ada"], "reviewer")}, bots=("robot",))
    other = replace(public("ada-2"), owner="ada")
    people = tuple(
        Person(one.name, (*one.keys, other.keyid), one.roles, one.bot) if one.name == "ada" else one
        for one in root.people
    )
    root = replace(root, keys=tuple(sorted((*root.keys, other), key=lambda key: key.keyid)), people=people)
    landing = Maker(root=root, reviewers=()).landing()
    approval = in_name_of("ada", "ada-2")
    decision = decide(replace(landing, attestations=(*landing.attestations, approval)))
    refused(decision, "38 reviews", "ada asked for the change and cannot review it")
    in_rita_s = in_name_of("rita", "ada-2")
    refused(decide(replace(landing, attestations=(*landing.attestations, in_rita_s))), "38 reviews", "0 of 1")
