"""From a dead workspace to a proposal: the host computes what changed, and builds and checks the tree twice."""

from __future__ import annotations

from typing import Final

from agent_pipeline.documents.policy import Policy
from agent_pipeline.documents.proposal import Proposal
from agent_pipeline.documents.request import Request
from agent_pipeline.documents.submission import Submission
from agent_pipeline.errors import CheckError, PathError, PolicyError
from agent_pipeline.policy import rules
from agent_pipeline.repository import records, trees
from agent_pipeline.repository.clone import Clone
from agent_pipeline.workspace.copy import Workspace
from agent_pipeline.workspace.findings import LEFT_OUT, WITHHELD
from agent_pipeline.workspace.harvest import Harvest, harvest

_PLAIN: Final = "a proposal carries regular files with plain names only"
_HINTS: Final = {
    WITHHELD: "the policy withholds it (`paths.read`): ask for a change without it, change it yourself, or ask the "
    "operator to let agents read it",
    LEFT_OUT: "a person changes it: no agent has what is there",
}


def collect(clone: Clone, workspace: Workspace, policy: Policy) -> Harvest:
    """Return what changed in `workspace`, within the policy's bounds."""
    return harvest(
        clone,
        workspace,
        ignore=policy.paths.ignore,
        max_bytes=4 * policy.limits.bytes,
        max_files=20 * policy.limits.files,
    )


def changed_paths(found: Harvest) -> tuple[str, ...]:
    """Return every path that was put or deleted, sorted."""
    return tuple(sorted({*found.puts, *found.deletes}))


def propose(
    clone: Clone, found: Harvest, policy: Policy, request: Request, number: int, claim: Submission | None
) -> tuple[Proposal, str]:
    """Return the proposal and its carrier commit.

    Raises `CheckError` when nothing changed or the claim is not what changed, `PathError` for what no proposal may
    carry, `PolicyError` for what the policy denies.
    """
    if found.refused:
        path, reason = found.refused[0]
        more = f" (and {len(found.refused) - 1} more)" if len(found.refused) > 1 else ""
        raise PathError(f"`{path}`: {reason}{more}", hint=_HINTS.get(reason, _PLAIN))
    paths = changed_paths(found)
    if not paths:
        raise CheckError(
            "nothing was changed: there is nothing to propose", hint="say more precisely what should change"
        )
    _compare_with_claim(paths, claim)
    base_tree = clone.tree(request.base)
    tree = trees.build(clone, base_tree, {**found.puts, **dict.fromkeys(found.deletes)})
    changes = trees.compare(clone, base_tree, tree)
    trees.cross_check(clone, base_tree, tree, changes)
    reasons = rules.check_changes(policy, changes, request.only)
    if reasons:
        raise PolicyError(
            "; ".join(reasons[:5]), hint="ask for a narrower change, or ask the operator about the policy"
        )
    proposal = Proposal(
        version=1,
        request=request.id,
        number=number,
        repository=request.repository,
        target=request.target,
        base=request.base,
        base_tree=base_tree,
        tree=tree,
        changes=changes,
        summary=claim.summary if claim is not None else "",
        rationale=claim.rationale if claim is not None else "",
    )
    return proposal, records.carrier(clone, request.base, tree)


def _compare_with_claim(paths: tuple[str, ...], claim: Submission | None) -> None:
    """Refuse a claim that is not what changed. An engine that claims nothing (a command) is not compared."""
    if claim is None or set(claim.files) == set(paths):
        return
    undeclared = sorted(set(paths) - set(claim.files))
    untouched = sorted(set(claim.files) - set(paths))
    said = [f"changed without being declared: {', '.join(undeclared[:5])}"] if undeclared else []
    said += [f"declared without having changed: {', '.join(untouched[:5])}"] if untouched else []
    raise CheckError(f"the agent's claim is not what changed: {'; '.join(said)}", hint="ask again")
