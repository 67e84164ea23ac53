"""The life of a proposal as a person wants to read it."""

from __future__ import annotations

import shlex
import textwrap
from typing import Any

from agent_pipeline.documents.words import counted
from agent_pipeline.workspace import absent

_MARK = {"passed": "✓", "failed": "✗", "skipped": "·", "unknown": "?"}
_PATHS = 20


def _wrapped(text: str, width: int = 100) -> list[str]:
    """Return the lines of `text`, none longer than `width`; empty lines stay out."""
    return [part for line in str(text).splitlines() if line.strip() for part in textwrap.wrap(line, width)]


def one_line(row: dict[str, Any]) -> str:
    """Return one request as a line of a list."""
    text = " ".join(str(row["text"]).split())
    doubt = f"nobody asked for this ({row['doubt']}): " if row["doubt"] else ""
    return f"{row['id']}  {row['state']:<9} {row['kind']:<8} {doubt}{text[:80]}"


def life(document: dict[str, Any]) -> str:
    """Return what `show` prints: what was asked, what changed, who vouches for what, what comes next."""
    lines = [f"{document['proposal'] or document['id']}  {document['state']}", ""]
    lines += [f"asked     {document['kind']} by {document['requester']}, {document['created']}"]
    lines += [f"          nobody asked for this: {document['doubt']}"] if document.get("doubt") else []
    lines += [f"          {line}" for line in _wrapped(document["text"])[:12]]
    if document["paths"]:
        files = counted(len(document["paths"]), "file")
        lines += ["", f"changed   {files} on {document['base'][:12]} -> tree {document['tree']}"]
        lines += [f"          {path}" for path in document["paths"][:_PATHS]]
        if len(document["paths"]) > _PATHS:
            lines += [f"          and {len(document['paths']) - _PATHS} more: agent-pipeline diff {document['id']}"]
    lines += asserted(document) + seen(document, "ci", "seen by CI")
    lines += seen(document, "here", "seen here, not signed by CI")
    if document["signatures"]:
        lines += ["", "signed by"]
        lines += [f"          {item['what']:<12} {item['who']}" for item in document["signatures"]]
    if document.get("detail"):
        lines += ["", f"why       {document['detail']}"]
    lines += _merged(document)
    lines += ["", f"proofs    {' · '.join(document['proofs']) or 'none yet'}"]
    lines += [f"missing   {item}" for item in document["missing"]]
    if document.get("stopped"):
        lines += [f"stopped   {document['stopped']}"]
    lines += [f"next:     {document['next']}"]
    return "\n".join(" ".join(line.splitlines()) for line in lines)  # nobody's words begin a line of their own


def _merged(document: dict[str, Any]) -> list[str]:
    branch = document["target"].removeprefix("refs/heads/")
    if document["merged_as"]:
        return ["", f"merged    into {branch} as {document['merged_as'][:12]}"]
    if document["state"] != "merged":
        return []
    return ["", f"merged    says the log; that merge is not among the newest of {branch}: agent-pipeline audit verify"]


def asserted(document: dict[str, Any]) -> list[str]:
    """Return what the runner says of its run, under a heading that says so; nothing where there was no run."""
    if not document["engine"]:
        return []
    usage = document["usage"] or {}
    engine = document["engine"] + (f" {document['model']}" if document["model"] else "")
    if document["command"]:
        engine += f": {' '.join(shlex.join(document['command']).split())[:80]}"
    if document["engine"] == "recorded":
        engine += " (a recording was played; no model was asked)"
    lines = ["", "asserted by the runner", f"          engine       {engine}"]
    if usage:
        tokens = f"{usage['input_tokens']} in, {usage['output_tokens']} out"
        steps = counted(int(usage["steps"]), "step")
        lines.append(f"          used         {steps}, {usage['seconds']} s, {tokens}, {usage['usd']} USD")
    if document.get("copy"):
        lacks = absent.told(document["copy"], f"`agent-pipeline show {document['id']} --json`")
        lines += [f"          {'copy' if not number else '':<12} {line}" for number, line in enumerate(lacks)]
    if document["summary"]:
        said = _wrapped(document["summary"], 80)[:6]
        lines += [f"          {'says' if not number else '':<12} {line}" for number, line in enumerate(said)]
    return lines


def seen(document: dict[str, Any], by: str, who: str) -> list[str]:
    """Return the checks seen by `by`, under the heading `who`; nothing where there are none.

    What CI saw it signed. What only this machine saw nobody has signed: the two stand apart.
    """
    checks = [check for check in document["checks"] if check["seen_by"] == by]
    lines = ["", who] if checks else []
    return lines + [
        f"          {_MARK[check['outcome']]} {check['name']}: {' '.join(check['reason'].split())[:160]}"
        for check in checks
    ]
