"""Documents: envelopes, statements, roots, policies, manifests, transcripts, logs, and what is decided on them."""

from __future__ import annotations

import contextlib
import hashlib
from dataclasses import replace
from typing import Any, Final

from fuzz.target import Target, golden
from support import logs
from support.trust import NOW, POLICY, REPOSITORY, Maker, public, root_of, seal, seal_root

from agent_pipeline import policy
from agent_pipeline.attestation import keys, log_entries, sshsig, state_map, statements, trust
from agent_pipeline.documents import bundle, git_object, moments, strict, transcript
from agent_pipeline.documents.anchor import Pins
from agent_pipeline.documents.bundle import BundleManifest
from agent_pipeline.documents.characters import visible
from agent_pipeline.documents.closure import Closure
from agent_pipeline.documents.envelope import Envelope
from agent_pipeline.documents.images_lock import ImagesLock
from agent_pipeline.documents.log_proof import LogProof
from agent_pipeline.documents.offer import VERSION, Offer
from agent_pipeline.documents.paths import check, collision_key
from agent_pipeline.documents.proposal import Proposal
from agent_pipeline.documents.replay_result import ReplayResult
from agent_pipeline.documents.root import PAYLOAD_TYPE as ROOT_TYPE
from agent_pipeline.documents.root import first_digest
from agent_pipeline.documents.statement import PAYLOAD_TYPE
from agent_pipeline.documents.submission import Submission
from agent_pipeline.documents.verification import PASSED, Verification
from agent_pipeline.errors import AgentPipelineError
from agent_pipeline.policy import rules
from agent_pipeline.signing import offers
from agent_pipeline.verify import decide, verify
from agent_pipeline.verify.log import check_proof

MAKER: Final = Maker()
GOOD: Final = MAKER.inputs()
IN_FORCE: Final = policy.load(POLICY)
LANDING: Final = MAKER.landing()
ACCEPTED: Final = verify(GOOD)
CLOSED: Final = Closure(1, GOOD.request, "ada", moments.write(NOW), "not needed any more")
OFFERED: Final = Offer(VERSION, REPOSITORY, "rosa", keys.openssh_from_key(public("rosa")), moments.write(NOW))
JSON_WORDS: Final = (
    b'"',
    b"{}",
    b"[]",
    b"null",
    b"-1",
    b"9007199254740993",
    b"1e999",
    b"\\ud800",
    b"\\u0000",
    b"\xef\xbb\xbf",
)


def payload(data: bytes) -> bytes:
    """The payload of an envelope."""
    return Envelope.from_json(data).payload


def canonical(data: bytes) -> bytes:
    """JSON in canonical form, so that mutations reach the readers behind that check; other bytes as they are."""
    try:
        return strict.canonical(strict.parse(data, what="input"))
    except AgentPipelineError:
        return data


def _envelope(data: bytes) -> None:
    envelope = Envelope.from_json(data)
    again = Envelope.from_json(envelope.to_json())
    assert again == envelope
    statements.signer(envelope, MAKER.root)


def _provenance(data: bytes) -> None:
    """Signed by the right key, so that every step behind the signature sees it."""
    verification = verify(replace(GOOD, provenance_envelope=seal(PAYLOAD_TYPE, canonical(data), "ada")))
    Verification.from_json(verification.to_json())


def _request(data: bytes) -> None:
    statement = canonical(data)
    verification = verify(replace(GOOD, request_envelope=seal(PAYLOAD_TYPE, statement, "ada")))
    Verification.from_json(verification.to_json())
    assert verification.verdict != PASSED or statement == payload(GOOD.request_envelope)


def _signed_by_all(data: bytes) -> None:
    """A statement by CI and by a reviewer beside the proposal: a decision, whatever it says."""
    given = tuple(seal(PAYLOAD_TYPE, canonical(data), who) for who in ("robot", "rita"))
    Verification.from_json(decide(replace(LANDING, attestations=(*LANDING.attestations, *given))).to_json())
    verify(replace(GOOD, closures=(seal(PAYLOAD_TYPE, canonical(data), "ada"),)))


def _offer(data: bytes) -> None:
    """Signed with the key that the offer in the seeds is about."""
    found = offers.read(seal(PAYLOAD_TYPE, canonical(data), "rosa"), "rosa")
    assert found.key.keyid == public("rosa").keyid


def _root(data: bytes) -> None:
    version = canonical(data)
    sealed = tuple(seal(ROOT_TYPE, version, who) for who in ("ada", "bob"))
    trust.load_root([sealed], pin=first_digest(version), now=NOW)


