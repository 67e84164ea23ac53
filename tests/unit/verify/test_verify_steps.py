"""One complete set of documents passes; broken in one place, the step that exists for it says no."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import replace
from datetime import timedelta
from typing import Any

import pytest
from support.logs import prove
from support.trust import (
    IMAGE,
    NOW,
    TEAM,
    Maker,
    alone,
    change,
    root_of,
    seal,
    sign,
)

from agent_pipeline.documents import moments, strict
from agent_pipeline.documents.anchor import Anchor
from agent_pipeline.documents.closure import Closure
from agent_pipeline.documents.images_lock import ImagesLock, LockedImage
from agent_pipeline.documents.provenance import Prompt
from agent_pipeline.documents.request import EngineChoice, Limits
from agent_pipeline.documents.statement import PAYLOAD_TYPE
from agent_pipeline.documents.verification import FAILED, PASSED, SKIPPED, UNKNOWN, Verification
from agent_pipeline.verify import verify
from agent_pipeline.verify.inputs import Inputs
from agent_pipeline.verify.verifier import STEPS


def of(verification: Verification, name: str) -> tuple[str, str]:
    """Outcome and reason of the step `name`."""
    check = next(check for check in verification.checks if check.name[3:] == name)
    return check.outcome, check.reason


def failed(verification: Verification) -> set[str]:
    return {check.name[3:] for check in verification.checks if check.outcome == FAILED}


@pytest.mark.parametrize(
    ("maker", "persons"),
    [
        (Maker(), "one person"),
        (Maker(requester="mel"), "2 persons"),
        (Maker(engine="command", kind="refactor"), "one person"),
        (Maker(engine="recorded"), "one person"),
        (alone(), "one person"),
    ],
    ids=["claude", "two people", "command", "recorded", "alone"],
)
def test_a_complete_set_passes(maker: Maker, persons: str) -> None:
    verification = verify(maker.inputs())
    assert verification.verdict == PASSED, [check for check in verification.checks if check.outcome != PASSED]
    assert verification.proofs == ("signed", persons)
    assert Verification.from_json(verification.to_json()) == verification


def test_a_repository_without_a_remote_has_random_digits_for_a_name_and_is_known_by_its_pin() -> None:
    name = "local:" + "0" * 32
    changes = {"root": root_of(TEAM, bots=("robot",), repository=name), **fields("request", repository=name)}
    for url in ("/srv/app/.git", ELSEWHERE):
        placed = inputs(lambda i, url=url: replace(i, url=url, anchor=Anchor(url, i.anchor.branch, OTHER)))
        assert verify(Maker(**changes, **placed).inputs()).verdict == PASSED
    moved = inputs(lambda i: replace(i, url="/srv/other/.git", anchor=Anchor("/srv/app/.git", i.anchor.branch, OTHER)))
    assert failed(verify(Maker(**changes, **moved).inputs())) == {"anchor"}


def test_every_step_is_numbered_and_names_its_threat() -> None:
    names = [check.name for check in verify(Maker().inputs()).checks]
    assert names == [f"{number:02d} {name}" for number, (name, _) in enumerate(STEPS, 1)]
    assert all("Threat" in (step.__doc__ or "") for _, step in STEPS)


def fields(name: str, **values: Any) -> dict[str, Callable[[Any], Any]]:
    """A change of the document `name` that replaces these fields."""
    return {f"{name}_change": lambda document: replace(document, **values)}


def inputs(function: Callable[[Inputs], Inputs]) -> dict[str, Callable[[Inputs], Inputs]]:
    return {"inputs_change": function}


def sandboxed(**values: Any) -> dict[str, Callable[[Any], Any]]:
    return {"provenance_change": lambda made: replace(made, sandbox=replace(made.sandbox, **values))}


def used(**values: str) -> dict[str, Callable[[Any], Any]]:
    return {"provenance_change": lambda made: replace(made, usage=replace(made.usage, **values))}


def answered(**values: Any) -> dict[str, Callable[[Any], Any]]:
    return {"provenance_change": lambda made: replace(made, model=replace(made.model, **values))}


def asked(**values: Any) -> dict[str, Callable[[Any], Any]]:
    return {"request_change": lambda made: replace(made, engine=replace(made.engine, **values))}


def header(**values: Any) -> dict[str, Callable[[Any], Any]]:
    return {"records_change": lambda records: [records[0] | values, *records[1:]]}


def last(**values: Any) -> dict[str, Callable[[Any], Any]]:
    return {"records_change": lambda records: [*records[:-1], records[-1] | values]}


OTHER = "f" * 64
OTHER_ID = "a" * 40
ELSEWHERE = "https://git.example.org/evil/app"
LATER = moments.write(NOW + timedelta(hours=1))

# What is broken, the only step that must find it (others may as well), a word of its reason.
BROKEN: dict[str, tuple[dict[str, Any], str, str]] = {
    # Who speaks.
    "record of another request": (inputs(lambda i: replace(i, request="a" * 16)), "record", "holds the request"),
    "record of another number": (inputs(lambda i: replace(i, number=2)), "record", "holds the proposal"),
    "expired trust root": ({"now": NOW + timedelta(days=301)}, "trust root", "expired"),
    "anchor of another repository": (
        inputs(lambda i: replace(i, anchor=Anchor(ELSEWHERE, i.anchor.branch, OTHER))),
        "anchor",
        "is pinned",
    ),
    "asked at a fork": (inputs(lambda i: replace(i, url=ELSEWHERE)), "anchor", "asked for"),
    "anchor of another branch": (
        inputs(lambda i: replace(i, anchor=replace(i.anchor, branch="refs/heads/release"))),
        "anchor",
        "protects",
    ),
    "runner without the role": ({"runner": "mel"}, "runner", "no runner"),
    "CI's key as a runner": ({"runner": "robot"}, "runner", "no runner"),
    "runner nobody knows": ({"runner": "eve"}, "runner", "nobody's"),
    "requester without the role": ({"requester": "rita"}, "requester", "no requester"),
    "requester nobody knows": ({"requester": "eve"}, "requester", "nobody's"),
    "requester in another's name": (fields("request", requester="mel"), "requester", "is signed by ada"),
    # What belongs together.
    "provenance of another request": (fields("provenance", request="b" * 16), "request", "id"),
    "provenance of another envelope": (fields("provenance", request_envelope=OTHER), "request", "envelope"),
    "another kind": (fields("provenance", kind="docs"), "request", "kind"),
    "another task": (fields("provenance", task=OTHER), "request", "task"),
    "another narrowing": (fields("provenance", only=("docs/**",)), "request", "narrowing"),
    "another requester": (fields("provenance", requester="mel"), "request", "requester"),
    "trial unsaid": (fields("provenance", trial=True), "request", "trial"),
    "request for another repository": (fields("request", repository=ELSEWHERE), "repository", "not the same"),
    "provenance of another repository": (fields("provenance", repository=ELSEWHERE), "repository", "not the same"),
    "manifest of another repository": (fields("proposal", repository=ELSEWHERE), "repository", "not the same"),
    "another target asked for": (fields("request", target="refs/heads/release"), "target", "not the same"),
    "another target in the provenance": (fields("provenance", target="refs/heads/x"), "target", "not the same"),
    "another target in the manifest": (fields("proposal", target="refs/heads/x"), "target", "not the same"),
    "another base asked for": (fields("request", base=OTHER_ID), "carrier", "parent"),
    "another base in the provenance": (fields("provenance", base=OTHER_ID), "base", "not the same"),
    "another base in the manifest": (fields("proposal", base=OTHER_ID), "base", "not the same"),
    "another base tree in the provenance": (fields("provenance", base_tree=OTHER_ID), "base", "tree"),
    "another base tree in the manifest": (fields("proposal", base_tree=OTHER_ID), "base", "tree"),
    "another base tree here": (fields("facts", base_tree_of_base=OTHER_ID), "base", "tree"),
    "another policy": (fields("provenance", policy=OTHER), "policy", "in force"),
    "policy changed since": (
        inputs(lambda i: replace(i, policy_bytes=i.policy_bytes + b"# changed\n")),
        "policy",
        "in force",
    ),
    "older trust root than the run's": (fields("provenance", root_version=2), "root version", "rewound"),
    "another manifest": (
        inputs(lambda i: replace(i, manifest=i.manifest.replace(b"mend the total", b"mend the totem"))),
        "manifest",
        "SHA-256",
    ),
    "another number in the provenance": (fields("provenance", number=2), "manifest", "number"),
    "another tree in the provenance": (fields("provenance", tree=OTHER_ID), "manifest", "tree"),
    "another request in the manifest": (fields("proposal", request="c" * 16), "manifest", "id"),
    "another staging branch": (
        fields("provenance", staging="refs/heads/agent/" + "a" * 16),
        "staging branch",
        "names",
    ),
    "trial passed off as landed": (fields("request", trial=True), "trial", "was a trial"),
    "rules not landed and unsaid": (inputs(lambda i: replace(i, landed=False)), "trial", "not marked"),
    # The change.
    "readers disagree": (fields("facts", disagreement="git says otherwise"), "changes", "git says otherwise"),
    "carrier of another tree": (fields("facts", result_tree=OTHER_ID), "changes", "tree"),
    "hidden change": (
        {"facts_change": lambda f: replace(f, changes_computed=(*f.changes_computed, change("z.py")))},
        "changes",
        "does not list: z.py",
    ),
    "invented change": (
        {"facts_change": lambda f: replace(f, changes_computed=f.changes_computed[:1])},
        "changes",
        "does not change: tests/test_app.py",
    ),
    "other content": (
        {"facts_change": lambda f: replace(f, changes_computed=(change(text="evil\n"), f.changes_computed[1]))},
        "changes",
        "differ about src/app.py",
    ),
    "changes not sorted": (
        {"proposal_change": lambda p: replace(p, changes=p.changes[::-1])},
        "changes",
        "not sorted",
    ),
    "a change twice": (
        {"proposal_change": lambda p: replace(p, changes=(*p.changes, p.changes[1]))},
        "changes",
        "twice",
    ),
    "carrier on another parent": (fields("facts", carrier_parent=OTHER_ID), "carrier", "parent"),
    "carrier with several parents": (fields("facts", carrier_parent=None), "carrier", "several"),
    "carrier with words of its own": (fields("facts", carrier_message_ok=False), "carrier", "message"),
    "path into Git": ({"changes": (change(".git/hooks/x"),)}, "paths", ".git"),
    "path out": ({"changes": (change("../x"),)}, "paths", "x"),
    "paths that collide": ({"changes": (change("README"), change("readme"))}, "paths", "one file"),
    "path the policy denies": ({"changes": (change(".github/workflows/x"),)}, "allowed paths", "denies"),
    "policy changes itself": (
        {"changes": (change(".agent-pipeline/policy.yaml"),)},
        "allowed paths",
        "never changed by an agent",
    ),
    "withheld path": ({"changes": (change("secrets/x"),)}, "allowed paths", "withheld"),
    "path outside --only": (fields("request", only=("docs/**",)), "allowed paths", "outside what the request"),
    "pattern that is none": (fields("request", only=("a/***\\",)), "allowed paths", ""),
    "pattern that would take for ever": (fields("request", only=("*a" * 20 + "b",)), "allowed paths", "`*`"),
    "link in the base": (
        {"changes": (replace(change(), base_mode="120000"),)},
        "allowed paths",
        "link",
    ),
    "too many files": (
        {"changes": tuple(change(f"f{n:02d}") for n in range(11))},
        "allowed paths",
        "11 files",
    ),
    # The run.
    "engine the policy does not allow": (
        {"policy": Maker().policy.replace(b"[claude, command, recorded]", b"[recorded]")},
        "allowed request",
        "engine",
    ),
    "limits wider than the policy's": (fields("request", limits=Limits(51, 300, "1")), "allowed request", "limits"),
    "money wider than the policy's": (fields("request", limits=Limits(20, 300, "2.01")), "allowed request", "money"),
    "another engine": (fields("provenance", engine="recorded"), "engine", "not the same"),
    "a model unnamed": (fields("provenance", model=None), "engine", "has to name its model"),
    "a recording beside a model": (fields("provenance", recording=OTHER), "engine", "no recording"),
    "another command": (
        {"engine": "command", "request_change": lambda r: replace(r, engine=EngineChoice("command", command=("rm",)))},
        "engine",
        "command",
    ),
    "another command's digest": (
        {"engine": "command", "provenance_change": lambda p: replace(p, command=replace(p.command, sha256=OTHER))},
        "engine",
        "digest",
    ),
    "another recording": ({"engine": "recorded", **fields("provenance", recording=OTHER)}, "engine", "recording"),
    "another model": (answered(requested="other"), "model", "not the same"),
    "a model served that is not allowed": (answered(served=("claude-sonnet-4-5", "other")), "model", "'other'"),
    "no model answered": (answered(served=()), "model", "no model that answered"),
    "a stranger's endpoint": (answered(endpoint="https://evil.example.org"), "model", "endpoint"),
    "another prompt": (fields("provenance", prompt=Prompt("fix@2", "2" * 64, OTHER)), "prompt", "not the same"),
    "another prompt's text": (fields("provenance", prompt=Prompt("fix@1", OTHER, OTHER)), "prompt", "text"),
    "a prompt that is not allowed": (asked(prompt="fix@9"), "allowed request", "fix@9"),
    "a tool that is not allowed": (fields("provenance", tools=("bash",)), "tools", "bash"),
    "another sandbox": (sandboxed(backend="bubblewrap"), "sandbox", "not the same"),
    "walls the host could not hold": (sandboxed(unenforced=("disk", "memory")), "sandbox", "memory"),
    "another runtime": (
        {"policy": Maker().policy.replace(b"image: project", b"image: project\n  runtime: runsc")},
        "sandbox",
        "runtime",
    ),
    "another image": (sandboxed(image=OTHER), "image", "not the locked"),
    "an image that is not locked": (
        inputs(lambda i: replace(i, images=ImagesLock(1, {"other": LockedImage(IMAGE, {})}))),
        "image",
        "not in the images lock",
    ),
    "too many steps": (used(steps="21"), "limits", "21 steps of 20"),
    "too many seconds": (used(seconds="601"), "limits", "seconds"),
    "too much money": (used(usd="2.01"), "limits", "US dollars"),
    "too many tokens": (used(cache_read_tokens="200000"), "limits", "tokens"),
    "another transcript": (fields("provenance", transcript=OTHER), "transcript", "SHA-256"),
    "transcript cut": (
        inputs(lambda i: replace(i, transcript=b"".join(i.transcript.splitlines(keepends=True)[:-1]))),
        "transcript",
        "not complete",
    ),
    "transcript cut in the middle": (
        {"records_change": lambda records: [records[0], records[2]]},
        "transcript",
        "its end says 3",
    ),
    "another number of records": (fields("provenance", transcript_records=4), "transcript", "records"),
    "another outcome": (fields("provenance", outcome="steps"), "transcript", "outcome"),
    "a run that ran out": (last(outcome="steps"), "transcript", "proposes nothing"),
    "a model's run that only finished": (last(outcome="finished"), "transcript", "proposes nothing"),
    "transcript of another task": (header(task=OTHER), "transcript", "task"),
    "transcript of another request": (header(request="b" * 16), "transcript", "request"),
    "transcript of another model": (header(model="other"), "transcript", "model"),
    "transcript of another endpoint": (header(endpoint="https://x.org"), "transcript", "endpoint"),
    "transcript with another prompt": (header(prompt_digest=OTHER), "transcript", "prompt_digest"),
    "transcript with other tools": (header(tools=["bash"]), "transcript", "tools"),
    "a command that said something else": (
        {"engine": "command", "provenance_change": lambda p: replace(p, command=replace(p.command, output=OTHER))},
        "transcript",
        "output",
    ),
    "a command that ended otherwise": (
        {"engine": "command", "provenance_change": lambda p: replace(p, command=replace(p.command, code=1))},
        "transcript",
        "exit code",
    ),
    "started before it was asked for": (fields("request", created=moments.write(NOW)), "times", "before it was asked"),
    "finished before it started": (fields("provenance", started=moments.write(NOW)), "times", "before it started"),
    "finished in the future": (fields("provenance", finished=LATER), "times", "future"),
    "a moment after which there is none": (
        fields("provenance", started="9998-12-31T23:59:59Z", finished="9998-12-31T23:59:59Z"),
        "times",
        "future",
    ),
    "a moment that is none": (fields("provenance", finished="2026-02-30T00:00:00Z"), "times", "moment"),
}


# What may lie with the verifier's own machine: nothing lands by it, and nothing is rejected for good.
UNTOLD = ("finished in the future", "a moment after which there is none", "expired trust root")


@pytest.mark.parametrize("name", list(BROKEN))
def test_rejects(name: str) -> None:
    changes, step, word = BROKEN[name]
    verification = verify(Maker(**changes).inputs())
    outcome, reason = of(verification, step)
    expected = UNKNOWN if name in UNTOLD else FAILED
    assert outcome == expected, (reason, failed(verification))
    assert word in reason
    assert verification.verdict == expected
    assert verification.proofs == ()
    Verification.from_json(verification.to_json())


def test_every_step_has_a_way_to_fail() -> None:
    elsewhere = {"documents", "log", "open"}  # tested below
    assert {step for _, step, _ in BROKEN.values()} | elsewhere == {name for name, _ in STEPS}


def test_the_first_failure_does_not_hide_the_others() -> None:
    verification = verify(Maker(runner="eve", **fields("facts", carrier_parent=OTHER_ID), **used(steps="21")).inputs())
    assert failed(verification) == {"runner", "carrier", "limits"}


# Documents.

GOOD = Maker().inputs()
UNREADABLE = {
    "request": replace(GOOD, request_envelope=b"{}"),
    "provenance": replace(GOOD, provenance_envelope=b"\xff"),
    "manifest": replace(GOOD, manifest=b"[]"),
    "policy": replace(GOOD, policy_bytes=b"version: 2\n"),
}


@pytest.mark.parametrize("name", list(UNREADABLE))
def test_an_unreadable_document_fails_and_what_needs_it_is_skipped(name: str) -> None:
    verification = verify(UNREADABLE[name])
    assert of(verification, "documents")[0] == FAILED
    assert any(check.outcome == SKIPPED and "could not be read" in check.reason for check in verification.checks)
    assert verification.verdict == FAILED
    Verification.from_json(verification.to_json())


def resigned(function: Callable[[dict[str, Any]], None], kind: str | None = None) -> Inputs:
    """The provenance with a predicate changed behind the form's back, and signed again."""
    statement = Maker().statement()
    value = strict.parse(strict.canonical(statement.predicate), what="predicate")
    function(value)
    changed = {
        "_type": "https://in-toto.io/Statement/v1",
        "subject": [{"name": statement.subject, "digest": {"sha256": statement.sha256}}],
        "predicateType": kind or statement.predicate_type,
        "predicate": value,
    }
    return replace(GOOD, provenance_envelope=seal(PAYLOAD_TYPE, strict.canonical(changed), "ada"))


