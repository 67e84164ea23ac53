"""Key files: what protects them, where they may lie, and what becomes of bytes that are none."""

from __future__ import annotations

import base64
import contextlib
import errno
import os
import subprocess
from functools import cache
from pathlib import Path

import pytest
from cryptography.hazmat.primitives.asymmetric import dsa, ec, rsa
from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PrivateKey
from cryptography.hazmat.primitives.serialization import (
    BestAvailableEncryption,
    Encoding,
    NoEncryption,
    PrivateFormat,
)
from hypothesis import given, settings
from hypothesis import strategies as st
from support.keyrings import P256, set_environment, written
from support.trust import private, public

from agent_pipeline.attestation import keys
from agent_pipeline.errors import AgentPipelineError, SignatureError, StorageError, UsageError
from agent_pipeline.signing import generate, keyfile, places, protection
from agent_pipeline.signing.client import Signer

PASSPHRASE = b"correct horse"
ENV = {"PATH": os.environ["PATH"], "HOME": "/nonexistent"}


def loaded(data: bytes, passphrase: bytes = PASSPHRASE) -> keyfile.PrivateKey:
    return keyfile.load(data, "the key", lambda: passphrase)


def openssl(*argv: str, data: bytes) -> bytes:
    return subprocess.run(["openssl", *argv], input=data, env=ENV, capture_output=True, check=True).stdout


@cache
def plain(kind: PrivateFormat = PrivateFormat.PKCS8) -> bytes:
    return private("ada").private_bytes(Encoding.PEM, kind, NoEncryption())


def with_openssl(*options: str) -> bytes:
    return openssl("pkcs8", "-topk8", "-passout", f"pass:{PASSPHRASE.decode()}", *options, data=plain())


def with_rounds(rounds: int) -> bytes:
    chosen = PrivateFormat.OpenSSH.encryption_builder().kdf_rounds(rounds).build(PASSPHRASE)
    return private("ada").private_bytes(Encoding.PEM, PrivateFormat.OpenSSH, chosen)


# What protects a file that was stolen.


def test_encryption_that_costs_is_taken() -> None:
    for data in (with_rounds(16), with_openssl("-scrypt"), with_openssl("-iter", "600000")):
        assert keys.key_from_public(loaded(data).public_key()) == public("ada")
        with pytest.raises(UsageError, match="does not open with this passphrase"):
            loaded(data, b"another")


WEAK = {
    "few rounds of bcrypt": (lambda: with_rounds(4), "4 rounds of bcrypt"),
    "the library's best": (
        lambda: private("ada").private_bytes(Encoding.PEM, PrivateFormat.PKCS8, BestAvailableEncryption(PASSPHRASE)),
        "PBKDF2 with 2048 rounds",
    ),
    "openssl's own": (with_openssl, "PBKDF2 with 2048 rounds"),
    "many rounds of SHA-1": (lambda: with_openssl("-iter", "700000", "-v2prf", "hmacWithSHA1"), "SHA-1"),
    "little scrypt": (lambda: with_openssl("-scrypt", "-scrypt_N", "1024"), "too little memory"),
    "before PBES2": (lambda: with_openssl("-v1", "PBE-SHA1-3DES"), "older than PBES2"),
    "traditional": (
        lambda: P256.private_bytes(Encoding.PEM, PrivateFormat.TraditionalOpenSSL, BestAvailableEncryption(PASSPHRASE)),
        "one round of MD5",
    ),
}


@pytest.mark.parametrize("name", sorted(WEAK))
def test_encryption_that_costs_a_thief_nothing_is_refused_with_the_reason(name: str) -> None:
    make, word = WEAK[name]
    with pytest.raises(UsageError, match=word) as refused:
        loaded(make())
    assert f"ssh-keygen -p -a {protection.OUR_ROUNDS}" in str(refused.value.hint)


@pytest.mark.parametrize("nth", [1, 2])
def test_a_disk_that_fills_up_leaves_no_half_of_a_key(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, nth: int
) -> None:
    calls: list[int] = []
    sync = os.fsync

    def full(descriptor: int) -> None:
        calls.append(descriptor)
        if len(calls) == nth:
            raise OSError(errno.ENOSPC, os.strerror(errno.ENOSPC))
        sync(descriptor)

    monkeypatch.setattr(os, "fsync", full)
    with pytest.raises(StorageError, match="the key cannot be written"):
        keyfile.create(tmp_path / "mine", "x", keys.ED25519, None)
    assert list(tmp_path.iterdir()) == []
    keyfile.create(tmp_path / "mine", "x", keys.ED25519, None)
    assert {path.name: path.stat().st_mode & 0o777 for path in tmp_path.iterdir()} == {"mine": 0o600, "mine.pub": 0o644}


