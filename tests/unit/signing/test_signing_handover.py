"""Secrets of the environment: gone from it before anything else runs, and open to signing children alone."""

from __future__ import annotations

import os
import subprocess
import sys
from pathlib import Path

import pytest
from cryptography.hazmat.primitives.serialization import Encoding, NoEncryption, PrivateFormat
from support import leaks
from support.keyrings import set_environment
from support.trust import private, public

from agent_pipeline.errors import UsageError
from agent_pipeline.signing import boxes, handover
from agent_pipeline.signing.client import Signer

TEXT = private("ada").private_bytes(Encoding.PEM, PrivateFormat.OpenSSH, NoEncryption()).decode("ascii")
SEED = private("ada").private_bytes(Encoding.Raw, PrivateFormat.Raw, NoEncryption())
PASSPHRASE = "a passphrase that stands nowhere else"
WANTED = tuple({*leaks.needles(SEED), *leaks.needles(PASSPHRASE.encode()), TEXT.splitlines()[2].encode()})

# A program whose first act is ours, which then waits as one does that runs an agent for an hour.
PROGRAM = """
import os, subprocess, sys
from agent_pipeline.signing.handover import take_secrets
before = os.getpid()
take_secrets()
from agent_pipeline.signing import boxes, handover
from agent_pipeline.signing.client import Signer
inner = "import os; print(sorted(int(fd) for fd in os.listdir('/proc/self/fd'))[:-1])"
inherited = subprocess.run([sys.executable, "-c", inner], capture_output=True, text=True).stdout.strip()
signer = Signer(os.environ["AGENT_PIPELINE_KEY"])
signer.envelope("a/b", b"x")
print(before, inherited, signer.public().keyid, signer.name, flush=True)
sys.stdin.read()
"""


def started(**secrets: str) -> subprocess.Popen[str]:
    env = {"PATH": os.environ["PATH"], "PYTHONPATH": os.pathsep.join(filter(None, sys.path)), "HOME": "/nonexistent"}
    argv = [sys.executable, "-c", PROGRAM]
    return subprocess.Popen(argv, env=env | secrets, stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True)


def test_the_scan_finds_what_is_there() -> None:
    """The scan that the others rest on: the same program without our first act leaks everything."""
    program = "import sys; print('up', flush=True); sys.stdin.read()"
    env = {"PATH": os.environ["PATH"], "AGENT_PIPELINE_KEY": TEXT, "AGENT_PIPELINE_KEY_PASSPHRASE": PASSPHRASE}
    argv = [sys.executable, "-c", program]
    with subprocess.Popen(argv, env=env, stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True) as process:
        assert process.stdout is not None
        process.stdout.readline()
        found = leaks.in_memory(process.pid, WANTED)
        process.communicate("")
    assert TEXT.splitlines()[2].encode() in found
    assert any(needle in found for needle in leaks.needles(SEED))
    assert any(needle in found for needle in leaks.needles(PASSPHRASE.encode()))


@pytest.mark.parametrize("encrypted", [False, True])
def test_neither_environment_nor_memory_hold_the_secrets_and_no_child_inherits_them(*, encrypted: bool) -> None:
    """And signing works all the same, in a process that never held more than two descriptors."""
    text = TEXT
    if encrypted:
        builder = PrivateFormat.OpenSSH.encryption_builder().kdf_rounds(16)
        chosen = builder.build(PASSPHRASE.encode())
        text = private("ada").private_bytes(Encoding.PEM, PrivateFormat.OpenSSH, chosen).decode("ascii")
    with started(AGENT_PIPELINE_KEY=text, AGENT_PIPELINE_KEY_PASSPHRASE=PASSPHRASE) as process:
        assert process.stdout is not None
        before = process.stdout.readline().split()[0]
        found = leaks.in_memory(process.pid, (*WANTED, text.splitlines()[2].encode()))
        process.communicate("")
    assert int(before) == process.pid  # the same process: whoever started it can wait for it
    assert found == []


def test_what_the_program_sees() -> None:
    with started(AGENT_PIPELINE_KEY=TEXT, AGENT_PIPELINE_KEY_PASSPHRASE=PASSPHRASE) as process:
        said, _ = process.communicate("")
    assert said.split(" ", 1)[1].strip() == f"[0, 1, 2] {public('ada').keyid} the key in AGENT_PIPELINE_KEY"


def test_a_name_of_a_key_is_left_where_it_is(tmp_path: Path) -> None:
    path = tmp_path / "key"
    path.write_text(TEXT, encoding="ascii")
    path.chmod(0o600)
    with started(AGENT_PIPELINE_KEY=str(path)) as process:
        said, _ = process.communicate("")
    assert said.split()[-1] == str(path)


@pytest.mark.parametrize(
    "text", ["box:0", "box:1", "box:99999", "box:", "box:x", "box:-1", "box:123456789012345678901"]
)
def test_a_descriptor_that_is_no_box(text: str) -> None:
    with pytest.raises(UsageError, match="names no key"):
        Signer(text)


def test_a_box_holds_what_was_put_there_last() -> None:
    box = boxes.new(b"one")
    boxes.put(box, b"2")
    assert boxes.get(box) == b"2"
    assert boxes.is_box(box)
    assert not os.get_inheritable(box)
    os.close(box)
    assert not boxes.is_box(box)


def test_without_a_passphrase_there_is_no_box() -> None:
    with set_environment(AGENT_PIPELINE_KEY_PASSPHRASE=None, AGENT_PIPELINE_PASSPHRASE_BOX="0"):
        assert handover.passphrase_box() is None
