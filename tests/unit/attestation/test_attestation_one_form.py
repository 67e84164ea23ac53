"""What is told apart by the bytes of its envelope counts in one form only: a log entry, what CI or a reviewer signs."""

from __future__ import annotations

import contextlib
import json
from dataclasses import replace

import pytest
from cryptography.hazmat.primitives import hashes
from cryptography.hazmat.primitives.asymmetric import ec
from cryptography.hazmat.primitives.asymmetric.utils import encode_dss_signature
from hypothesis import given
from hypothesis import strategies as st
from support.interop import both_forms, private_p256, with_key
from support.trust import Maker, public, root_of
from support.trust import ended as ended_grants

from agent_pipeline.attestation import dsse, keys, log_entries, statements
from agent_pipeline.documents.envelope import Envelope
from agent_pipeline.documents.log_proof import LogProof
from agent_pipeline.documents.root import Key
from agent_pipeline.documents.statement import PAYLOAD_TYPE
from agent_pipeline.errors import RejectedError, SchemaError, SignatureError
from agent_pipeline.verify.log import check_proof

MAKER = Maker()
LOG = [MAKER.entry([], "admitted")]
ROBOT = private_p256("robot")
ON_P256 = keys.key_from_public(ROBOT.public_key(), "robot")
ROOT = with_key(root_of({"ada": ("root",), "robot": ("ci", "merger")}, bots=("robot",)), "robot", ON_P256)


def signed(message: bytes) -> tuple[bytes, bytes]:
    """Both forms of CI's signature."""
    return both_forms(ROBOT.sign(message, ec.ECDSA(hashes.SHA256())))


SPELLINGS = {
    "white space behind it": lambda data: data + b"\r",
    "white space in it": lambda data: data.replace(b",", b", ", 1),
    "another order": lambda data: json.dumps(dict(reversed(json.loads(data).items())), separators=(",", ":")).encode(),
    "a member that nobody knows": lambda data: data.replace(b"{", b'{"aa":1,', 1),
    "an escape": lambda data: data.replace(b"payload", b"pa\\u0079load", 1),
}


@pytest.mark.parametrize("how", SPELLINGS)
def test_a_log_entry_that_is_written_in_another_way_is_none(how: str) -> None:
    """The newest one is named by nobody yet: nobody else's signature holds its bytes."""
    other = SPELLINGS[how](LOG[0])
    assert Envelope.from_json(other) == Envelope.from_json(LOG[0])
    assert log_entries.read(LOG[0], MAKER.root).entry.event == "admitted"
    with pytest.raises(SchemaError, match="one form"):
        log_entries.read(other, MAKER.root)
    proof = LogProof.of(MAKER.request().id, other, (), ())
    with pytest.raises(RejectedError, match="one form"):
        check_proof(proof, MAKER.root, MAKER.request().id)


@pytest.mark.parametrize("ended", [False, True], ids=["a key in force", "a key that ended"])
def test_of_the_two_forms_of_a_signature_on_p256_one_counts_in_the_log(*, ended: bool) -> None:
    root, payload = ROOT, Envelope.from_json(LOG[0]).payload
    if ended:
        without = replace(root, keys=tuple(key for key in root.keys if key != ON_P256))
        nobody = tuple(replace(one, keys=()) if one.name == "robot" else one for one in root.people)
        root = replace(without, people=nobody, former=ended_grants(root, 0, "robot"))
    one, twin = (
        Envelope(PAYLOAD_TYPE, payload, ON_P256.keyid, form).to_json()
        for form in signed(dsse.pae(PAYLOAD_TYPE, payload))
    )
    assert log_entries.read(one, root).person == "robot"
    with pytest.raises(SchemaError, match="one form"):
        log_entries.read(twin, root)
    assert statements.plain(twin, root) == statements.plain(twin + b"\n", root) == one
    assert statements.in_one_form(twin, root) is None
    assert statements.in_one_form(one, root) is not None
    for key in (replace(Envelope.from_json(twin), keyid="0" * 64).to_json(), b"{}", b""):  # nobody's, and none
        with contextlib.suppress(SchemaError):
            assert statements.plain(key, root) == key


@given(st.binary(max_size=64))
def test_each_signature_has_one_form_that_holds(message: bytes) -> None:
    low, high = signed(message)
    for form in (low, high):
        keys.check_signature(ON_P256, message, form, "it")
        assert keys.one_form(ON_P256, form) == low


@given(
    st.binary(max_size=80)
    | st.tuples(st.integers(0, 2**260), st.integers(0, 2**260)).map(lambda n: encode_dss_signature(*n))
)
def test_what_is_no_signature_is_none_afterwards(data: bytes) -> None:
    for key in (ON_P256, public("ada")):
        assert not holds(key, keys.one_form(key, data))


def holds(key: Key, signature: bytes) -> bool:
    try:
        keys.check_signature(key, b"message", signature, "it")
    except SignatureError:
        return False
    return True
