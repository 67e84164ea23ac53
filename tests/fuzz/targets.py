"""All targets, by name."""

from __future__ import annotations

from typing import Final

from fuzz import bundles, documents, hosts
from fuzz.target import Target

TARGETS: Final[dict[str, Target]] = {
    target.name: target for target in (*documents.TARGETS, *hosts.TARGETS, *bundles.TARGETS)
}
