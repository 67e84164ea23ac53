"""SSH signatures: byte for byte OpenSSH's, accepted by Git, and refused when anything about them is off."""

from __future__ import annotations

import base64
from pathlib import Path

import pytest
from cryptography.hazmat.primitives import hashes
from cryptography.hazmat.primitives.asymmetric import ec
from cryptography.hazmat.primitives.serialization import Encoding, NoEncryption, PrivateFormat
from hypothesis import given
from hypothesis import strategies as st
from support.trust import private, public

from agent_pipeline import process
from agent_pipeline.attestation import dsse, keys, sshsig
from agent_pipeline.documents.root import Key
from agent_pipeline.errors import AgentPipelineError, SignatureError

P256 = ec.derive_private_key(3**160, ec.SECP256R1())  # OpenSSH refuses small ones
MESSAGE = b"tree 4b825dc642cb6eb9a060e54bf8d69288fbee4904\nauthor A <a@b> 1 +0000\ncommitter A <a@b> 1 +0000\n\nhello\n"
ADA = public("ada")


def signed(message: bytes = MESSAGE, namespace: str = "git", name: str = "ada") -> str:
    return sshsig.armor(private(name).sign(sshsig.blob_to_sign(message, namespace)), public(name), namespace)


def environment(folder: Path) -> dict[str, str]:
    return {
        "PATH": "/usr/bin:/bin",
        "HOME": str(folder),
        "GIT_CONFIG_NOSYSTEM": "1",
        "GIT_AUTHOR_DATE": "2026-03-01T12:00:00Z",
        "GIT_COMMITTER_DATE": "2026-03-01T12:00:00Z",
    }


def run(folder: Path, *argv: str, stdin: bytes = b"") -> process.Completed:
    done = process.run(argv, env=environment(folder), cwd=folder, stdin=stdin)
    assert done.ok, done.explain()
    return done


def key_files(folder: Path) -> tuple[Path, Path]:
    """Ada's private key as OpenSSH wants it, and an allowed_signers file that names her."""
    file, allowed = folder / "id", folder / "allowed"
    file.write_bytes(private("ada").private_bytes(Encoding.PEM, PrivateFormat.OpenSSH, NoEncryption()))
    file.chmod(0o600)
    allowed.write_text(f"a@b {keys.openssh_from_key(ADA)}\n", encoding="ascii")
    return file, allowed


def test_the_bytes_are_those_of_ssh_keygen(tmp_path: Path) -> None:
    file, _ = key_files(tmp_path)
    theirs = run(
        tmp_path, "ssh-keygen", "-q", "-Y", "sign", "-f", str(file), "-n", "git", stdin=MESSAGE
    ).stdout.decode()
    assert signed() == theirs
    sshsig.verify(MESSAGE, theirs, ADA)


def test_ecdsa_signatures_of_ssh_keygen_verify_and_can_be_written_again(tmp_path: Path) -> None:
    file = tmp_path / "id"
    file.write_bytes(P256.private_bytes(Encoding.PEM, PrivateFormat.OpenSSH, NoEncryption()))
    file.chmod(0o600)
    theirs = run(
        tmp_path, "ssh-keygen", "-q", "-Y", "sign", "-f", str(file), "-n", "git", stdin=MESSAGE
    ).stdout.decode()
    key = keys.key_from_public(P256.public_key())
    sshsig.verify(MESSAGE, theirs, key)
    assert sshsig.armor(sshsig.read(theirs).raw, key) == theirs


def test_ssh_keygen_verifies_ours(tmp_path: Path) -> None:
    _, allowed = key_files(tmp_path)
    (tmp_path / "sig").write_text(signed(), encoding="ascii")
    argv = ("ssh-keygen", "-Y", "verify", "-f", str(allowed), "-I", "a@b", "-n", "git", "-s", str(tmp_path / "sig"))
    run(tmp_path, *argv, stdin=MESSAGE)


def test_git_verifies_a_commit_that_we_signed(tmp_path: Path) -> None:
    _, allowed = key_files(tmp_path)
    run(tmp_path, "git", "init", "-q", ".")
    run(tmp_path, "git", "hash-object", "-w", "-t", "tree", "--stdin")
    header, _, message = MESSAGE.partition(b"\n\n")
    signature = signed().rstrip("\n").replace("\n", "\n ").encode()
    commit = header + b"\ngpgsig " + signature + b"\n\n" + message
    name = run(tmp_path, "git", "hash-object", "-w", "-t", "commit", "--stdin", stdin=commit).stdout.decode().strip()
    run(tmp_path, "git", "-c", f"gpg.ssh.allowedSignersFile={allowed}", "verify-commit", name)


def test_another_message_key_or_namespace() -> None:
    sshsig.verify(MESSAGE, signed(), ADA)
    for armored, message, key in (
        (signed(), MESSAGE + b"x", ADA),
        (signed(name="rita"), MESSAGE, ADA),
        (signed(), MESSAGE, public("rita")),
        (signed(namespace="file"), MESSAGE, ADA),
    ):
        with pytest.raises(SignatureError):
            sshsig.verify(message, armored, key)


def test_an_envelope_s_signature_is_no_commit_s() -> None:
    armored = sshsig.armor(private("ada").sign(dsse.pae("git", MESSAGE)), ADA)
    with pytest.raises(SignatureError):
        sshsig.verify(MESSAGE, armored, ADA)


def test_a_key_in_the_signature_decides_nothing() -> None:
    forged = sshsig.armor(private("rita").sign(sshsig.blob_to_sign(MESSAGE)), ADA)
    with pytest.raises(SignatureError, match="not one by key"):
        sshsig.verify(MESSAGE, forged, ADA)


@given(st.integers(min_value=0))
def test_one_changed_bit_anywhere(position: int) -> None:
    lines = signed().splitlines()
    data = bytearray(base64.b64decode("".join(lines[1:-1])))
    bit = position % (len(data) * 8)
    data[bit // 8] ^= 1 << bit % 8
    armored = "\n".join([lines[0], base64.b64encode(bytes(data)).decode(), lines[-1]])
    with pytest.raises(SignatureError):
        sshsig.verify(MESSAGE, armored, ADA)


@given(st.binary(max_size=300))
def test_any_bytes_are_a_signature_or_our_own_error(data: bytes) -> None:
    text = base64.b64encode(data).decode()
    for body in (text, base64.b64encode(b"SSHSIG\0\0\0\1" + data).decode()):
        with pytest.raises(AgentPipelineError):
            sshsig.read(f"-----BEGIN SSH SIGNATURE-----\n{body}\n-----END SSH SIGNATURE-----\n")


@given(st.text(max_size=200))
def test_any_text_is_a_signature_or_our_own_error(text: str) -> None:
    with pytest.raises(SignatureError):
        sshsig.verify(MESSAGE, text, ADA)


def test_ecdsa_numbers_in_their_shortest_form_only() -> None:
    key: Key = keys.key_from_public(P256.public_key())
    armored = sshsig.armor(P256.sign(sshsig.blob_to_sign(MESSAGE), ec.ECDSA(hashes.SHA256())), key)
    sshsig.verify(MESSAGE, armored, key)
