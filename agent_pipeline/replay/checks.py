"""Running one of the policy's checks on one tree, in a fresh sandbox, and judging how it ended."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

from agent_pipeline import config as configuration
from agent_pipeline.documents.policy import CheckPolicy, Policy
from agent_pipeline.documents.provenance import SandboxFacts
from agent_pipeline.documents.replay_result import Run
from agent_pipeline.documents.verification import FAILED, PASSED, UNKNOWN, Check
from agent_pipeline.documents.words import counted
from agent_pipeline.errors import SandboxError
from agent_pipeline.policy import rules
from agent_pipeline.replay import report
from agent_pipeline.repository.clone import Clone
from agent_pipeline.sandbox.contract import UID, Bounds, CommandResult, Engine, Image, Sandbox, Spec
from agent_pipeline.workspace import create

REPORT_PATH = "/tmp/agent-pipeline-report.jsonl"  # noqa: S108 - inside the sandbox, on a tmpfs of its own
NOT_THERE = (126, 127)
_PYTEST_TESTS_FAILED = 1
_SPARE_SECONDS = 60
_NAMES_BYTES, _NAMED = 256 * 1024, 5


@dataclass(frozen=True, slots=True)
class Bench:
    """Where checks run: the clone that holds the trees, the rules, the engine and the image, the base's version."""

    clone: Clone
    config: configuration.Config
    policy: Policy
    engine: Engine
    image: Image
    run: str
    version: str


@dataclass(frozen=True, slots=True)
class Ran:
    """A finished run, its tests by name, the sandbox's facts, and what setup said when it failed."""

    run: Run
    tests: report.Report
    facts: SandboxFacts
    setup_error: str | None = None


def bounds(policy: Policy, seconds: int) -> Bounds:
    """Return the sandbox's bounds for a life of `seconds`, by the policy."""
    box = policy.sandbox
    return Bounds(box.memory_mb, box.pids, box.cpus, box.disk_mb, seconds, box.require)


def setup_env(policy: Policy, version: str) -> dict[str, str]:
    """Return the setup's environment, with `{version}` replaced by the version that Git would give the base."""
    return {name: value.replace("{version}", version) for name, value in policy.setup.env.items()}


def set_up(sandbox: Sandbox, policy: Policy) -> str | None:
    """Run the policy's setup. Return None, or what the first failing command said."""
    for argv in policy.setup.run:
        done = sandbox.run(argv, seconds=policy.setup.seconds)
        if done.code != 0:
            ended = "ran out of time" if done.timed_out else f"exit {done.code}"
            return f"setup `{' '.join(argv)}`: {ended}\n{_tail(done.output)}"
    return None


def run_check(bench: Bench, name: str, on: str, tree: str) -> Ran:
    """Run the check `name` of the policy on `tree`, in a sandbox of its own. Raises `SandboxError`."""
    check = bench.policy.checks[name]
    seconds = bench.policy.setup.seconds * max(1, len(bench.policy.setup.run)) + check.seconds + _SPARE_SECONDS
    with (
        create(
            bench.clone,
            tree,
            may_read=lambda path: rules.may_read(bench.policy, path),
            scope=rules.read_scope(bench.policy),
            lowers=bench.config.lowers,
            parent=bench.config.runs,
            disk_mb=bench.policy.sandbox.disk_mb,
            uid=UID,
            reach=bench.engine.reach,
        ) as workspace,
        bench.engine.start(
            Spec(
                image=bench.image,
                workspace=workspace.path,
                bounds=bounds(bench.policy, seconds),
                run=bench.run,
                env=setup_env(bench.policy, bench.version),
                runtime=bench.policy.sandbox.runtime,
                namespace=workspace.namespace,
                copied=workspace.mode,
            )
        ) as sandbox,
    ):
        setup_error = set_up(sandbox, bench.policy)
        if setup_error is not None:
            failed = Run(name, on, tree, 0, 0, (), reported=False, output=setup_error[-4000:])
            return Ran(failed, report.EMPTY, sandbox.facts, setup_error)
        done = sandbox.run(check.run, seconds=check.seconds, env={"AGENT_PIPELINE_REPORT": REPORT_PATH})
        tests = _read_report(sandbox)
        return Ran(_as_run(name, on, tree, done, tests), tests, sandbox.facts)


def _read_report(sandbox: Sandbox) -> report.Report:
    try:
        return report.parse(sandbox.read(REPORT_PATH, report.MAX_BYTES))
    except (OSError, ValueError):
        return report.EMPTY  # the check does not run pytest, or wrote something else there
    except SandboxError:
        return report.EMPTY  # the check took the sandbox down; its exit code says so


def _as_run(name: str, on: str, tree: str, done: CommandResult, tests: report.Report) -> Run:
    return Run(
        check=name,
        on=on,
        tree=tree,
        seconds=round(done.seconds),
        passed=len(tests.passed),
        failed=_kept(sorted(tests.failed)),
        reported=tests.complete,
        output=_tail(done.output),
        code=done.code,
    )


def _kept(names: list[str]) -> tuple[str, ...]:
    """Return as many names as one signed statement has room for; the code under test chose them and their length."""
    kept, room = [], _NAMES_BYTES
    for name in names[:10_000]:
        room -= len(name.encode()) + 4
        if room < 0:
            break
        kept.append(name)
    return tuple(kept)


def named(names: Sequence[str]) -> str:
    """Return the first of `names` for a sentence, each cut to a length."""
    return ", ".join(name[:200] for name in names[:_NAMED]) + (" …" if len(names) > _NAMED else "")


def _tail(output: bytes) -> str:
    return output.decode("utf-8", "replace").replace("\x00", "�")[-4000:]


def judge(name: str, check: CheckPolicy, ran: Ran) -> Check:  # noqa: PLR0911 - one line for each way to end
    """Judge a run of `check`: passed, failed, or unknown when the check could not even be started."""
    run = ran.run
    if ran.setup_error is not None:
        return Check(name, FAILED, ran.setup_error[-1500:])
    if run.code is None:
        return Check(name, FAILED, f"killed: it ran out of its {counted(check.seconds, 'second')} or said too much")
    if run.code in NOT_THERE and not run.reported:
        return Check(name, UNKNOWN, f"`{check.run[0]}` is not there or cannot run in the sandbox: {run.output[-300:]}")
    if check.reports and not run.reported:
        return Check(name, FAILED, f"exit {run.code}, but the tests' report is not whole: {run.output[-300:]}")
    new = sorted(ran.tests.failed.difference(check.known_failures))
    if run.code == 0 and not ran.tests.failed:
        if run.reported and not run.passed:
            return Check(name, FAILED, "no test ran")
        said = f"{counted(run.passed, 'test')} passed" if run.reported else "exit 0"
        return Check(name, PASSED, f"{said} in {run.seconds} s")
    if run.reported and run.code == _PYTEST_TESTS_FAILED and ran.tests.failed and run.passed and not new:
        said = counted(run.passed, "test")
        return Check(name, PASSED, f"{said} passed; {len(ran.tests.failed)} failed as on the base before")
    if new:
        said = counted(len(new), "test fails", "tests fail")
        return Check(name, FAILED, f"{said}: {named(new)}")
    return Check(name, FAILED, f"exit {run.code}: {run.output[-600:]}")
