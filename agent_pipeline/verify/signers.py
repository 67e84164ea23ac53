"""Steps about who speaks: the record's name, the trust root, the anchor, the runner, the requester."""

from __future__ import annotations

from agent_pipeline.attestation import statements, trust
from agent_pipeline.documents.root import Person
from agent_pipeline.verify import repositories
from agent_pipeline.verify.case import PROVENANCE, REQUEST, Case
from agent_pipeline.verify.steps import require


def documents(case: Case) -> str:
    """Every document has exactly its schema's form.

    Threat: documents that two readers read differently (duplicate members, other numbers, unknown parameters, stray
    base64), missing or several signatures, documents that contradict themselves.
    """
    unread = {name: why for name, why in case.errors.items() if name not in ("transcript", "log")}
    require(not unread, "; ".join(unread.values()))
    return "request, manifest, provenance and policy have their schemas' form"


def record(case: Case) -> str:
    """The documents are those of the record they were found in.

    Threat: anyone who may push can copy one request's documents into another's record.
    """
    name = f"{case.inputs.request}.{case.inputs.number}"
    require(case.request_id == case.inputs.request, f"the record {name} holds the request {case.request_id}")
    require(case.proposal.name == name, f"the record {name} holds the proposal {case.proposal.name}")
    return f"the record holds what it is named after, {name}"


def trust_root(case: Case) -> str:
    """The trust root is sound and has not expired.

    Threat: a frozen repository that serves an old trust root for ever. (Its chain to the pinned first version was
    checked when it was loaded.) Could not tell, when it has expired: that says nothing of the proposal, and a rejection
    would be final.
    """
    trust.check_sound(case.inputs.root)
    trust.check_expiry(case.inputs.root, case.inputs.now)
    return f"version {case.inputs.root.version} of the trust root is sound and valid until {case.inputs.root.expires}"


def anchor(case: Case) -> str:
    """The trust root speaks for the pinned repository and branch, and that repository is the one asked for.

    Threat: a fork or a second repository with the same commits, keys and documents (confused deputy). A repository
    that was set up without a remote has no address, only random digits for a name: there the pinned digest alone says
    which one it is.
    """
    inputs = case.inputs
    why = repositories.misaddressed(inputs.root, inputs.anchor, inputs.url)
    require(why is None, why or "")
    return f"pinned: {inputs.anchor.branch} of {repositories.shown(inputs.anchor.url)}"


def runner_of(case: Case) -> Person:
    """Return who signed the provenance, with role runner where the log has it. Raises `SignatureError`."""
    person = case.signer(PROVENANCE)
    statements.require_role(person, "runner")
    return person


def requester_of(case: Case) -> Person:
    """Return who signed the request, with role requester where the log has it. Raises `SignatureError`."""
    person = case.signer(REQUEST)
    statements.require_role(person, "requester")
    return person


def runner(case: Case) -> str:
    """The provenance is signed by a key whose owner may run agents.

    Threat: a forged or altered provenance; a trusted key in another role; a signature for another payload type.
    """
    return f"signed by {runner_of(case).name}, a runner"


def requester(case: Case) -> str:
    """The request is signed by the person it names, who may request.

    Threat: a runner that makes up a request, or names somebody else as the one who asked.
    """
    person = requester_of(case)
    require(
        person.name == case.request.requester,
        f"the request names {case.request.requester} and is signed by {person.name}",
    )
    return f"signed by {person.name}, who asked"
