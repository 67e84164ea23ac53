"""Signing with real keys in a real child process."""

from __future__ import annotations

import json
import os
import sys
from collections.abc import Iterator
from pathlib import Path

import pytest
from cryptography.hazmat.primitives.asymmetric import ec, rsa
from cryptography.hazmat.primitives.serialization import Encoding, NoEncryption, PrivateFormat
from support.trust import private, public

from agent_pipeline import process
from agent_pipeline.attestation import dsse, keys, sshsig
from agent_pipeline.documents.envelope import Envelope
from agent_pipeline.documents.statement import PAYLOAD_TYPE, Statement
from agent_pipeline.errors import SchemaError, SignatureError, StorageError, UnavailableError, UsageError
from agent_pipeline.signing import boxes, child, generate, jobs, places
from agent_pipeline.signing.client import MAX_PAYLOAD, Signer
from agent_pipeline.signing.jobs import DsseJob, SshJob

STATEMENT = Statement("proposal.json", "a" * 64, "https://example.org/x/v1", {"n": 1})
PASSPHRASE = "AGENT_PIPELINE_KEY_PASSPHRASE"


@pytest.fixture(autouse=True)
def _no_passphrase() -> Iterator[None]:
    """No passphrase but a test's own."""
    kept = os.environ.pop(PASSPHRASE, None)
    yield
    os.environ.pop(PASSPHRASE, None)
    if kept is not None:
        os.environ[PASSPHRASE] = kept


def written(path: Path, key: object, encoding: PrivateFormat = PrivateFormat.OpenSSH, mode: int = 0o600) -> Path:
    path.write_bytes(key.private_bytes(Encoding.PEM, encoding, NoEncryption()))  # type: ignore[attr-defined]
    path.chmod(mode)
    return path


@pytest.fixture
def ada(tmp_path: Path) -> Signer:
    return Signer(str(written(tmp_path / "ada", private("ada"))))


def test_statements_and_commits(ada: Signer) -> None:
    envelope = ada.statement(STATEMENT)
    assert dsse.check(envelope, public("ada"), PAYLOAD_TYPE) == STATEMENT.to_json()
    sshsig.verify(b"tree x\n", ada.commit(b"tree x\n"), public("ada"))


def test_what_no_reader_would_take_is_not_signed(ada: Signer) -> None:
    largest = ada.envelope(PAYLOAD_TYPE, b"x" * MAX_PAYLOAD)
    assert Envelope.from_json(largest.to_json()) == largest
    with pytest.raises(SchemaError, match="too many to sign"):
        ada.envelope(PAYLOAD_TYPE, b"x" * (MAX_PAYLOAD + 1))


def test_several_jobs_in_one_child(ada: Signer) -> None:
    work = (DsseJob("a/b", b"1"), SshJob(b"2"), DsseJob("a/b", b""))
    signatures = ada.sign(work)
    for job, signature in zip(work, signatures, strict=True):
        keys.check_signature(public("ada"), job.message(), signature, "ours")
    assert len(set(signatures)) == 3


def test_p256_in_openssh_and_in_pkcs8(tmp_path: Path) -> None:
    key = ec.derive_private_key(3**160, ec.SECP256R1())
    for name, encoding in (("one", PrivateFormat.OpenSSH), ("two", PrivateFormat.PKCS8)):
        signer = Signer(str(written(tmp_path / name, key, encoding)))
        assert signer.public().scheme == keys.P256
        assert dsse.check(signer.statement(STATEMENT), signer.public(), PAYLOAD_TYPE)
        for signature in signer.sign([SshJob(b"%d" % number) for number in range(20)]):
            assert keys.one_form(signer.public(), signature) == signature


def test_a_key_as_text_as_ci_has_it(tmp_path: Path) -> None:
    text = written(tmp_path / "ada", private("ada")).read_text(encoding="ascii")
    for source in (text, f"\n{text}", text.rstrip("\n")):
        assert Signer(source).public() == public("ada")