def put(*path: str | int, value: object) -> Callable[[dict[str, Any]], None]:
    def change_it(predicate: dict[str, Any]) -> None:
        at: Any = predicate
        for name in path[:-1]:
            at = at[name]
        at[path[-1]] = value

    return change_it


DEFINITION = "buildDefinition"
ODD = {
    "an unknown external parameter": put(DEFINITION, "externalParameters", "sudo", value=True),
    "an unknown internal parameter": put(DEFINITION, "internalParameters", "sudo", value=True),
    "another build type": put(DEFINITION, "buildType", value="https://example.org/other/v1"),
    "another builder": put("runDetails", "builder", "id", value="https://example.org/ci"),
    "another invocation": put("runDetails", "metadata", "invocationId", value="a" * 16 + ".1"),
    "a source that is another": put(
        DEFINITION, "resolvedDependencies", 0, "uri", value="https://evil.org/x@refs/heads/m"
    ),
    "a base commit that is another": put(
        DEFINITION, "resolvedDependencies", 0, "digest", value={"gitCommit": OTHER_ID, "gitTree": "c" * 40}
    ),
    "a network": put(DEFINITION, "internalParameters", "sandboxPolicy", "network", value="host"),
    "a digest in upper case": put(DEFINITION, "externalParameters", "task", "digest", value={"sha256": "A" * 64}),
    "a digest beside the right one": put(
        DEFINITION, "externalParameters", "task", "digest", value={"sha256": "a" * 64, "sha512": "b" * 128}
    ),
    "a fraction as a string where a number belongs": put(
        DEFINITION, "externalParameters", "request", "number", value="1"
    ),
}


