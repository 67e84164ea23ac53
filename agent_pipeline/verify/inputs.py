"""What a decision is made from. The caller gathers it; nothing in it is believed because of where it came from."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import field
from datetime import datetime

from agent_pipeline.documents.anchor import Anchor
from agent_pipeline.documents.images_lock import ImagesLock
from agent_pipeline.documents.log_proof import LogProof
from agent_pipeline.documents.proposal import Change
from agent_pipeline.documents.root import TrustRoot
from agent_pipeline.frozen import frozen


@frozen
class TreeFacts:
    """What the caller's own Git objects say: computed from trees, never read from a document.

    `base_tree_of_base` is the tree of the base commit; `changes_computed` and `result_tree` come from the carrier
    commit's tree, `carrier_parent` is its only parent (None when it has not exactly one). `disagreement` is what the
    second implementation said when it did not agree with the first, None when it agreed.
    """

    base_tree_of_base: str
    changes_computed: tuple[Change, ...]
    result_tree: str
    carrier_parent: str | None
    carrier_message_ok: bool
    disagreement: str | None


@frozen
class Inputs:
    """Everything about one proposal, `request` (an id) and `number` being the names of the record it was found in.

    Policy, root and images are those of the anchor's branch as freshly fetched; `landed` is False when they come from a
    set-up branch that nobody has merged. `url` is the repository that is asked for, `prompts` what this installation
    knows frozen prompts by (NAME@VERSION to SHA-256), `closures` the envelopes that claim to close the request,
    `log` what the shared log says about it; that it is the newest one and continues what was seen the caller must know.
    With `before`, it is decided as it was just before the log's entry of that index: what came later does not count.
    """

    request: str
    number: int
    request_envelope: bytes
    manifest: bytes
    provenance_envelope: bytes
    transcript: bytes
    tree_facts: TreeFacts
    policy_bytes: bytes
    root: TrustRoot
    anchor: Anchor
    url: str
    log: LogProof
    landed: bool
    images: ImagesLock
    now: datetime
    prompts: Mapping[str, str] = field(default_factory=dict)
    closures: tuple[bytes, ...] = ()
    before: int | None = None


@frozen
class LandingInputs:
    """What a merge is decided on beside `inputs`.

    `attestations` are all envelopes found beside the proposal, in any order: those that hold are used, others change
    nothing. `staged` is the commit on the branch `agent/<id>`: its bytes without the signature, and the armored
    signature; None when there is no such branch or it is unsigned. `target_tip` is the target's commit now, `merger`
    the id of the key that would sign the merge.
    """

    inputs: Inputs
    attestations: tuple[bytes, ...]
    staged: tuple[bytes, str] | None
    target_tip: str | None
    merger: str