def _next_root(data: bytes) -> None:
    version = canonical(data)
    first, sealed = seal_root(TWO, "ada", "bob"), tuple(seal(ROOT_TYPE, version, who) for who in ("ada", "bob"))
    trust.load_root([first, sealed], pin=first_digest(TWO.to_json()), now=NOW)


TWO: Final = root_of({"ada": ("root",), "bob": ("root",), "robot": ("ci",)}, threshold=2)
NEXT: Final = root_of({"ada": ("root",), "bob": ("root", "reviewer"), "robot": ("ci",)}, threshold=2, version=2)


def _policy(data: bytes) -> None:
    read = policy.load(data)
    rules.warnings(read)
    rules.check_changes(read, MAKER.changes, ())
    rules.check_request(read, MAKER.request())
    rules.narrow(read, None, None, None)


def _manifest(data: bytes) -> None:
    said = canonical(data)
    Proposal.from_json(said)
    verification = verify(replace(GOOD, manifest=said))
    assert verification.verdict != PASSED or said == GOOD.manifest


def _transcript(data: bytes) -> None:
    transcript.parse(data)
    verification = verify(replace(GOOD, transcript=data))
    assert verification.verdict != PASSED or data == GOOD.transcript


def _log(data: bytes) -> None:
    """A whole log, one envelope to a line, as `audit verify` reads it."""
    logs.standing(data.split(b"\n") if data else (), MAKER.root)


def _log_entry(data: bytes) -> None:
    """The next entry, signed by CI, as the newest one and as one that the newest one proves."""
    entry = seal(PAYLOAD_TYPE, canonical(data), "robot")
    with contextlib.suppress(AgentPipelineError):
        log_entries.read(entry, MAKER.root, len(LOG))
    proof = LogProof.of(GOOD.request, entry, LOG, ())
    Verification.from_json(verify(replace(GOOD, log=proof)).to_json())
    again = [*LOG, entry]
    proof = logs.prove([*again, MAKER.entry(again, "approved")], GOOD.request)
    Verification.from_json(verify(replace(GOOD, log=proof)).to_json())


def _log_proof(data: bytes) -> None:
    """A proof of what the log says: whatever holds is what an honest one says, of now or of before.

    (That the log was rewound is noticed by who has seen more of it.)
    """
    assert check_proof(LogProof.from_json(data), MAKER.root, GOOD.request) in HONEST


def _state_map(data: bytes) -> None:
    """Nodes of the log's map, found by their own hashes."""
    nodes = {state_map.node_hash(line): line for line in data.split(b"\xff\xff")}
    for root in nodes:
        with contextlib.suppress(AgentPipelineError):
            state_map.walk(lambda _prefix, wanted: nodes.get(wanted), root, GOOD.request)


def _entries(*events: str) -> list[bytes]:
    entries: list[bytes] = []
    for event in events:
        entries.append(MAKER.entry(entries, event))
    return entries


LOG: Final = _entries("admitted")
LONG: Final = _entries("admitted", "rejected", "approved")
PROOF: Final = logs.prove(LONG, GOOD.request)
EMPTY: Final = LogProof.of(GOOD.request, None, (), ())
HONEST: Final = [
    check_proof(logs.prove(LONG[:size], GOOD.request), MAKER.root, GOOD.request) for size in range(len(LONG) + 1)
]


def _bundle_manifest(data: bytes) -> None:
    """A manifest and what follows it, behind a first line that is right; and the bytes as they are."""
    head, _, rest = data.partition(b"\xff\xff")
    line = f"agentpatch 1 {strict.sha256(head)} {len(head)}\n".encode()
    for whole in (data, line + head + rest):
        with contextlib.suppress(AgentPipelineError):
            read = bundle.read(whole)
            assert bundle.write(read.manifest, read.contents) == whole


def _bundle_seed() -> bytes:
    contents = {"record/request.dsse.json": b"{}", "log/proof.json": b"x", f"objects/{'3' * 40}": b"blob 1\0x"}
    manifest = BundleManifest(
        version=1, request="a" * 16, number=1, repository="https://git.example.org/acme/app", branch="refs/heads/main",
        trial=False, rules="1" * 40, record="2" * 40, contents=(),
    )  # fmt: skip
    whole = bundle.write(manifest, contents)
    line, _, rest = whole.partition(b"\n")
    size = int(line.rpartition(b" ")[2])
    return rest[:size] + b"\xff\xff" + rest[size:]


def _git_object(data: bytes) -> None:
    sha1 = hashlib.sha1(data, usedforsecurity=False).hexdigest()
    for name in (sha1, hashlib.sha256(data).hexdigest()):
        with contextlib.suppress(AgentPipelineError):
            assert git_object.read(data, name).to_bytes() == data


