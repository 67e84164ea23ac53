"""What a document's form lets through, where the step that follows relies on it."""

from __future__ import annotations

from dataclasses import replace

import pytest
from support.trust import Maker

from agent_pipeline.documents.request import Request
from agent_pipeline.errors import SchemaError

REQUEST = Maker().request()


@pytest.mark.parametrize("field", ["base", "target", "nonce", "created", "requester"])
def test_a_newline_at_the_end_is_part_of_the_text(field: str) -> None:
    value = REQUEST.to_dict()
    with pytest.raises(SchemaError, match=field):
        Request.from_dict(value | {field: f"{value[field]}\n"})


def test_the_same_request_with_another_nonce_is_another_one() -> None:
    assert replace(REQUEST, nonce="1" * 32).id != REQUEST.id
