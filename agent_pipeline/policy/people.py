"""Whether the people of a trust root can fulfil a policy: every reason why no change could land, with what to do.

Pure, and on the careful side of what the verifier counts: what is refused here could never land there.
"""

from __future__ import annotations

from collections.abc import Iterable
from itertools import product

from agent_pipeline.documents.policy import Policy
from agent_pipeline.documents.root import TrustRoot

_NEEDED = ("requester", "runner", "ci", "merger")


def unfulfillable(policy: Policy, root: TrustRoot) -> list[str]:
    """Return why no change could ever land by this policy with these people; empty when one could."""
    reasons = [
        f"nobody with a key has the role `{role}`: agent-pipeline trust add NAME --role {role}"
        for role in _NEEDED
        if not _holders(root, role)
    ]
    if reasons:
        return reasons
    return _too_few(policy, root)


def left_out(policy: Policy, root: TrustRoot) -> list[str]:
    """Return for whose requests the policy cannot be fulfilled although it can for others."""
    reviewers = _reviewers(root)
    found = []
    for name in sorted(_holders(root, "requester")):
        most = max((len(reviewers - {name, runner}) for runner in _holders(root, "runner")), default=0)
        if most < policy.landing.reviewers:
            found.append(
                f"what {name} asks for cannot land: it needs {policy.landing.reviewers} reviewers beside {name}, "
                f"and there {_are(reviewers - {name})}"
            )
    return found


def _holders(root: TrustRoot, role: str) -> frozenset[str]:
    return frozenset(person.name for person in root.people if role in person.roles and person.keys)


def _reviewers(root: TrustRoot) -> frozenset[str]:
    return frozenset(name for name in _holders(root, "reviewer") if not _is_bot(root, name))


def _is_bot(root: TrustRoot, name: str) -> bool:
    person = root.person(name)
    return person is not None and person.bot


def _too_few(policy: Policy, root: TrustRoot) -> list[str]:
    """Try everybody in every place. Neither who asked nor who owns the runner reviews; everybody counts once."""
    needed, reviewers = policy.landing, _reviewers(root)
    roles = [_few(_holders(root, role), reviewers) for role in ("requester", "runner", "ci")]
    counts = [
        (len(reviewers - {asks, runs}), len(reviewers | {asks, runs, admits})) for asks, runs, admits in product(*roles)
    ]
    if any(reviews >= needed.reviewers and persons >= needed.persons for reviews, persons in counts):
        return []
    most_reviews, most = (max(count[at] for count in counts) for at in (0, 1))
    said = []
    if most_reviews < needed.reviewers or most >= needed.persons:
        own = ", of whom those who ask or run agents cannot review their own" if most_reviews < len(reviewers) else ""
        said.append(
            f"landing.reviewers is {needed.reviewers}, and there {_are(reviewers)}{own}: agent-pipeline trust add NAME "
            "--role reviewer for somebody else, or lower landing.reviewers"
        )
    if most < needed.persons:
        people = sorted(reviewers.union(*(_holders(root, role) for role in ("requester", "runner", "ci"))))
        said.append(
            f"landing.persons is {needed.persons}, and at most {most} people can sign for one change (of "
            f"{', '.join(people)}): agent-pipeline trust add NAME for somebody else, or lower landing.persons"
        )
    return said


def _few(names: Iterable[str], reviewers: frozenset[str]) -> list[str]:
    """Return some of `names`, those who do not review first: as many as the best case can need (two besides one)."""
    return sorted(names, key=lambda name: (name in reviewers, name))[:4]


def _are(names: Iterable[str]) -> str:
    listed = sorted(names)
    return f"are {len(listed)} ({', '.join(listed)})" if listed else "is nobody"
