"""Keys on a PKCS #11 token, for real: SoftHSM with its own retry counters."""

from __future__ import annotations

import os
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path

import pytest
from support.keyrings import MODULE, PIN, Token, make_token, set_environment

from agent_pipeline.attestation import dsse, keys, sshsig
from agent_pipeline.documents.statement import PAYLOAD_TYPE, Statement
from agent_pipeline.errors import UnavailableError, UsageError
from agent_pipeline.signing import boxes, child
from agent_pipeline.signing.client import Signer
from agent_pipeline.signing.jobs import DsseJob, SshJob

STATEMENT = Statement("proposal.json", "a" * 64, "https://example.org/x/v1", {"n": 1})


@pytest.fixture(scope="module")
def made(tmp_path_factory: pytest.TempPathFactory) -> Token:
    return make_token(tmp_path_factory.mktemp("token"))


@pytest.fixture
def token(made: Token) -> Iterator[Token]:
    conf = str(made.folder / "softhsm2.conf")
    with set_environment(SOFTHSM2_CONF=conf, SSH_ASKPASS=None, AGENT_PIPELINE_PKCS11_MODULE=None):
        yield made


@pytest.mark.parametrize(("label", "scheme"), [("p256", keys.P256), ("ed25519", keys.ED25519), ("careful", keys.P256)])
def test_the_token_signs_statements_and_commits(token: Token, label: str, scheme: str) -> None:
    """`careful` wants its PIN for each signature, as a smart card's signature key does."""
    signer = Signer(token.uri(label))
    key = signer.public()
    assert key.scheme == scheme
    work = (DsseJob(PAYLOAD_TYPE, STATEMENT.to_json()), SshJob(b"tree x\n"), DsseJob(PAYLOAD_TYPE, b""))
    for job, signature in zip(work * 6, signer.sign(work * 6), strict=True):
        keys.check_signature(key, job.message(), signature, "the token's")
        assert keys.one_form(key, signature) == signature
    assert dsse.check(signer.statement(STATEMENT), key, PAYLOAD_TYPE) == STATEMENT.to_json()
    sshsig.verify(b"tree x\n", signer.commit(b"tree x\n"), key)


def test_the_public_half_needs_no_pin(token: Token) -> None:
    assert Signer(token.uri("p256", pin=token.folder / "missing")).public() == Signer(token.uri("p256")).public()


@pytest.mark.usefixtures("token")
def test_the_list_names_each_key_alone() -> None:
    rows = child.ask({"list": {"module": MODULE}}, box=boxes.new())["keys"]
    assert len(rows) == 3  # P-384 is none of ours
    for row in rows:
        found = Signer(row["at"]).public()
        assert found.keyid == row["key"]["keyid"]
    with set_environment(AGENT_PIPELINE_PKCS11_MODULE=MODULE):
        assert Signer("pkcs11:object=ed25519").public().scheme == keys.ED25519


@pytest.mark.parametrize(
    ("uri", "word"),
    [
        (f"pkcs11:token=team?module-path={MODULE}", "more than one"),
        (f"pkcs11:token=other?module-path={MODULE}", "no key"),
        (f"pkcs11:object=p384?module-path={MODULE}", "no key"),
        (f"pkcs11:object=p256;id=%02?module-path={MODULE}", "no key"),
        (f"pkcs11:object=p256;serial=0?module-path={MODULE}", "no key"),
        ("pkcs11:object=p256", "which PKCS #11 module"),
        ("pkcs11:object=p256?module-path=/nowhere/lib.so", "cannot be opened"),
    ],
)
def test_a_uri_that_names_no_single_key(token: Token, uri: str, word: str) -> None:
    del token
    with pytest.raises(UsageError, match=word) as refused:
        Signer(uri).public()
    assert refused.value.hint


def test_a_module_that_is_none_or_that_others_can_change(token: Token, tmp_path: Path) -> None:
    del token
    module = tmp_path / "module.so"
    module.write_bytes(b"\x7fELF and nothing more")
    with pytest.raises(UnavailableError, match="the token or its module failed"):
        Signer(f"pkcs11:object=p256?module-path={module}").public()
    module.chmod(0o666)
    with pytest.raises(UsageError, match="changed by others"):
        Signer(f"pkcs11:object=p256?module-path={module}").public()


def wrong(token: Token, text: str = "1111") -> Path:
    file = token.folder / f"wrong-{text}"
    file.write_text(text, encoding="ascii")
    file.chmod(0o600)
    return file


