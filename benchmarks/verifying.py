"""`verify-...` and `import-verify`: how fast the verifier is.

Everything is verified whole, with the strict reader, the schema and the canonical form; peers check what they check.
The documents are those that the tests make: five envelopes, one entry in the log, one staged commit.
"""

from __future__ import annotations

import base64
import json
import os
import subprocess  # noqa: TID251 - a peer is started as its users start it
import sys
import tempfile
from collections.abc import Callable
from contextlib import ExitStack
from functools import partial
from pathlib import Path

from securesystemslib.dsse import Envelope as PeerEnvelope
from securesystemslib.signer import SSlibKey

from agent_pipeline.attestation import dsse, keys, sshsig
from agent_pipeline.documents.envelope import Envelope
from agent_pipeline.documents.statement import PAYLOAD_TYPE
from agent_pipeline.verify import LandingInputs, decide
from agent_pipeline.verify.landing import examine
from benchmarks.measure import Result, in_turn

ROOT = Path(__file__).resolve().parent.parent
sys.path.insert(0, str(ROOT / "tests"))

from support.interop import P256, STATEMENTS, Pair, pair  # noqa: E402 - the path is set just above
from support.trust import Maker  # noqa: E402

SECURESYSTEMSLIB = "securesystemslib 1.6.0"


def _ours(mine: Pair, data: bytes) -> None:
    dsse.check(Envelope.from_json(data), mine.public, PAYLOAD_TYPE)


def _theirs(key: SSlibKey, data: bytes) -> None:
    PeerEnvelope.from_dict(json.loads(data)).verify([key], 1)


def envelope() -> Result:
    """One provenance's envelope, read and verified with Ed25519, against the same in securesystemslib."""
    mine = pair("ed25519")
    data = mine.seal(PAYLOAD_TYPE, STATEMENTS["provenance-claude"])
    key = SSlibKey.from_crypto(mine.private.public_key(), keyid=mine.public.keyid)
    return in_turn(
        "verify-envelope", partial(_ours, mine, data), partial(_theirs, key, data), peer_name=SECURESYSTEMSLIB,
        runs=30, inner=200,
    )  # fmt: skip


def envelope_p256() -> Result:
    """The same on P-256, against the part of sigstore-python that reads an envelope and checks its signature."""
    from sigstore import dsse as sigstore  # noqa: PLC0415 - a quarter of a second that the others need not wait for

    mine = pair(P256)
    data = mine.seal(PAYLOAD_TYPE, STATEMENTS["provenance-claude"])
    public = mine.private.public_key()

    def peer() -> None:
        sigstore._verify(public, sigstore.Envelope._from_json(data))  # noqa: SLF001 - it has no public door for a key

    return in_turn(
        "verify-envelope-p256", partial(_ours, mine, data), peer, peer_name="sigstore-python 4.5.1", runs=30, inner=200
    )


def record() -> Result:
    """A whole proposal with all its attestations, against securesystemslib checking those signatures alone.

    Request, provenance, CI's replay and summary, an approval and the log's proof are read, believed and judged: 6
    signatures. What is asked beside that before a merge, the staged commit's signature above all, is in `decide`.
    """
    return _judged("verify-record", examine)


def decision() -> Result:
    """The decision to merge, 7 signatures: the same, the staged commit and the people."""
    return _judged("decide", decide)


def _judged(name: str, judge: Callable[[LandingInputs], object]) -> Result:
    landing = Maker().landing()
    assert decide(landing).verdict == "passed"
    known = {key.keyid: key for key in landing.inputs.root.keys}
    proof = landing.inputs.log
    data = [landing.inputs.request_envelope, *landing.attestations, base64.b64decode(proof.head or "")]
    peers = {name: SSlibKey.from_crypto(keys.load(key), keyid=name) for name, key in known.items()}  # type: ignore[arg-type]

    def peer() -> None:
        for one in data:
            _theirs(peers[json.loads(one)["signatures"][0]["keyid"]], one)

    return in_turn(
        name, partial(judge, landing), peer, peer_name=f"{SECURESYSTEMSLIB}, the signatures alone",
        runs=30, inner=20,
    )  # fmt: skip


