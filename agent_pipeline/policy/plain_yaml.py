"""The plain part of YAML, in which a policy is written: no duplicate keys, anchors, aliases, tags or fractions.

Threats: CVE-2017-18342, and the "billion laughs".
"""

from __future__ import annotations

from collections import Counter
from typing import Any, Final

import yaml

from agent_pipeline.documents.policy import PATH
from agent_pipeline.errors import SchemaError

MAX_BYTES: Final = 256 * 1024
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


def mapping(data: bytes) -> dict[str, Any]:
    """Return what the file says. Raises `SchemaError` that names the line."""
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
