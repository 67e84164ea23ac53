"""Who signed a commit, by our own check of key, person and role. What Git says of a signature decides nothing."""

from __future__ import annotations

from agent_pipeline.attestation import sshsig, statements
from agent_pipeline.documents.root import Person, TrustRoot


def signer(payload: bytes, armored: str, root: TrustRoot, *roles: str, at: int | None) -> Person:
    """Return the person of `root` who signed the commit `payload`, once he is known to have one of `roles`.

    `payload` is the commit without its signature, `armored` that signature; `at` is the index at which the shared log
    has it, as for `statements.signer`. Dates in the commit say nothing: whoever signs writes them. Raises `SchemaError`
    for what is no SSH signature, `SignatureError` for one that does not hold or is by nobody with such a role.
    """
    signature = sshsig.read(armored)
    key, owner = statements.speaker(signature.key.keyid, root, at)
    sshsig.check(payload, signature, key)
    statements.require_role(owner, *roles)
    return owner
