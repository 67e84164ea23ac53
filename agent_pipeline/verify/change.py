"""Steps about the change itself: trees, carrier, paths."""

from __future__ import annotations

from agent_pipeline.documents import paths as path_rules
from agent_pipeline.documents.words import counted
from agent_pipeline.policy import rules
from agent_pipeline.verify.case import Case
from agent_pipeline.verify.steps import require


def changes(case: Case) -> str:
    """What the trees say has changed is exactly what the manifest says, for two implementations.

    Threat: a manifest that leaves something out; readers of Git objects that disagree (T22).
    """
    facts, said = case.inputs.tree_facts, case.proposal
    require(facts.disagreement is None, f"two readers of the trees disagree: {facts.disagreement}")
    require(facts.result_tree == said.tree, f"the carrier's tree is {facts.result_tree}, the manifest says {said.tree}")
    computed = {change.path: change for change in facts.changes_computed}
    listed = {change.path: change for change in said.changes}
    hidden = sorted(computed.keys() - listed.keys())
    invented = sorted(listed.keys() - computed.keys())
    other = sorted(path for path in computed.keys() & listed.keys() if computed[path] != listed[path])
    require(not hidden, f"the tree changes what the manifest does not list: {', '.join(hidden[:5])}")
    require(not invented, f"the manifest lists what the tree does not change: {', '.join(invented[:5])}")
    require(not other, f"the manifest and the tree differ about {', '.join(other[:5])}")
    require(facts.changes_computed == said.changes, "the manifest's changes are not sorted, or one stands there twice")
    return f"{counted(len(said.changes), 'file')}, as computed from the trees"


def carrier(case: Case) -> str:
    """The change travels as one commit on the base that anyone can make again.

    Threat: commits smuggled in as ancestors, words smuggled in as a message.
    """
    facts = case.inputs.tree_facts
    require(
        facts.carrier_parent == case.proposal.base,
        f"the carrier's only parent is not the base but {facts.carrier_parent or 'missing, or one of several'}",
    )
    require(
        facts.carrier_message_ok,
        "the carrier is not the commit that anyone would compute: author, date or message differ",
    )
    return "one commit on the base, nothing of its own"


def paths(case: Case) -> str:
    """Every path is one that Git, all its readers and all common file systems take for the same file.

    Threat: `.git` in disguise, traversal, devices, invisible characters, names that collide (T13).
    """
    seen: dict[str, str] = {}
    for path in case.proposal.paths:
        path_rules.check(path)
        other = seen.setdefault(path_rules.collision_key(path), path)
        require(other == path, f"{path!r} and {other!r} are one file on some systems")
    return "all names are plain"


def allowed(case: Case) -> str:
    """The policy lets an agent change these paths, and the request did not narrow them away.

    Threat: a change to the rules by which it is judged, to CI, to what the developer did not ask for.
    """
    reasons = rules.check_changes(case.policy, case.proposal.changes, case.request.only)
    require(not reasons, "; ".join(reasons[:5]))
    return "the policy allows these paths"
