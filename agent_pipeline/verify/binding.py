"""Steps about what belongs together: request, provenance, manifest, policy, trust root."""

from __future__ import annotations

from agent_pipeline.documents import strict
from agent_pipeline.verify.case import Case
from agent_pipeline.verify.steps import Skip, equal, require


def request(case: Case) -> str:
    """The provenance answers exactly this request.

    Threat: a provenance offered for another request of the same person; a task, kind, narrowing or engine that changed
    between asking and running.
    """
    asked, ran = case.request, case.provenance
    equal("the request's id", the_request=case.request_id, the_provenance=ran.request)
    equal(
        "the request's envelope",
        the_record=case.sha256(case.inputs.request_envelope),
        the_provenance=ran.request_envelope,
    )
    equal("the kind", the_request=asked.kind, the_provenance=ran.kind)
    equal("the task", the_request=strict.sha256(asked.text.encode("utf-8")), the_provenance=ran.task)
    equal("the narrowing (--only)", the_request=asked.only, the_provenance=ran.only)
    equal("the requester", the_request=asked.requester, the_provenance=ran.requester)
    equal("the trial mark", the_request=asked.trial, the_provenance=ran.trial)
    return f"the provenance names request {case.request_id}, its envelope, task and kind"


def repository(case: Case) -> str:
    """All documents are about the repository that the trust root is for.

    Threat: documents of a fork, or of another repository of the same team.
    """
    equal(
        "the repository",
        the_trust_root=case.inputs.root.repository,
        the_request=case.request.repository,
        the_provenance=case.provenance.repository,
        the_manifest=case.proposal.repository,
    )
    return case.proposal.repository


def target(case: Case) -> str:
    """All documents want the same target, and it is the protected branch that is pinned.

    Threat: a change that was asked for another branch; a branch whose policy somebody else controls.
    """
    equal(
        "the target",
        the_pin=case.inputs.anchor.branch,
        the_request=case.request.target,
        the_provenance=case.provenance.target,
        the_manifest=case.proposal.target,
    )
    return case.proposal.target


def base(case: Case) -> str:
    """All documents start from the same commit, whose tree is what this repository says it is.

    Threat: a change that was made, tested or read on another base.
    """
    equal(
        "the base", the_request=case.request.base, the_provenance=case.provenance.base, the_manifest=case.proposal.base
    )
    equal(
        "the base's tree",
        this_repository=case.inputs.tree_facts.base_tree_of_base,
        the_provenance=case.provenance.base_tree,
        the_manifest=case.proposal.base_tree,
    )
    return f"base {case.proposal.base[:12]}, tree {case.proposal.base_tree[:12]}"


def policy(case: Case) -> str:
    """The run was made under the policy that is in force.

    Threat: an older or other policy, or one from the target or the proposal itself.
    """
    in_force = case.sha256(case.inputs.policy_bytes)
    require(
        case.provenance.policy == in_force,
        f"the run was made under policy {case.provenance.policy[:12]}, in force is {in_force[:12]}: ask again",
    )
    return f"made under the policy in force, {in_force[:12]}"


def root_version(case: Case) -> str:
    """The run knew no newer trust root than the one in force, which alone judges its keys.

    Threat: a rewound trust root in which a key that was removed is still trusted.
    """
    ran, in_force = case.provenance.root_version, case.inputs.root.version
    require(
        ran <= in_force,
        f"the run was made under version {ran} of the trust root, and here is version {in_force}: the protected branch "
        "was rewound",
    )
    return f"made under version {ran}, judged by version {in_force}"


def manifest(case: Case) -> str:
    """The signed subject is this manifest, and the provenance says the same as it.

    Threat: another change presented under a valid signature.
    """
    found = case.sha256(case.inputs.manifest)
    equal("the manifest's SHA-256", the_record=found, the_signed_subject=case.statement.sha256)
    equal("the request's id", the_manifest=case.proposal.request, the_provenance=case.provenance.request)
    equal("the number", the_manifest=case.proposal.number, the_provenance=case.provenance.number)
    equal("the result tree", the_manifest=case.proposal.tree, the_provenance=case.provenance.tree)
    return f"sha256 {found[:12]} is what was signed"


def staging(case: Case) -> str:
    """The provenance names the one branch that this request may be staged on.

    Threat: staging over somebody else's branch.
    """
    wanted = f"refs/heads/agent/{case.request_id}"
    require(case.provenance.staging == wanted, f"the provenance names {case.provenance.staging}, not {wanted}")
    return wanted


def trial(case: Case) -> str:
    """A run under rules that nobody has merged says so, and one under rules in force does not.

    Threat: rules of a set-up branch passed off as the protected branch's. (That a trial cannot land is decided there.)
    """
    marked = case.request.trial
    if marked and not case.inputs.landed:
        raise Skip("a trial: the rules have not landed on the protected branch, so this cannot land either")
    require(not marked, "this was a trial under rules that had not landed: ask again")
    require(
        case.inputs.landed, "the rules have not landed on the protected branch, but the request is not marked trial"
    )
    return "made under rules that are on the protected branch"
