"""Opening a bundle: from bytes of a stranger to a quarantined repository that holds exactly what they may hold."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from typing import Final

from agent_pipeline.documents import bundle as bundles
from agent_pipeline.documents import git_object
from agent_pipeline.documents.bundle import Bundle
from agent_pipeline.documents.git_object import GitObject
from agent_pipeline.errors import GitError, SchemaError
from agent_pipeline.repository import portable
from agent_pipeline.repository.clone import Clone
from agent_pipeline.repository.portable import Heads
from agent_pipeline.repository.quarantine import quarantined
from agent_pipeline.repository.records import Record

_SHA1: Final = 40
_LOG: Final = "log/"


@dataclass(frozen=True, slots=True)
class Opened:
    """A bundle, the quarantined repository of its objects, and the record in it."""

    bundle: Bundle
    clone: Clone
    record: Record


@contextmanager
def opened(data: bytes) -> Iterator[Opened]:
    """Open a bundle for as long as the block runs.

    Guaranteed: the form is right, every object is what it is called, Git's strict check found nothing, and the contents
    are exactly those that the rules of `portable.collect` give for the named commits: nothing is missing, hidden or
    misnamed. Raises `SchemaError` for anything else.
    """
    bundle = bundles.read(data)
    del data  # its contents are in the bundle, and may be large
    with quarantined(_objects(bundle)) as clone:
        record = Record(bundle.manifest.request, bundle.manifest.record, clone)
        _check_contents(bundle, clone, record)
        yield Opened(bundle, clone, record)


def _objects(bundle: Bundle) -> Iterator[GitObject]:
    """Yield every object once."""
    objects, sha256 = bundle.below("objects"), len(bundle.manifest.record) != _SHA1
    yield from (git_object.read(data, name) for name, data in objects.items())
    seen = set(objects)
    for data in (*bundle.below("record").values(), *bundle.below("rules").values()):
        blob = GitObject("blob", data)
        if (name := blob.name(sha256=sha256)) not in seen:
            seen.add(name)
            yield blob


def _check_contents(bundle: Bundle, clone: Clone, record: Record) -> None:
    said = bundle.manifest
    try:
        wanted = portable.collect(clone, Heads(record, said.rules, said.staged, said.merge))
    except GitError as error:
        raise SchemaError(
            f"the bundle is not whole: {error.message}", hint="export it again with `agent-pipeline bundle export`"
        ) from error
    here = {name for name in bundle.contents if not name.startswith(_LOG)}
    odd = {name for name in here & wanted.objects.keys() if bundle.contents[name] != wanted.read(name)}
    odd |= here ^ wanted.objects.keys()
    if odd:
        raise SchemaError(
            f"the bundle does not hold exactly what its commits need: {', '.join(sorted(odd)[:5])}",
            hint="something was put in, taken out or renamed; refuse it",
        )
