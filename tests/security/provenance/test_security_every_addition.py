"""Something more at every level of every signed document, signed again by the right key.

An unknown member in each object, a further item in each list, a wrong digest by another algorithm in each set of
digests: what a reader overlooks is where one document says two things to two readers. All of it is refused by the
reader, or by a step that binds it; what is left is on the list of what only its signer can know, with the reason.
"""

from __future__ import annotations

import copy
import json
from collections.abc import Callable, Iterator
from dataclasses import dataclass, replace
from typing import Any

import pytest
from support.courts import failed
from support.logs import prove, standing
from support.signed import RECORD, ROOTS, Signed
from support.trust import NOW, REPOSITORY, Maker, public, root_of, seal, sign

from agent_pipeline.attestation import keys, log_entries, statements, trust
from agent_pipeline.documents import moments, strict
from agent_pipeline.documents.approval import Approval
from agent_pipeline.documents.closure import Closure
from agent_pipeline.documents.envelope import Envelope
from agent_pipeline.documents.log_entry import LogEntry
from agent_pipeline.documents.offer import VERSION, Offer
from agent_pipeline.documents.proposal import Proposal
from agent_pipeline.documents.provenance import Provenance
from agent_pipeline.documents.request import Request
from agent_pipeline.documents.root import PAYLOAD_TYPE as ROOT_TYPE
from agent_pipeline.documents.root import first_digest
from agent_pipeline.documents.statement import PAYLOAD_TYPE, Statement
from agent_pipeline.documents.summary import Summary
from agent_pipeline.documents.test_result import ReplayTest
from agent_pipeline.documents.verification import PASSED
from agent_pipeline.errors import AgentPipelineError, SchemaError, SignatureError
from agent_pipeline.signing import offers
from agent_pipeline.verify import decide, verify

Value = Any
Way = tuple[Any, ...]
MAKER = Maker()
GOOD, LANDING = MAKER.inputs(), MAKER.landing()
MEMBER, ITEM, DIGEST = "an unknown member", "a further item", "a wrong digest"
ALGORITHMS = {"sha256", "gitTree", "gitCommit", "gitBlob", "sha1", "sha512"}


def places(value: Value, way: Way = ()) -> Iterator[tuple[Way, Value]]:
    """Every object and list, the document itself first."""
    if not isinstance(value, (dict, list)):
        return
    yield way, value
    for name, inner in value.items() if isinstance(value, dict) else enumerate(value):
        yield from places(inner, (*way, name))


def unlike(item: Value) -> Value:
    """An item of the same form that is not the same."""
    if isinstance(item, dict):
        name = max(item, key=lambda one: (isinstance(item[one], str), one))
        return item | {name: unlike(item[name])}
    if isinstance(item, str):
        return item[:-1] + ("0" if item[-1:] == "1" else "1")
    return [*item, "a"] if isinstance(item, list) else 7


def more(place: Value) -> Iterator[tuple[str, Value]]:
    """What may stand in the place of an object or a list: all that it has, and something more."""
    if isinstance(place, list):
        yield from ((ITEM, [*place, last]) for last in ([place[-1], unlike(place[-1])] if place else ["a", {}]))
        yield from ((ITEM, [unlike(first), *place]) for first in place[:1])
        return
    for added in ({"x-more": 1}, {"annotations": {}}, {"": None}):
        if not added.keys() & place.keys():
            yield MEMBER, place | added
    if place.keys() & ALGORITHMS:
        wrong = {"sha512": "0" * 128, "sha1": "0" * 40, "SHA256": "0" * 64, "gitTree": "0" * 40, "dirHash": "0" * 64}
        yield from ((DIGEST, place | {name: value}) for name, value in wrong.items() if name not in place)


def additions(payload: bytes) -> Iterator[tuple[str, str, bytes]]:
    """Every way to say more: what is added, where, and the bytes to be signed."""
    document = json.loads(payload)
    for way, place in places(document):
        for what, larger in more(place):
            altered = copy.deepcopy(document)
            if way:
                inner = altered
                for name in way[:-1]:
                    inner = inner[name]
                inner[way[-1]] = larger
            else:
                altered = larger
            yield what, "/".join(map(str, way)), strict.canonical(altered)


@dataclass(frozen=True)
class Document:
    """A signed document: its payload, its reader, and whether all still passes with another payload signed instead.

    `free` are the lists to which a genuine signer may have added something, each with the reason.
    """

    payload: bytes
    read: Callable[[bytes], object]
    passes: Callable[[bytes], bool]
    free: dict[str, str]


def of(kind: Any) -> Callable[[bytes], object]:
    return lambda payload: kind.from_statement(Statement.from_json(payload))


