"""Whatever bytes come in: one changed byte in anything signed is refused, and nothing but a verdict ever comes out."""

from __future__ import annotations

import base64
import json
from dataclasses import replace
from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from support.logs import prove
from support.trust import Maker, seal

from agent_pipeline.documents import strict
from agent_pipeline.documents.envelope import Envelope
from agent_pipeline.documents.log_proof import LogProof
from agent_pipeline.documents.statement import PAYLOAD_TYPE
from agent_pipeline.documents.verification import FAILED, PASSED, Verification
from agent_pipeline.errors import AgentPipelineError
from agent_pipeline.verify import decide, repositories, verify
from agent_pipeline.verify.log import check_proof

MAKER = Maker()
GOOD = MAKER.inputs()
LANDING = MAKER.landing()
LEAVES = st.none() | st.booleans() | st.integers(-3, 2**54) | st.text(max_size=12) | st.just("a" * 64)


def strings(value: Any, path: tuple[Any, ...] = ()) -> list[tuple[Any, ...]]:
    """The paths of all leaves."""
    items = value.items() if isinstance(value, dict) else enumerate(value) if isinstance(value, list) else None
    if items is None:
        return [path]
    return [found for name, item in items for found in strings(item, (*path, name))]


def at(value: Any, path: tuple[Any, ...]) -> Any:
    for name in path:
        value = value[name]
    return value


def other(leaf: Any) -> Any:
    """A value of the same kind that is not the same."""
    if isinstance(leaf, bool):
        return not leaf
    if isinstance(leaf, int):
        return leaf + 1
    return ("b" if leaf[:1] == "a" else "a") + leaf[1:] if leaf else "a"


def altered(data: bytes, path: tuple[Any, ...], *, signer: str | None) -> bytes:
    """The envelope with one field changed; signed again when there is a signer."""
    envelope = Envelope.from_json(data)
    value = json.loads(envelope.payload)
    at(value, path[:-1])[path[-1]] = other(at(value, path))
    payload = strict.canonical(value)
    if signer is not None:
        return seal(PAYLOAD_TYPE, payload, signer)
    return replace(envelope, payload=payload).to_json()


def fields_of(data: bytes) -> list[tuple[Any, ...]]:
    return strings(json.loads(Envelope.from_json(data).payload))


@pytest.mark.parametrize("path", fields_of(GOOD.provenance_envelope), ids=str)
def test_every_field_of_the_provenance_is_signed(path: tuple[Any, ...]) -> None:
    changed = altered(GOOD.provenance_envelope, path, signer=None)
    assert verify(replace(GOOD, provenance_envelope=changed)).verdict == FAILED


@pytest.mark.parametrize("path", fields_of(GOOD.request_envelope), ids=str)
def test_every_field_of_the_request_is_signed_and_bound(path: tuple[Any, ...]) -> None:
    for signer in (None, "ada"):  # signed again it is another request than the one that was run
        changed = altered(GOOD.request_envelope, path, signer=signer)
        assert verify(replace(GOOD, request_envelope=changed)).verdict == FAILED


# What the runner alone asserts, and no verifier can know: it may say so, and only it.
ASSERTED = {
    "engine_version",
    "runtime",
    "seccomp",
    "posture",
    "unenforced",
    "workspace",
    "agent-pipeline",
    "rendered",
    "input_tokens",
    "output_tokens",
    "cache_read_tokens",
    "steps",
    "usd",
    "seconds",
    "startedOn",
    "finishedOn",
    "api_version",
}


@pytest.mark.parametrize("path", fields_of(GOOD.provenance_envelope), ids=str)
def test_a_runner_that_signs_something_else_is_caught_unless_only_he_can_know(path: tuple[Any, ...]) -> None:
    verdict = verify(replace(GOOD, provenance_envelope=altered(GOOD.provenance_envelope, path, signer="ada"))).verdict
    free = bool(ASSERTED & set(path)) and "api_version" not in path
    assert verdict == FAILED or free, path


