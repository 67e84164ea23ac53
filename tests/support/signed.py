"""Signed documents of every kind, each where it counts for something: does it still, with another in its place?"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass, field, replace
from datetime import timedelta

from support.courts import failed
from support.interop import P256, pair, with_key
from support.logs import prove, standing
from support.trust import BASE, NOW, REPOSITORY, TREE, Maker, public, root_of, sign

from agent_pipeline.attestation import drafts, keys, log_entries
from agent_pipeline.documents import levels, moments, strict
from agent_pipeline.documents.approval import REJECTED
from agent_pipeline.documents.closure import Closure
from agent_pipeline.documents.envelope import Envelope
from agent_pipeline.documents.offer import VERSION, Offer
from agent_pipeline.documents.replay_result import Run
from agent_pipeline.documents.root import TrustRoot
from agent_pipeline.documents.summary import MERGER_ID
from agent_pipeline.documents.verification import FAILED, PASSED, Check
from agent_pipeline.errors import AgentPipelineError
from agent_pipeline.signing import offers
from agent_pipeline.verify import decide, verify, vouched
from agent_pipeline.verify.inputs import LandingInputs

Counts = Callable[[bytes], bool]


@dataclass(frozen=True)
class Signed:
    """A signed document: its predicate's schema, its envelope, who signs it, and whether one in its place counts.

    `harmless` are the leaves that a genuine signer may have changed, each with the reason; a path ends there, or goes
    on below it. `root` knows the signer.
    """

    stem: str
    envelope: bytes
    signer: str
    counts: Counts
    harmless: dict[str, str] = field(default_factory=dict)
    root: TrustRoot = field(default_factory=lambda: Maker().root)

    @property
    def payload(self) -> bytes:
        return Envelope.from_json(self.envelope).payload


def maker_of(engine: str) -> Maker:
    """What a record is made from in which no list is empty that may hold something."""
    failing = Run("full", "tests-on-base", TREE, 5, 2, ("tests/test_app.py::test_total",), reported=True, output="")
    return Maker(
        engine=engine,
        request_change=lambda one: replace(one, only=("src/**", "tests/**")),
        result_change=lambda one: replace(one, runs=(*one.runs, replace(failing, output="1 failed", code=1))),
    )


def asked(maker: Maker) -> Counts:
    """The request of an accepted proposal."""
    good = maker.inputs()
    return lambda new: verify(replace(good, request_envelope=new)).verdict == PASSED


def ran(maker: Maker) -> Counts:
    """The provenance of an accepted proposal."""
    good = maker.inputs()
    return lambda new: verify(replace(good, provenance_envelope=new)).verdict == PASSED


def beside(landing: LandingInputs, old: bytes) -> Counts:
    """An envelope beside a proposal that may land only with it."""

    def counts(new: bytes) -> bool:
        kept = tuple(new if data == old else data for data in landing.attestations)
        return decide(replace(landing, attestations=kept)).verdict == PASSED

    return counts


def logged(maker: Maker, *events: tuple[str, Sequence[bytes]], **fields: str) -> tuple[bytes, ...]:
    """The log in which CI admitted the proposal, and what came after it."""
    entries = [maker.admission()]
    for event, envelopes in events:
        entries.append(maker.entry(entries, event, envelopes, **fields))
    return tuple(entries)


def with_log(maker: Maker, log: tuple[bytes, ...], *attestations: bytes) -> LandingInputs:
    """What is decided on with this log and these envelopes."""
    landing = maker.landing()
    proof = prove(log, maker.request().id)
    return replace(landing, inputs=replace(landing.inputs, log=proof), attestations=attestations)


def shown(maker: Maker, test: bytes) -> Counts:
    """A replay that failed, for which CI rejected the proposal: the one that people are shown."""
    log = (maker.entry((), "rejected", [test], detail="it fails"),)
    return lambda new: vouched.so_far(with_log(maker, log, new)).replay is not None


def merged(maker: Maker, summary: bytes) -> Counts:
    """The merger's summary, which the log's entry about the merge names."""
    beside_it = maker.landing().attestations
    log = logged(maker, ("merged", [*beside_it[1:], summary]))
    entry = log_entries.read_unsigned(log[-1])

    def counts(new: bytes) -> bool:
        try:
            vouched.when_merged(with_log(maker, log, *beside_it, new), entry)
        except AgentPipelineError:
            return False
        return True

    return counts


def taking_back(maker: Maker, no: bytes, yes: bytes) -> Counts:
    """The approval by which somebody's rejection ends, which the log has after it."""
    log = logged(maker, ("rejected", [no]), ("approved", [yes, no]), reviewer="rita")
    landing = with_log(maker, log, *maker.landing().attestations[:3], no, yes)
    return beside(landing, yes)