@pytest.mark.parametrize("name", list(ODD))
def test_rejects_provenance_with(name: str) -> None:
    assert of(verify(resigned(ODD[name])), "documents")[0] == FAILED


def test_rejects_another_predicate_type() -> None:
    assert of(verify(resigned(lambda _: None, kind="https://slsa.dev/provenance/v0.2")), "documents")[0] == FAILED
    assert verify(resigned(lambda _: None)).verdict == PASSED  # signing it again alone breaks nothing


def test_rejects_a_statement_that_is_not_canonical() -> None:
    payload = Maker().statement().to_json().replace(b'{"_type":', b'{ "_type":')
    verification = verify(replace(GOOD, provenance_envelope=seal(PAYLOAD_TYPE, payload, "ada")))
    assert "canonical" in of(verification, "documents")[1]


def test_rejects_another_subject() -> None:
    statement = Maker().statement()
    for other in (replace(statement, subject="other.json"), replace(statement, sha256=OTHER)):
        verification = verify(replace(GOOD, provenance_envelope=sign(other, "ada")))
        assert verification.verdict == FAILED


def test_rejects_another_payload_type() -> None:
    payload = Maker().statement().to_json()
    verification = verify(replace(GOOD, provenance_envelope=seal("application/vnd.tuf+json", payload, "ada")))
    assert of(verification, "runner")[0] == FAILED


