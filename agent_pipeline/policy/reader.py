"""Bytes of `.agent-pipeline/policy.yaml` to a `Policy`.

The YAML that is accepted is the plain part of it: no duplicate keys, no anchors, aliases or tags (CVE-2017-18342 and
the "billion laughs"), and what it says must have the form of `schemas/policy.schema.json`.
"""

from __future__ import annotations

from collections import Counter
from typing import Any, Final

import yaml

from agent_pipeline.documents import strict
from agent_pipeline.documents.policy import PATH, Policy
from agent_pipeline.errors import SchemaError

MAX_BYTES: Final = 256 * 1024
VERSION: Final = 1  # of a policy's form: the newest, and so far the only one
MAX_DEPTH: Final = 12


class _PlainLoader(yaml.SafeLoader):
    """SafeLoader without aliases, anchors, fractions and tags (`!!int ''` is an IndexError); keys are unique texts."""

    def compose_node(self, parent: yaml.Node | None, index: int) -> yaml.Node | None:
        event = self.peek_event()  # type: ignore[no-untyped-call]  # yaml types it not
        for what in ("anchor", "tag"):  # an alias has an anchor too
            if getattr(event, what, None) is not None:
                line = event.start_mark.line + 1
                raise SchemaError(f"{PATH}: line {line}: aliases, anchors and tags are not allowed", hint=_PLAINLY)
        return super().compose_node(parent, index)

    def construct_mapping(self, node: yaml.MappingNode, deep: bool = False) -> dict[Any, Any]:  # noqa: FBT001, FBT002 - yaml's signature
        line = node.start_mark.line + 1
        names = [key.value for key, _ in node.value if key.tag == _TEXT]
        if len(names) != len(node.value):
            raise SchemaError(f"{PATH}: a key in the mapping that starts at line {line} is no text", hint=_PLAINLY)
        twice = [name for name, times in Counter(names).items() if times > 1]
        if twice:
            raise SchemaError(f"{PATH}: `{min(twice)[:100]}` stands twice in the mapping that starts at line {line}")
        return super().construct_mapping(node, deep)


def _no_fraction(_loader: _PlainLoader, node: yaml.ScalarNode) -> Any:  # noqa: ANN401 - yaml's signature
    """Refuse 1.0 too, which JSON Schema takes for an integer: one value would have two forms."""
    line = node.start_mark.line + 1
    raise SchemaError(f"{PATH}: line {line}: {node.value[:40]} is not an integer", hint="other numbers stand in quotes")


_PlainLoader.add_constructor("tag:yaml.org,2002:float", _no_fraction)
_TEXT: Final = "tag:yaml.org,2002:str"
_PLAINLY: Final = "write the value out"


def load(data: bytes) -> Policy:
    """Read a policy. Raises `SchemaError` that names the line or the member."""
    return Policy.from_dict(_mapping(data))


def version_of(data: bytes) -> Any:  # noqa: ANN401 - whatever stands there
    """Return what a policy says its version is, whether or not this is one that can be read. Raises `SchemaError`."""
    return _mapping(data).get("version")


def _mapping(data: bytes) -> dict[str, Any]:
    if len(data) > MAX_BYTES:
        raise SchemaError(f"{PATH} has {len(data)} bytes; at most {MAX_BYTES} are read")
    if data.count(b"[") + data.count(b"{") > 10 * MAX_DEPTH + data.count(b"\n"):
        raise SchemaError(f"{PATH} nests too many brackets")
    try:
        value = yaml.load(data.decode("utf-8"), Loader=_PlainLoader)  # noqa: S506 - a SafeLoader with less in it
    except (yaml.YAMLError, UnicodeDecodeError, RecursionError, ValueError, TypeError) as error:
        raise SchemaError(f"{PATH} is not readable YAML: {error}") from error
    if not isinstance(value, dict):
        raise SchemaError(f"{PATH} is not a mapping")
    return value


def digest(data: bytes) -> str:
    """Return what statements name a policy by: the SHA-256 of the file's bytes."""
    return strict.sha256(data)
