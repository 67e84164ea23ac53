"""CI judges nothing by rules or under an address that do not hold themselves."""

from __future__ import annotations

from dataclasses import replace
from datetime import timedelta
from pathlib import Path

import pytest
from support.carried import carried
from support.trust import NOW

from agent_pipeline.errors import UnavailableError, UsageError
from agent_pipeline.repository import records
from agent_pipeline.repository.dossier import open_dossier
from agent_pipeline.review.evidence import decide_landing, verify_dossier


def test_what_lies_with_this_machine_is_no_verdict_about_a_proposal(tmp_path: Path) -> None:
    made = carried(tmp_path / "project", "proposed")
    desk = made.desk
    dossier = open_dossier(records.find(made.clone, made.id, None))
    assert verify_dossier(desk, dossier, NOW).statement == dossier.statement
    with pytest.raises(UnavailableError, match=r"version 1 of the trust root of .*expired at"):
        verify_dossier(desk, dossier, NOW + timedelta(days=3650))
    with pytest.raises(UnavailableError, match=r"version 1 of the trust root of .*expired at"):
        decide_landing(desk, dossier, NOW + timedelta(days=3650), merger="")
    with pytest.raises(UsageError, match=r"nothing can be judged here: 04 anchor: .*is pinned"):
        verify_dossier(replace(desk, url="https://git.example.org/acme/other"), dossier, NOW)
