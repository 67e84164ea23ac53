"""How a bubblewrap sandbox is launched: a chain of small programs, each of which takes something away.

::

    setpriv --pdeathsig TERM      the guard learns at once when we die, even by `kill -9`
      sh                          the guard: waits, kills, removes the control group, and is outside of it
        setsid                    a process group of its own, by which the guard kills whatever is left of it
          prlimit                 resource limits
            setpriv               as root only: uid 10001, no groups, no capabilities, no new privileges
            (nsenter)             without root: the namespace that has the workspace
              bwrap               namespaces, mounts, system call filter
                frame agent       PID 1, which `cell` puts into the control group before it is asked anything

Why the uid goes before bubblewrap comes: root in its user namespace would be root on the host
(containers/bubblewrap#313).
"""

from __future__ import annotations

import os
from collections.abc import Sequence
from functools import cache
from pathlib import Path
from typing import Final

from agent_pipeline import process
from agent_pipeline.sandbox.contract import UID

TOOLS: Final = ("sh", "setsid", "setpriv", "prlimit", "bwrap")

# $1 is the number of control group directories, which follow; then the command. A background job gets /dev/null as
# stdin, so the real one goes around it; the guard itself must not hold it, or PID 1 would never see its end. PID 1 ends
# by itself when we are gone, and the guard waits a moment for that. bubblewrap may have died of the pipe on which
# nobody reads its report any more, and left a child that waits for it for ever: the process group has it.
_GUARD: Final = """
over=
trap 'over=1' TERM INT HUP
exec 3<&0 0</dev/null
count=$1; shift; groups=; n=0
while [ $n -lt $count ]; do groups="$groups $1"; shift; n=$((n + 1)); done
( exec "$@" <&3 3<&- ) &
child=$!
exec 3<&- 1>/dev/null 2>/dev/null
while kill -0 $child; do
  [ -z "$over" ] || { sleep 0.5; kill -s KILL -- -$child; }
  wait $child
done
kill -s KILL -- -$child
for group in $groups; do
  tries=0
  until rmdir "$group" || [ ! -d "$group" ] || [ $tries -ge 100 ]; do
    while read -r pid; do [ "$pid" -gt 1 ] && kill -KILL "$pid"; done <"$group/cgroup.procs"
    sleep 0.05; tries=$((tries + 1))
  done
done
"""


def environment() -> dict[str, str]:
    """Return what the programs of the chain get: where to find each other, and nothing of the caller's."""
    return {"PATH": os.environ.get("PATH", os.defpath), "LC_ALL": "C"}


@cache
def _tool(name: str) -> str:
    """Return where a program lies, once for all starts: each would search the same directories for it."""
    return process.which(name) or name


def chain(
    command: Sequence[str], *, groups: Sequence[Path], limits: Sequence[str], drop: bool, namespace: int | None = None
) -> list[str]:
    """Return the argv that launches `command` (bwrap and its arguments) as drawn above.

    `groups`, which the guard removes at the end, hold no blank: their names are ours, and their parents the kernel's.
    """
    watched = [_tool("setpriv"), "--pdeathsig", "TERM", _tool("sh"), "-c", _GUARD, "sandbox-guard"]
    guard = [*watched, str(len(groups)), *map(str, groups)]
    command = [*_entering(namespace), _tool(command[0]), *command[1:]]
    return [*guard, _tool("setsid"), *limited(command, limits=limits, drop=drop)]


def limited(command: Sequence[str], *, limits: Sequence[str], drop: bool) -> list[str]:
    """Return the inner half of the chain: `command` under `limits`, without root when `drop`."""
    rights = _drop() if drop else ["--no-new-privs"]
    return [_tool("prlimit"), *limits, _tool("setpriv"), *rights, _tool(command[0]), *command[1:]]


def _entering(namespace: int | None) -> list[str]:
    """Return what starts the rest in the user and mount namespaces of the process `namespace`, which is our own."""
    if namespace is None:
        return []
    return [_tool("nsenter"), f"--target={namespace}", "--user", "--mount", "--preserve-credentials", "--"]


def _drop() -> list[str]:
    return [
        f"--reuid={UID}",
        f"--regid={UID}",
        "--clear-groups",
        "--no-new-privs",
        "--inh-caps=-all",
        "--ambient-caps=-all",
        "--bounding-set=-all",
    ]