def rejecting(maker: Maker) -> Counts:
    """A reviewer's rejection beside a proposal that may land without it: it stands, or changes nothing at all."""
    landing = maker.landing()
    free = decide(landing)

    def counts(new: bytes) -> bool:
        decision = decide(replace(landing, attestations=(*landing.attestations, new)))
        stands = "rejections" in failed(decision)
        assert stands or decision == free
        return stands

    return counts


def closing(maker: Maker) -> Counts:
    """A request's closure: it closes, or changes nothing at all."""
    good = maker.inputs()

    def counts(new: bytes) -> bool:
        found = set(failed(verify(replace(good, closures=(new,)))))
        assert found <= {"open"}
        return bool(found)

    return counts


def chained(maker: Maker, log: Sequence[bytes]) -> Counts:
    """The newest entry of a log before one more was appended, which names it and cannot be exchanged with it."""
    following = maker.entry(log, "stopped", request=None, number=None, statement=None)

    def counts(new: bytes) -> bool:
        try:
            standing((*log[:-1], new, following), maker.root)
        except AgentPipelineError:
            return False
        return True

    return counts


def offered(name: str) -> Counts:
    """A key that somebody offers."""

    def counts(new: bytes) -> bool:
        try:
            offers.read(new, name)
        except AgentPipelineError:
            return False
        return True

    return counts


ENGINES = {engine: maker_of(engine) for engine in ("claude", "command", "recorded")}
MAKER = ENGINES["claude"]
GOOD = MAKER.inputs()
LANDING = MAKER.landing()
NOT_ASKED = "the runner's word about its own run: shown as `asserted by the runner`, and no decision reads it"
WORDS = "words for people; no decision reads them"
THIS_ONE = "a rejection is of the proposal that it names: that stands, whatever else it says"
OF_THE_PROPOSAL = [
    f"predicate/{name}"
    for name in ("repository", "target", "base", "tree", "request", "policy", "created", "expires", "reason")
]
AGENT = "predicate/buildDefinition/internalParameters"
ASKED = "predicate/buildDefinition/externalParameters"
DETAILS = "predicate/runDetails"
PROVENANCE = {
    f"{AGENT}/sandboxPolicy/engine_version": NOT_ASKED,
    f"{AGENT}/sandboxPolicy/runtime": "asserted; checked when the policy names a runtime",
    f"{AGENT}/sandboxPolicy/unenforced": "asserted; held against what the policy requires",
    f"{AGENT}/sandboxPolicy/seccomp": NOT_ASKED,
    f"{AGENT}/sandboxPolicy/posture": NOT_ASKED,
    "predicate/buildDefinition/resolvedDependencies/2/annotations/rootVersion": "an older one than the newest, "
    "by which all keys are judged whatever the run knew; one that is newer is refused",
    f"{DETAILS}/builder/version/agent-pipeline": NOT_ASKED,
    f"{DETAILS}/byproducts/1/annotations": "usage: asserted, held to the limits only",
    f"{DETAILS}/metadata/startedOn": "asserted, held between asking and finishing only",
    f"{DETAILS}/metadata/finishedOn": "asserted, held between starting and now only",
}
PROMPTED = PROVENANCE | {f"{ASKED}/prompt/rendered": NOT_ASKED}
BROKEN = replace(
    MAKER,
    made={},
    result_change=lambda one: replace(one, checks=(*one.checks, Check("replay: more", FAILED, "it fails"))),
)
MERGING = replace(
    MAKER,
    made={},
    summary_change=lambda one: replace(
        one,
        verifier=MERGER_ID,
        levels=(levels.level("signed"),),
        merged_on=BASE,
        inputs=(*one.inputs, *(strict.sha256(data) for data in LANDING.attestations[2:4])),
    ),
)
NO = MAKER.approval("rita", REJECTED, reason="it hides the error")
YES = MAKER.approval("rita", takes_back=(strict.sha256(NO),), reason="it does not")
CLOSURE = Closure(1, GOOD.request, "ada", moments.write(NOW), "changed my mind")
OFFER = Offer(VERSION, REPOSITORY, "rosa", keys.openssh_from_key(public("rosa")), moments.write(NOW))
TEST, SUMMARY, APPROVAL = LANDING.attestations[1:4]
ADMITTED = logged(MAKER)
DECLINED = logged(MAKER, ("rejected", [NO]), reviewer="rita", detail="it hides the error")
GONE = {"request": None, "number": None, "statement": None, "keys": (public("rex").keyid,), "since": 1}
REVOKED = (*ADMITTED, MAKER.entry(ADMITTED, "revoked", detail="rex lost it", **GONE))

