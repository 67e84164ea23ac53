import time

import pytest
from hypothesis import given
from hypothesis import strategies as st

from agent_pipeline.mediator.redaction import redact

# Each is put together here so that no scanner takes this file for a leak.
SECRETS = {
    "AWS access key id": "AKIA" + "ABCDEFGHIJKLMNOP",
    "GitHub token": "ghp_" + "a1B2" * 9,
    "GitLab token": "glpat-" + "x" * 20,
    "model provider key": "sk-ant-" + "api03-" + "Ab1_" * 10,
    "Slack token": "xoxb-" + "123456789012-abcdef",
    "Google API key": "AIza" + "Sy" + "a" * 33,
    "package index token": "pypi-AgE" + "I" * 60,
    "payment key": "sk_live_" + "a1" * 12,
    "JSON web token": "eyJ" + "hbGciOiJI" * 2 + ".eyJ" + "zdWIiOiIx" * 2 + "." + "c2lnbmF0dXJl" * 2,
}


@pytest.mark.parametrize(("kind", "secret"), SECRETS.items())
def test_a_secret_is_taken_out_and_counted(kind: str, secret: str) -> None:
    text, counts = redact(f"before {secret} after\nand {secret}")
    assert secret not in text
    assert text == f"before [redacted: {kind}] after\nand [redacted: {kind}]"
    assert counts == {kind: 2}


BODY = "b3BlbnNzaC1rZXktdjEAAAAABG5vbmUAAAAEbm9uZQAAAAAAAAABAAAAMwAAAAtzc2gtZW\nQyNTUxOQAAACB=\n"


def test_a_private_key_goes_as_a_whole() -> None:
    kind = "OPENSSH PRIVATE" + " KEY"
    text, counts = redact(f"x\n-----BEGIN {kind}-----\n{BODY}-----END {kind}-----\ny - z")
    assert text == "x\n[redacted: private key]\ny - z"
    assert counts == {"private key": 1}


def test_an_encrypted_private_key_goes_with_its_headers() -> None:
    kind = "RSA PRIVATE" + " KEY"
    headers = "Proc-Type: 4,ENCRYPTED\nDEK-Info: AES-128-CBC,0123456789ABCDEF\n\n"
    assert redact(f"-----BEGIN {kind}-----\n{headers}{BODY}-----END {kind}-----")[0] == "[redacted: private key]"


def test_a_private_key_in_a_string_goes() -> None:
    kind = "PRIVATE" + " KEY"
    quoted = f"-----BEGIN {kind}-----\n{BODY}-----END {kind}-----".replace("\n", "\\n")
    assert redact(f'{{"key": "{quoted}"}}')[0] == '{"key": "[redacted: private key]"}'


def test_a_private_key_cut_off_goes() -> None:
    assert redact("x\n-----BEGIN RSA PRIVATE" + f" KEY-----\n{BODY}")[0] == "x\n[redacted: private key]"


def test_code_about_private_keys_stays() -> None:
    code = 'if line.startswith("-----BEGIN PRIVATE' + ' KEY-----"):\n    return parse(line)\n'
    assert redact(code) == (code, {})


def test_what_names_the_secret_stays() -> None:
    assert (
        redact("Authorization: Bearer " + "abcdef0123456789abcdef")[0]
        == "Authorization: Bearer [redacted: bearer token]"
    )
    assert (
        redact("https://me:" + "hunter22@example.org/x")[0] == "https://me:[redacted: password in a URL]@example.org/x"
    )
    text = redact("aws_secret_access_key = " + "a" * 40)[0]
    assert text == "aws_secret_access_key = [redacted: AWS secret key]"


@pytest.mark.parametrize(
    "text",
    [
        "def add(a, b):\n    return a + b\n",
        "https://example.org:8080/path",
        "task-sk-1",
        "0123456789abcdef0123456789abcdef01234567",
        "-----BEGIN PUBLIC KEY-----",
    ],
)
def test_ordinary_text_stays(text: str) -> None:
    assert redact(text) == (text, {})


@given(st.text())
def test_redacting_twice_changes_nothing_more(text: str) -> None:
    once, _ = redact(text)
    assert redact(once)[0] == once


@pytest.mark.parametrize(
    "unit", ["eyJaaaaaaaaaaa.", "-----BEGIN PRIVATE KEY-----", "sk-" * 5, "a://", "AKIA", "Authorization: "]
)
def test_hostile_text_costs_little(unit: str) -> None:
    text = unit * (300_000 // len(unit))
    started = time.monotonic()
    redact(text)
    assert time.monotonic() - started < 3
