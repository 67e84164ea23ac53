"""Offers of keys as `trust` reads them: only those that were made for this repository."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path

import pytest
from support.carried import Carried, carried
from support.keyrings import written
from support.trust import NOW, REPOSITORY, private, public

from agent_pipeline.cli.trust.offered import need_offer, waiting
from agent_pipeline.errors import SignatureError
from agent_pipeline.repository import records, refs
from agent_pipeline.repository.refs import RefUpdate
from agent_pipeline.signing import offers
from agent_pipeline.signing.client import Signer


@pytest.fixture(scope="module")
def made(tmp_path_factory: pytest.TempPathFactory) -> Carried:
    return carried(tmp_path_factory.mktemp("offers") / "repository", "proposed")


def offer(made: Carried, folder: Path, repository: str) -> None:
    """Put an offer of Zoe's key into the repository, made for `repository`."""
    signer = Signer(str(written(folder / "zoe", private("zoe"))))
    data = offers.make(signer, "zoe", repository, NOW)
    ref = f"{records.OFFERS}zoe"
    commit = records.extend(made.clone, None, "zoe", {offers.FILE: data})
    refs.update(made.clone, [RefUpdate(ref, made.clone.ref(ref), commit)])


@pytest.mark.parametrize("address", [REPOSITORY, f"{REPOSITORY}.git", "git@git.example.org:acme/app.git"])
def test_an_offer_to_this_repository_is_read_by_whatever_address(made: Carried, tmp_path: Path, address: str) -> None:
    offer(made, tmp_path, address)
    assert need_offer(made.desk, "zoe") == replace(public("zoe"), owner="zoe")
    assert [row["name"] for row in waiting(made.desk)] == ["zoe"]


def test_an_offer_to_another_repository_that_was_put_here_is_refused(made: Carried, tmp_path: Path) -> None:
    for other in ("https://git.example.org/acme/other", f"local:{'0' * 32}", "/srv/app"):
        offer(made, tmp_path, other)
        with pytest.raises(SignatureError, match="offers a key to another repository") as error:
            need_offer(made.desk, "zoe")
        assert "agent-pipeline join" in str(error.value.hint)
        told: list[str] = []
        assert waiting(replace(made.desk, tell=told.append)) == []
        assert "zoe: no offer: zoe offers a key to another repository" in told[0]
