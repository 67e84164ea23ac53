"""The text editor that current models know by name: view, create, str_replace, insert.

Source: the SDK's `ToolTextEditor20250728Param`; the model knows the input's form by training, we check it.
Files that are not UTF-8 survive an edit byte for byte; line ends of a file that has CRLF throughout are kept.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass
from typing import Any, ClassVar, Final

from agent_pipeline.mediator.places import ToolError, locate
from agent_pipeline.sandbox.contract import Sandbox

VIEW_LIMIT: Final = 60_000
LISTING_LIMIT: Final = 1_000
_TO_END: Final = -1

_TEXT: Final = {"type": "string"}
_PATH: Final = {"type": "string", "minLength": 1, "maxLength": 4096}


def _form(command: str, required: dict[str, Any], optional: dict[str, Any] | None = None) -> dict[str, Any]:
    return {
        "if": {"properties": {"command": {"const": command}}},
        "then": {
            "properties": {"command": {}, "path": _PATH} | required | (optional or {}),
            "required": ["path", *required],
            "additionalProperties": False,
        },
    }


SCHEMA: Final[dict[str, Any]] = {
    "type": "object",
    "properties": {"command": {"enum": ["view", "create", "str_replace", "insert"]}},
    "required": ["command"],
    "allOf": [
        _form(
            "view", {}, {"view_range": {"type": "array", "items": {"type": "integer"}, "minItems": 2, "maxItems": 2}}
        ),
        _form("create", {"file_text": _TEXT}),
        _form("str_replace", {"old_str": {"type": "string", "minLength": 1}}, {"new_str": _TEXT}),
        _form("insert", {"insert_line": {"type": "integer", "minimum": 0}, "insert_text": _TEXT}),
    ],
}


@dataclass(frozen=True, slots=True)
class Editor:
    """`writable` returns the path relative to the workspace or raises `ToolError` with the policy's reason."""

    sandbox: Sandbox
    writable: Callable[[str], str]

    name: ClassVar[str] = "str_replace_based_edit_tool"
    schema: ClassVar[dict[str, Any]] = SCHEMA

    @property
    def definition(self) -> dict[str, Any]:
        """The tool's entry in the request."""
        return {"type": "text_editor_20250728", "name": self.name, "max_characters": VIEW_LIMIT}

    def call(self, arguments: Mapping[str, Any]) -> str:
        """Carry out one command."""
        actions = {
            "view": self._view,
            "create": self._create,
            "str_replace": self._replace,
            "insert": self._insert,
        }
        return actions[arguments["command"]](arguments)

    def _view(self, arguments: Mapping[str, Any]) -> str:
        path = locate(arguments["path"])
        try:
            text = show(self.sandbox.read(path or "."))
        except IsADirectoryError:
            return self._directory(path)
        except FileNotFoundError:
            raise _missing(path) from None
        except ValueError as error:
            raise ToolError(f"cannot show `{path}`: {error}") from error
        return _numbered(text, arguments.get("view_range"))

    def _directory(self, path: str) -> str:
        lines = [f"{path or '.'}/ (two levels)"]
        for name in self._names(path):
            lines.append(name)
            if name.endswith("/") and not name.startswith("."):
                lines += [name + below for below in self._names(f"{path}/{name[:-1]}" if path else name[:-1])]
            if len(lines) > LISTING_LIMIT:
                return "\n".join([*lines[:LISTING_LIMIT], "[... there is more; view a directory below ...]"])
        return "\n".join(lines)

    def _names(self, path: str) -> tuple[str, ...]:
        try:
            return self.sandbox.listing(path or ".")
        except (FileNotFoundError, NotADirectoryError, ValueError, PermissionError):
            return ()

    def _create(self, arguments: Mapping[str, Any]) -> str:
        path, text = self.writable(arguments["path"]), arguments["file_text"]
        before = self._before(path)
        self._write(path, text.encode("utf-8", "surrogateescape"))
        return f"{'created' if before is None else 'replaced'} {path} ({_count(text)})"

    def _before(self, path: str) -> bytes | None:
        try:
            return self.sandbox.read(path)
        except FileNotFoundError:
            return None
        except (IsADirectoryError, ValueError) as error:
            raise ToolError(f"`{path}` cannot be replaced: {str(error) or 'it is a directory'}") from error

    def _replace(self, arguments: Mapping[str, Any]) -> str:
        path = self.writable(arguments["path"])
        text, crlf = self._text(path)
        old, new = _ends(arguments["old_str"], crlf=crlf), _ends(arguments.get("new_str", ""), crlf=crlf)
        found = text.count(old)
        if found == 0:
            raise ToolError(
                f"`old_str` does not occur in {path}; it must match exactly, with whitespace: view the file"
            )
        if found > 1:
            raise ToolError(f"`old_str` occurs {found} times in {path}; take in more lines so that it is unique")
        start = text.index(old)
        self._write(path, (text[:start] + new + text[start + len(old) :]).encode("utf-8", "surrogateescape"))
        return f"edited {path}:\n{_around(text, start, old, new)}"

    def _insert(self, arguments: Mapping[str, Any]) -> str:
        path = self.writable(arguments["path"])
        text, crlf = self._text(path)
        lines, number = _lines(text), arguments["insert_line"]
        if number > len(lines):
            raise ToolError(f"`insert_line` is {number}, but {path} has {len(lines)} lines")
        end = "\r\n" if crlf else "\n"
        added = _ends(arguments["insert_text"], crlf=crlf)
        head, tail = "".join(lines[:number]), "".join(lines[number:])
        if head and not head.endswith("\n"):
            head += end
        if tail and added and not added.endswith("\n"):
            added += end
        self._write(path, (head + added + tail).encode("utf-8", "surrogateescape"))
        return f"inserted after line {number} of {path} ({_count(added)})"

    def _text(self, path: str) -> tuple[str, bool]:
        """Return the file's text, undecodable bytes as surrogates, and whether every line end in it is CRLF."""
        try:
            text = self.sandbox.read(path).decode("utf-8", "surrogateescape")
        except FileNotFoundError:
            raise _missing(path) from None
        except (IsADirectoryError, ValueError) as error:
            raise ToolError(f"`{path}` cannot be edited: {str(error) or 'it is a directory'}") from error
        ends = text.count("\n")
        return text, ends > 0 and text.count("\r\n") == ends

    def _write(self, path: str, content: bytes) -> None:
        try:
            self.sandbox.write(path, content)
        except (OSError, ValueError) as error:
            raise ToolError(f"`{path}` cannot be written: {error}") from error


