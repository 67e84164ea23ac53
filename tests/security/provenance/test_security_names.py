"""Attack 68: refs whose names look like others, on the remote and in every clone, from the proposal to the merge."""

from __future__ import annotations

from collections.abc import Callable, Iterable

import pytest
from support.people import Person
from support.teams import LOG, MAIN, REQUESTS, Team

pytestmark = pytest.mark.containers

At = Callable[[str], Team]
TRACKING = "refs/agent-pipeline-remote/origin/"


def alike(team: Team, *commits: str) -> tuple[str, ...]:
    """Names that Git, shortened or guessed at, takes for a ref that decides something, or for one of `commits`."""
    known = {
        "main": MAIN,
        f"agent/{team.id}": f"refs/heads/agent/{team.id}",
        f"agent-pipeline/requests/{team.id}": REQUESTS + team.id,
        "agent-pipeline/log": LOG,
        "attestations/trees": "refs/attestations/trees",
    }
    return (
        *(f"refs/tags/{short}" for short in known),
        *(f"refs/heads/{short}" for short in known if not short.startswith(("main", "agent/"))),
        *(f"refs/{folder}/{full}" for full in known.values() for folder in ("heads", "tags")),
        *(f"refs/heads/{TRACKING}{full.removeprefix('refs/')}" for full in known.values()),
        *(f"{TRACKING}{full.removeprefix('refs/')}" for full in known.values()),
        *(f"refs/remotes/{short}" for short in ("main", "HEAD", "origin/main", f"agent/{team.id}")),
        *(f"refs/{folder}/{name}" for folder in ("heads", "tags") for name in ("HEAD", "FETCH_HEAD", "@")),
        *(f"refs/{folder}/{name}" for folder in ("heads", "tags") for name in commits),
        *(f"{REQUESTS}{name}" for name in no_ids(team)),
        f"refs/agent-pipeline/offers/{team.id}",
        f"refs/agent-pipeline/{team.id}",
        f"refs/heads/agent/{team.id}.1",
        f"refs/heads/agent/{team.id.upper()}",
        f"refs/heads/agents/{team.id}",
        "refs/heads/main2",
        "refs/agent-pipeline/log2",
        "refs/attestations/trees2",
    )


def no_ids(team: Team) -> tuple[str, ...]:
    return team.id.upper(), team.id[:-1], f"{team.id}x", f"x/{team.id}"


def spread(team: Team, evil: str, names: Iterable[str]) -> None:
    """Put them all on the remote; and everybody's own Git fetches everything under the names that it has there."""
    there = {line.split()[1] for line in team.alice.git("ls-remote", str(team.bare)).splitlines()}
    wanted = [name for name in dict.fromkeys(names) if name not in there]
    team.mallory.push("refs/tags/evil", evil)
    for name in wanted:  # not by pushes of hers, which Git itself would send astray
        team.alice.git("update-ref", name, evil, "", cwd=team.bare)
    for person in (team.alice, team.ci, team.rosa):
        specs = [f"+{name}:{name}" for name in wanted if not name.startswith(TRACKING)]
        person.git("fetch", "-q", "--no-tags", "origin", *specs)


def guessed(person: Person, short: str) -> str:
    """What Git makes of a short name."""
    return person.git("rev-parse", "--verify", "-q", short).strip()


def test_068_names_that_look_like_others(at: At) -> None:
    """All of them name one evil commit, which is on no way: what is staged, shown, approved and merged is the other."""
    team = at("proposed")
    base, tree = team.tip(), team.found["tree"]
    evil = team.mallory.commit(team.mallory.tree({"calc.py": b"evil = True\n"}), str(base))
    record = team.mallory.ref(REQUESTS + team.id)
    spread(team, evil, alike(team, str(base), record))
    for short in ("main", f"agent/{team.id}", "agent-pipeline/log"):
        assert guessed(team.ci, short) == evil, short  # whoever guesses is deceived

    code, rows = team.ci_run()
    assert (code, set(rows), rows[team.id]["verdict"]) == (0, {team.id}, "passed"), rows
    staged, log = team.tip(f"refs/heads/agent/{team.id}"), team.tip(LOG)
    spread(team, evil, alike(team, str(staged), str(log), str(team.tip(REQUESTS + team.id))))
    team.mallory.fetch()
    assert team.mallory.git("log", "-1", "--format=%P %T", str(staged)) == f"{base} {tree}"
    assert team.ci_run() == (0, {})  # nothing else is a request

    shown = team.shown().document
    assert (shown["state"], shown["tree"], shown["base"]) == ("staged", tree, base)
    assert "evil" not in team.rosa.run("diff", team.id).out
    assert [row["id"] for row in team.rosa.yes("review", "list")["waiting"]] == [team.id]
    team.rosa.yes("review", "approve", team.id, "--tree", tree)
    code, rows = team.ci_merge()
    assert (code, set(rows), rows[team.id]["merged"]) == (0, {team.id}, True), rows

    merged = rows[team.id]["new"]
    assert team.tip(MAIN) == merged
    team.mallory.fetch()
    assert team.mallory.git("log", "-1", "--format=%P %T", merged) == f"{base} {staged} {tree}"
    assert evil not in team.mallory.git("rev-list", MAIN, LOG, REQUESTS + team.id).split()
    found = team.rosa.run("audit", "verify", "--json").document["findings"]
    assert {row["ref"] for row in found} <= {f"{REQUESTS}{name}" for name in no_ids(team)}
    there = dict(reversed(line.split()) for line in team.alice.git("ls-remote", str(team.bare)).splitlines())
    assert {there[name] for name in alike(team, str(base), record, str(staged), str(log))} == {evil}
