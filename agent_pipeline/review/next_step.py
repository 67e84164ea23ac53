"""What a request is waiting for, and who must do what."""

from __future__ import annotations

from agent_pipeline.documents.root import TrustRoot


def holders(root: TrustRoot, role: str) -> str:
    """Return the people who hold `role`, for a sentence."""
    names = [person.name for person in root.people if role in person.roles]
    return " or ".join(names) if names else f"nobody yet (`agent-pipeline trust add NAME --role {role}`)"


def next_step(state: str, name: str, root: TrustRoot, missing: tuple[str, ...]) -> str:
    """Return one line: who must do what next."""
    request = name.partition(".")[0]
    match state:
        case "requested" | "failed" | "stopped":
            return "nothing: the run ended without a proposal; ask again"
        case "trial":
            return "the setup commit must land on the protected branch first; then ask again"
        case "proposed":
            return f"{holders(root, 'ci')}: agent-pipeline ci run {request}"
        case "rejected":
            return "nothing: it was rejected; ask again"
        case "closed":
            return "nothing: it was closed"
        case "merged":
            return "nothing: it is merged"
        case _:
            if any("review" in text for text in missing):
                return f"{holders(root, 'reviewer')}: agent-pipeline diff {name}, then agent-pipeline review approve"
            return f"{holders(root, 'merger')}: agent-pipeline land {request}"
