"""Whether people can fulfil a policy: refused exactly when no change could land, with who and what to do."""

from __future__ import annotations

from dataclasses import replace
from itertools import product

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from support.trust import POLICY, root_of

from agent_pipeline.documents.policy import Policy
from agent_pipeline.documents.root import TrustRoot
from agent_pipeline.policy import load
from agent_pipeline.policy.people import left_out, unfulfillable

ALL = ("root", "requester", "runner", "ci", "merger", "reviewer")


def wants(reviewers: int, persons: int) -> Policy:
    policy = load(POLICY)
    return replace(policy, landing=replace(policy.landing, reviewers=reviewers, persons=persons))


CASES: dict[str, tuple[dict[str, tuple[str, ...]], int, int, str]] = {
    "no requester": ({"ada": ("root", "runner", "ci", "merger")}, 0, 1, "`requester`"),
    "no runner": ({"ada": ("root", "requester", "ci", "merger")}, 0, 1, "`runner`"),
    "no ci": ({"ada": ("root", "requester", "runner", "merger")}, 0, 1, "`ci`"),
    "no merger": ({"ada": ("root", "requester", "runner", "ci")}, 0, 1, "`merger`"),
    "no reviewer": ({"ada": ALL[:5]}, 1, 1, "there is nobody"),
    "who asks is the only reviewer": ({"ada": ALL}, 1, 1, "cannot review their own"),
    "who asks and who runs are the only reviewers": (
        {"ada": ("root", "requester", "reviewer", "ci", "merger"), "bob": ("runner", "reviewer")},
        1, 1, "cannot review their own",
    ),
    "one reviewer too few": ({"ada": ALL[:5], "rita": ("reviewer",)}, 2, 1, "there are 1 (rita)"),
    "one person too few": ({"ada": ALL[:5], "rita": ("reviewer",)}, 1, 3, "at most 2 people"),
    "a merger counts for nobody": ({"ada": ALL[:4], "mia": ("merger",)}, 0, 2, "at most 1 people"),
}  # fmt: skip


@pytest.mark.parametrize("name", CASES)
def test_refused(name: str) -> None:
    people, reviewers, persons, said = CASES[name]
    (reason,) = unfulfillable(wants(reviewers, persons), root_of(people))
    assert said in reason
    assert "agent-pipeline trust add" in reason


def test_a_reviewer_without_a_key_or_who_is_a_bot_reviews_nothing() -> None:
    root = root_of({"ada": ALL[:5], "rita": ("reviewer",)})
    rita = root.person("rita")
    assert rita is not None
    for other in (replace(rita, keys=()), replace(rita, bot=True)):
        people = tuple(other if person.name == "rita" else person for person in root.people)
        assert unfulfillable(wants(1, 1), replace(root, people=people))


def test_fulfilled() -> None:
    team = root_of({"ada": ALL[:5], "rita": ("reviewer",), "rex": ("reviewer", "requester")})
    assert unfulfillable(wants(2, 3), team) == []
    assert left_out(wants(2, 3), team) == [
        "what rex asks for cannot land: it needs 2 reviewers beside rex, and there are 1 (rita)"
    ]
    assert left_out(wants(1, 2), team) == []
    assert unfulfillable(wants(0, 1), root_of({"solo": ALL[:5]})) == []


def possible(policy: Policy, root: TrustRoot) -> bool:
    """Whether any change could land, by trying everybody in every place."""
    holders = {role: [one.name for one in root.people if role in one.roles] for role in ALL}
    reviewers = {one.name for one in root.people if "reviewer" in one.roles and not one.bot}
    return bool(holders["merger"]) and any(
        len(reviewers - {asks, runs}) >= policy.landing.reviewers
        and len((reviewers - {asks, runs}) | {asks, runs, admits}) >= policy.landing.persons
        for asks, runs, admits in product(holders["requester"], holders["runner"], holders["ci"])
    )


@settings(deadline=None)
@given(
    st.dictionaries(st.sampled_from("abcdef"), st.sets(st.sampled_from(ALL)), min_size=1),
    st.integers(min_value=0, max_value=4),
    st.integers(min_value=1, max_value=6),
)
def test_refused_exactly_when_nothing_could_land(people: dict[str, set[str]], reviewers: int, persons: int) -> None:
    root = root_of({name: tuple(roles) for name, roles in people.items()})
    policy = wants(reviewers, persons)
    assert (unfulfillable(policy, root) == []) is possible(policy, root)
