"""Every schema beside the version of the type that it is the form of: no form changes under a name that was released.

What a test can see is a schema that changed. A member that is read otherwise, with the same form, it cannot see.
"""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any, Final

import pytest

from agent_pipeline.documents import (
    approval,
    closure,
    log_entry,
    offer,
    provenance,
    replay_result,
    request,
    root,
    statement,
    strict,
    summary,
)

FOLDER = Path(__file__).parents[3] / "schemas"
OURS: Final = "https://agent-pipeline.dev/"
# Where a name says the version, with or without a member `version` beside it.
NAMES: Final = {
    "approval": approval.PREDICATE_TYPE.removeprefix(OURS),
    "closure": closure.PREDICATE_TYPE.removeprefix(OURS),
    "envelope": statement.PAYLOAD_TYPE,
    "log_entry": log_entry.PREDICATE_TYPE.removeprefix(OURS),
    "offer": offer.PREDICATE_TYPE.removeprefix(OURS),
    "provenance": provenance.BUILD_TYPE.removeprefix(OURS),
    "request": request.PREDICATE_TYPE.removeprefix(OURS),
    "root": root.PAYLOAD_TYPE,
    "statement": statement.STATEMENT_TYPE,
    "submission": "told to the model in each run",
    "summary": summary.VERIFIER_ID.removeprefix(OURS),
    "test_result": replay_result.PREDICATE_TYPE,
}
# One line for each version that there ever was: once one was released, its line stays as it is.
RECORDED: Final[dict[tuple[str, str], str]] = {
    ("approval", "approval/v1"): "832f82f22df99c1b7eb716e19cf50c152b7253b6b72c3aa8622d67f823164bea",
    ("bundle", "version 1"): "4fbdb1487b4743f21b7e053129dc1ac53c7f644687fa31d838f7b404464b63a8",
    ("closure", "closure/v1"): "383aa9a58d208ff6cc51511f63fba1d5ee165f4043553e5374159acc7ddc512a",
    ("envelope", "application/vnd.in-toto+json"): "4c3e85bf8376609ebca6920d4c771a1cb17d86df6467314cb90a333a3a34c7e3",
    ("image_recipe", "version 1"): "edcbd65503888f2bffaa1df7acc2a0b42e944b243bbb6cde6627eb169bbc0b9a",
    ("images_lock", "version 1"): "7f1ceb6a87b1ffd292d30c3455d5c519ad8339b971bdf8cc3b44eecb1da05e3c",
    ("log_entry", "log-entry/v1"): "24b05b4c85a4061931c7a6713b42476b5adb93521662bd9fafd671839a08c822",
    ("log_proof", "version 1"): "a22ea4f6b898bd0ceb540b226675a51167755a30fc88a4dfba79d2e7f35f2f6d",
    ("offer", "offer/v2"): "1753fc4d4ddc9d21f38fa8d56d187126cc9edbc54baa4fd0e87ced8b4a12f940",
    ("pins", "version 1"): "f933072b5c985934bad2b9c667f9fc6c0ef640c73bfa0b2fee2b6b9b61e1139e",
    ("policy", "version 1"): "b87d49a0866e6a68d1f091405c508110e7b78fceb51c29a2c6849fbdd3e723d4",
    ("proposal", "version 1"): "e65119cde5c9c177104367500d806d2064eb0a9acb5ef37047700d96dec9c1d9",
    ("provenance", "agent-patch/v1"): "ba17dafaee3215da14dba39707022a4214d2e00134f3ec9db1583534ac193bd8",
    ("replay_result", "version 1"): "ccaa8872698d73f8ee0ad22ab9adb18f449ff05d08b45e3ca6e7e9615ec81ea3",
    ("request", "request/v1"): "0a9068316a2e5db6dcfc7078e7991b0c898b17bb8aa7c8d68363573d39d23b6f",
    ("root", "application/vnd.tuf+json"): "c422f2c386aa9a738f379e04f025d8d7e5401fc291c807b5c0e7d715bda88aaf",
    ("seen_root", "version 1"): "f1d5f926b8ca13b417babbea6f8d8684f672f2b36e2a56b2e7bd0e2870918cc8",
    (
        "statement",
        "https://in-toto.io/Statement/v1",
    ): "dee28f8b195d6ff3b9527fad87c7ecb3e81dfa1fb47a27df1c3e126767587ebb",
    ("submission", "told to the model in each run"): "70f6d2fae2e460cfd4bf65ef83c43c1bdc9cb28c510028f2afad1ea49bebdac5",
    ("summary", "verifier/v1"): "fdf0f7da96445bb8511d95251d3934e1fea9a7fb3deed5726f6a3ea6c205089e",
    (
        "test_result",
        "https://in-toto.io/attestation/test-result/v0.1",
    ): "cb7d429c7517eea6cd6888cd334fbf9b4c3c3115dfdd4c64b499096a11b06572",
    ("transcript", "version 1"): "f87e57d2bb6fd0d5bd62e851400523d0410ebf37c032899b9c576dc975a73e0f",
    ("verification", "version 1"): "f40a0fa742aba0ec430d481289151358e33787c33f09e628c420efaa4057162b",
}


def _version(stem: str, schema: dict[str, Any]) -> str:
    first = schema["oneOf"][0] if stem == "transcript" else schema  # its header
    number = first.get("properties", {}).get("version", {}).get("const")
    return NAMES.get(stem) or ("" if number is None else f"version {number}")


@pytest.mark.parametrize("path", sorted(FOLDER.glob("*.schema.json")), ids=lambda path: path.name)
def test_a_form_that_changes_gets_a_new_version(path: Path) -> None:
    stem, schema = path.name.partition(".")[0], json.loads(path.read_bytes())
    version, digest = _version(stem, schema), strict.sha256(strict.canonical(schema))
    assert version, f"{path.name}: nothing says which version it is the form of"
    assert RECORDED.get((stem, version)) == digest, (
        f"{path.name} changed: give its type a new version in place of `{version}` (docs/wire-format.md, Versions), "
        f"or, before the first release, record the new digest {digest}"
    )


def test_a_type_s_name_and_the_number_in_its_documents_are_one_version() -> None:
    for stem, name in NAMES.items():
        schema = json.loads((FOLDER / f"{stem}.schema.json").read_bytes())
        number = schema.get("properties", {}).get("version", {}).get("const")
        assert number is None or name.endswith(f"/v{number}"), (stem, name, number)
