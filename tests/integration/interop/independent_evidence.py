"""What CI's and the reviewers' documents prove, by docs/wire-format.md: for the verifier beside.

Written from that document alone: nothing of agent_pipeline is imported.
"""

from __future__ import annotations

from collections.abc import Iterable
from typing import Any

from independent_wire import sha256

WORDS = {
    "REPLAYED": ("replay: ", {"replay: tree", "replay: full"}),
    "REGRESSION": ("regression: ", {"regression: fails without the fix", "regression: the base's tests pass"}),
    "REDERIVED": ("re-derived: ", {"re-derived: tree"}),
}


def test_result(result: Any, policy: str) -> dict[str, Any]:
    """What in-toto's form says again of a replay's result."""
    outcomes = {one["outcome"] for one in result["checks"]}
    good = "passed" in outcomes and not {"failed", "unknown"} & outcomes
    return {
        "result": "PASSED" if good else "FAILED",
        "configuration": [
            {"name": "sandbox-image", "digest": {"sha256": result["image"]}},
            {"name": "policy", "digest": {"sha256": policy}},
        ],
        "passedTests": [one["name"] for one in result["checks"] if one["outcome"] == "passed"],
        "failedTests": [one["name"] for one in result["checks"] if one["outcome"] != "passed"],
        "x-agent-pipeline": result,
    }


def proven(checks: Iterable[Any]) -> set[str]:
    """The proofs of a replay whose checks these are."""
    outcomes = {one["name"]: one["outcome"] for one in checks}
    found = set()
    for word, (prefix, needed) in WORDS.items():
        mine = {name: outcome for name, outcome in outcomes.items() if name.startswith(prefix)}
        if needed <= set(mine) and set(mine.values()) == {"passed"}:
            found.add(word)
    return found


def rejects(who: str, held: Iterable[tuple[bytes, Any, str]], identity: str, log: Iterable[Any]) -> bool:
    """Whether a rejection of the proposal `identity` by `who` stands: by the log's order, never by a date."""
    mine = [one for one in held if one[2] == who and one[1]["proposal"] == identity]
    entries = list(log)

    def places(digest: str, event: str) -> list[int]:
        return [one["index"] for one in entries if one["event"] == event and digest in one["envelopes"]]

    taken_back: dict[str, int] = {}
    for data, said, _ in mine:
        for digest in said.get("takes_back", ()):
            at = min(places(sha256(data), "approved"), default=-1)
            taken_back[digest] = max(at, taken_back.get(digest, -1))
    here = {sha256(data) for data, said, _ in mine if said["decision"] == "rejected"}
    if any(max(places(digest, "rejected"), default=-1) >= taken_back.get(digest, -1) for digest in here):
        return True
    about = (one for one in entries if one["event"] == "rejected" and one.get("statement") == identity)
    logged = [one for one in about if one.get("reviewer") == who]
    return any(
        not one["envelopes"] or any(one["index"] >= taken_back.get(digest, -1) for digest in one["envelopes"])
        for one in logged
    )
