"""Foreign text made fit for a terminal: what a model or a server says must not move a cursor or turn a line around."""

from __future__ import annotations

from agent_pipeline.documents import characters


def visible(text: str, limit: int = 300) -> str:
    """Return `text` in one line of at most `limit` characters, everything that cannot be seen written as an escape.

    That takes in control, format and bidirectional characters, lone surrogates and separators other than a space.
    """
    shown = characters.visible(" ".join(text[: 2 * limit].split()))
    return shown if len(shown) <= limit else shown[: limit - 1] + "…"
