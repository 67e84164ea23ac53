"""Bundles: the container, and what is made of one whose digests are all right."""

from __future__ import annotations

import re
from typing import Final

from fuzz.documents import JSON_WORDS
from fuzz.target import GOLDEN, Target
from support.bundles import proven

from agent_pipeline.documents import bundle, git_object
from agent_pipeline.documents.bundle import BundleManifest
from agent_pipeline.documents.git_object import GitObject
from agent_pipeline.documents.verification import PASSED

GOOD: Final = (GOLDEN / "merged" / "merged.agentpatch").read_bytes()
ROOT: Final = (GOLDEN / "merged" / "root").read_text().strip()
_PART: Final = re.compile(rb"\x00(record|rules|log|objects)/([\x21-\x7e]{1,200})\x00")


def _container(data: bytes) -> None:
    read = bundle.read(data)
    assert bundle.write(read.manifest, read.contents) == data


def loose() -> list[bytes]:
    """The golden bundle without any digest: the manifest, and each content after its name."""
    read = bundle.read(GOOD)
    head = BundleManifest.from_dict({**read.manifest.to_dict(), "contents": [_one("rules/x", b"")]}).to_json()
    return [head + b"".join(b"\0" + name.encode() + b"\0" + data for name, data in read.contents.items())]


def _one(name: str, data: bytes) -> dict[str, object]:
    return {"name": name, "sha256": bundle.strict.sha256(data), "size": len(data)}


def _made(data: bytes) -> bytes:
    """A bundle of loose parts, every digest and every object's name right."""
    head, *parts = _PART.split(data)
    contents: dict[str, bytes] = {}
    for folder, name, content in zip(parts[0::3], parts[1::3], parts[2::3], strict=True):
        path = f"{folder.decode()}/{name.decode()}"
        kind = content.partition(b" ")[0].decode("ascii", "replace")
        if folder == b"objects" and kind in git_object.KINDS:
            one = GitObject(kind, content.partition(b"\0")[2])
            path, content = f"objects/{one.name()}", one.to_bytes()  # noqa: PLW2901 - made right
        contents[path] = content
    return bundle.write(BundleManifest.from_json(head), contents)


def _opened(data: bytes) -> None:
    made = _made(data)
    assert proven(made, ROOT).decision.verdict != PASSED or made == GOOD


TARGETS: Final = (
    Target("bundle", _container, lambda: [GOOD], (*JSON_WORDS, b"agentpatch 1 ")),
    Target("bundle-opened", _opened, loose, (*JSON_WORDS, b"\0objects/x\0tree 0\0", b"\0rules/y\0", b"40000 a\0")),
)
