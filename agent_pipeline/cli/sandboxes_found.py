"""`doctor`'s half about sandboxes: each engine is asked, measured and tried, by the policy where there is one."""

from __future__ import annotations

import os
import secrets
from typing import Final

from agent_pipeline import clock
from agent_pipeline.cli.finding import Finding
from agent_pipeline.config import Config
from agent_pipeline.documents.policy import Policy
from agent_pipeline.errors import AgentPipelineError
from agent_pipeline.replay.checks import bounds
from agent_pipeline.sandbox import cgroups, host
from agent_pipeline.sandbox.contract import UID, Bounds, Engine, Image, Spec
from agent_pipeline.sandbox.engines import NAMES, engine
from agent_pipeline.workspace import offered, places

_SMALL: Final = Bounds(memory_mb=256, pids=64, cpus="1", disk_mb=64, seconds=60)
_SECONDS: Final = 60
_COUNTING: Final = (
    "run it as root and beside the engine, or have control groups of version 2 that count sockets as memory "
    "(the kernel does unless it was started with `cgroup.memory=nosocket`)"
)


def engines(config: Config, policy: Policy | None, image: Image | None) -> list[Finding]:
    """Report both engines and what holds each bound; one engine that may be used is enough."""
    found = [_engine(config, name, policy, image) for name in NAMES]
    if not any(finding.ok for finding in found):
        said = "no engine works here" + (", or none that the policy takes" if policy else "")
        hint = "install docker.io or bubblewrap, or run `make setup` as root"
        found.append(Finding("sandbox", ok=False, said=f"{said}: nothing untrusted can run", mend=hint))
    return found


def _engine(config: Config, name: str, policy: Policy | None, image: Image | None) -> Finding:
    box = engine(name, config)
    why = box.available()
    if why is not None:
        return Finding(name, ok=False, said=why, needed=False)
    disk, held = _disk(config, box)
    failed: AgentPipelineError | None = None
    try:
        tried = _tried(config, box, policy, image)
    except AgentPipelineError as error:
        failed, tried = error, f"does not work: {error.message}"
    missing = [*(bound for bound in box.unenforced() if bound != "disk"), *(() if held else ("disk",))]  # as tried
    mends = [_mend(name, set(missing))] if set(missing) - {"disk"} else []
    if failed is not None:
        mends = [failed.hint or "", *mends]
        said = "\n".join([tried, *box.explain(), disk])
        return Finding(name, ok=False, said=said, mend="; ".join(filter(None, mends)), needed=False)
    lost = f"this host cannot enforce: {', '.join(missing)}" if missing else "all bounds are enforced"
    refused = _by_policy(name, policy, missing)
    said = "\n".join([f"{tried}; {lost}", *refused, *box.explain(), disk])
    return Finding(name, ok=not refused, said=said, mend="; ".join(mends), needed=False)


def _by_policy(name: str, policy: Policy | None, missing: list[str]) -> list[str]:
    """Return why this repository's policy takes no sandbox of that engine here."""
    if policy is None:
        return []
    if name not in policy.sandbox.backends:
        return ["the policy does not allow it (`sandbox.backends`)"]
    lacking = [bound for bound in policy.sandbox.require if bound in missing]
    return [f"the policy requires {', '.join(lacking)} (`sandbox.require`): nothing starts here"] if lacking else []


def _tried(config: Config, box: Engine, policy: Policy | None, image: Image | None) -> str:
    """Start a sandbox that does nothing, as a run would. Raises `AgentPipelineError` when its walls are not proven."""
    if image is None:
        return "is there, but was not tried: no sandbox image is here"
    wanted = _SMALL if policy is None else bounds(policy, _SECONDS)
    held = Bounds(wanted.memory_mb, wanted.pids, wanted.cpus, wanted.disk_mb, _SECONDS)  # what is required is said
    started = clock.monotonic()
    with places.held(config.runs, UID if os.geteuid() == 0 else None) as folder:
        runtime = None if policy is None else policy.sandbox.runtime
        spec = Spec(image, folder / places.FILES, held, f"doctor-{secrets.token_hex(4)}", runtime=runtime)
        with box.start(spec) as sandbox:
            sandbox.run(["true"], seconds=_SECONDS)
            by = f" under {sandbox.facts.runtime}" if runtime else ""
    return f"works: a sandbox{by} proved its walls and was gone after {clock.monotonic() - started:.1f} s"


def _mend(name: str, missing: set[str]) -> str:
    if missing - {"disk"} == {cgroups.SOCKETS}:
        return _COUNTING
    if name == "bubblewrap":
        return host.delegation()
    return "use a kernel with the memory, pids and cpu controllers, and one that counts swap (`swapaccount=1`)"


def _disk(config: Config, box: Engine) -> tuple[str, bool]:
    """Return how the virtual copy is made for an engine, and whether its size is bounded: tried."""
    try:
        mode, bounded = offered(lowers=config.lowers, parent=config.runs, uid=UID, reach=box.reach)
    except AgentPipelineError as error:
        return f"disk: not held, no copy can be made: {error.message}", False
    made = "an overlay" if mode == "overlay" else "a full copy"
    where = "mounted by us" if os.geteuid() == 0 else "in a user namespace of ours"
    if bounded:
        return f"disk: by a tmpfs of the policy's size, {where}; the virtual copy is {made}", True
    return f"disk: not held, the virtual copy is {made} on the disk of {config.runs}; each file is bounded", False
