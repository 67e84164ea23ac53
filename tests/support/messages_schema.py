"""What a request to the Messages API must look like, generated from the installed SDK's own types.

The objects are closed, so that a misspelt or retired parameter (`temperature`) is refused as the API refuses it. Beside
the schema stand the rules that types cannot say: tool results answer the calls before them, each exactly once.
"""

from __future__ import annotations

from functools import cache
from typing import Any

from anthropic.types.message_create_params import MessageCreateParamsNonStreaming, MessageCreateParamsStreaming
from jsonschema import Draft202012Validator
from pydantic import TypeAdapter

# Sent as headers, though the SDK's method takes them beside the body's parameters.
_HEADERS = ("user_profile_id", "workspace_id")
# What the provider refuses in the schema of a strict tool.
_NOT_STRICT = {"minLength", "maxLength", "minItems", "maxItems", "pattern", "minimum", "maximum", "$schema", "$id"}


@cache
def _validator(streaming: bool) -> Draft202012Validator:  # noqa: FBT001 - a key of the cache
    kind: Any = MessageCreateParamsStreaming if streaming else MessageCreateParamsNonStreaming
    schema = TypeAdapter(kind).json_schema()
    for name in _HEADERS:
        schema["properties"].pop(name, None)
    for part in (schema, *schema["$defs"].values()):
        if "properties" in part:
            part.setdefault("additionalProperties", False)
    return Draft202012Validator(schema)


def problems(body: Any) -> list[str]:
    """Return everything that is wrong with the body of a request."""
    if not isinstance(body, dict):
        return ["the body is not an object"]
    errors = _validator(body.get("stream") is True).iter_errors(body)
    found = [f"{'/'.join(map(str, error.absolute_path)) or 'body'}: {error.message[:300]}" for error in errors]
    return found or [*_pairing(body["messages"]), *_tools(body.get("tools", []))]


def _blocks(message: dict[str, Any], kind: str) -> list[dict[str, Any]]:
    content = message["content"]
    return [block for block in content if block["type"] == kind] if isinstance(content, list) else []


def _pairing(messages: list[dict[str, Any]]) -> list[str]:
    if not messages or messages[0]["role"] != "user":
        return ["messages: the first message must be the user's"]
    found = ["messages/0: it answers no call"] if _blocks(messages[0], "tool_result") else []
    for number, message in enumerate(messages):
        if message["content"] in ([], ""):
            found.append(f"messages/{number}: content must be non-empty")
        if any(not block["text"].strip() for block in _blocks(message, "text")):
            found.append(f"messages/{number}: text content blocks must contain non-whitespace text")
        calls = [block["id"] for block in _blocks(message, "tool_use")] if message["role"] == "assistant" else []
        following = messages[number + 1] if number + 1 < len(messages) else {"role": "user", "content": []}
        answers = [block["tool_use_id"] for block in _blocks(following, "tool_result")]
        if sorted(calls) != sorted(answers):
            found.append(f"messages/{number}: tool_use ids {calls} were answered by {answers}")
    return found


def _tools(tools: list[dict[str, Any]]) -> list[str]:
    names = [tool["name"] for tool in tools]
    found = [f"tools: `{name}` stands twice" for name in set(names) if names.count(name) > 1]
    for tool in tools:
        if tool.get("strict") and "input_schema" in tool:
            found += [f"tools/{tool['name']}: a strict schema cannot hold {k}" for k in _loose(tool["input_schema"])]
    return found


def _loose(schema: Any, *, names: bool = False) -> list[str]:
    """Return the keywords of a schema that strict tools refuse; keys under `properties` are names, no keywords."""
    if isinstance(schema, list):
        return [keyword for item in schema for keyword in _loose(item)]
    if not isinstance(schema, dict):
        return []
    found = [] if names else [keyword for keyword in schema if keyword in _NOT_STRICT]
    if not names and schema.get("type") == "object" and schema.get("additionalProperties") is not False:
        found.append("an open object")
    return found + [keyword for key, item in schema.items() for keyword in _loose(item, names=key == "properties")]