def payload_of(envelope: bytes) -> bytes:
    return Envelope.from_json(envelope).payload


def asked(payload: bytes) -> bool:
    """The request, and a provenance that names this very envelope."""
    envelope = seal(PAYLOAD_TYPE, payload, "ada")
    there = Maker(provenance_change=lambda made: replace(made, request_envelope=strict.sha256(envelope))).inputs()
    return verify(replace(there, request_envelope=envelope)).verdict == PASSED


def ran(payload: bytes) -> bool:
    return verify(replace(GOOD, provenance_envelope=seal(PAYLOAD_TYPE, payload, "ada"))).verdict == PASSED


def by_ci(index: int) -> Callable[[bytes], bool]:
    """CI's own word beside the proposal, and the log's entry by which CI admitted it names it."""

    def passes(payload: bytes) -> bool:
        kept = list(LANDING.attestations)
        kept[index] = seal(PAYLOAD_TYPE, payload, "robot")
        log = prove([MAKER.entry([], "admitted", [kept[1], kept[2]])], GOOD.request)
        return decide(replace(LANDING, attestations=tuple(kept), inputs=replace(GOOD, log=log))).verdict == PASSED

    return passes


def approved(payload: bytes) -> bool:
    kept = (*LANDING.attestations[:3], seal(PAYLOAD_TYPE, payload, "rita"))
    return decide(replace(LANDING, attestations=kept)).verdict == PASSED


def logged(payload: bytes) -> bool:
    """The newest entry: nothing after it says which it was."""
    try:
        standing((seal(PAYLOAD_TYPE, payload, "robot"),), MAKER.root)
    except AgentPipelineError:
        return False
    return True


def closed(payload: bytes) -> bool:
    return "open" in failed(verify(replace(GOOD, closures=(seal(PAYLOAD_TYPE, payload, "ada"),))))


def offered(payload: bytes) -> bool:
    try:
        offers.read(seal(PAYLOAD_TYPE, payload, "eve"), "eve")
    except AgentPipelineError:
        return False
    return True


def rooted(payload: bytes) -> bool:
    """A first version that all its people have signed, and that is pinned as it is."""
    envelopes = [[seal(ROOT_TYPE, payload, name) for name in ("ada", "bob")]]
    try:
        trust.load_root(envelopes, pin=first_digest(payload), now=NOW)
    except AgentPipelineError:
        return False
    return True


def third(payload: bytes) -> bool:
    """A later version, which its people have signed, on those before it."""
    before = [[seal(ROOT_TYPE, root.to_json(), "ada")] for root in ROOTS[:2]]
    try:
        trust.load_root([*before, [seal(ROOT_TYPE, payload, "ada")]], pin=first_digest(ROOTS[0].to_json()), now=NOW)
    except AgentPipelineError:
        return False
    return True


def listed(payload: bytes) -> bool:
    """The manifest, and a provenance whose subject is this very one."""
    statement = replace(MAKER.statement(), sha256=strict.sha256(payload))
    return verify(replace(GOOD, manifest=payload, provenance_envelope=sign(statement, "ada"))).verdict == PASSED


ROOT = root_of({"ada": ("root",), "bob": ("root",), "robot": ("ci",)}, threshold=2)
OFFER = Offer(VERSION, REPOSITORY, "eve", keys.openssh_from_key(public("eve"), "eve"), moments.write(NOW))
CLOSURE = Closure(1, GOOD.request, "ada", moments.write(NOW), "changed my mind")
AGENT = "predicate/buildDefinition/internalParameters"
DOCUMENTS = {
    "request": Document(payload_of(GOOD.request_envelope), of(Request), asked, {}),
    "provenance": Document(
        payload_of(GOOD.provenance_envelope),
        of(Provenance),
        ran,
        {
            f"{AGENT}/agent/model/served": "asserted; every one of them must be allowed",
            f"{AGENT}/sandboxPolicy/unenforced": "asserted; held against what the policy requires",
        },
    ),
    "manifest": Document(GOOD.manifest, Proposal.from_json, listed, {}),
    "test result": Document(payload_of(LANDING.attestations[1]), of(ReplayTest), by_ci(1), {}),
    "summary": Document(
        payload_of(LANDING.attestations[2]),
        of(Summary),
        by_ci(2),
        {
            "predicate/verifiedLevels": "CI's words; a merge computes its own",
            "predicate/inputAttestations": "request and provenance must be among them",
            "predicate/x-agent-pipeline/checks": "words for people; no decision reads them",
        },
    ),
    "approval": Document(payload_of(LANDING.attestations[3]), of(Approval), approved, {}),
    "log entry": Document(payload_of(MAKER.admission()), of(LogEntry), logged, {}),
    "closure": Document(CLOSURE.to_statement().to_json(), of(Closure), closed, {}),
    "offer": Document(OFFER.to_statement().to_json(), of(Offer), offered, {}),
    "trust root": Document(ROOT.to_json(), trust.parse, rooted, {}),
    "trust root with keys that ended": Document(ROOTS[-1].to_json(), trust.parse, third, {}),
}
# The same of what those are not: of another engine, with other members, about another event, by a merger.
KINDS: dict[str, Any] = {
    "approval": Approval,
    "log_entry": LogEntry,
    "provenance": Provenance,
    "request": Request,
    "summary": Summary,
    "test_result": ReplayTest,
}
UNENFORCED = {f"{AGENT}/sandboxPolicy/unenforced": "asserted; held against what the policy requires"}
FREE = {"provenance-command": UNENFORCED, "provenance-recorded": UNENFORCED}


