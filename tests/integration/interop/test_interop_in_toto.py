"""in-toto-attestation's own messages read every statement of ours, strictly where they know the predicate."""

from __future__ import annotations

import json
from typing import Any

import pytest
from google.protobuf import json_format
from in_toto_attestation.predicates.provenance.v1 import provenance_pb2
from in_toto_attestation.predicates.test_result.v0 import test_result_pb2
from in_toto_attestation.predicates.vsa.v1 import vsa_pb2
from in_toto_attestation.v1 import resource_descriptor_pb2, statement_pb2
from in_toto_attestation.v1.statement import Statement as PeerStatement
from support.interop import P256, STATEMENTS, pair

from agent_pipeline.attestation import dsse
from agent_pipeline.documents import strict
from agent_pipeline.documents.approval import PREDICATE_TYPE as APPROVAL
from agent_pipeline.documents.approval import Approval
from agent_pipeline.documents.envelope import Envelope
from agent_pipeline.documents.provenance import Provenance
from agent_pipeline.documents.statement import PAYLOAD_TYPE, Statement
from agent_pipeline.errors import SchemaError

OURS = "x-agent-pipeline"
PROVENANCES = [name for name in STATEMENTS if name.startswith("provenance")]


def parsed(data: bytes) -> Any:
    return json_format.Parse(data, statement_pb2.Statement())


@pytest.mark.parametrize("kind", STATEMENTS)
def test_every_statement_of_ours_is_one(kind: str) -> None:
    theirs = PeerStatement.copy_from_pb(parsed(STATEMENTS[kind]))
    theirs.validate()
    ours = Statement.from_json(STATEMENTS[kind])
    assert theirs.pb.predicate_type == ours.predicate_type
    assert [(one.name, dict(one.digest)) for one in theirs.pb.subject] == [(ours.subject, {"sha256": ours.sha256})]


@pytest.mark.parametrize("kind", STATEMENTS)
def test_nothing_is_lost_on_the_way_through_theirs(kind: str) -> None:
    """Their numbers are doubles; ours are small integers, and come back as such once a writer of JSON sees them."""
    again = json_format.MessageToDict(parsed(STATEMENTS[kind]), preserving_proto_field_name=True)
    again["_type"] = again.pop("type")
    again["predicateType"] = again.pop("predicate_type")
    whole = json.loads(json.dumps(again), parse_float=lambda text: int(float(text)))
    assert strict.canonical(whole) == STATEMENTS[kind]


@pytest.mark.parametrize("kind", PROVENANCES)
def test_the_provenance_is_slsa_s_to_the_last_member(kind: str) -> None:
    predicate = Statement.from_json(STATEMENTS[kind]).predicate
    theirs = json_format.ParseDict(predicate, provenance_pb2.Provenance(), ignore_unknown_fields=False)
    definition = theirs.build_definition
    assert definition.build_type == predicate["buildDefinition"]["buildType"]
    assert [one.name for one in definition.resolved_dependencies] == ["source", "sandbox-image", "policy"]
    assert theirs.run_details.metadata.started_on.ToJsonString() == predicate["runDetails"]["metadata"]["startedOn"]


def test_what_stands_beside_theirs_in_a_test_result_is_one_member_of_ours() -> None:
    predicate = Statement.from_json(STATEMENTS["test-result"]).predicate
    with pytest.raises(json_format.ParseError, match=OURS):
        json_format.ParseDict(predicate, test_result_pb2.TestResult(), ignore_unknown_fields=False)
    rest = {name: value for name, value in predicate.items() if name != OURS}
    json_format.ParseDict(rest, test_result_pb2.TestResult(), ignore_unknown_fields=False)


@pytest.mark.parametrize("kind", ["summary", "merge"])
def test_a_summary_is_slsa_s_but_for_what_their_message_lacks(kind: str) -> None:
    """SLSA 1.1 has a list of levels and the verifier's version; their message (0.9.3) one level and no version.

    We follow the specification.
    """
    predicate = Statement.from_json(STATEMENTS[kind]).predicate
    rest = {name: value for name, value in predicate.items() if name != OURS}
    (level,) = rest["verifiedLevels"]
    narrow = {"verifiedLevels": level, "verifier": {"id": rest["verifier"]["id"]}}
    json_format.ParseDict(rest | narrow, vsa_pb2.VerificationSummary(), ignore_unknown_fields=False)
    for name in narrow:
        wide = rest | narrow | {name: rest[name]}
        with pytest.raises(json_format.ParseError, match=name):
            json_format.ParseDict(wide, vsa_pb2.VerificationSummary(), ignore_unknown_fields=False)


def test_ours_takes_an_approval_that_theirs_made() -> None:
    ours = Statement.from_json(STATEMENTS["approval"])
    subject = resource_descriptor_pb2.ResourceDescriptor(name=ours.subject, digest={"sha256": ours.sha256})
    theirs = PeerStatement([subject], APPROVAL, ours.predicate)
    theirs.validate()
    written = json_format.MessageToDict(theirs.pb)
    with pytest.raises(SchemaError):  # as it stands it is not canonical, and its `version` is 1.0
        Statement.from_json(json.dumps(written).encode())
    data = strict.canonical(json.loads(json.dumps(written), parse_float=lambda text: int(float(text))))
    mine = pair(P256)
    payload = dsse.check(Envelope.from_json(mine.seal(PAYLOAD_TYPE, data)), mine.public, PAYLOAD_TYPE)
    assert Approval.from_statement(Statement.from_json(payload)).reviewer == "rita"


@pytest.mark.parametrize("kind", PROVENANCES)
def test_ours_takes_a_provenance_that_theirs_made(kind: str) -> None:
    ours = Statement.from_json(STATEMENTS[kind])
    theirs = json_format.ParseDict(ours.predicate, provenance_pb2.Provenance())
    text = json_format.MessageToJson(theirs)
    predicate = json.loads(text, parse_float=lambda number: int(float(number)))
    assert Provenance.from_statement(Statement(ours.subject, ours.sha256, ours.predicate_type, predicate)).request


def test_a_digest_that_any_other_would_do_for_is_refused_by_ours() -> None:
    """in-toto: two sets of digests match when ANY of them does. Ours is one digest: there is nothing to pick."""
    value = json.loads(STATEMENTS["test-result"])
    value["subject"][0]["digest"]["sha512"] = "0" * 128
    data = strict.canonical(value)
    PeerStatement.copy_from_pb(parsed(data)).validate()
    with pytest.raises(SchemaError, match="sha512"):
        Statement.from_json(data)


def test_several_subjects_are_refused_by_ours() -> None:
    value = json.loads(STATEMENTS["test-result"])
    value["subject"].append(value["subject"][0] | {"name": "another"})
    data = strict.canonical(value)
    PeerStatement.copy_from_pb(parsed(data)).validate()
    with pytest.raises(SchemaError, match="subject"):
        Statement.from_json(data)
