"""A person's shell in the sandbox that checks run in, on one tree: for when a check fails only there.

The walls are those of a run, proven by the same self-test; the copy has what an agent may read, and is thrown away.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Any, Final

from agent_pipeline.policy import rules
from agent_pipeline.replay.checks import Bench, bounds, set_up, setup_env
from agent_pipeline.sandbox import fallbacks
from agent_pipeline.sandbox.contract import UID, Screen, Spec
from agent_pipeline.workspace import absent, create

SECONDS: Final = 8 * 3600
_PROMPT: Final = r"sandbox:\w\$ "


def open_shell(
    bench: Bench,
    tree: str,
    screen: Screen,
    tell: Callable[[str], None],
    copied: Callable[[dict[str, Any]], None] = lambda _: None,
) -> int:
    """Set the project up on a copy of `tree`, run a shell on `screen`, and return its exit code. Keeps nothing.

    A setup that fails is told and stops nobody: it may be what the person wants to look at. `copied` is handed what the
    copy lacks. Raises `SandboxError`.
    """
    policy = bench.policy
    with create(
        bench.clone,
        tree,
        may_read=lambda path: rules.may_read(policy, path),
        scope=rules.read_scope(policy),
        lowers=bench.config.lowers,
        parent=bench.config.runs,
        disk_mb=policy.sandbox.disk_mb,
        uid=UID,
        reach=bench.engine.reach,
    ) as workspace:
        copied(lacks := absent.lists(workspace))
        for line in absent.told(lacks, "the same with `--json`"):
            tell(f"copy: {line}")
        spec = Spec(
            image=bench.image,
            workspace=workspace.path,
            bounds=bounds(policy, SECONDS),
            run=bench.run,
            env=setup_env(policy, bench.version),
            runtime=policy.sandbox.runtime,
            namespace=workspace.namespace,
            copied=workspace.mode,
        )
        with bench.engine.start(spec) as sandbox:
            for line in fallbacks.told(sandbox.facts):
                tell(line)
            problem = set_up(sandbox, policy)
            if problem is not None:
                tell(problem)
            tell(f"a shell in {bench.engine.name}; what it changes is thrown away at its end")
            return sandbox.terminal(["bash", "--norc", "-i"], screen, env={"TERM": "xterm-256color", "PS1": _PROMPT})