@pytest.mark.parametrize("mode", [0o640, 0o604, 0o660, 0o644, 0o601, 0o620])
def test_a_key_that_others_can_read_is_refused_at_once_and_in_the_child(tmp_path: Path, mode: int) -> None:
    path = written(tmp_path / "ada", private("ada"), mode=mode)
    with pytest.raises(UsageError, match=r"can be read or changed by others \(mode") as refused:
        Signer(str(path)).public()
    assert "chmod 600" in str(refused.value.hint)
    with pytest.raises(UsageError, match="by others"):
        Signer(str(path)).statement(STATEMENT)


def test_a_key_of_another_user_is_refused(tmp_path: Path) -> None:
    found = list((written(tmp_path / "ada", private("ada"))).stat())
    found[4] = os.geteuid() + 1  # st_uid
    with pytest.raises(UsageError, match="another user"):
        places.private("ada", os.stat_result(found))


def test_a_link_does_not_hide_the_mode(tmp_path: Path) -> None:
    written(tmp_path / "ada", private("ada"), mode=0o644)
    (tmp_path / "link").symlink_to("ada")
    with pytest.raises(UsageError, match="by others"):
        Signer(str(tmp_path / "link")).statement(STATEMENT)


def test_what_is_no_key(tmp_path: Path) -> None:
    (tmp_path / "text").write_text("hello\n", encoding="ascii")
    (tmp_path / "text").chmod(0o600)
    (tmp_path / "folder").mkdir()
    os.mkfifo(tmp_path / "pipe", 0o600)
    cut = "-----BEGIN OPENSSH PRIVATE KEY-----\nAAAA\n-----END OPENSSH PRIVATE KEY-----"
    for source in (*(str(tmp_path / name) for name in ("text", "folder", "pipe", "missing")), cut, "-----BEGIN x"):
        with pytest.raises(UsageError) as refused:
            Signer(source).statement(STATEMENT)
        assert refused.value.hint


@pytest.mark.parametrize("key", [rsa.generate_private_key(65537, 2048), ec.derive_private_key(3**160, ec.SECP384R1())])
def test_other_schemes(tmp_path: Path, key: object) -> None:
    with pytest.raises(SignatureError, match="neither"):
        Signer(str(written(tmp_path / "key", key))).statement(STATEMENT)


def test_the_public_half_beside_a_key_must_be_its_own(tmp_path: Path) -> None:
    path = written(tmp_path / "ada", private("ada"))
    Path(f"{path}.pub").write_text(keys.openssh_from_key(public("rita")), encoding="ascii")
    signer = Signer(str(path))
    assert signer.public() == public("rita")  # a claim, until something is signed
    with pytest.raises(UsageError, match="not the public half"):
        signer.statement(STATEMENT)


# Making keys.


def test_a_new_key_is_its_owner_s_alone_and_openssh_s(tmp_path: Path) -> None:
    path = tmp_path / "keys" / "default"
    key = generate.generate(path, "ada@example.org").key
    assert path.stat().st_mode & 0o777 == 0o600
    assert path.parent.stat().st_mode & 0o777 == 0o700
    shown = process.run(["ssh-keygen", "-y", "-f", str(path)], env={"PATH": "/usr/bin:/bin"})
    assert shown.ok, shown.explain()
    assert keys.key_from_openssh(shown.stdout.decode()) == key
    assert Signer(str(path)).public() == key
    assert Path(f"{path}.pub").read_text(encoding="ascii").split()[2] == "ada@example.org"


def test_keys_are_never_overwritten(tmp_path: Path) -> None:
    generate.generate(tmp_path / "one", "x")
    before = (tmp_path / "one").read_bytes()
    with pytest.raises(UsageError, match="already exists"):
        generate.generate(tmp_path / "one", "x")
    assert (tmp_path / "one").read_bytes() == before
    (tmp_path / "two.pub").write_text("x", encoding="ascii")
    with pytest.raises(UsageError, match="already exists"):
        generate.generate(tmp_path / "two", "x")
    assert not (tmp_path / "two").exists()


