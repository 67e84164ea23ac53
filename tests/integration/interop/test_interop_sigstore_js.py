"""sigstore-js and we say the same about every envelope of ours and of its making, by either scheme.

It needs Node, which nothing else here does. Where Node is there, these tests are required: without the packages that
`make setup` installs they fail. Where it is not, they are skipped, and the summary of the run says so.
"""

from __future__ import annotations

import base64
import json
import subprocess
import sys
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest
from cryptography.hazmat.primitives.serialization import Encoding, NoEncryption, PrivateFormat, PublicFormat
from support.bundles import failed
from support.interop import PAYLOADS, SCHEMES, STATEMENTS, Pair, pair, with_key
from support.trust import NOW, TEAM, Maker, root_of

from agent_pipeline.attestation import dsse, keys, log_entries, statements, trust
from agent_pipeline.documents.envelope import Envelope
from agent_pipeline.documents.root import PAYLOAD_TYPE as ROOT_TYPE
from agent_pipeline.documents.root import TrustRoot, first_digest
from agent_pipeline.documents.statement import PAYLOAD_TYPE
from agent_pipeline.documents.verification import PASSED
from agent_pipeline.errors import AgentPipelineError, SchemaError, SignatureError
from agent_pipeline.verify import Inputs, decide, verify

ROOT = Path(__file__).parents[3]
FOLDER = Path(__file__).parent / "sigstore-js"
sys.path.insert(0, str(ROOT / "ci"))

import peers  # noqa: E402 - the path is set just above

NODE = peers.node()
pytestmark = pytest.mark.skipif(
    NODE is None, reason="sigstore-js was NOT asked: no Node 20.17 with npm on this machine"
)
MEDIA_TYPE = "application/vnd.dev.sigstore.bundle.v0.3+json"


def run(script: str, given: list[dict[str, Any]]) -> Any:
    assert (FOLDER / "node_modules").is_dir(), "Node is here, but sigstore-js is not: run `make setup`"
    done = subprocess.run(
        [str(NODE), script], cwd=FOLDER, input=json.dumps(given), capture_output=True, text=True, check=True,
        timeout=60,
    )  # fmt: skip
    return json.loads(done.stdout)


def ask(cases: list[tuple[Any, Pair]]) -> list[str | None]:
    """What sigstore-js finds wrong with each envelope when the pair's key alone is trusted; None for nothing."""
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
    found: list[str | None] = run("verify.cjs", asked)
    return found


def made_by_theirs(cases: list[tuple[str, bytes, Pair]], hint: str | None = None) -> list[bytes]:
    """The envelopes that sigstore-js writes of payloads of some type, each with its key's id for a hint, or `hint`."""
    given = [
        {
            "payloadType": payload_type,
            "payload": base64.b64encode(payload).decode(),
            "key": mine.private.private_bytes(Encoding.PEM, PrivateFormat.PKCS8, NoEncryption()).decode(),
            "hint": mine.public.keyid if hint is None else hint,
        }
        for payload_type, payload, mine in cases
    ]
    return [text.encode() for text in run("sign.cjs", given)]


def forms_of_theirs(payload_type: str, payload: bytes, mine: Pair) -> list[bytes]:
    """An envelope of theirs with each form of a signature: on P-256 Node takes the s that comes, in 64 tries both."""
    made = made_by_theirs([(payload_type, payload, mine)] * 64)
    found = {has_one_form(data, mine): data for data in made}
    assert len(found) == (2 if mine.public.scheme == keys.P256 else 1)
    return list(found.values())


def has_one_form(data: bytes, mine: Pair) -> bool:
    signature = Envelope.from_json(data).signature
    return keys.one_form(mine.public, signature) == signature


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


@pytest.mark.parametrize("scheme", SCHEMES)
def test_ours_takes_every_envelope_of_theirs(scheme: str) -> None:
    mine = pair(scheme)
    made = dict(zip(PAYLOADS, made_by_theirs([(*PAYLOADS[kind], mine) for kind in PAYLOADS]), strict=True))
    for kind, data in made.items():
        payload_type, payload = PAYLOADS[kind]
        assert dsse.check(Envelope.from_json(data), mine.public, payload_type) == payload
        with pytest.raises(SignatureError):
            dsse.check(Envelope.from_json(data), pair(scheme, "rita").public, payload_type)
    assert ask([(json.loads(data), mine) for data in made.values()]) == [None] * len(made)


