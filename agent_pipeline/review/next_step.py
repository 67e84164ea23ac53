"""What a request is waiting for, and who must do what."""

from __future__ import annotations

from agent_pipeline.documents.root import TrustRoot
from agent_pipeline.verify.reviews import UNLOGGED

_ENDED = {
    "requested": "nothing: no run has come to a proposal; ask again if none is going on",
    "failed": "nothing: the run ended without a proposal; ask again",
    "stopped": "nothing: the run was stopped; ask again",
    "trial": "the setup commit must land on the protected branch first; then ask again",
    "closed": "nothing: it was closed",
    "merged": "nothing: it is merged",
}


def holders(root: TrustRoot, role: str, but: str = "") -> str:
    """Return the people who hold `role`, for a sentence; without `but` where somebody else holds it too."""
    names = [person.name for person in root.people if role in person.roles and person.keys]
    names = [name for name in names if name != but] or names
    return " or ".join(names) if names else f"nobody yet (`agent-pipeline trust add NAME --role {role}`)"


def next_step(state: str, name: str, root: TrustRoot, missing: tuple[str, ...], requester: str) -> str:
    """Return one line: who must do what next. Whoever asked is named only where nobody else can do it."""
    request = name.partition(".")[0]
    if state in _ENDED:
        return _ENDED[state]
    if state == "proposed":
        return f"{holders(root, 'ci', requester)}: agent-pipeline ci run {request}"
    if any("ask again" in text for text in missing):
        return f"{requester}: ask again: agent-pipeline request ..."
    if state == "rejected" or any(" rejected it" in text for text in missing):
        return _rejected(name, missing, f"{holders(root, 'ci', requester)}: agent-pipeline ci run {request}")
    if any("review" in text for text in missing):
        approve = f"agent-pipeline review approve {name} --tree TREE"
        return f"{holders(root, 'reviewer')}: agent-pipeline diff {name}, then {approve}"
    return f"{holders(root, 'merger', requester)}: agent-pipeline land {request}"


def _rejected(name: str, missing: tuple[str, ...], ci: str) -> str:
    """Return what is left of a proposal that was rejected: a person may take that back, CI does not."""
    if any(UNLOGGED in text for text in missing):
        return ci
    again = "ask again: agent-pipeline request ..."
    if not any(" rejected it" in text for text in missing):
        return f"nothing: it was rejected; {again}"
    return f"{again}, unless who rejected it thinks better of it: agent-pipeline review approve {name} --tree TREE"