@pytest.mark.parametrize("path", strings(json.loads(GOOD.manifest)), ids=str)
def test_every_field_of_the_manifest_is_bound(path: tuple[Any, ...]) -> None:
    value = json.loads(GOOD.manifest)
    at(value, path[:-1])[path[-1]] = other(at(value, path))
    assert verify(replace(GOOD, manifest=strict.canonical(value))).verdict == FAILED


@pytest.mark.parametrize("index", range(1, len(LANDING.attestations)))
def test_every_field_of_ci_s_and_the_reviewers_envelopes_is_signed(index: int) -> None:
    for path in fields_of(LANDING.attestations[index]):
        changed = list(LANDING.attestations)
        changed[index] = altered(changed[index], path, signer=None)
        assert decide(replace(LANDING, attestations=tuple(changed))).verdict == FAILED, path


def proof_of(changed: list[bytes]) -> LogProof:
    """The proof of the log as it was, with these entries in it."""
    entries = [MAKER.entry([], "admitted")]
    entries.append(MAKER.entry(entries, "approved", entries))
    proof = prove(entries, GOOD.request)
    return LogProof.of(GOOD.request, changed[-1], changed[:-1], proof.node_bytes)


def test_every_field_of_the_log_is_signed() -> None:
    entries = [MAKER.entry([], "admitted")]
    entries.append(MAKER.entry(entries, "approved", entries))
    check_proof(prove(entries, GOOD.request), MAKER.root, GOOD.request)
    for index, data in enumerate(entries):
        for path in fields_of(data):
            changed = [*entries]
            changed[index] = altered(data, path, signer=None)
            with pytest.raises(AgentPipelineError):
                check_proof(proof_of(changed), MAKER.root, GOOD.request)
            with pytest.raises(AgentPipelineError):
                check_proof(prove(changed, GOOD.request), MAKER.root, GOOD.request)


@pytest.mark.parametrize("name", ["request_envelope", "manifest", "provenance_envelope", "transcript"])
@given(data=st.data())
@settings(max_examples=25, deadline=None)
def test_one_changed_byte(name: str, data: st.DataObject) -> None:
    original = getattr(GOOD, name)
    position = data.draw(st.integers(0, len(original) - 1))
    bit = data.draw(st.integers(0, 7))
    changed = bytearray(original)
    changed[position] ^= 1 << bit
    verification = verify(replace(GOOD, **{name: bytes(changed)}))
    assert verification.verdict != PASSED
    Verification.from_json(verification.to_json())


@given(
    st.sampled_from(["request_envelope", "manifest", "provenance_envelope", "transcript", "policy_bytes"]),
    st.binary(max_size=200),
)
@settings(max_examples=30, deadline=None)
def test_any_bytes_end_in_a_verdict(name: str, data: bytes) -> None:
    verification = verify(replace(GOOD, **{name: data}))
    assert verification.verdict == FAILED
    Verification.from_json(verification.to_json())


@given(st.data())
@settings(max_examples=80, deadline=None)
def test_any_value_in_a_signed_place_ends_in_a_verdict(data: st.DataObject) -> None:
    name = data.draw(st.sampled_from(["request_envelope", "provenance_envelope"]))
    value = json.loads(Envelope.from_json(getattr(GOOD, name)).payload)
    path = data.draw(st.sampled_from(strings(value)))
    path = path[: data.draw(st.integers(1, len(path)))]
    at(value, path[:-1])[path[-1]] = data.draw(LEAVES | st.lists(LEAVES, max_size=2))
    try:
        payload = strict.canonical(value)
    except AgentPipelineError:
        payload = json.dumps(value).encode()
    verification = verify(replace(GOOD, **{name: seal(PAYLOAD_TYPE, payload, "ada")}))
    Verification.from_json(verification.to_json())


