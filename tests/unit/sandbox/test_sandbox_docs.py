"""The table of attacks in docs/sandbox.md names every attack that is tried, and none that is not."""

from __future__ import annotations

import re
from pathlib import Path

ROOT = Path(__file__).resolve().parents[3]


def test_the_table_of_attacks_is_the_attacks() -> None:
    text = (ROOT / "docs/sandbox.md").read_text()
    table = text.partition("## The attacks")[2].partition("\n## ")[0]
    rows = [line for line in table.splitlines() if line.startswith("|")][2:]
    named = [name for row in rows for name in re.findall(r"`([a-z0-9_]{12,})`", row.split(" | ")[-1])]
    tried = {
        name
        for path in (ROOT / "tests/security/sandbox").glob("test_*.py")
        for name in re.findall(r"^def test_(\w+)", path.read_text(), re.MULTILINE)
    }
    assert set(named) == tried
    assert all(row.count(" | ") == 3 for row in rows)  # the attack, both engines, the tests
