"""Anyone who may push writes records, branches and marks with plain git: reported, left alone, and never a yes."""

from __future__ import annotations

import time
from collections.abc import Callable

import pytest
from support.hostile import HostileRunner
from support.pushers import Pusher
from support.teams import REQUESTS, Team

from agent_pipeline.repository.trees import Put
from agent_pipeline.signing.client import Signer
from agent_pipeline.signing.generate import generate

pytestmark = pytest.mark.containers

At = Callable[[str], Team]
TIDY = b'"""A calculator."""\n\n\ndef mean(values):\n    """Return the mean."""\n    return sum(values) / len(values)\n'
ESCAPES = (
    "\x1b[2J\x1b]0;owned\x07\x9b31m\u202e\r\nproofs    signed · replayed · reviewed 9/9 · 9 persons\nnext:     nothing"
)


def outsider(team: Team) -> HostileRunner:
    """Somebody with a key that is nobody's in the trust root, who says that she is Alice."""
    one = HostileRunner(team)
    generate(team.top / "outsider", "outsider")
    one.signer = Signer(str(team.top / "outsider"))
    return one


def bomb(mallory: Pusher, levels: int, width: int) -> str:
    """A tree that names itself so often that it unfolds to `width` to the power of `levels`, without one file."""
    inner = mallory.tree({})
    for _ in range(levels):
        inner = mallory.raw_tree(*((("40000", f"d{number:03d}", inner)) for number in range(width)))
    return inner


def many_proposals(mallory: Pusher, good: dict[str, object], count: int) -> str:
    """A record with thousands of proposals, all of which look as if they had a provenance."""
    empty = mallory.blob(b"{}")
    one = mallory.tree(
        {"attestations": {"provenance.0.dsse.json": f"100644:{empty}"}, "proposal.json": f"100644:{empty}"}
    )
    return mallory.tree({**good, **{str(number + 1): f"40000:{one}" for number in range(count)}})


def huge_envelopes(mallory: Pusher, good: dict[str, object]) -> str:
    """A record whose attestations would fill a machine's memory: one blob, named again and again."""
    blob = mallory.blob(b" " * (48 << 20))
    names = {f"approval.{number:04d}.dsse.json": f"100644:{blob}" for number in range(2000)}
    one = dict(good["1"])  # type: ignore[call-overload]
    return mallory.tree({**good, "1": {**one, "attestations": {**one["attestations"], **names}}})


def test_bad_records_are_reported_and_left_alone_and_all_others_go_their_way(at: At) -> None:
    team = at("proposed")
    mallory = team.mallory
    good = mallory.files(REQUESTS + team.id)
    digits = {"9" * 5000: {"reports": {"run.json": b"{}"}}}
    trees = {
        "empty": mallory.tree({}),
        "no request": mallory.tree({"request.dsse.json": b"{}"}),
        "a folder for a file": mallory.tree({"request.dsse.json": {"x": b"1"}}),
        "somebody else's documents": mallory.tree(good),
        "a number of 5000 digits": mallory.tree({**good, **digits}),
        "only a number of 5000 digits": mallory.tree({"request.dsse.json": good["request.dsse.json"], **digits}),
        "no number": mallory.tree({**good, "0": {"proposal.json": b"{}"}, "²": {"proposal.json": b"{}"}}),
        "names that act on a terminal": mallory.tree({**good, "\x1b[2J\x1b[31m": b"x"}),
        "nothing, ten million times": bomb(mallory, 7, 10),
        "a bomb beside a good request": mallory.tree({**good, "bomb": f"40000:{bomb(mallory, 7, 10)}"}),
        "two thousand proposals": many_proposals(mallory, good, 2000),
        "memory": huge_envelopes(mallory, good),
        "a link": mallory.tree({**good, "request.dsse.json": f"120000:{mallory.blob(b'/etc/passwd')}"}),
        "a submodule": mallory.tree({"request.dsse.json": f"160000:{'1' * 40}"}),
    }
    letters = "abcdefghijklmnopqrstuvwxyz"
    bad = {letters[number] * 16: what for number, what in enumerate(trees)}
    for request, tree in zip(bad, trees.values(), strict=True):
        mallory.push(REQUESTS + request, mallory.commit(tree))
    mallory.push(REQUESTS + "z" * 16, mallory.blob(b"no commit"))
    forger = outsider(team)
    tidy = forger.built({"calc.py": Put(TIDY, "100644")})
    odd = [
        forger.propose(tidy, request=forger.request(only=("[z-a]",))),
        forger.propose(tidy, request=forger.request(only=("x*x*x*/" * 8 + "z",))),
        forger.propose(tidy, request=forger.request(text=ESCAPES)),
        forger.propose(tidy, manifest={"base": "2" * 40}),
        forger.propose(tidy, request=forger.request(base=forger.base), manifest={"tree": "3" * 40}),
    ]

    begun = time.monotonic()
    code, rows = team.ci_run()
    took = time.monotonic() - begun
    assert code == 1
    assert took < 60, took
    assert rows[team.id]["verdict"] == "passed", rows[team.id]
    assert {request for request, row in rows.items() if row["verdict"] == "passed"} == {team.id}
    for request in odd:
        assert rows[request]["verdict"] == "failed", rows[request]
    told = team.ci.run("ci", "run", "--json")
    assert "defect" not in told.err
    for request, what in bad.items():
        quiet = what in ("no number", "only a number of 5000 digits")  # a request that nothing came of, and no more
        assert quiet or request in rows or f"{request}: left alone" in told.err, (what, told.err)

    listed = team.rosa.run("review", "list")
    assert listed.code == 0, str(listed)
    assert [line[:16] for line in listed.out.splitlines()] == [team.id]
    everything = team.rosa.run("list")
    assert everything.code == 0, str(everything)
    team.rosa.yes("review", "approve", team.id, "--tree", team.found["tree"])
    code, rows = team.ci_merge()
    assert rows[team.id]["merged"], rows
    assert set(rows) == {team.id}
    assert code == 0
    for said in (listed, everything, told):
        assert not [char for char in said.out + said.err if ord(char) < 32 and char not in "\n\t"], repr(said.out)
        assert "\u202e" not in said.out + said.err
        assert not [line for line in said.out.splitlines() if line.startswith(("proofs", "next:"))], said.out