@given(st.lists(st.binary(max_size=100) | st.sampled_from(LANDING.attestations), max_size=6))
@settings(max_examples=30, deadline=None)
def test_any_attestations_end_in_a_decision(attestations: list[bytes]) -> None:
    decision = decide(replace(LANDING, attestations=tuple(attestations)))
    Verification.from_json(decision.to_json())


@given(st.binary(max_size=300), st.text(max_size=100))
@settings(max_examples=30, deadline=None)
def test_any_staged_commit_ends_in_a_decision(payload: bytes, signature: str) -> None:
    for armored in (signature, MAKER.staged()[1]):
        assert decide(replace(LANDING, staged=(payload, armored))).verdict == FAILED


@given(st.lists(st.binary(max_size=200), min_size=1, max_size=3))
def test_any_log_is_refused_with_our_own_error(entries: list[bytes]) -> None:
    with pytest.raises(AgentPipelineError):
        check_proof(LogProof.of(GOOD.request, entries[0], entries[1:], entries), MAKER.root, GOOD.request)


def test_the_policy_s_bytes_are_those_that_were_signed_for() -> None:
    for position in range(0, len(GOOD.policy_bytes), 37):
        changed = bytearray(GOOD.policy_bytes)
        changed[position] ^= 1
        if verify(replace(GOOD, policy_bytes=bytes(changed))).verdict == PASSED:
            pytest.fail(f"byte {position}")


# Addresses.


@pytest.mark.parametrize(
    "address",
    [
        "https://git.example.org/acme/app",
        "https://git.example.org/acme/app.git",
        "https://someone@GIT.example.org/acme/app.git/",
        "git@git.example.org:acme/app.git",
        "ssh://git@git.example.org/acme/app",
        "ssh://git@git.example.org:22/acme/app.git",
        "git+https://git.example.org:443/acme/app",
    ],
)
def test_one_repository_has_many_addresses(address: str) -> None:
    assert repositories.same(address, "https://git.example.org/acme/app")


@pytest.mark.parametrize(
    "address",
    [
        "https://git.example.org/acme/app2",
        "https://git.example.org/evil/app",
        "https://git.example.org.evil.org/acme/app",
        "https://git.example.org:8443/acme/app",
        "https://git.example.org/Acme/app",
        "https://git.example.org@evil.org/acme/app",
        "/git.example.org/acme/app",
        "git.example.org/acme/app",
        "./git.example.org:acme/app",
        "file:///git.example.org/acme/app",
        "",
    ],
)
def test_another_repository(address: str) -> None:
    assert not repositories.same(address, "https://git.example.org/acme/app")


def test_a_folder_is_its_path() -> None:
    assert repositories.same("/srv/app.git", "/srv/app.git/")
    assert repositories.same("file:///srv/app.git", "/srv/app.git")
    assert not repositories.same("/srv/app.git", "/srv/app")
    assert not repositories.same("/srv/app.git", "srv/app.git")
    for spelling in ("/srv/ci/../app.git", "//srv/./app.git//", "file:///srv/x/../app.git", "/../srv/app.git"):
        assert repositories.same("/srv/app.git", spelling)
    for other in ("/srv/app.git/..", "/srv/ci/app.git", "../srv/app.git", "file://srv/app.git"):
        assert not repositories.same("/srv/app.git", other)


def test_a_password_in_an_address_is_not_shown() -> None:
    assert repositories.shown("https://ci:secret@git.example.org/acme/app") == "https://git.example.org/acme/app"


@given(st.text(max_size=60))
def test_any_address_has_a_form(address: str) -> None:
    assert repositories.same(address, address)


def test_base64_twins_of_an_envelope_are_refused() -> None:
    value = json.loads(GOOD.provenance_envelope)
    value["payload"] = base64.urlsafe_b64encode(base64.b64decode(value["payload"])).decode()
    if value["payload"] != json.loads(GOOD.provenance_envelope)["payload"]:
        assert verify(replace(GOOD, provenance_envelope=json.dumps(value).encode())).verdict == FAILED
