"""Keys that OpenSSH's agent holds; and what pretends to be an agent."""

from __future__ import annotations

import socket
import time
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest
from cryptography.hazmat.primitives.asymmetric import rsa
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from support.keyrings import P256, SshAgent, hostile_agent, set_environment, ssh_agent
from support.trust import private, public

from agent_pipeline.attestation import dsse, keys, sshsig
from agent_pipeline.attestation.wire import string
from agent_pipeline.documents.statement import PAYLOAD_TYPE, Statement
from agent_pipeline.errors import AgentPipelineError, SignatureError, UnavailableError, UsageError
from agent_pipeline.signing import ssh_agent as client
from agent_pipeline.signing.client import Signer

STATEMENT = Statement("proposal.json", "a" * 64, "https://example.org/x/v1", {"n": 1})
ADA = public("ada")
FINGERPRINTS = {"ed25519": keys.fingerprint(ADA), "p256": keys.fingerprint(keys.key_from_public(P256.public_key()))}
Answer = Callable[[socket.socket], None]


@pytest.fixture
def agent(tmp_path: Path) -> Iterator[SshAgent]:
    with ssh_agent(tmp_path) as running:
        yield running


def named(name: str) -> Signer:
    return Signer(f"agent:{FINGERPRINTS[name]}")


@pytest.mark.parametrize("name", sorted(FINGERPRINTS))
def test_the_agent_signs_statements_and_commits(agent: SshAgent, name: str) -> None:
    assert FINGERPRINTS[name] in agent.command("ssh-add", "-l")
    signer = named(name)
    key = signer.public()
    for _ in range(10):
        signed = signer.statement(STATEMENT)
        assert dsse.check(signed, key, PAYLOAD_TYPE) == STATEMENT.to_json()
        assert keys.one_form(key, signed.signature) == signed.signature
    sshsig.verify(b"tree x\n", signer.commit(b"tree x\n"), key)


def test_only_keys_of_our_schemes_are_listed(agent: SshAgent) -> None:
    agent.add("rsa", rsa.generate_private_key(65537, 2048))
    agent.add("again", private("ada"))
    with client.connect(str(agent.socket)) as speaking:
        assert [held.key.scheme for held in speaking.held()] == [keys.ED25519, keys.P256]


def test_a_key_that_the_agent_does_not_hold(agent: SshAgent) -> None:
    with pytest.raises(UsageError, match="holds no") as refused:
        Signer(f"agent:{keys.fingerprint(public('rita'))}").public()
    assert "ssh-add" in str(refused.value.hint)
    agent.command("ssh-add", "-q", "-D")
    with pytest.raises(UsageError, match="holds no"):
        named("p256").statement(STATEMENT)


@pytest.mark.parametrize("text", ["", "SHA256:", "SHA256:short", "MD5:00:11", "ada", "SHA256:" + "A" * 44])
def test_what_is_no_fingerprint(text: str) -> None:
    with pytest.raises(UsageError, match="no fingerprint"):
        Signer(f"agent:{text}")


def test_an_agent_that_is_locked_refuses(agent: SshAgent) -> None:
    signer = named("ed25519")
    assert signer.public() == ADA
    agent.add("asks", private("rita"), "-c")  # confirm each use, which nobody can here
    with pytest.raises(UnavailableError, match="refuses"):
        Signer(f"agent:{keys.fingerprint(public('rita'))}").statement(STATEMENT)


def test_an_agent_that_is_gone_or_never_was(agent: SshAgent, tmp_path: Path) -> None:
    agent.end()
    for path, error, word in (
        (str(agent.socket), UnavailableError, "no ssh-agent answers"),
        (str(tmp_path), UnavailableError, "no ssh-agent answers"),
        ("/x" * 200, UnavailableError, "no ssh-agent answers"),
        (None, UsageError, "SSH_AUTH_SOCK is not set"),
    ):
        with set_environment(SSH_AUTH_SOCK=path), pytest.raises(error, match=word) as refused:
            named("ed25519").statement(STATEMENT)
        assert "ssh-agent" in str(refused.value.hint)


def test_what_is_too_long_for_an_agent(agent: SshAgent) -> None:
    assert named("ed25519").envelope(PAYLOAD_TYPE, b"x" * 200_000)
    with pytest.raises(UsageError, match="more than an ssh-agent signs"):
        named("ed25519").envelope(PAYLOAD_TYPE, b"x" * client.MAX_MESSAGE)
    assert agent.process.poll() is None


# What pretends to be an agent.


