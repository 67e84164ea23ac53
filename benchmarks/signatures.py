"""`sign-verify`: an envelope signed, written, read strictly and verified, against securesystemslib doing the same."""

from __future__ import annotations

import json
from collections.abc import Callable

from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PrivateKey
from securesystemslib.dsse import Envelope as PeerEnvelope
from securesystemslib.signer import CryptoSigner, SSlibKey

from agent_pipeline.attestation import dsse, keys
from agent_pipeline.documents.envelope import Envelope
from agent_pipeline.documents.statement import PAYLOAD_TYPE
from benchmarks.measure import Result, in_turn

PAYLOAD = b'{"_type":"https://in-toto.io/Statement/v1","text":"' + b"x" * 3700 + b'"}'


def sign_verify() -> Result:
    """Sign and verify a statement of 3.7 kB with Ed25519, in process on both sides."""
    private = Ed25519PrivateKey.from_private_bytes(bytes(range(32)))
    key = keys.key_from_public(private.public_key(), "bench")
    peer_key = SSlibKey.from_crypto(private.public_key(), keyid=key.keyid)
    signer = CryptoSigner(private, peer_key)

    def ours() -> None:
        signature = private.sign(dsse.pae(PAYLOAD_TYPE, PAYLOAD))
        data = Envelope(PAYLOAD_TYPE, PAYLOAD, key.keyid, signature).to_json()
        dsse.check(Envelope.from_json(data), key, PAYLOAD_TYPE)

    def peer() -> None:
        envelope = PeerEnvelope(PAYLOAD, PAYLOAD_TYPE, {})
        envelope.sign(signer)
        data = json.dumps(envelope.to_dict())
        PeerEnvelope.from_dict(json.loads(data)).verify([peer_key], 1)

    return in_turn("sign-verify", ours, peer, peer_name="securesystemslib 1.6.0", runs=30, inner=50)


ALL: dict[str, Callable[[], Result]] = {"sign-verify": sign_verify}
