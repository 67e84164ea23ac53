"""Bytes of `.agent-pipeline/policy.yaml` to a `Policy`.

The YAML that is accepted is the plain part of it: no duplicate keys, no anchors, aliases or tags (CVE-2017-18342 and
the "billion laughs"), and what it says must have the form of `schemas/policy.schema.json`.
"""

from __future__ import annotations

from typing import Any, Final

from agent_pipeline.documents import strict
from agent_pipeline.documents.policy import Policy

VERSION: Final = 1  # of a policy's form: the newest, and so far the only one


def load(data: bytes) -> Policy:
    """Read a policy. Raises `SchemaError` that names the line or the member."""
    return Policy.from_dict(_mapping(data))


def version_of(data: bytes) -> Any:  # noqa: ANN401 - whatever stands there
    """Return what a policy says its version is, whether or not this is one that can be read. Raises `SchemaError`."""
    return _mapping(data).get("version")


def _mapping(data: bytes) -> dict[str, Any]:
    from agent_pipeline.policy import plain_yaml  # noqa: PLC0415 - 15 ms that a verifier needs for a new policy only

    return plain_yaml.mapping(data)


def digest(data: bytes) -> str:
    """Return what statements name a policy by: the SHA-256 of the file's bytes."""
    return strict.sha256(data)