@pytest.mark.parametrize("what", ["mine", "mine.pub", "."])
def test_what_is_in_the_way_is_named(tmp_path: Path, monkeypatch: pytest.MonkeyPatch, what: str) -> None:
    """Whatever was there when it was looked at first."""
    folder = tmp_path / "keys"
    if what == ".":
        folder.write_text("a file")
    else:
        folder.mkdir(mode=0o700)
        (folder / what).write_text("kept")
    monkeypatch.setattr(Path, "exists", lambda _: False)
    with pytest.raises(UsageError, match=f"{folder if what == '.' else folder / what} already exists"):
        keyfile.create(folder / "mine", "x", keys.ED25519, None)
    monkeypatch.undo()
    assert folder.is_file() or [(path.name, path.read_text()) for path in folder.iterdir()] == [(what, "kept")]


def test_what_we_make_is_what_openssh_makes(tmp_path: Path) -> None:
    """For both schemes, plain and with 64 rounds of bcrypt: `ssh-keygen` opens it."""
    for scheme, passphrase in ((keys.ED25519, PASSPHRASE.decode()), (keys.P256, "")):
        path = tmp_path / scheme
        with set_environment(AGENT_PIPELINE_KEY_PASSPHRASE=passphrase):
            key = generate.generate(path, "x", scheme).key
        assert key.scheme == scheme
        argv = ["ssh-keygen", "-y", "-P", passphrase, "-f", str(path)]
        shown = subprocess.run(argv, env=ENV, capture_output=True, text=True, check=True).stdout
        assert keys.key_from_openssh(shown) == key
        assert protection.front(path.read_bytes(), "x").encrypted == bool(passphrase)
        rounds = (64).to_bytes(4, "big") in protection._pem(path.read_bytes())[1][:80]
        assert rounds == bool(passphrase)


# Keys that are none of ours.


@pytest.mark.parametrize(
    "make",
    [
        lambda: rsa.generate_private_key(65537, 2048),
        lambda: dsa.generate_private_key(2048),
        lambda: ec.derive_private_key(3**160, ec.SECP384R1()),
        lambda: ec.derive_private_key(3**160, ec.SECP521R1()),
        lambda: ec.derive_private_key(3**160, ec.SECP256K1()),
    ],
    ids=["RSA", "DSA", "P-384", "P-521", "secp256k1"],
)
def test_other_schemes_are_refused_in_every_form(make: object) -> None:
    key = make()  # type: ignore[operator]
    for form in (PrivateFormat.PKCS8, PrivateFormat.TraditionalOpenSSL):
        with pytest.raises((SignatureError, UsageError)):
            loaded(key.private_bytes(Encoding.PEM, form, NoEncryption()))


def test_an_openssh_file_whose_halves_do_not_match_is_refused() -> None:
    """The public half stands in the file twice, and beside the private one: exchanged, nothing opens."""
    data = protection._pem(plain(PrivateFormat.OpenSSH))[1]
    raw, other = (bytes.fromhex(public(name).public) for name in ("ada", "rita"))
    assert data.count(raw) == 3
    for count in (1, 2, 3):
        with pytest.raises(AgentPipelineError):
            loaded(armoured(data.replace(raw, other, count)))


def armoured(data: bytes) -> bytes:
    text = base64.encodebytes(data)
    return b"-----BEGIN OPENSSH PRIVATE KEY-----\n" + text + b"-----END OPENSSH PRIVATE KEY-----\n"


FILES = {
    "ed25519": lambda: plain(PrivateFormat.OpenSSH),
    "p256": lambda: P256.private_bytes(Encoding.PEM, PrivateFormat.OpenSSH, NoEncryption()),
    "pkcs8": plain,
    "scrypt": lambda: scrypt(),  # noqa: PLW0108 - it stands below
}


@cache
def scrypt() -> bytes:
    return with_openssl("-scrypt")