def commit() -> Result:
    """A commit's SSH signature, in process, against `git verify-commit` of the same commit."""
    with ExitStack() as stack:
        folder = Path(stack.enter_context(tempfile.TemporaryDirectory(prefix="agent-pipeline-bench-")))
        maker, git = Maker(), partial(_git, folder)
        git("init", "--quiet", "--bare", ".")
        tree = git("mktree", stdin=b"")
        parent = git("commit-tree", "-m", "base", tree)
        payload, armored = maker.staged(tree=tree, parent=parent)
        head, _, message = payload.partition(b"\n\n")
        signature = armored.rstrip("\n").replace("\n", "\n ").encode()
        oid = git(
            "hash-object", "-t", "commit", "-w", "--stdin", stdin=head + b"\ngpgsig " + signature + b"\n\n" + message
        )
        key = next(key for key in maker.root.keys if key.owner == "robot")
        signers = folder / "allowed_signers"
        signers.write_text(f"ci@example.org {keys.openssh_from_key(key)}\n", encoding="ascii")
        verify = partial(git, "-c", f"gpg.ssh.allowedSignersFile={signers}", "verify-commit", oid)
        verify()
        return in_turn(
            "verify-commit", partial(_many, partial(sshsig.verify, payload, armored, key)), verify,
            peer_name="git verify-commit", runs=30,
        )  # fmt: skip


def _many(call: Callable[[], object], times: int = 50) -> float:
    """Time what is too short to be timed once; ms for one call."""
    return float(in_turn("", call, lambda: 1.0, peer_name="", runs=1, inner=times).ours)


def _git(folder: Path, *words: str, stdin: bytes | None = None) -> str:
    who = {f"GIT_{role}_{what}": value for role in ("AUTHOR", "COMMITTER")
           for what, value in (("NAME", "CI"), ("EMAIL", "ci@example.org"), ("DATE", "1772366400 +0000"))}  # fmt: skip
    env = {"PATH": "/usr/bin:/bin:/usr/local/bin", "HOME": str(folder), "GIT_CONFIG_NOSYSTEM": "1"} | who
    done = subprocess.run(["git", *words], cwd=folder, env=env, input=stdin, capture_output=True, check=True)  # noqa: S607 - git, as its users start it
    return done.stdout.decode().strip()


def start() -> Result:
    """A fresh interpreter that imports the verifier, against one that imports securesystemslib's envelopes.

    "bare" in the raw figures is an interpreter that imports nothing: what no library can help.
    """
    result = in_turn(
        "import-verify",
        partial(_python, "import agent_pipeline.verify"),
        partial(_python, "import securesystemslib.dsse, securesystemslib.signer"),
        peer_name=f"{SECURESYSTEMSLIB} and a bare Python",
        runs=15,
        after=partial(_python, "pass"),
    )
    whole = result.raw.pop("ours and after")
    result.raw["bare"] = [round(both - ours, 4) for both, ours in zip(whole, result.raw["ours"], strict=True)]
    return result


def _python(code: str) -> None:
    """Run `code` as with installed packages: from bytecode, whatever this process was told. The warm-up writes it."""
    env = {name: value for name, value in os.environ.items() if name != "PYTHONDONTWRITEBYTECODE"}
    subprocess.run([sys.executable, "-c", code], cwd=ROOT, env=env, check=True)


def growth() -> Result:
    """The facts about the trees, in a repository of 100,000 files (ours) and of 1,000 (peer); the rest sees no file."""
    from benchmarks.repositories import LARGE, SMALL, judged  # noqa: PLC0415 - makes 100,000 files when asked

    with ExitStack() as stack:
        folder = Path(stack.enter_context(tempfile.TemporaryDirectory(prefix="agent-pipeline-bench-")))
        large, small = judged(folder / "large", LARGE), judged(folder / "small", SMALL)
        return in_turn("verify-growth", large, small, peer_name=f"the same for {SMALL:,} files", runs=20)


ALL: dict[str, Callable[[], Result]] = {
    "verify-envelope": envelope,
    "verify-envelope-p256": envelope_p256,
    "verify-record": record,
    "decide": decision,
    "verify-commit": commit,
    "import-verify": start,
    "verify-growth": growth,
}
