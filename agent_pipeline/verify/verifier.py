"""The verification of one proposal: numbered steps, each with the threat it exists for in its docstring.

Three layers, in this order of trust: the envelope says who speaks, the statement what it is about, the predicate what
is claimed; the policy is asked last. Every step is taken, whatever the others found. What the caller must still do:
load the trust root through its pinned chain, compute the tree facts from its own objects, and fetch before asking.
"""

from __future__ import annotations

from typing import Final

from agent_pipeline.documents.verification import Verification, verdict
from agent_pipeline.verify import binding, change, proofs, run, signers, standing, steps
from agent_pipeline.verify.case import Case, read
from agent_pipeline.verify.inputs import Inputs

STEPS: Final[tuple[tuple[str, steps.Step[Case]], ...]] = (
    ("documents", signers.documents),
    ("record", signers.record),
    ("trust root", signers.trust_root),
    ("anchor", signers.anchor),
    ("runner", signers.runner),
    ("requester", signers.requester),
    ("request", binding.request),
    ("repository", binding.repository),
    ("target", binding.target),
    ("base", binding.base),
    ("policy", binding.policy),
    ("root version", binding.root_version),
    ("manifest", binding.manifest),
    ("changes", change.changes),
    ("carrier", change.carrier),
    ("paths", change.paths),
    ("allowed paths", change.allowed),
    ("allowed request", run.request_allowed),
    ("engine", run.engine),
    ("model", run.model),
    ("prompt", run.prompt),
    ("tools", run.tools),
    ("sandbox", run.sandbox),
    ("image", run.image),
    ("limits", run.limits),
    ("transcript", run.transcript),
    ("times", run.times),
    ("staging branch", binding.staging),
    ("trial", binding.trial),
    ("log", standing.log),
    ("open", standing.open_),
)
# Steps about the verifier's own rules and address: one that does not pass says nothing of any proposal.
OWN: Final = ("trust root", "anchor")


def verify(inputs: Inputs) -> Verification:
    """Decide about one proposal. Never raises for what the inputs say: every defect is a check that failed."""
    case = read(inputs)
    checks = steps.run(STEPS, case)
    found = verdict(checks)
    return Verification(
        version=1,
        request=inputs.request,
        proposal=f"{inputs.request}.{inputs.number}",
        statement=case.identity,
        verdict=found,
        checks=checks,
        proofs=proofs.words(case, found),
    )
