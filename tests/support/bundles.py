"""Bundles for tests: made from real repositories, verified, and made again by somebody who changes them."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, replace
from datetime import datetime
from pathlib import Path
from typing import Any

from support.carried import Carried, carried
from support.trust import NOW

from agent_pipeline.bundle.exporting import export
from agent_pipeline.bundle.opening import opened
from agent_pipeline.bundle.verifying import Proven, prove
from agent_pipeline.documents import bundle
from agent_pipeline.documents.anchor import Anchor
from agent_pipeline.documents.bundle import BundleManifest
from agent_pipeline.documents.verification import FAILED, Verification
from agent_pipeline.repository.portable import Heads, collect
from agent_pipeline.repository.records import Record

Contents = dict[str, bytes]


@dataclass(frozen=True)
class Shared:
    """A repository, and the bundle of its one proposal."""

    made: Carried
    data: bytes

    @classmethod
    def make(cls, folder: Path, stage: str, **fields: Any) -> Shared:
        made = carried(folder, stage, **fields)
        return cls(made, bundled(made))

    @property
    def root(self) -> str:
        return self.made.root


def bundled(made: Carried) -> bytes:
    """The bundle of its proposal as it is now."""
    return export(made.desk, made.id)[1]


def proven(data: bytes, root: str, now: datetime = NOW) -> Proven:
    """What a bundle proves to somebody who pinned `root`."""
    with opened(data) as one:
        return prove(one, root, lambda told: Anchor(told.repository, told.branch, root.removeprefix("sha256:")), now)


def changed(data: bytes, change: Callable[[Contents], object], **manifest: Any) -> bytes:
    """The same bundle made again after `change`, every digest in its form right."""
    read = bundle.read(data)
    contents = dict(read.contents)
    change(contents)
    return bundle.write(replace(read.manifest, **manifest), contents)


def forged(made: Carried, data: bytes, **manifest: Any) -> bytes:
    """A bundle like `data` of other commits in the same repository, all of it as if it had been exported."""
    old = bundle.read(data)
    said = replace(old.manifest, **manifest)
    heads = Heads(Record(said.request, said.record, made.clone), said.rules, said.staged, said.merge)
    found = collect(made.clone, heads)
    logs = {name: one for name, one in old.contents.items() if name.startswith("log/")}
    return bundle.write(said, {name: found.read(name) for name in found.objects} | logs)


def manifest_of(data: bytes) -> BundleManifest:
    """What a bundle says of itself."""
    return bundle.read(data).manifest


def outcome(decision: Verification, name: str) -> tuple[str, str]:
    """How a step ended, and why."""
    check = next(check for check in decision.checks if check.name[3:] == name)
    return check.outcome, check.reason


def failed(decision: Verification) -> set[str]:
    """The steps that failed."""
    return {check.name[3:] for check in decision.checks if check.outcome == FAILED}
