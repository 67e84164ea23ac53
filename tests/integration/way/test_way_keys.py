"""Where a private key goes during real runs: into the signing child, and nowhere else."""

from __future__ import annotations

import subprocess
import sys
from pathlib import Path

import pytest
from cryptography.hazmat.primitives.serialization import Encoding, NoEncryption, PrivateFormat, load_ssh_private_key
from support import leaks
from support.desks import Desk, refused, request_line
from support.keyrings import MODULE, Token, make_token, ssh_agent
from support.people import FIX, LAUNCH

pytestmark = pytest.mark.containers

PASSPHRASE = "three ravens, 5 candles & a door"
BOX = "AGENT_PIPELINE_PASSPHRASE_BOX"


def taken(desk: Desk) -> tuple[str, tuple[bytes, ...]]:
    """Take the person's key away from the machine; return it as CI has it, encrypted text, and what nobody may see."""
    path = desk.config / "keys" / "default"
    private = load_ssh_private_key(path.read_bytes(), None)
    chosen = PrivateFormat.OpenSSH.encryption_builder().kdf_rounds(16).build(PASSPHRASE.encode())
    text = private.private_bytes(Encoding.PEM, PrivateFormat.OpenSSH, chosen).decode("ascii")
    seed = private.private_bytes(Encoding.Raw, PrivateFormat.Raw, NoEncryption())  # type: ignore[call-overload]
    for file in (path, Path(f"{path}.pub")):
        file.unlink()
    wanted = {*leaks.needles(seed), *leaks.needles(PASSPHRASE.encode())}
    return text, (*wanted, *(line.encode() for line in text.splitlines()[2:-2]))


def watched(desk: Desk, wanted: tuple[bytes, ...], *argv: str, **secrets: str) -> tuple[int, bytes, leaks.Watch]:
    """Run a command and look, all the time, at every process that it has."""
    command = [*LAUNCH, sys.executable, "-P", "-m", "agent_pipeline", *argv]
    with subprocess.Popen(
        command, cwd=desk.clone, env=desk.person.env | secrets, stdin=subprocess.DEVNULL,
        stdout=subprocess.PIPE, stderr=subprocess.STDOUT,
    ) as process, leaks.watching(process.pid, wanted, BOX) as watch:  # fmt: skip
        assert process.stdout is not None
        said = process.stdout.read()
        code = process.wait(timeout=300)
    return code, said, watch


def everything_git_holds(desk: Desk) -> bytes:
    """Every object of the clone, unpacked: requests, proposals, transcripts, commits."""
    argv = ["git", "cat-file", "--batch-all-objects", "--batch", "--unordered"]
    return subprocess.run(argv, cwd=desk.clone, env=desk.person.env, capture_output=True, check=True).stdout


def test_a_key_in_the_environment_reaches_nothing_but_the_signing_child(desk: Desk) -> None:
    text, wanted = taken(desk)
    secrets = {"AGENT_PIPELINE_KEY": text, "AGENT_PIPELINE_KEY_PASSPHRASE": PASSPHRASE}
    place = request_line(FIX)
    argv = (*place[: place.index("--")], "--json", "--debug", *place[place.index("--") :])
    code, said, watch = watched(desk, wanted, *argv, **secrets)
    assert code == 0, said.decode()
    number = desk.run("list").document["requests"][0]["id"]
    landed, more, also = watched(desk, wanted, "land", number, "--debug", **secrets)
    assert landed == 0, more.decode()
    programs = " ".join(watch.seen | also.seen)
    for part in ("agent_pipeline.signing", "bwrap", "git"):  # the scan saw what it was to see
        assert part in programs
    assert watch.leaks | also.leaks == set()
    assert leaks.in_bytes(said + more + everything_git_holds(desk), wanted) == []
    assert leaks.in_files(desk.top, wanted) == []


@pytest.mark.parametrize("broken", ["wrong passphrase", "cut"])
def test_no_error_says_anything_of_a_key(desk: Desk, broken: str) -> None:
    text, wanted = taken(desk)
    passphrase = PASSPHRASE[::-1] if broken == "wrong passphrase" else PASSPHRASE
    if broken == "cut":
        lines = text.splitlines()
        text = "\n".join([*lines[:-3], lines[-1], ""])
    code, said, watch = watched(
        desk, wanted, "ci", "run", "--debug", AGENT_PIPELINE_KEY=text, AGENT_PIPELINE_KEY_PASSPHRASE=passphrase
    )
    assert code == 2, said.decode()
    assert b"AGENT_PIPELINE_KEY" in said
    assert watch.leaks == set()
    assert leaks.in_bytes(said, wanted) == []
    assert leaks.in_files(desk.top, wanted) == []


