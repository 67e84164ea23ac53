"""Which first trust root a bundle must have, where no repository says: an option, CI's variable, or a person's pins."""

from __future__ import annotations

import re
from collections.abc import Callable

from agent_pipeline.bundle.opening import Opened
from agent_pipeline.config import Config
from agent_pipeline.documents.anchor import Anchor
from agent_pipeline.documents.characters import visible
from agent_pipeline.documents.envelope import Envelope
from agent_pipeline.documents.root import LOCAL, TrustRoot, first_digest
from agent_pipeline.errors import SignatureError, UsageError
from agent_pipeline.repository import trust_files
from agent_pipeline.repository.anchor import load_pins
from agent_pipeline.verify import repositories

_HOW = (
    "ask somebody who knows the repository (there, `agent-pipeline trust show` prints the digest), then give it with "
    "`--root sha256:...` or AGENT_PIPELINE_ROOT"
)


def find(opened: Opened, given: str | None, config: Config) -> tuple[str, Callable[[TrustRoot], Anchor]]:
    """Return the pinned digest, and what says which repository and branch it is pinned for.

    A digest that is given pins the repository and branch that its trust root names. Raises `UsageError` without a pin.
    """
    digest = given if given is not None else config.root_digest
    if digest is not None:
        match = re.fullmatch(r"(?:sha256:)?([0-9a-f]{64})", digest.strip())
        if match is None:
            raise UsageError("the root is not `sha256:` and 64 hexadecimal digits", hint=_HOW)
        pin = match[1]
        return pin, lambda root: Anchor(root.repository, root.branch, pin)
    first = _first(opened)
    pins = [one for one in load_pins(config).pins if one.root_digest == first]
    if not pins:
        raise UsageError(
            f"nothing is pinned for {visible(opened.bundle.manifest.repository)}, which the bundle says it is from: "
            "without an anchor no signature means anything",
            hint=_HOW,
        )
    return first, lambda root: next((one for one in pins if _means(one, root)), pins[0])


def _means(pin: Anchor, root: TrustRoot) -> bool:
    return root.repository.startswith(LOCAL) or repositories.same(pin.url, root.repository)


def _first(opened: Opened) -> str:
    chain = trust_files.versions(opened.clone, opened.bundle.manifest.rules)
    if not chain:
        raise SignatureError("the bundle has no trust root", hint="refuse it")
    return first_digest(Envelope.from_json(chain[0][0]).payload)