def show(content: bytes) -> str:
    """Return bytes as text for a model; what is not UTF-8 is written as escapes."""
    return content.decode("utf-8", "backslashreplace")


def _missing(path: str) -> ToolError:
    return ToolError(f"there is no `{path}`; view a directory to see what is there")


def _lines(text: str) -> list[str]:
    """Split at newlines alone: other separators are content, and editors and interpreters number lines by newlines."""
    lines = text.split("\n")
    return [line + "\n" for line in lines[:-1]] + ([lines[-1]] if lines[-1] else [])


def _numbered(text: str, view_range: list[int] | None) -> str:
    lines = _lines(text)
    first, last = view_range or (1, _TO_END)
    last = len(lines) if last == _TO_END else last
    if view_range is not None and not 1 <= first <= last:
        raise ToolError(f"`view_range` {view_range} is not a range of lines; lines count from 1, -1 is the end")
    if first > max(len(lines), 1):
        raise ToolError(f"`view_range` starts at {first}, but the file has {len(lines)} lines")
    shown: list[str] = []
    size = 0
    for number, line in enumerate(lines[first - 1 : last], first):
        shown.append(f"{number:6}\t{line.rstrip(chr(10))}")
        size += len(shown[-1]) + 1
        if size > VIEW_LIMIT:
            shown.append(f"[... cut at line {number} of {len(lines)}; use view_range for the rest ...]")
            break
    return "\n".join(shown) or "(empty file)"


def _around(text: str, start: int, old: str, new: str, margin: int = 3) -> str:
    """Return the edited lines with a few around them, numbered."""
    after = text[:start] + new + text[start + len(old) :]
    first = max(1, after.count("\n", 0, start) + 1 - margin)
    last = after.count("\n", 0, start + len(new)) + 1 + margin
    lines = _lines(show(after.encode("utf-8", "surrogateescape")))
    shown = [f"{number:6}\t{line.rstrip(chr(10))}" for number, line in enumerate(lines[first - 1 : last], first)]
    return "\n".join(shown) or "(empty file)"


def _ends(text: str, *, crlf: bool) -> str:
    """Return `text` with the file's line ends: models see and write newlines."""
    return text.replace("\r\n", "\n").replace("\n", "\r\n") if crlf else text


def _count(text: str) -> str:
    lines = len(_lines(text))
    return f"{lines} line{'' if lines == 1 else 's'}"
