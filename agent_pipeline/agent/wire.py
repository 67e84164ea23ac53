"""What is asked of a model in one turn, and its digest.

The digest covers everything that shapes an answer except the model's name, which the transcript holds on its own, and
the contents of tool results, which a replay must be free to find different (a time, a path, an order).
"""

from __future__ import annotations

from typing import Any, Final

from agent_pipeline.documents import strict

# One answer's length. Fixed, since it is part of every request's digest.
MAX_TOKENS: Final = 32_000


def body(system: str, tools: list[dict[str, Any]], messages: list[dict[str, Any]]) -> dict[str, Any]:
    """Return the parameters of a turn, all but `model`. The history is complete: no state is kept on a server."""
    return {
        "max_tokens": MAX_TOKENS,
        "system": system,
        "tools": tools,
        "messages": messages,
        "cache_control": {"type": "ephemeral"},
    }


def digest(request: dict[str, Any]) -> str:
    """Return the SHA-256 of the canonical request with the contents of tool results blanked."""
    messages = [
        message | {"content": [_blanked(block) for block in message["content"]]} for message in request["messages"]
    ]
    return strict.sha256(strict.canonical(request | {"messages": messages}))


def tools_digest(definitions: list[dict[str, Any]]) -> str:
    """Return the SHA-256 of the canonical tool definitions."""
    return strict.sha256(strict.canonical(definitions))


def text(value: str) -> dict[str, Any]:
    """Return a message of the user with one text block."""
    return {"role": "user", "content": [{"type": "text", "text": value}]}


def tool_result(call: str, content: str, *, ok: bool) -> dict[str, Any]:
    """Return the block that answers the tool call with the id `call`."""
    return {"type": "tool_result", "tool_use_id": call, "content": content, "is_error": not ok}


def _blanked(block: dict[str, Any]) -> dict[str, Any]:
    return block | {"content": ""} if block["type"] == "tool_result" else block
