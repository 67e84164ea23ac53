"""One replay of one proposal: the tree, the policy's full check, and for a fix the regression."""

from __future__ import annotations

import os
from collections.abc import Callable

from agent_pipeline.documents.policy import FULL, Policy
from agent_pipeline.documents.proposal import PUT, Proposal
from agent_pipeline.documents.replay_result import ReplayResult, Run
from agent_pipeline.documents.verification import FAILED, PASSED, Check
from agent_pipeline.documents.words import counted
from agent_pipeline.errors import RejectedError
from agent_pipeline.policy import rules
from agent_pipeline.replay.checks import Bench, Ran, judge, named, run_check
from agent_pipeline.repository import trees
from agent_pipeline.repository.clone import Clone
from agent_pipeline.repository.trees import Put

TREE, CHECK, WITHOUT, BASE_TESTS = (
    "replay: tree",
    "replay: full",
    "regression: fails without the fix",
    "regression: the base's tests pass",
)


_REASON = 1000  # characters of a foreign error


def replay(bench: Bench, proposal: Proposal, *, kind: str, statement: str, tell: Callable[[str], None]) -> ReplayResult:
    """Replay `proposal` from its base. Raises `SandboxError` when nothing could be told."""
    checks = [_rebuild(bench.clone, proposal)]
    tell(f"replay: running `{FULL}` on the result in a clean {bench.engine.name} sandbox")
    result = run_check(bench, FULL, "result", proposal.tree)
    checks.append(judge(CHECK, bench.policy.checks[FULL], result))
    runs = [result.run]
    if "regression" in rules.proofs_needed(bench.policy, kind):
        found, more = _regression(bench, proposal, result, tell)
        checks += found
        runs += more
    return ReplayResult(
        version=1,
        request=proposal.request,
        number=proposal.number,
        statement=statement,
        tree=proposal.tree,
        image=bench.image.identity,
        backend=bench.engine.name,
        posture=result.facts.posture,
        checks=tuple(checks),
        runs=tuple(runs),
    )


def _rebuild(clone: Clone, proposal: Proposal) -> Check:
    """Put the manifest on the base again, from the contents it names, and compare the tree."""
    changes = {
        change.path: Put(clone.blob(change.object), change.mode) if change.object and change.mode else None
        for change in proposal.changes
    }
    try:
        tree = trees.build(clone, proposal.base_tree, changes)
    except RejectedError as error:
        return Check(TREE, FAILED, f"the manifest cannot be put on the base: {error.message}"[:_REASON])
    if tree != proposal.tree:
        return Check(TREE, FAILED, f"the manifest on the base gives tree {tree}, the proposal says {proposal.tree}")
    return Check(TREE, PASSED, f"the manifest on the base gives tree {tree[:12]}")


def without_the_fix(clone: Clone, policy: Policy, proposal: Proposal) -> str | None:
    """Return the base's tree with only the proposal's test files, or None when it changes no test."""
    tests = {
        change.path: Put(clone.blob(change.object), change.mode) if change.object and change.mode else None
        for change in proposal.changes
        if rules.is_test(policy, change.path)
    }
    return trees.build(clone, proposal.base_tree, tests) if tests else None


def with_base_tests(clone: Clone, policy: Policy, proposal: Proposal) -> str | None:
    """Return the result's tree with the base's test files and no others, or None when the base has none.

    Test files that are only added are left out too: what runs beside the base's tests can end their session.
    """
    if not any(rules.is_test(policy, os.fsdecode(entry.path)) for entry in trees.entries(clone, proposal.base_tree)):
        return None
    restored: dict[str, Put | None] = {
        change.path: Put(clone.blob(change.base_object), change.base_mode)
        for change in proposal.changes
        if rules.is_test(policy, change.path) and change.base_object and change.base_mode
    }
    added: dict[str, Put | None] = {
        change.path: None
        for change in proposal.changes
        if rules.is_test(policy, change.path) and change.op == PUT and change.base_object is None
    }
    return trees.build(clone, proposal.tree, restored | added)


def _regression(
    bench: Bench, proposal: Proposal, result: Ran, tell: Callable[[str], None]
) -> tuple[list[Check], list[Run]]:
    try:
        tree = without_the_fix(bench.clone, bench.policy, proposal)
        base_tests = with_base_tests(bench.clone, bench.policy, proposal)
    except RejectedError as error:
        why = f"the tests of the proposal and those of the base cannot be told apart: {error.message}"
        return [Check(WITHOUT, FAILED, why[:_REASON])], []
    if tree is None:
        return [Check(WITHOUT, FAILED, "the proposal changes no test file: nothing shows that it fixes anything")], []
    tell("replay: the proposal's tests on the base, where they must fail")
    before = run_check(bench, FULL, "tests-on-base", tree)
    checks, runs = [_fails_without(bench, before, result)], [before.run]
    if base_tests is None:
        return [*checks, Check(BASE_TESTS, PASSED, "the base has no tests")], runs
    tell("replay: the base's tests on the result, where they must pass")
    after = run_check(bench, FULL, "base-tests", base_tests)
    said = judge(BASE_TESTS, bench.policy.checks[FULL], after)
    return [*checks, _none_vanished(said, before, result, after)], [*runs, after.run]


def _none_vanished(said: Check, before: Ran, *after: Ran) -> Check:
    """Fail where a test that passed on the base passes nowhere with the fix: removed, skipped, or kept from running."""
    gone = sorted(before.tests.passed.difference(*(ran.tests.passed for ran in after)))
    if said.outcome != PASSED or not before.run.reported or not gone:
        return said
    tests, do = counted(len(gone), "test"), "does" if len(gone) == 1 else "do"
    return Check(said.name, FAILED, f"{tests} that passed on the base no longer {do}: {named(gone)}")


def _fails_without(bench: Bench, before: Ran, result: Ran) -> Check:
    """Some test must fail on the base and pass on the result; without names, the exit codes must differ so."""
    if before.setup_error is not None:
        return Check(WITHOUT, FAILED, before.setup_error[-1500:])
    if not (before.run.reported and result.run.reported):
        told = before.run.code not in (0, None) and result.run.code == 0
        reason = f"exit {before.run.code} without the fix, {result.run.code} with it"
        return Check(WITHOUT, PASSED if told else FAILED, reason)
    known = set(bench.policy.checks[FULL].known_failures)
    mended = sorted((before.tests.failed - known) & result.tests.passed)
    # A test file that cannot even be imported without the fix is reported by its file; its tests pass with the fix.
    files = sorted(
        name
        for name in before.tests.failed - known
        if "::" not in name and any(test.startswith(f"{name}::") for test in result.tests.passed)
    )
    if not mended and not files:
        return Check(WITHOUT, FAILED, "no test that fails without the change passes with it")
    return Check(WITHOUT, PASSED, f"{named(mended + files)} fails without the fix and passes with it")