def test_one_changed_byte_of_an_encrypted_key_does_not_open() -> None:
    """In the front, in the salt, in what is encrypted. Each try costs its 16 rounds, so few are made."""
    original = protection._pem(with_rounds(16))[1]
    for at in range(3, len(original), len(original) // 12):
        changed = bytearray(original)
        changed[at] ^= 1
        with pytest.raises(AgentPipelineError):
            loaded(armoured(bytes(changed)))


@pytest.mark.parametrize("name", sorted(set(FILES) - {"scrypt"}))
def test_one_changed_bit_anywhere_is_another_key_or_our_own_error(name: str) -> None:
    original = FILES[name]()
    for at in range(len(original)):
        for bit in range(6):  # of base64: the others are no armour any more
            changed = bytearray(original)
            changed[at] ^= 1 << bit
            with contextlib.suppress(AgentPipelineError):
                assert isinstance(loaded(bytes(changed)), Ed25519PrivateKey | ec.EllipticCurvePrivateKey)


@pytest.mark.parametrize("name", sorted(FILES))
@settings(max_examples=40, deadline=None)
@given(data=st.data())
def test_one_changed_byte_is_another_key_or_our_own_error(name: str, data: st.DataObject) -> None:
    original = FILES[name]()
    at = data.draw(st.integers(0, len(original) - 1))
    changed = bytearray(original)
    changed[at] ^= data.draw(st.integers(1, 255))
    try:
        key = loaded(bytes(changed))
    except AgentPipelineError:
        return
    assert isinstance(key, Ed25519PrivateKey | ec.EllipticCurvePrivateKey)


@settings(max_examples=100, deadline=None)
@given(st.binary(max_size=300), st.sampled_from(["OPENSSH ", "ENCRYPTED ", "EC ", ""]))
def test_any_bytes_in_armour_are_a_key_or_our_own_error(body: bytes, kind: str) -> None:
    text = base64.encodebytes(body if kind != "OPENSSH " else b"openssh-key-v1\0" + body).decode()
    for data in (f"-----BEGIN {kind}PRIVATE KEY-----\n{text}-----END {kind}PRIVATE KEY-----\n".encode(), body):
        with pytest.raises(AgentPipelineError):
            loaded(data)


def test_a_file_that_is_too_long_is_no_key(tmp_path: Path) -> None:
    path = tmp_path / "key"
    path.write_bytes(b"x" * (keyfile.MAX_BYTES + 1))
    path.chmod(0o600)
    with pytest.raises(UsageError, match="more than"):
        keyfile.read(str(path))


@pytest.mark.parametrize(
    "body",
    [b"!!!!", b"AAAA", base64.b64encode(b"openssh-key-v1\0" + b"\0" * 6), base64.b64encode(b"x" * 90)],
    ids=["no base64", "short", "cut", "other"],
)
@pytest.mark.parametrize("kind", [b"OPENSSH ", b"ENCRYPTED ", b""])
def test_a_broken_text_is_called_no_key_and_nobody_is_told_to_encrypt_it(body: bytes, kind: bytes) -> None:
    data = b"-----BEGIN %sPRIVATE KEY-----\n%s\n-----END %sPRIVATE KEY-----\n" % (kind, body, kind)
    with pytest.raises(UsageError, match="the key is no readable private key") as refused:
        loaded(data)
    assert refused.value.hint == protection.WHOLE


# Where a key may lie.


def test_a_folder_where_everybody_writes_is_refused_unless_it_is_sticky(tmp_path: Path) -> None:
    folder = tmp_path / "shared"
    folder.mkdir()
    path = written(folder / "key", private("ada"))
    folder.chmod(0o777)
    for act in (lambda: Signer(str(path)).public(), lambda: keyfile.read(str(path))):
        with pytest.raises(UsageError, match="everybody may write to the folder"):
            act()
    folder.chmod(0o1777)
    assert keyfile.read(str(path))


def test_a_folder_of_another_user_is_refused(tmp_path: Path) -> None:
    found = list(tmp_path.stat())
    found[4] = os.geteuid() + 1  # st_uid
    with pytest.raises(UsageError, match=r"the folder .* belongs to another user, who could exchange it"):
        places.step("key", tmp_path, os.stat_result(found))


def test_what_another_user_could_exchange_is_refused(tmp_path: Path) -> None:
    """On the whole way, for real; only root can give files away, and for everybody else stands the test above."""
    if os.geteuid() != 0:
        return
    mine, theirs = tmp_path / "mine", tmp_path / "theirs"
    mine.mkdir()
    theirs.mkdir()
    path = written(mine / "key", private("ada"))
    (theirs / "link").symlink_to(path)
    (mine / "link").symlink_to(theirs / "link")
    (mine / "folder").symlink_to(theirs)
    os.chown(theirs, 12345, 12345)
    for way in (theirs / "link", mine / "link", mine / "folder" / "link"):
        with pytest.raises(UsageError, match="belongs to another user, who could exchange it"):
            Signer(str(way)).public()
        with pytest.raises(UsageError, match="belongs to another user"):
            keyfile.read(str(way))
    os.chown(theirs, 0, 0)
    os.chown(theirs / "link", 12345, 12345, follow_symlinks=False)
    theirs.chmod(0o1777)
    with pytest.raises(UsageError, match=r"the link .* belongs to another user"):
        Signer(str(theirs / "link")).public()


def test_a_link_of_one_s_own_is_followed(tmp_path: Path) -> None:
    (tmp_path / "a").mkdir()
    written(tmp_path / "a" / "key", private("ada"))
    (tmp_path / "b").symlink_to("a/../a")
    (tmp_path / "link").symlink_to("b/key")
    assert Signer(str(tmp_path / "link")).public() == public("ada")


def test_links_in_a_circle_are_refused(tmp_path: Path) -> None:
    (tmp_path / "one").symlink_to("two")
    (tmp_path / "two").symlink_to("one")
    with pytest.raises(UsageError):
        places.way(str(tmp_path / "one" / "key"))


def test_one_key_under_two_names_is_one_key(tmp_path: Path) -> None:
    first, second = (Signer(str(written(tmp_path / name, private("ada")))).public() for name in ("one", "two"))
    assert first.keyid == second.keyid