def test_a_place_where_nothing_can_be_written(tmp_path: Path) -> None:
    (tmp_path / "file").write_bytes(b"")
    with pytest.raises((StorageError, UsageError)):
        generate.generate(tmp_path / "file" / "key", "x")


def test_keys_with_a_passphrase(tmp_path: Path) -> None:
    os.environ[PASSPHRASE] = "correct horse"
    key = generate.generate(tmp_path / "key", "x").key
    assert dsse.check(Signer(str(tmp_path / "key")).statement(STATEMENT), key, PAYLOAD_TYPE)
    plain = written(tmp_path / "plain", private("ada"))
    assert Signer(str(plain)).statement(STATEMENT).keyid == public("ada").keyid  # it needs none and works all the same
    os.environ[PASSPHRASE] = "wrong"
    with pytest.raises(UsageError, match="does not open"):
        Signer(str(tmp_path / "key")).statement(STATEMENT)
    del os.environ[PASSPHRASE]
    with pytest.raises(UsageError, match="encrypted"):
        Signer(str(tmp_path / "key")).statement(STATEMENT)


# The child.


def test_the_child_takes_no_module_from_where_the_parent_stands(tmp_path: Path, ada: Signer) -> None:
    planted = tmp_path / "agent_pipeline"
    planted.mkdir()
    (planted / "__init__.py").write_text(f"open({str(tmp_path / 'stolen')!r}, 'w')\n", encoding="utf-8")
    (tmp_path / "json.py").write_text(f"open({str(tmp_path / 'stolen')!r}, 'w')\n", encoding="utf-8")
    before = Path.cwd()
    os.chdir(tmp_path)
    try:
        ada.statement(STATEMENT)
    finally:
        os.chdir(before)
    assert not (tmp_path / "stolen").exists()


def test_the_child_s_environment_is_small() -> None:
    probe = "import json, os; print(json.dumps(sorted(os.environ)))"
    environment = child.environment()
    shown = process.run([sys.executable, "-c", probe], env=environment).stdout
    names = set(json.loads(shown))
    assert names <= {"HOME", "PYTHONPATH", "PYTHONDONTWRITEBYTECODE", "LC_ALL", "LC_CTYPE"}


def test_the_child_cannot_be_read_by_its_neighbours_nor_leave_a_core(tmp_path: Path) -> None:
    probe = (
        "import resource; from agent_pipeline.signing import __main__ as m; m._protect();"
        "import ctypes; print(ctypes.CDLL(None).prctl(3, 0, 0, 0, 0), resource.getrlimit(resource.RLIMIT_CORE))"
    )
    shown = process.run([sys.executable, "-P", "-c", probe], env=child.environment(), cwd=tmp_path)
    assert shown.stdout.decode().split() == ["0", "(0,", "0)"], shown.explain()


def test_no_answer_is_could_not_tell() -> None:
    with pytest.raises(UnavailableError, match="signing process failed: KeyError"):
        child.ask({"jobs": []}, box=boxes.new())


def test_errors_of_the_child_carry_no_key(tmp_path: Path) -> None:
    text = written(tmp_path / "ada", private("ada")).read_text(encoding="ascii")
    broken = text.replace("-----END", "AAAA\n-----END")
    with pytest.raises(UsageError) as refused:
        Signer(broken).statement(STATEMENT)
    secret = text.splitlines()[3]
    assert secret not in f"{refused.value.message} {refused.value.hint}"


def test_a_job_means_the_same_on_both_sides() -> None:
    for job in (DsseJob("a/b", b"\x00\xff"), SshJob(b"x"), SshJob(b"x", "file")):
        assert jobs.from_plain(json.loads(json.dumps(job.to_plain()))) == job