def test_rejects_a_provenance_in_the_request_s_place_and_the_other_way_round() -> None:
    swapped = replace(GOOD, request_envelope=GOOD.provenance_envelope, provenance_envelope=GOOD.request_envelope)
    assert of(verify(swapped), "documents")[0] == FAILED


# Could not tell.


def test_an_unknown_prompt_is_neither_yes_nor_no() -> None:
    verification = verify(replace(GOOD, prompts={}))
    assert of(verification, "prompt")[0] == UNKNOWN
    assert verification.verdict == UNKNOWN
    assert verification.proofs == ()


def test_a_trial_is_said_and_lands_nowhere() -> None:
    maker = Maker(**fields("request", trial=True), **inputs(lambda i: replace(i, landed=False)))
    verification = verify(maker.inputs())
    assert of(verification, "trial")[0] == SKIPPED
    assert verification.verdict == PASSED


# The log.


def logged(*events: str, **values: Any) -> Inputs:
    maker = Maker()
    entries: list[bytes] = []
    for event in events:
        entries.append(maker.entry(entries, event, **values))
    return replace(GOOD, log=prove(entries, GOOD.request))


@pytest.mark.parametrize("event", ["merged", "rejected", "closed"])
def test_what_happened_before_is_final(event: str) -> None:
    verification = verify(logged("admitted", event))
    assert failed(verification) == {"open"}
    assert event in of(verification, "open")[1]