def asked(connection: socket.socket) -> bytes:
    """Read one message."""
    length = int.from_bytes(connection.recv(4, socket.MSG_WAITALL), "big")
    return connection.recv(length, socket.MSG_WAITALL)


def identities(*blobs: bytes) -> bytes:
    return bytes([12]) + len(blobs).to_bytes(4, "big") + b"".join(string(blob) + string(b"x") for blob in blobs)


def says(*messages: bytes) -> Answer:
    """Answer each question with the next of these messages, then hang up."""

    def answer(connection: socket.socket) -> None:
        for message in messages:
            asked(connection)
            connection.sendall(message)

    return answer


def silent(connection: socket.socket) -> None:
    while connection.recv(4096):
        pass


def dripping(connection: socket.socket) -> None:
    connection.sendall((1000).to_bytes(4, "big"))
    for _ in range(200):
        connection.sendall(b"\x0c")
        time.sleep(0.02)


BLOB = keys.openssh_blob(ADA)
NONSENSE: dict[str, Answer] = {
    "hangs up": says(b""),
    "announces too much": says((1 << 31).to_bytes(4, "big")),
    "announces nothing": says(bytes(4)),
    "cut short": says(string(identities(BLOB))[:-3]),
    "another message": says(string(bytes([14]) + string(b"x"))),
    "counts more than it has": says(string(bytes([12]) + (9).to_bytes(4, "big"))),
    "counts to the sky": says(string(bytes([12]) + b"\xff" * 4)),
    "bytes left over": says(string(identities(BLOB) + b"x")),
    "refuses to list": says(string(bytes([5]))),
}


@pytest.mark.parametrize("name", sorted(NONSENSE))
def test_an_agent_that_answers_nonsense(tmp_path: Path, name: str) -> None:
    with (
        hostile_agent(tmp_path / "a", NONSENSE[name]) as at,
        pytest.raises(UnavailableError) as refused,
        client.connect(str(at), 5) as speaking,
    ):
        speaking.held()
    assert str(at) in refused.value.message
    assert refused.value.hint


@pytest.mark.parametrize("answer", [silent, dripping])
def test_an_agent_that_never_ends(tmp_path: Path, answer: Answer) -> None:
    began = time.monotonic()
    with (
        hostile_agent(tmp_path / "a", answer) as at,
        pytest.raises(UnavailableError, match="in time"),
        client.connect(str(at), 0.5) as speaking,
    ):
        speaking.held()
    assert time.monotonic() - began < 3


def test_an_agent_that_signs_something_else(tmp_path: Path) -> None:
    """It holds the key's public half, and answers with a signature of another key: nothing is made of it."""
    forged = private("rita").sign(dsse.pae(PAYLOAD_TYPE, STATEMENT.to_json()))
    inner = string(b"ssh-ed25519") + string(forged)
    answer = says(string(identities(BLOB)), string(bytes([14]) + string(inner)))
    with (
        hostile_agent(tmp_path / "a", answer) as at,
        set_environment(SSH_AUTH_SOCK=str(at)),
        pytest.raises(SignatureError, match="what the signing process returned"),
    ):
        named("ed25519").statement(STATEMENT)


@pytest.mark.parametrize(
    "inner",
    [b"", string(b"ssh-rsa") + string(b"x" * 64), string(b"ssh-ed25519") + string(b"x" * 64) + b"x", string(b"ssh-")],
)
def test_an_agent_whose_signature_has_no_form(tmp_path: Path, inner: bytes) -> None:
    answer = says(string(bytes([14]) + string(inner)))
    with (
        hostile_agent(tmp_path / "a", answer) as at,
        pytest.raises(UnavailableError, match="no ssh-agent, or a broken one"),
        client.connect(str(at), 5) as speaking,
    ):
        speaking.sign(ADA, b"message")


@settings(max_examples=60, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(st.lists(st.binary(max_size=80), max_size=2), st.sampled_from([5, 12, 14]), st.booleans())
def test_any_answer_is_understood_or_our_own_error(
    tmp_path: Path,
    parts: list[bytes],
    number: int,
    framed: bool,  # noqa: FBT001 - hypothesis gives it
) -> None:
    body = bytes([number]) + b"".join(string(part) for part in parts)
    at = tmp_path / "fuzzed"
    with hostile_agent(at, says(string(body) if framed else body)):
        try:
            with client.connect(str(at), 5) as speaking:
                speaking.held() if number == 12 else speaking.sign(ADA, b"m")
        except AgentPipelineError:
            pass
    at.unlink()
