"""Takes what looks like a secret out of text before it goes to a model's provider.

The workspace holds no credentials of ours; these are such as people commit by mistake. Patterns of known forms only:
what they miss is not thereby safe to show, and a policy withholds files (`paths.read`) rather than rely on this.
"""

from __future__ import annotations

import re
from functools import partial
from typing import Final

# Linear patterns: fixed prefixes and bounded repetition, so that hostile text costs no more than long text.
_PATTERNS: Final[tuple[tuple[str, re.Pattern[str]], ...]] = (
    (
        "private key",
        re.compile(
            r"-----BEGIN (?:[A-Z0-9]{1,20} ){0,3}PRIVATE KEY(?: BLOCK)?-----"
            r"(?:\s{0,4}(?:Proc-Type|DEK-Info|Version|Comment):[^\n]{0,200}\n){0,4}"
            r"[A-Za-z0-9+/=\s\\\"',]{40,16384}"  # the body alone would do; a cut-off key has no end
            r"(?:-----END (?:[A-Z0-9]{1,20} ){0,3}PRIVATE KEY(?: BLOCK)?-----)?"
        ),
    ),
    ("model provider key", re.compile(r"\bsk-(?:ant-|proj-)?[A-Za-z0-9_-]{20,400}")),
    ("AWS access key id", re.compile(r"\b(?:AKIA|ASIA)[A-Z0-9]{16}\b")),
    (
        "AWS secret key",
        re.compile(
            r"(?<=aws_secret_access_key)(?P<keep>[\"']?\s{0,8}[:=]\s{0,8}[\"']?)[A-Za-z0-9/+]{40}", re.IGNORECASE
        ),
    ),
    ("GitHub token", re.compile(r"\b(?:gh[pousr]_[A-Za-z0-9]{30,255}|github_pat_[A-Za-z0-9_]{50,255})")),
    ("GitLab token", re.compile(r"\bglpat-[A-Za-z0-9_-]{20,100}")),
    ("Slack token", re.compile(r"\bxox[abeprs]-[A-Za-z0-9-]{10,255}")),
    ("Google API key", re.compile(r"\bAIza[A-Za-z0-9_-]{35}")),
    ("package index token", re.compile(r"\b(?:pypi-AgE[A-Za-z0-9_-]{50,400}|npm_[A-Za-z0-9]{36})")),
    ("payment key", re.compile(r"\b[rs]k_live_[A-Za-z0-9]{16,255}")),
    ("JSON web token", re.compile(r"\beyJ[A-Za-z0-9_-]{10,4096}\.eyJ[A-Za-z0-9_-]{10,4096}\.[A-Za-z0-9_-]{10,4096}")),
    (
        "bearer token",
        re.compile(r"(?P<keep>\bAuthorization: (?:Bearer|Basic) )[A-Za-z0-9._~+/=-]{16,4096}", re.IGNORECASE),
    ),
    (
        "password in a URL",
        re.compile(r"(?P<keep>\b[a-z][a-z0-9+]{1,15}://[^\s:/@]{1,100}:)[^\s:/@]{3,200}(?=@)", re.IGNORECASE),
    ),
)


def redact(text: str) -> tuple[str, dict[str, int]]:
    """Return `text` with every match replaced by `[redacted: <what>]`, and how many of each kind there were."""
    counts: dict[str, int] = {}
    for what, pattern in _PATTERNS:
        text, found = pattern.subn(partial(_replacement, what), text)
        if found:
            counts[what] = found
    return text, counts


def _replacement(what: str, match: re.Match[str]) -> str:
    kept = match.groupdict().get("keep") or ""
    return f"{kept}[redacted: {what}]"
