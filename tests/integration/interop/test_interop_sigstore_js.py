"""sigstore-js and we say the same about every envelope of ours, by either scheme.

It needs Node, which nothing else here does. Where Node is there, these tests are required: without the packages that
`make setup` installs they fail. Where it is not, they are skipped, and the summary of the run says so.
"""

from __future__ import annotations

import json
import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest
from cryptography.hazmat.primitives.serialization import Encoding, PublicFormat
from support.interop import PAYLOADS, SCHEMES, Pair, pair

from agent_pipeline.attestation import dsse
from agent_pipeline.documents.envelope import Envelope
from agent_pipeline.errors import AgentPipelineError

ROOT = Path(__file__).parents[3]
FOLDER = Path(__file__).parent / "sigstore-js"
sys.path.insert(0, str(ROOT / "ci"))

import peers  # noqa: E402 - the path is set just above

NODE = peers.node()
pytestmark = pytest.mark.skipif(
    NODE is None, reason="sigstore-js was NOT asked: no Node 20.17 with npm on this machine"
)
MEDIA_TYPE = "application/vnd.dev.sigstore.bundle.v0.3+json"


def ask(cases: list[tuple[Any, Pair]]) -> list[str | None]:
    """What sigstore-js finds wrong with each envelope when the pair's key alone is trusted; None for nothing."""
    assert (FOLDER / "node_modules").is_dir(), "Node is here, but sigstore-js is not: run `make setup`"
    asked = [
        {
            "bundle": {
                "mediaType": MEDIA_TYPE,
                "verificationMaterial": {"publicKey": {"hint": "the key"}},
                "dsseEnvelope": envelope,
            },
            "keys": {"the key": pem(trusted)},
        }
        for envelope, trusted in cases
    ]
    done = subprocess.run(
        [str(NODE), "verify.cjs"], cwd=FOLDER, input=json.dumps(asked), capture_output=True, text=True, check=True,
        timeout=60,
    )  # fmt: skip
    found: list[str | None] = json.loads(done.stdout)
    return found


def pem(trusted: Pair) -> str:
    public = trusted.private.public_key()
    text: str = public.public_bytes(Encoding.PEM, PublicFormat.SubjectPublicKeyInfo).decode()
    return text


def ours(envelope: Any, trusted: Pair) -> bool:
    try:
        read = Envelope.from_json(json.dumps(envelope).encode())
        dsse.check(read, trusted.public, read.payload_type)
    except AgentPipelineError:
        return False
    return True


def envelope(kind: str, mine: Pair) -> dict[str, Any]:
    value: dict[str, Any] = json.loads(mine.seal(*PAYLOADS[kind]))
    return value


def test_theirs_takes_every_envelope_of_ours() -> None:
    cases = [(envelope(kind, pair(scheme)), pair(scheme)) for kind in PAYLOADS for scheme in SCHEMES]
    assert ask(cases) == [None] * len(cases)
    assert all(ours(*case) for case in cases)


def test_both_refuse_what_was_altered() -> None:
    cases = []
    for scheme in SCHEMES:
        mine, good = pair(scheme), envelope("approval", pair(scheme))
        other = envelope("rejection", mine)["signatures"]
        cases += [
            (good, pair(scheme, "rita")),
            (good, pair(SCHEMES[1 - SCHEMES.index(scheme)])),
            (good | {"payload": "e30="}, mine),
            (good | {"payloadType": "application/json"}, mine),
            (good | {"signatures": other}, mine),
            (good | {"signatures": []}, mine),
            (good | {"signatures": [*good["signatures"], *other]}, mine),
        ]
    assert [ours(*case) for case in cases] == [False] * len(cases)
    assert None not in ask(cases)


def test_a_key_s_name_is_a_hint_to_theirs_and_a_name_to_ours() -> None:
    """DSSE says hint. Ours looks the key up by it, so a wrong one finds another key, or none, and never a yes."""
    mine = pair("ed25519")
    value = envelope("approval", mine)
    value["signatures"][0]["keyid"] = "0" * 64
    assert ask([(value, mine)]) == [None]
    assert not ours(value, mine)