def test_a_merge_that_was_reverted_is_consumed_all_the_same() -> None:
    assert failed(verify(logged("merged", "reverted"))) == {"open"}


def test_a_rejection_that_was_followed_by_a_new_approval_of_the_same_reviewer_is_over() -> None:
    maker = Maker()

    def after(*events: tuple[str, str | None, *tuple[bytes, ...]]) -> set[str]:
        entries: list[bytes] = []
        for event, who, *envelopes in events:
            entries.append(maker.entry(entries, event, envelopes, reviewer=who))
        return failed(verify(replace(GOOD, log=prove(entries, GOOD.request))))

    yes, no, again = b"yes", b"no", b"no, I mean it"
    assert after(("rejected", "rita", no), ("approved", "rita", yes, no)) == set()
    assert after(("rejected", "rita", no), ("approved", "rita", yes)) == {"open"}
    assert after(("approved", "rita", yes, no), ("rejected", "rita", no)) == {"open"}
    assert after(("rejected", "rita", no), ("rejected", "rita", again), ("approved", "rita", yes, no)) == {"open"}
    assert after(("rejected", "rita", no), ("approved", "rita", yes, no), ("rejected", "rita", again)) == {"open"}
    assert after(("rejected", "rita", no), ("approved", "rex", yes, no)) == {"open"}
    assert after(("rejected", None, no), ("approved", "rita", yes, no)) == {"open"}
    assert after(("rejected", None, no), ("approved", None, yes, no)) == {"open"}


