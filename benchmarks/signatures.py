"""`sign-verify`: an envelope signed, written, read strictly and verified, against securesystemslib doing the same.

`sign-file`: a commit signed with a key file as commands do it, in a signing child, against `ssh-keygen -Y sign`.
"""

from __future__ import annotations

import json
import tempfile
from collections.abc import Callable
from pathlib import Path

from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PrivateKey
from cryptography.hazmat.primitives.serialization import Encoding, NoEncryption, PrivateFormat
from securesystemslib.dsse import Envelope as PeerEnvelope
from securesystemslib.signer import CryptoSigner, SSlibKey

from agent_pipeline import process
from agent_pipeline.attestation import dsse, keys
from agent_pipeline.documents.envelope import Envelope
from agent_pipeline.documents.statement import PAYLOAD_TYPE
from agent_pipeline.signing.client import Signer
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


def sign_file() -> Result:
    """Sign a commit of 0.3 kB with an Ed25519 key file; each signature is a process on both sides."""
    draft = b"tree " + b"4" * 40 + b"\nauthor A <a@b> 1 +0000\ncommitter A <a@b> 1 +0000\n\n" + b"x" * 200 + b"\n"
    with tempfile.TemporaryDirectory() as folder:
        path = Path(folder) / "key"
        private = Ed25519PrivateKey.from_private_bytes(bytes(range(32)))
        path.write_bytes(private.private_bytes(Encoding.PEM, PrivateFormat.OpenSSH, NoEncryption()))
        path.chmod(0o600)
        signer = Signer(str(path))
        argv = ["ssh-keygen", "-q", "-Y", "sign", "-n", "git", "-f", str(path)]

        def ours() -> None:
            signer.commit(draft)

        def peer() -> None:
            done = process.run(argv, env={"PATH": "/usr/bin:/bin"}, stdin=draft)
            assert done.ok, done.explain()

        return in_turn("sign-file", ours, peer, peer_name="ssh-keygen -Y sign", runs=7, inner=3)


ALL: dict[str, Callable[[], Result]] = {"sign-verify": sign_verify, "sign-file": sign_file}