RECORD = {
    **{
        name: Signed("request", made.request_envelope(), "ada", asked(made))
        for name, made in zip(("request", "request-command", "request-recorded"), ENGINES.values(), strict=True)
    },
    **{
        f"provenance-{engine}": Signed(
            "provenance",
            made.inputs().provenance_envelope,
            "ada",
            ran(made),
            PROVENANCE if engine == "command" else PROMPTED,
        )
        for engine, made in ENGINES.items()
    },
    "test-result": Signed("test_result", TEST, "robot", beside(LANDING, TEST)),
    "test-result-failed": Signed("test_result", BROKEN.test_result(), "robot", shown(BROKEN, BROKEN.test_result())),
    "summary": Signed("summary", SUMMARY, "robot", beside(LANDING, SUMMARY)),
    "merge": Signed("summary", MERGING.summary(), "robot", merged(MAKER, MERGING.summary())),
    "approval": Signed(
        "approval",
        APPROVAL,
        "rita",
        beside(LANDING, APPROVAL),
        {
            "predicate/created": "held before now and near its expiry only; order is the log's",
            "predicate/expires": "the reviewer's to choose, within the policy's days",
        },
    ),
    "approval-again": Signed("approval", YES, "rita", taking_back(MAKER, NO, YES)),
    "rejection": Signed(
        "approval",
        MAKER.approval("rex", REJECTED, reason="it hides the error"),
        "rex",
        rejecting(MAKER),
        dict.fromkeys(OF_THE_PROPOSAL, THIS_ONE),
    ),
    "closure": Signed("closure", sign(CLOSURE.to_statement(), "ada"), "ada", closing(MAKER)),
    "log-entry": Signed("log_entry", ADMITTED[-1], "robot", chained(MAKER, ADMITTED)),
    "log-entry-rejected": Signed("log_entry", DECLINED[-1], "robot", chained(MAKER, DECLINED)),
    "log-entry-revoked": Signed("log_entry", REVOKED[-1], "robot", chained(MAKER, REVOKED)),
    "offer": Signed(
        "offer",
        sign(OFFER.to_statement(), "rosa"),
        "rosa",
        offered("rosa"),
        root=root_of({"rosa": ("requester",)}),
    ),
}

# Versions of a trust root with keys of both schemes, of which one was revoked and one given up in good order.
FIRST = root_of({"ada": ("root",), "bob": ("root",), "pat": ("ci",), "pia": ("ci",), "robot": ("ci",)}, bots=("robot",))
FIRST = with_key(with_key(FIRST, "pia", pair(P256, "pia").public), "pat", pair(P256, "pat").public)
LATER = NOW + timedelta(days=300)
SECOND = drafts.revoke(FIRST, public("robot").keyid, since=3, expires=LATER)
THIRD = drafts.remove(SECOND, "pat", (), until=5, expires=LATER)
ROOTS = (FIRST, SECOND, THIRD)
