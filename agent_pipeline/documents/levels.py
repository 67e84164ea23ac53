"""Proof words as SLSA levels of an organisation (`ORG_SOURCE_...`), and back. SLSA reserves that prefix for us."""

from __future__ import annotations

import re

from agent_pipeline.errors import UnavailableError

_PREFIX = "ORG_SOURCE_AGENT_"
_WORDS = {"signed": "SIGNED", "replayed": "REPLAYED", "regression": "REGRESSION", "re-derived": "REDERIVED"}
_NAMES = {level: word for word, level in _WORDS.items()}


def level(proof: str) -> str:
    """Return the level that says what `proof` says. Raises `ValueError` for what is no proof word."""
    if proof in _WORDS:
        return _PREFIX + _WORDS[proof]
    if proof == "one person":
        return f"{_PREFIX}PERSONS_1"
    if match := re.fullmatch(r"([0-9]+) persons", proof):
        return f"{_PREFIX}PERSONS_{match[1]}"
    if match := re.fullmatch(r"reviewed ([0-9]+)/([0-9]+)", proof):
        return f"{_PREFIX}REVIEWED_{match[1]}_OF_{match[2]}"
    raise ValueError(f"{proof!r} is no proof")


def proof(name: str) -> str:
    """Return the proof word of a level. Raises `UnavailableError` for one that nobody here knows."""
    rest = name.removeprefix(_PREFIX)
    if rest in _NAMES:
        return _NAMES[rest]
    if match := re.fullmatch(r"PERSONS_([0-9]+)", rest):
        return "one person" if match[1] == "1" else f"{match[1]} persons"
    if match := re.fullmatch(r"REVIEWED_([0-9]+)_OF_([0-9]+)", rest):
        return f"reviewed {match[1]}/{match[2]}"
    raise UnavailableError(f"{name[:100]!r} is no level that is known here: it may be a newer version's")