def test_a_wrong_pin_is_tried_once_whatever_runs_again(token: Token) -> None:
    """SoftHSM counts: after one wrong PIN no job that nobody watches tries another, not even the right one."""
    at = wrong(token)
    try:
        with pytest.raises(UsageError, match="PIN for the token team is wrong"):
            Signer(token.uri("p256", pin=at)).statement(STATEMENT)
        for label in ("ed25519", "careful"):  # other names for other keys: nothing of the first try is remembered here
            with pytest.raises(UsageError, match="none is tried again") as refused:
                Signer(token.uri(label, pin=at)).statement(STATEMENT)
            assert "once by hand" in str(refused.value.hint)
        with pytest.raises(UsageError, match="none is tried again"):
            Signer(token.uri("careful")).statement(STATEMENT)
    finally:
        by_hand(token)
    assert Signer(token.uri("careful")).statement(STATEMENT)


def test_one_command_asks_the_token_once(token: Token) -> None:
    at = wrong(token, "2222")
    signer = Signer(token.uri("p256", pin=at))
    try:
        with pytest.raises(UsageError, match="is wrong"):
            signer.statement(STATEMENT)
        by_hand(token)  # the token would take another try
        with pytest.raises(UsageError, match="is wrong"):
            Signer(token.uri("p256", pin=at)).statement(STATEMENT)
    finally:
        by_hand(token)


def by_hand(token: Token) -> None:
    """Log in as a person would, with the right PIN, asked for by a program."""
    asks = token.folder / "askpass"
    asks.write_text(f"#!/bin/sh\necho {PIN}\n", encoding="ascii")
    asks.chmod(0o700)
    uri = token.uri("p256").partition("&pin-source")[0]
    with set_environment(SSH_ASKPASS=str(asks)):
        Signer(uri).statement(STATEMENT)


def test_a_pin_is_asked_for_where_no_file_has_it(token: Token) -> None:
    uri = token.uri("ed25519").partition("&pin-source")[0]
    with pytest.raises(UsageError, match="the PIN of the token team is not known") as refused:
        Signer(uri).statement(STATEMENT)
    assert "pin-source=file:" in str(refused.value.hint)
    asks = token.folder / "asks"
    asks.write_text(f'#!/bin/sh\necho "$1" >> {token.folder}/prompts\necho {PIN}\n', encoding="ascii")
    asks.chmod(0o700)
    other = uri.replace("token=team;", "token=team;id=%02;")  # another name: the first was refused for this command
    with set_environment(SSH_ASKPASS=str(asks)):
        assert Signer(other).statement(STATEMENT)
        assert Signer(other).statement(STATEMENT)
    assert (token.folder / "prompts").read_text(encoding="utf-8") == "agent-pipeline: the PIN of the token team: \n"


@pytest.mark.parametrize(("mode", "word"), [(0o644, "by others"), (0o620, "by others"), (None, "cannot be opened")])
def test_a_pin_file_that_others_can_read_or_that_is_missing(token: Token, mode: int | None, word: str) -> None:
    file = token.folder / f"pin-{mode}"
    if mode is not None:
        file.write_text(PIN, encoding="ascii")
        file.chmod(mode)
    with pytest.raises(UsageError, match=word):
        Signer(token.uri("p256", pin=file)).statement(STATEMENT)


def test_no_pin_in_an_error(token: Token) -> None:
    secret = "not-the-pin-93251"
    with pytest.raises(UsageError) as refused:
        Signer(token.uri("careful", pin=wrong(token, secret)) + "").statement(STATEMENT)
    assert secret not in f"{refused.value.message} {refused.value.hint} {refused.value!r}".replace(
        f"wrong-{secret}", ""
    )
    by_hand(token)


def test_without_the_extra_the_error_says_what_to_install() -> None:
    program = (
        "import sys; sys.modules['pkcs11'] = None\n"
        "from agent_pipeline.errors import UsageError\n"
        "from agent_pipeline.signing import stores\n"
        "try:\n stores.tokens()\n"
        "except UsageError as error:\n print(error.message, error.hint)\n"
    )
    env = {"PATH": "/usr/bin:/bin", "PYTHONPATH": os.pathsep.join(filter(None, sys.path))}
    said = subprocess.run([sys.executable, "-c", program], env=env, capture_output=True, text=True, check=True).stdout
    assert "not installed" in said
    assert "pip install 'agent-pipeline[pkcs11]'" in said