def test_another_proposal_s_rejection_is_not_this_one_s() -> None:
    assert verify(logged("rejected", statement=OTHER)).verdict == PASSED
    assert verify(logged("merged", request="b" * 16)).verdict == PASSED


def test_everything_stopped() -> None:
    maker = Maker()
    entry = maker.entry([], "stopped", request=None, number=None, statement=None)
    assert failed(verify(replace(GOOD, log=prove([entry], GOOD.request)))) == {"open"}


def test_a_run_under_an_older_trust_root_is_judged_by_the_one_in_force() -> None:
    maker = Maker(root=root_of(TEAM, bots=("robot",), version=3), **fields("provenance", root_version=2))
    assert verify(maker.inputs()).verdict == PASSED
    left = root_of({**TEAM, "ada": ("root",)}, bots=("robot",), version=3)
    assert failed(verify(replace(maker.inputs(), root=left))) >= {"runner", "requester"}


LOGS: dict[str, Callable[[Maker, list[bytes]], list[bytes]]] = {
    "an entry dropped": lambda _, entries: [entries[0], entries[2]],
    "the first entry dropped": lambda _, entries: entries[1:],
    "two entries exchanged": lambda _, entries: [entries[1], entries[0], entries[2]],
    "an entry twice": lambda _, entries: [*entries, entries[2]],
    "an entry by nobody": lambda _, entries: [*entries, Maker(ci="eve").entry(entries, "admitted")],
    "an entry by a reviewer": lambda _, entries: [*entries, Maker(ci="rita").entry(entries, "admitted")],
    "an entry of another repository": lambda m, entries: [*entries, m.entry(entries, "admitted", repository=ELSEWHERE)],
    "an entry that says less of it": lambda m, entries: [*entries, m.entry(entries, "admitted", state="0" * 64)],
    "bytes": lambda _, entries: [*entries, b"{}"],
    "another statement": lambda _, entries: [*entries, GOOD.provenance_envelope],
}


