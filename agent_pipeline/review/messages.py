"""Commit messages by template. Nobody's words can form a trailer, close an issue by accident or repaint a terminal."""

from __future__ import annotations

import re
import unicodedata

from agent_pipeline.documents.request import Request

SUBJECT_LENGTH = 60


def subject(text: str) -> str:
    """Return the first line of `text`, printable, without the characters that forges and trailers act on, cut short."""
    first = next((line for line in text.splitlines() if line.strip()), "")
    plain = "".join(" " if char in "#@" or unicodedata.category(char)[0] in "CZ" else char for char in first)
    words = re.sub(r"\[(?=[^\]]*\b(?:skip|ci)\b)", "(", " ".join(plain.split()), flags=re.IGNORECASE)  # [actions skip]
    return words if len(words) <= SUBJECT_LENGTH else words[: SUBJECT_LENGTH - 1].rstrip() + "…"


def staged(request: Request, name: str, statement: str) -> str:
    """Return the message of the staged commit."""
    return (
        f"{request.kind}: {subject(request.text)}\n\n"
        f"Proposed by an agent, replayed by CI, not yet approved.\n\n"
        f"Agent-Pipeline-Proposal: {name}\n"
        f"Agent-Pipeline-Statement: sha256:{statement}\n"
        f"Agent-Pipeline-Requester: {request.requester}\n"
    )
