"""Signed commits, from every store and with both schemes, as Git and OpenSSH judge them.

What they say decides nothing here: Git's text says "Good" of a key that nobody named, and it believes a commit's date.
"""

from __future__ import annotations

import subprocess
from collections.abc import Iterator
from dataclasses import dataclass
from datetime import UTC, datetime
from pathlib import Path

import pytest
from support.keyrings import P256, make_token, set_environment, ssh_agent, written
from support.trust import private, public

from agent_pipeline.attestation import keys, sshsig
from agent_pipeline.documents.root import Key
from agent_pipeline.errors import SignatureError
from agent_pipeline.repository import commits
from agent_pipeline.repository.clone import Clone
from agent_pipeline.signing.client import Signer
from agent_pipeline.signing.commits import commit_files
from agent_pipeline.signing.hand import Hand

NOW = datetime(2026, 3, 1, 12, 0, tzinfo=UTC)
STORES = ("file", "agent", "token")
SCHEMES = {"ed25519": keys.ED25519, "p256": keys.P256}


@dataclass
class Bench:
    """A clone with one commit, and every key in every store."""

    top: Path
    clone: Clone
    names: dict[tuple[str, str], str]

    def run(self, *argv: str, stdin: bytes = b"") -> subprocess.CompletedProcess[str]:
        env = {"PATH": "/usr/bin:/bin", "HOME": str(self.top), "GIT_CONFIG_NOSYSTEM": "1", "LC_ALL": "C.UTF-8"}
        done = subprocess.run(argv, env=env, cwd=self.clone.path, input=stdin, capture_output=True, check=False)
        return subprocess.CompletedProcess(argv, done.returncode, done.stdout.decode(), done.stderr.decode())

    def commit(self, signer: Signer) -> str:
        hand = Hand(signer, "ada", ("ci",), "Ada", "ada@example.org")
        return commit_files(self.clone, self.clone.commit("refs/heads/main"), {"f": b"x\n"}, "Say x", hand, NOW)

    def allow(self, key: Key, *options: str) -> Path:
        file = self.top / "allowed"
        file.write_text(" ".join(["ada@example.org", *options, keys.openssh_from_key(key)]) + "\n", encoding="ascii")
        return file

    def judged(self, commit: str, allowed: Path) -> subprocess.CompletedProcess[str]:
        return self.run("git", "-c", f"gpg.ssh.allowedSignersFile={allowed}", "verify-commit", commit)


@pytest.fixture(scope="module")
def bench(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Bench]:
    top = tmp_path_factory.mktemp("bench")
    token = make_token(top / "token")
    (top / "repo").mkdir()
    for argv in (
        ("git", "init", "-q", "-b", "main", "."),
        ("git", "-c", "user.name=A", "-c", "user.email=a@b", "commit", "-q", "--allow-empty", "-m", "First"),
    ):
        subprocess.run(argv, cwd=top / "repo", env={"PATH": "/usr/bin:/bin", "HOME": str(top)}, check=True)
    files = {"ed25519": private("ada"), "p256": P256}
    names = {("file", scheme): str(written(top / scheme, key)) for scheme, key in files.items()}
    names |= {("token", scheme): token.uri(scheme) for scheme in SCHEMES}
    with (
        ssh_agent(top) as agent,
        set_environment(SOFTHSM2_CONF=str(token.folder / "softhsm2.conf"), SSH_AUTH_SOCK=str(agent.socket)),
    ):
        for scheme in SCHEMES:
            print_ = keys.fingerprint(keys.key_from_public(files[scheme].public_key()))
            names["agent", scheme] = f"agent:{print_}"
        yield Bench(top, Clone.discover(top / "repo"), names)


@pytest.mark.parametrize("scheme", sorted(SCHEMES))
@pytest.mark.parametrize("store", STORES)
def test_git_and_openssh_agree_with_us(bench: Bench, store: str, scheme: str) -> None:
    signer = Signer(bench.names[store, scheme])
    commit, key = bench.commit(signer), signer.public()
    assert key.scheme == SCHEMES[scheme]
    allowed = bench.allow(key)
    judged = bench.judged(commit, allowed)
    assert judged.returncode == 0, judged.stderr
    assert keys.fingerprint(key) in judged.stderr

    found = commits.signature_of(bench.clone, commit)
    assert found is not None
    payload, armored = found
    sshsig.verify(payload, armored, key)
    (bench.top / "sig").write_text(armored + "\n", encoding="ascii")
    argv = ("ssh-keygen", "-Y", "verify", "-f", str(allowed), "-I", "ada@example.org", "-n", "git", "-s")
    assert bench.run(*argv, str(bench.top / "sig"), stdin=payload).returncode == 0
    assert bench.run(*argv, str(bench.top / "sig"), stdin=payload + b"x").returncode != 0


def test_064_good_in_git_s_words_is_not_yes(bench: Bench) -> None:
    """Nobody is allowed: Git prints `Good "git" signature` all the same. We go by the key that the trust root names."""
    commit = bench.commit(Signer(bench.names["file", "ed25519"]))
    (bench.top / "nobody").write_text("", encoding="ascii")
    judged = bench.judged(commit, bench.top / "nobody")
    assert 'Good "git" signature' in judged.stderr
    assert judged.returncode != 0
    payload, armored = commits.signature_of(bench.clone, commit) or (b"", "")
    with pytest.raises(SignatureError, match="not"):
        sshsig.verify(payload, armored, public("rita"))


def test_062_a_date_in_git_decides_nothing(bench: Bench) -> None:
    """A key that was valid until 2020 signs today and writes an old date: Git says yes. Dates are not asked here."""
    signer = Signer(bench.names["file", "ed25519"])
    hand = Hand(signer, "ada", ("ci",), "Ada", "ada@example.org")
    old = datetime(2019, 1, 1, tzinfo=UTC)
    commit = commit_files(bench.clone, bench.clone.commit("refs/heads/main"), {"f": b"x\n"}, "Old", hand, old)
    allowed = bench.allow(signer.public(), 'valid-before="20200101000000Z"')
    assert bench.judged(commit, allowed).returncode == 0
    assert bench.judged(bench.commit(signer), allowed).returncode != 0