def counting(one: Signed, free: dict[str, str]) -> Document:
    return Document(
        one.payload, of(KINDS[one.stem]), lambda payload: one.counts(seal(PAYLOAD_TYPE, payload, one.signer)), free
    )


DOCUMENTS |= {
    name: counting(one, FREE.get(name, {}))
    for name, one in RECORD.items()
    if name.removesuffix("-claude").replace("-", " ") not in DOCUMENTS  # tried by more of what binds them already
}


def reads(document: Document, payload: bytes) -> bool:
    try:
        document.read(payload)
    except SchemaError:
        return False
    return True


@pytest.mark.parametrize("name", DOCUMENTS)
def test_an_unknown_member_or_another_digest_is_refused_by_the_reader_wherever_it_stands(name: str) -> None:
    document = DOCUMENTS[name]
    document.read(document.payload)
    assert document.passes(document.payload)
    tried = [(what, where, payload) for what, where, payload in additions(document.payload) if what != ITEM]
    assert len(tried) > 2
    for what, where, payload in tried:
        assert not reads(document, payload), (what, where)
        assert not document.passes(payload), (what, where)


@pytest.mark.parametrize("name", DOCUMENTS)
def test_a_further_item_is_refused_or_its_signer_s_to_know(name: str) -> None:
    document = DOCUMENTS[name]
    free = set()
    for what, where, payload in additions(document.payload):
        if what == ITEM and document.passes(payload):
            free.add(where)
    assert free == set(document.free)
    assert all(document.free.values())


def test_a_further_item_that_is_the_signer_s_to_know_is_no_other_signer_s() -> None:
    """What is asserted is asserted under the signature: nobody adds to it afterwards."""
    for data in (GOOD.provenance_envelope, LANDING.attestations[2]):
        envelope = Envelope.from_json(data)
        for _, _, payload in additions(envelope.payload):
            with pytest.raises(SignatureError, match="not one by key"):
                statements.signer(replace(envelope, payload=payload), MAKER.root)


ENVELOPES = {
    "request": GOOD.request_envelope,
    **dict(zip(("provenance", "test result", "summary", "approval"), LANDING.attestations, strict=True)),
    "log entry": MAKER.admission(),
}


@pytest.mark.parametrize("name", ENVELOPES)
def test_an_unknown_member_of_an_envelope_changes_nothing_and_a_further_signature_is_refused(name: str) -> None:
    """DSSE has readers ignore members that they do not know: nobody signed them, so nothing may rest on them."""
    data = ENVELOPES[name]
    decision, verification = decide(LANDING), verify(GOOD)
    for what, where, larger in additions(data):
        if what == ITEM:
            with pytest.raises(SchemaError, match="signatures"):
                Envelope.from_json(larger)
            continue
        assert Envelope.from_json(larger) == Envelope.from_json(data), where
        assert statements.plain(larger, MAKER.root) == data
        assert decide(replace(LANDING, attestations=(*LANDING.attestations, larger))) == decision
        assert decide(replace(LANDING, attestations=(larger, *LANDING.attestations))) == decision
        if name == "provenance":
            assert verify(replace(GOOD, provenance_envelope=larger)) == verification
        elif name == "request":  # its one form is what the provenance names
            assert set(failed(verify(replace(GOOD, request_envelope=larger)))) == {"request"}
        elif name == "log entry":  # the newest one's digest is named by nobody yet
            with pytest.raises(SchemaError, match="one form"):
                log_entries.read(larger, MAKER.root)
        else:  # counted by its digest, which the log names: another form is not there
            kept = tuple(larger if one == data else one for one in LANDING.attestations)
            assert decide(replace(LANDING, attestations=kept)).verdict != PASSED