@pytest.mark.parametrize("scheme", SCHEMES)
@pytest.mark.parametrize("hint", ["", "SHA256:jl3bwswu80PjjokCgh0o2w5c2U4LhQAE57gj9cz1kzA"], ids=["no name", "npm's"])
def test_ours_takes_theirs_once_it_names_its_key(scheme: str, hint: str) -> None:
    """Any text is a hint to theirs, and none will do; ours wants the key's id as the trust root has it."""
    mine, (payload_type, payload) = pair(scheme), PAYLOADS["approval"]
    value = json.loads(made_by_theirs([(payload_type, payload, mine)], hint)[0])
    assert ask([(value, mine)]) == [None]
    with pytest.raises(SchemaError, match="keyid"):
        Envelope.from_json(json.dumps(value).encode())
    value["signatures"][0]["keyid"] = mine.public.keyid
    assert dsse.check(Envelope.from_json(json.dumps(value).encode()), mine.public, payload_type) == payload


def flips(data: bytes, every: int) -> list[bytes]:
    return [data[:place] + bytes([data[place] ^ 1]) + data[place + 1 :] for place in range(0, len(data), every)]


def altered(data: bytes, every: int = 1) -> list[bytes]:
    """The envelope with one byte changed, for every byte of its payload and of its signature, or every so many."""
    read = Envelope.from_json(data)
    found = [replace(read, payload=payload) for payload in flips(read.payload, every)]
    found += [replace(read, signature=signature) for signature in flips(read.signature, every)]
    return [one.to_json() for one in found]


@pytest.mark.parametrize("scheme", SCHEMES)
def test_both_refuse_theirs_with_any_byte_of_payload_or_signature_changed(scheme: str) -> None:
    mine = pair(scheme)
    (data,) = made_by_theirs([(*PAYLOADS["approval"], mine)])
    cases = [(json.loads(other), mine) for other in altered(data)]
    assert not any(ours(*case) for case in cases)
    assert None not in ask(cases)


def proposals(scheme: str) -> list[Inputs]:
    """A proposal whose trust root, request and provenance theirs signed, with each form of the last signature."""
    mine = pair(scheme)
    root = with_key(root_of(TEAM, bots=("robot",)), "ada", mine.public).to_json()
    first, request = made_by_theirs([(ROOT_TYPE, root, mine), (*PAYLOADS["request"], mine)])
    loaded = trust.load_root([[first]], pin=first_digest(root), now=NOW)
    maker = Maker(root=loaded, made={"request_envelope": request})
    made = forms_of_theirs(PAYLOAD_TYPE, maker.statement().to_json(), mine)
    return [replace(maker.inputs(), provenance_envelope=data) for data in made]


@pytest.mark.parametrize("scheme", SCHEMES)
def test_a_proposal_of_theirs_passes_and_with_one_byte_changed_fails(scheme: str) -> None:
    """A request's, a provenance's and a trust root's envelope count in any spelling and with either s."""
    for inputs in proposals(scheme):
        decision = verify(inputs)
        assert decision.verdict == PASSED, decision
        for other in altered(inputs.provenance_envelope, every=50):
            assert "runner" in failed(verify(replace(inputs, provenance_envelope=other)))


def is_approved(maker: Maker, approval: bytes) -> bool:
    """Whether a merge would be decided on once `approval` is the only one."""
    given = maker.landing()
    attestations = (*(data for data in given.attestations if data != maker.approval("rita")), approval)
    return decide(replace(given, attestations=attestations)).verdict == PASSED


@pytest.mark.parametrize("scheme", SCHEMES)
def test_an_approval_of_theirs_counts_in_its_one_form_only(scheme: str) -> None:
    """Theirs writes `sig` before `keyid`, and on P-256 takes either s; of both anybody can make the one form."""
    rita = pair(scheme, "rita")
    maker = Maker(root=with_key(root_of(TEAM, bots=("robot",)), "rita", rita.public))
    for data in forms_of_theirs(PAYLOAD_TYPE, STATEMENTS["approval"], rita):
        assert dsse.check(Envelope.from_json(data), rita.public, PAYLOAD_TYPE) == STATEMENTS["approval"]
        assert not is_approved(maker, data)
        assert is_approved(maker, Envelope.from_json(data).to_json()) is has_one_form(data, rita)
        assert is_approved(maker, statements.plain(data, maker.root))


def is_entry(data: bytes, root: TrustRoot) -> bool:
    try:
        return log_entries.read(data, root).person == "robot"
    except SchemaError:
        return False


@pytest.mark.parametrize("scheme", SCHEMES)
def test_a_log_entry_of_theirs_counts_in_its_one_form_only(scheme: str) -> None:
    robot = pair(scheme, "robot")
    root = with_key(root_of(TEAM, bots=("robot",)), "robot", robot.public)
    for data in forms_of_theirs(PAYLOAD_TYPE, STATEMENTS["log-entry"], robot):
        assert dsse.check(Envelope.from_json(data), robot.public, PAYLOAD_TYPE) == STATEMENTS["log-entry"]
        assert not is_entry(data, root)
        assert is_entry(Envelope.from_json(data).to_json(), root) is has_one_form(data, robot)
        assert is_entry(statements.plain(data, root), root)