def _staged(data: bytes) -> None:
    """A commit, once with CI's own signature of another, once with the armor in it."""
    head, _, tail = data.partition(b"\xff")
    for armored in (MAKER.staged()[1], tail.decode("utf-8", "replace")):
        decision = decide(replace(LANDING, staged=(head, armored)))
        assert decision.verdict != PASSED or head == MAKER.staged()[0]


def _ssh_key(data: bytes) -> None:
    keys.key_from_openssh(data.decode("utf-8", "replace"))


def _ssh_signature(data: bytes) -> None:
    sshsig.verify(MAKER.staged()[0], data.decode("utf-8", "replace"), public("robot"))


def _paths(data: bytes) -> None:
    text = data.decode("utf-8", "surrogateescape")
    key = collision_key(text)
    assert collision_key(key) == key
    assert visible(text).isprintable()
    check(text)


def _patterns(data: bytes) -> None:
    path, *patterns = (line.decode("utf-8", "replace") for line in data.split(b"\n")[:20])
    rules.check_changes(IN_FORCE, MAKER.changes, tuple(patterns))
    rules.matches(tuple(patterns), path)


def _small(data: bytes) -> None:
    """Documents that are read without a signature around them."""
    for kind in (Pins, ImagesLock, ReplayResult, Submission, Verification, Closure, Offer):
        try:
            read: Any = kind.from_json(data)  # type: ignore[attr-defined]
        except AgentPipelineError:
            continue
        assert kind.from_json(read.to_json()) == read  # type: ignore[attr-defined]


TARGETS: Final = (
    Target("envelope", _envelope, lambda: golden("request.dsse.json", "provenance.dsse.json"), JSON_WORDS),
    Target("provenance", _provenance, lambda: [payload(GOOD.provenance_envelope)], JSON_WORDS),
    Target("request", _request, lambda: [payload(GOOD.request_envelope)], JSON_WORDS),
    Target(
        "attestation",
        _signed_by_all,
        lambda: [*(payload(one) for one in LANDING.attestations), CLOSED.to_statement().to_json()],
        JSON_WORDS,
    ),
    Target("offer", _offer, lambda: [OFFERED.to_statement().to_json()], JSON_WORDS),
    Target("root", _root, lambda: [TWO.to_json(), MAKER.root.to_json()], JSON_WORDS),
    Target("next-root", _next_root, lambda: [NEXT.to_json()], JSON_WORDS),
    Target(
        "policy",
        _policy,
        lambda: [POLICY],
        (b"!!int ''", b"&a ", b"*a", b"<<: ", b"? ", b"- ", b"2001-01-01", b"0x_", b".inf"),
    ),
    Target("manifest", _manifest, lambda: golden("proposal.json"), JSON_WORDS),
    Target("transcript", _transcript, lambda: golden("transcript.jsonl"), (*JSON_WORDS, b"\n", b"\r")),
    Target("log", _log, lambda: [b"\n".join(_entries("admitted", "approved", "merged"))], JSON_WORDS),
    Target(
        "log-entry",
        _log_entry,
        lambda: [payload(MAKER.entry(LOG, event)) for event in ("rejected", "merged", "closed", "reverted")],
        JSON_WORDS,
    ),
    Target("log-proof", _log_proof, lambda: [PROOF.to_json(), EMPTY.to_json()], JSON_WORDS),
    Target("state-map", _state_map, lambda: [b"\xff\xff".join(PROOF.node_bytes)], (b"\xff\xff", b"\0" * 32)),
    Target("bundle-manifest", _bundle_manifest, lambda: [_bundle_seed()], (*JSON_WORDS, b"\xff\xff")),
    Target("git-object", _git_object, lambda: [b"blob 1\0x", b"tree 0\0"], (b"commit ", b"\0")),
    Target(
        "staged", _staged, lambda: [MAKER.staged()[0] + b"\xff" + MAKER.staged()[1].encode()], (b"\n\n", b"parent ")
    ),
    Target("ssh-key", _ssh_key, lambda: [keys.openssh_from_key(public("ada"), "ada").encode()]),
    Target(
        "ssh-signature", _ssh_signature, lambda: [MAKER.staged()[1].encode()], (b"-----BEGIN SSH SIGNATURE-----\n",)
    ),
    Target("path", _paths, lambda: [b"src/app.py", "a/\u00fc/\u202e".encode(), b".git", b"GIT~1"]),
    Target(
        "patterns",
        _patterns,
        lambda: [b"src/x\nsrc/**\n!x", b"a/b/b\n[a-z]*/**/b"],
        (b"**", b"[", b"]", b"\\", b"*a*a*a"),
    ),
    Target(
        "small",
        _small,
        lambda: [one.to_json() for one in (ACCEPTED, MAKER.result(), GOOD.images, CLOSED, OFFERED)],
        JSON_WORDS,
    ),
)
