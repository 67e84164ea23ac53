"""The schemas are the authority: every document class has exactly its schema's properties."""

from __future__ import annotations

import dataclasses
import json
import re
from pathlib import Path

import pytest
from jsonschema import Draft202012Validator

from agent_pipeline.documents import schema
from agent_pipeline.documents.anchor import Pins
from agent_pipeline.documents.approval import Approval
from agent_pipeline.documents.bundle import BundleManifest
from agent_pipeline.documents.closure import Closure
from agent_pipeline.documents.form import Document
from agent_pipeline.documents.images_lock import ImagesLock
from agent_pipeline.documents.log_entry import LogEntry
from agent_pipeline.documents.log_proof import LogProof
from agent_pipeline.documents.offer import Offer
from agent_pipeline.documents.policy import Policy
from agent_pipeline.documents.proposal import Change, Proposal
from agent_pipeline.documents.replay_result import ReplayResult
from agent_pipeline.documents.request import Request
from agent_pipeline.documents.seen_root import SeenRoot
from agent_pipeline.documents.submission import Submission
from agent_pipeline.documents.verification import Verification

FOLDER = Path(__file__).parents[3] / "schemas"
PLAIN = [
    Approval,
    BundleManifest,
    Closure,
    ImagesLock,
    LogEntry,
    LogProof,
    Offer,
    Pins,
    Policy,
    Proposal,
    ReplayResult,
    Request,
    SeenRoot,
    Submission,
    Verification,
]


@pytest.mark.parametrize("path", sorted(FOLDER.glob("*.schema.json")), ids=lambda path: path.name)
def test_every_schema_is_a_schema_and_loads_nothing_from_elsewhere(path: Path) -> None:
    value = json.loads(path.read_bytes())
    Draft202012Validator.check_schema(value)
    assert all(target.startswith("#/") for target in re.findall(r'"\$ref": "([^"]*)"', path.read_text()))
    assert value["$id"].endswith(path.name)


@pytest.mark.parametrize("kind", PLAIN, ids=lambda kind: kind.STEM)
def test_fields_are_the_schemas_properties(kind: type[Document]) -> None:
    described = schema.load(kind.STEM)
    fields = dataclasses.fields(kind)  # type: ignore[arg-type]
    assert {field.name for field in fields} == set(described["properties"])
    optional = {field.name for field in fields if field.default is not dataclasses.MISSING}
    assert set(described["required"]) == {field.name for field in fields} - optional
    assert described["additionalProperties"] is False


def test_a_changes_fields_are_the_schemas_too() -> None:
    described = schema.load("proposal")["properties"]["changes"]["items"]
    assert {field.name for field in dataclasses.fields(Change)} == set(described["properties"])
