"""The mounts of a sandbox, each known by where it is: what of which file system, under which options, and no other."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Final

FLAGS: Final = ("ro", "rw", "nosuid", "nodev", "noexec", "shared")  # `shared`: what is mounted here shows elsewhere
BOUNDS: Final = ("size", "nr_inodes")
NULL: Final = "/null"


@dataclass(frozen=True, slots=True)
class Mount:
    """One mount that must be there, or may where `optional`.

    `kinds` are the file systems that it may be of (empty: whatever the host keeps it on), `root` what of that is
    mounted (None: whatever; `*/x`: something of that name). `flags` must be set, those of `stricter` may, and no
    other. `bounds` are exactly the sizes that the file system says it has; None where nothing can be written.
    """

    flags: frozenset[str]
    kinds: tuple[str, ...] = ()
    root: str | None = "/"
    stricter: frozenset[str] = frozenset()
    bounds: frozenset[str] | None = None
    optional: bool = False


def compare(text: str, expected: Mapping[str, Mount]) -> tuple[str, list[str]]:
    """Return the mounts that PID 1 reports, without what differs from start to start, and every deviation."""
    lines, wrong, seen = [], [], set()
    for line in text.splitlines():
        where, root, kind, options, own = ([*line.split(" "), "", "", "", "", ""])[:5]
        mount = expected.get(where)
        if mount is None:
            wrong.append(f"{where} is a mount, and nobody expects it ({kind}, {options})")
            continue
        if where in seen:
            wrong.append(f"{where} is mounted over")
        seen.add(where)
        flags = {flag for flag in options.split(",") if flag in FLAGS}
        bounds = {option for option in own.split(",") if mount.bounds is not None and option.split("=")[0] in BOUNDS}
        wrong += [f"the mount {where} {said}" for said in _deviations(mount, root, kind, flags, bounds)]
        lines.append(" ".join((where, mount.root or "-", kind, ",".join(sorted(flags)), ",".join(sorted(bounds)))))
    missing = sorted(where for where, mount in expected.items() if where not in seen and not mount.optional)
    return "\n".join(sorted(lines)), wrong + [f"{where} is not a mount of its own" for where in missing]


def _deviations(mount: Mount, root: str, kind: str, flags: set[str], bounds: set[str]) -> list[str]:
    wrong = []
    if mount.kinds and kind not in mount.kinds:
        wrong.append(f"is of {kind}, not {' or '.join(mount.kinds)}")
    if not _is(root, mount.root):
        wrong.append(f"shows {root}, not {mount.root}")
    if lacking := sorted(mount.flags - flags):
        wrong.append(f"lacks {', '.join(lacking)}")
    if more := sorted(flags - mount.flags - mount.stricter):
        wrong.append(f"has {', '.join(more)}")
    if mount.bounds is not None and bounds != mount.bounds:
        wrong.append(f"is bounded by {', '.join(sorted(bounds)) or 'nothing'}, not {', '.join(sorted(mount.bounds))}")
    return wrong


def _is(root: str, wanted: str | None) -> bool:
    if wanted is None:
        return True
    return root.endswith(wanted[1:]) if wanted.startswith("*") else root == wanted
