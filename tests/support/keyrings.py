"""Where keys can be, for real: files, OpenSSH's own agent, a software token; and an agent that is hostile."""

from __future__ import annotations

import contextlib
import os
import socket
import subprocess
import sys
import threading
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from pathlib import Path

from cryptography.hazmat.primitives.asymmetric import ec
from cryptography.hazmat.primitives.serialization import Encoding, NoEncryption, PrivateFormat
from support.trust import private

MODULE = "/usr/lib/softhsm/libsofthsm2.so"
PIN = "4711-ape"
P256 = ec.derive_private_key(3**160, ec.SECP256R1())  # OpenSSH refuses small ones

_FILL = """
import sys
import pkcs11
from pkcs11 import Attribute, KeyType, Mechanism
from pkcs11.util.ec import encode_named_curve_parameters as curve

made = (
    (KeyType.EC, "secp256r1", Mechanism.EC_KEY_PAIR_GEN, "p256", b"\\x01", {}),
    (KeyType.EC_EDWARDS, "1.3.101.112", Mechanism.EC_EDWARDS_KEY_PAIR_GEN, "ed25519", b"\\x02", {}),
    (KeyType.EC, "secp256r1", Mechanism.EC_KEY_PAIR_GEN, "careful", b"\\x03", {Attribute.ALWAYS_AUTHENTICATE: True}),
    (KeyType.EC, "secp384r1", Mechanism.EC_KEY_PAIR_GEN, "p384", b"\\x04", {}),
)
(token,) = [t for t in pkcs11.lib(sys.argv[1]).get_tokens() if t.label == sys.argv[2]]
with token.open(rw=True, user_pin=sys.stdin.read()) as session:
    for kind, name, mechanism, label, number, template in made:
        domain = session.create_domain_parameters(kind, {Attribute.EC_PARAMS: curve(name)}, local=True)
        domain.generate_keypair(
            store=True, label=label, id=number, mechanism=mechanism, private_template=template
        )
"""


def written(path: Path, key: object, encoding: PrivateFormat = PrivateFormat.OpenSSH, mode: int = 0o600) -> Path:
    """Write a private key as a file without a passphrase."""
    path.write_bytes(key.private_bytes(Encoding.PEM, encoding, NoEncryption()))  # type: ignore[attr-defined]
    path.chmod(mode)
    return path


@contextlib.contextmanager
def set_environment(**values: str | None) -> Iterator[None]:
    """Set variables of our own environment, None to unset, and put everything back afterwards."""
    before = {name: os.environ.get(name) for name in values}
    try:
        _set(values)
        yield
    finally:
        _set(before)


def _set(values: dict[str, str | None]) -> None:
    for name, value in values.items():
        os.environ.pop(name, None)
        if value is not None:
            os.environ[name] = value


@dataclass(frozen=True)
class SshAgent:
    """OpenSSH's agent, holding some keys."""

    socket: Path
    process: subprocess.Popen[bytes]
    folder: Path

    def command(self, *argv: str) -> str:
        """Run a program that speaks with this agent."""
        env = {"PATH": os.environ["PATH"], "SSH_AUTH_SOCK": str(self.socket), "HOME": str(self.folder)}
        done = subprocess.run(argv, env=env, capture_output=True, text=True, check=True, timeout=30)
        return done.stdout

    def add(self, name: str, key: object, *options: str) -> None:
        """Add a key; its comment is the file's name."""
        self.command("ssh-add", "-q", *options, str(written(self.folder / name, key)))

    def end(self) -> None:
        """End the agent, which takes its socket away."""
        self.process.terminate()
        self.process.wait(timeout=10)


@contextlib.contextmanager
def ssh_agent(folder: Path) -> Iterator[SshAgent]:
    """Run OpenSSH's agent with an Ed25519 and a P-256 key; our environment names it meanwhile."""
    at = folder / "agent.sock"
    process = subprocess.Popen(["ssh-agent", "-D", "-a", str(at)], stdout=subprocess.DEVNULL)
    agent = SshAgent(at, process, folder)
    try:
        for _ in range(500):
            if at.exists():
                break
            with contextlib.suppress(subprocess.TimeoutExpired):
                process.wait(timeout=0.02)
        agent.add("ed25519", private("ada"))
        agent.add("p256", P256)
        with set_environment(SSH_AUTH_SOCK=str(at)):
            yield agent
    finally:
        agent.end()


@contextlib.contextmanager
def hostile_agent(at: Path, answer: Callable[[socket.socket], None]) -> Iterator[Path]:
    """Listen where an agent would; `answer` does what it likes with the one connection."""
    with socket.socket(socket.AF_UNIX) as server:
        server.bind(str(at))
        server.listen(1)
        server.settimeout(10)

        def serve() -> None:
            with contextlib.suppress(OSError):
                connection, _ = server.accept()
                with connection:
                    connection.settimeout(10)
                    answer(connection)

        thread = threading.Thread(target=serve, daemon=True)
        thread.start()
        yield at
    thread.join(timeout=10)


@dataclass(frozen=True)
class Token:
    """A software token with a P-256, an Ed25519, an always-authenticate P-256 and a P-384 key."""

    folder: Path
    label: str = "team"

    @property
    def pin_file(self) -> Path:
        """The file with its PIN."""
        return self.folder / "pin"

    def uri(self, label: str, *, pin: Path | None = None) -> str:
        """Name one of its keys, and the file with the PIN."""
        return f"pkcs11:token={self.label};object={label}?module-path={MODULE}&pin-source=file:{pin or self.pin_file}"

    def util(self, *argv: str) -> None:
        """Run the token's own tool."""
        env = {"PATH": os.environ["PATH"], "SOFTHSM2_CONF": str(self.folder / "softhsm2.conf")}
        subprocess.run(["softhsm2-util", *argv], env=env, capture_output=True, check=True, timeout=30)


def make_token(folder: Path) -> Token:
    """Make a token in `folder`; whoever uses it sets SOFTHSM2_CONF to `softhsm2.conf` there."""
    (folder / "tokens").mkdir(parents=True)
    configuration = folder / "softhsm2.conf"
    configuration.write_text(f"directories.tokendir={folder / 'tokens'}\nlog.level = ERROR\n", encoding="ascii")
    token = Token(folder)
    token.pin_file.write_text(PIN + "\n", encoding="ascii")
    token.pin_file.chmod(0o600)
    token.util("--init-token", "--free", "--label", token.label, "--so-pin", "so-pin-77", "--pin", PIN)
    env = {"PATH": os.environ["PATH"], "SOFTHSM2_CONF": str(configuration)}
    argv = [sys.executable, "-c", _FILL, MODULE, token.label]
    subprocess.run(argv, env=env, input=PIN.encode(), check=True, timeout=60)
    return token
