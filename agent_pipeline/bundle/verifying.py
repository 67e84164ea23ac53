"""What an opened bundle proves: the pure verifier on inputs that come from the bundle and a pin, and nothing else."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from datetime import UTC, datetime
from typing import Final

from agent_pipeline.agent.prompts import registry
from agent_pipeline.attestation import sshsig
from agent_pipeline.attestation.trust import load_root
from agent_pipeline.bundle import logs
from agent_pipeline.bundle.opening import Opened
from agent_pipeline.documents.anchor import Anchor
from agent_pipeline.documents.characters import visible
from agent_pipeline.documents.log_entry import LogEntry
from agent_pipeline.documents.root import TrustRoot
from agent_pipeline.documents.verification import Verification
from agent_pipeline.errors import RejectedError, SchemaError, UnavailableError, UsageError
from agent_pipeline.repository import commits, trust_files
from agent_pipeline.repository.dossier import Dossier, closures, open_dossier
from agent_pipeline.review import evidence
from agent_pipeline.verify import offline
from agent_pipeline.verify.inputs import Inputs, LandingInputs
from agent_pipeline.verify.offline import Carried
from agent_pipeline.verify.vouched import Vouched

_NEVER_EXPIRED: Final = datetime(1970, 1, 1, tzinfo=UTC)  # whether it has is a step of the verifier


@dataclass(frozen=True, slots=True)
class Proven:
    """The decision about a bundle, and what it is about."""

    dossier: Dossier
    root: TrustRoot
    anchor: Anchor
    carried: Carried
    decision: Verification

    @property
    def inputs(self) -> Inputs:
        """What was decided on."""
        return self.carried.landing.inputs

    @property
    def log_size(self) -> int:
        """How many entries the log has."""
        return self.inputs.log.size

    @property
    def state(self) -> str:
        """Where the proposal stands as of the bundle."""
        return offline.state(self.carried)

    @property
    def vouched(self) -> Vouched:
        """Who signed what, in the order of the pipeline, as far as it holds, and the replay that CI signed."""
        try:
            return offline.signatures(self.carried)
        except (RejectedError, UnavailableError):
            return Vouched((), frozenset(), None)


def prove(opened: Opened, pin: str, anchor: Callable[[TrustRoot], Anchor], now: datetime) -> Proven:
    """Decide about an opened bundle under the pinned first trust root.

    `anchor` says which repository and branch the pin is for. Raises `SignatureError` when the bundle's trust root is
    not the pinned one or its chain is broken, `SchemaError` for documents that are missing or have another form.
    """
    said = opened.bundle.manifest
    dossier = _dossier(opened)
    root = load_root(trust_files.versions(opened.clone, said.rules), pin=pin, now=_NEVER_EXPIRED)
    if (said.repository, said.branch) != (root.repository, root.branch):
        raise SchemaError(
            f"the bundle says that it is from {visible(said.repository)}, its trust root is that of {root.repository}",
            hint="somebody changed it; get it again",
        )
    here = anchor(root)
    inputs = _inputs(opened, dossier, root, here, now)
    merged = offline.merged_by(inputs)
    if merged is not None:
        inputs = _as_merged(opened, inputs, merged)
    carried = Carried(_landing(opened, inputs), merged, _signed(opened, said.merge), said.staged)
    return Proven(dossier, root, here, carried, offline.decide(carried))


def _dossier(opened: Opened) -> Dossier:
    try:
        return open_dossier(opened.record, opened.bundle.manifest.number)
    except UsageError as error:
        raise SchemaError(f"the bundle lacks its proposal: {error.message}", hint="export it again") from error


def _inputs(opened: Opened, dossier: Dossier, root: TrustRoot, anchor: Anchor, now: datetime) -> Inputs:
    said = opened.bundle.manifest
    policy, images = evidence.rules_of(opened.clone, said.rules)
    return Inputs(
        request=said.request,
        number=said.number,
        request_envelope=dossier.request_envelope,
        manifest=dossier.manifest,
        provenance_envelope=dossier.provenance_envelope,
        transcript=dossier.transcript,
        tree_facts=evidence.tree_facts(opened.clone, dossier, whole=False),
        policy_bytes=policy,
        root=root,
        anchor=anchor,
        url=anchor.url,
        log=logs.carried(opened.bundle),
        landed=not said.trial,
        images=images,
        now=now,
        prompts=registry(),
        closures=closures(opened.record),
    )


def _as_merged(opened: Opened, inputs: Inputs, merged: LogEntry) -> Inputs:
    """Return the inputs of the decision to merge: rules of the merge's base, the time and log of the merge."""
    merge = opened.bundle.manifest.merge
    base = next(iter(opened.clone.parents(merge)), None) if merge is not None else None
    if base is None:
        raise SchemaError(
            f"entry {merged.index} of the bundle's log says that it was merged, and its merge commit is not in it",
            hint="export it again with `agent-pipeline bundle export`",
        )
    return evidence.as_merged(opened.clone, inputs, base, merged)


def _landing(opened: Opened, inputs: Inputs) -> LandingInputs:
    said = opened.bundle.manifest
    merge = _signed(opened, said.merge)
    return LandingInputs(
        inputs=inputs,
        attestations=tuple(opened.record.attestations(said.number).values()),
        staged=_signed(opened, said.staged),
        target_tip=next(iter(opened.clone.parents(said.merge)), None) if said.merge is not None else None,
        merger=sshsig.read(merge[1]).key.keyid if merge is not None else "",
    )


def _signed(opened: Opened, commit: str | None) -> tuple[bytes, str] | None:
    return commits.signature_of(opened.clone, commit) if commit is not None else None
