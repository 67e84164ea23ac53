"""Signed documents of every kind, each where it counts for something: does it still, with another in its place?"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass, field, replace

from support.courts import failed
from support.logs import prove, standing
from support.trust import TREE, Maker

from agent_pipeline.attestation import log_entries
from agent_pipeline.documents.approval import REJECTED
from agent_pipeline.documents.envelope import Envelope
from agent_pipeline.documents.replay_result import Run
from agent_pipeline.documents.root import TrustRoot
from agent_pipeline.documents.verification import PASSED
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


def rejection(maker: Maker, reason: str) -> bytes:
    """Rex's rejection of the proposal."""
    return maker.approval("rex", REJECTED, reason=reason)
