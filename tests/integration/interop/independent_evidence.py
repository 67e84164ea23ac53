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

    def first(data: bytes, event: str) -> int:
        named = (one["index"] for one in entries if one["event"] == event and sha256(data) in one["envelopes"])
        return min(named, default=-1)

    approved = max((first(one[0], "approved") for one in mine if one[1]["decision"] == "approved"), default=-1)
    here = (first(one[0], "rejected") for one in mine if one[1]["decision"] == "rejected")
    about = (one for one in entries if one["event"] == "rejected" and one.get("statement") == identity)
    logged = (one["index"] for one in about if one.get("reviewer") == who)
    return any(not 0 <= index < approved for index in here) or any(index > approved for index in logged)