@pytest.fixture(scope="module")
def token(tmp_path_factory: pytest.TempPathFactory) -> Token:
    return make_token(tmp_path_factory.mktemp("token"))


def test_keys_list_shows_every_store(desk: Desk, token: Token, tmp_path: Path) -> None:
    with ssh_agent(tmp_path) as agent:
        places = {
            "SSH_AUTH_SOCK": str(agent.socket), "SOFTHSM2_CONF": str(token.folder / "softhsm2.conf"),
            "AGENT_PIPELINE_PKCS11_MODULE": MODULE,
        }  # fmt: skip
        rows = desk.run("keys", "list", **places).document["keys"]
        assert [row["store"] for row in rows] == ["file", "agent", "agent", "token", "token", "token"]
        assert rows[0]["remark"] == "in force"
        for row in (rows[0], rows[2], rows[4]):
            (again,) = [
                other
                for other in desk.run("keys", "list", **places, AGENT_PIPELINE_KEY=row["name"]).document["keys"]
                if other["remark"] == "in force"
            ]
            assert (again["fingerprint"], again["store"]) == (row["fingerprint"], row["store"])
    gone = desk.run("keys", "list", **places)
    assert gone.code == 0
    assert "note: no ssh-agent answers" in gone.err


def test_a_file_that_is_no_key_stands_in_no_other_key_s_way(desk: Desk) -> None:
    """It comes first in the folder; only where no other key would do is it what the error is about."""
    (desk.config / "keys" / "aaa").write_text("junk\n")
    (desk.config / "keys" / "aaa").chmod(0o600)
    asked = desk.request()
    assert asked.code == 0, str(asked)
    assert desk.run("close", asked.document["id"]).code == 0
    assert desk.run("join").code == 0
    assert desk.run("trust", "sign", "--renew").document["landed"]
    (found,) = [row for row in desk.run("doctor").document["findings"] if row["name"] == "keys"]
    assert found["ok"]
    assert f"{desk.config / 'keys' / 'default'}: not encrypted: whoever reads the file has the key" in found["said"]
    assert "not usable: " in found["said"]
    assert "keys generate NAME --passphrase" in found["mend"]
    (desk.config / "keys" / "default").rename(desk.config / "default")
    for argv in (("stop", "--all"), ("join",), ("trust", "sign", "--renew")):
        refused(desk.run(*argv), 2, "aaa is no readable private key")
    (found,) = [row for row in desk.run("doctor").document["findings"] if row["name"] == "keys"]
    assert not found["ok"]


def test_an_error_about_roles_names_the_files_that_could_not_be_asked(desk: Desk) -> None:
    (desk.config / "keys" / "aaa").write_text("junk\n")
    (desk.config / "keys" / "aaa").chmod(0o600)
    for name in ("default", "default.pub"):
        (desk.config / "keys" / name).unlink()
    assert desk.run("keys", "generate", "zzz").code == 0
    for argv in (("stop", "--all"), ("trust", "sign", "--renew")):
        refused(desk.run(*argv), 1, "none of your keys has the role", "aaa is no readable private key")


def test_the_whole_way_with_a_key_that_nobody_can_read(desk: Desk, token: Token) -> None:
    """Set up, asked, run and landed by one person whose key, on P-256, never leaves the token; Git agrees."""
    for file in ("keys/default", "keys/default.pub", "pins.json"):
        (desk.config / file).unlink()
    desk.person.git("rm", "-q", "-r", ".agent-pipeline")
    desk.person.git("commit", "-q", "-m", "No rules yet")
    here = {"AGENT_PIPELINE_KEY": token.uri("p256"), "SOFTHSM2_CONF": str(token.folder / "softhsm2.conf")}
    assert desk.run("init", **here).code == 0
    asked = desk.request(**here)
    assert asked.code == 0, str(asked)
    landed = desk.run("land", asked.document["id"], **here)
    assert landed.code == 0, str(landed)
    (shown,) = desk.run("keys", "list", **here).document["keys"][:1]
    assert (shown["scheme"], shown["remark"]) == ("ecdsa-sha2-nistp256", "in force")
    (person,) = desk.run("trust", "show", **here).document["people"]
    assert shown["fingerprint"] in str(person)
    judged = subprocess.run(
        ["git", "-c", "gpg.ssh.allowedSignersFile=/dev/null", "verify-commit", "main"],
        cwd=desk.clone, env=desk.person.env, capture_output=True, text=True, check=False,
    )  # fmt: skip
    assert f'Good "git" signature with ECDSA key {shown["fingerprint"]}' in judged.stderr