@pytest.mark.parametrize("name", list(LOGS))
def test_rejects_a_log_with(name: str) -> None:
    maker = Maker()
    entries: list[bytes] = []
    for _ in range(3):
        entries.append(maker.entry(entries, "admitted"))
    assert verify(replace(GOOD, log=prove(entries, GOOD.request))).verdict == PASSED
    verification = verify(replace(GOOD, log=prove(LOGS[name](maker, entries), GOOD.request)))
    assert of(verification, "log")[0] == FAILED
    assert "log" in of(verification, "log")[1]


def test_ci_without_the_role_merger_cannot_say_that_something_was_merged() -> None:
    root = root_of({**TEAM, "robot": ("ci",)}, bots=("robot",))
    maker = Maker(root=root)
    verification = verify(replace(maker.inputs(), log=prove([maker.entry([], "merged")], GOOD.request)))
    assert "no merger" in of(verification, "log")[1]


# Closures.


def closing(by: str, signer: str, request: str | None = None) -> Inputs:
    said = Closure(1, request or GOOD.request, by, moments.write(NOW), "changed my mind")
    return replace(GOOD, closures=(b"junk", sign(said.to_statement(), signer)))


def test_who_asked_may_take_it_back() -> None:
    assert failed(verify(closing("ada", "ada"))) == {"open"}


@pytest.mark.parametrize(
    ("by", "signer", "about"),
    [("mel", "mel", None), ("ada", "mel", None), ("ada", "eve", None), ("ada", "ada", "b" * 16)],
    ids=["somebody else", "in another's name", "nobody", "another request"],
)
def test_nobody_else_may(by: str, signer: str, about: str | None) -> None:
    assert verify(closing(by, signer, about)).verdict == PASSED
