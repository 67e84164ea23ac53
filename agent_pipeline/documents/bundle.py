"""A proposal as one file, `ID.n.agentpatch`: a line, a manifest, and the contents that it lists. Pure reading, writing.

The first line is `agentpatch 1 SHA256 LENGTH`, the digest and the number of bytes of the manifest, which follows; then
come the contents, each with exactly the bytes that the manifest says, in its order, with nothing before, between or
after. There are no directories, modes, links, dates, owners, compression or second tables in it, so none can disagree,
point elsewhere or unfold. What is read is only whole: whether any of it is true is decided elsewhere.
"""

from __future__ import annotations

import re
from collections.abc import Mapping
from dataclasses import replace
from typing import ClassVar, Final

from agent_pipeline.documents import strict
from agent_pipeline.documents.form import Document
from agent_pipeline.errors import SchemaError
from agent_pipeline.frozen import frozen

MAX_BYTES: Final = 512 << 20
MAX_CONTENT: Final = 64 << 20  # as the schema says
MAX_CONTENTS: Final = 20_000  # as the schema says
_MAX_LINE: Final = 100
_LINE: Final = re.compile(rb"agentpatch 1 ([0-9a-f]{64}) ([1-9][0-9]{0,8})")
_AGAIN: Final = "get the file again, and compare its SHA-256 with the one that `bundle export` printed"


@frozen
class Content:
    """One of the contents: its name, the SHA-256 and the number of its bytes."""

    name: str
    sha256: str
    size: int


@frozen
class BundleManifest(Document):
    """What a bundle says of itself. Claims, all of them: who verifies finds out what it is from what is signed."""

    STEM: ClassVar[str] = "bundle"
    MAX_BYTES: ClassVar[int] = 8 << 20

    version: int
    request: str
    number: int
    repository: str
    branch: str
    trial: bool
    rules: str
    record: str
    contents: tuple[Content, ...]
    staged: str | None = None
    merge: str | None = None

    @property
    def proposal(self) -> str:
        """`ID.n`."""
        return f"{self.request}.{self.number}"


@frozen
class Bundle:
    """A bundle that is whole: `contents` by name are exactly those of the manifest; `sha256` is the whole file's."""

    manifest: BundleManifest
    contents: Mapping[str, bytes]
    sha256: str

    def below(self, folder: str) -> dict[str, bytes]:
        """Return the contents below `folder` by the rest of their names, in order."""
        return {
            name.removeprefix(f"{folder}/"): data
            for name, data in self.contents.items()
            if name.startswith(f"{folder}/")
        }


def write(manifest: BundleManifest, contents: Mapping[str, bytes]) -> bytes:
    """Return the file; the manifest's own `contents` are computed. The same input gives the same bytes.

    Raises `SchemaError` when it would be larger than what is read, or a name is none that a bundle may hold.
    """
    names = sorted(contents)
    listed = tuple(Content(name, strict.sha256(contents[name]), len(contents[name])) for name in names)
    if (
        sum(content.size for content in listed) > MAX_BYTES - BundleManifest.MAX_BYTES - _MAX_LINE
        or len(listed) > MAX_CONTENTS
    ):
        raise SchemaError(
            f"{manifest.proposal} is too large for a bundle: at most {MAX_CONTENTS} contents and {MAX_BYTES} bytes",
            hint="give the other party access to the repository instead, or land it in smaller steps",
        )
    head = replace(manifest, contents=listed).to_json()
    line = f"agentpatch 1 {strict.sha256(head)} {len(head)}\n".encode()
    return b"".join([line, head, *(contents[name] for name in names)])


def read(data: bytes) -> Bundle:
    """Read a bundle whole. Raises `SchemaError` for anything else than what `write` writes.

    Guaranteed: every byte of `data` is covered by a digest that was checked, every name has its form and stands there
    once, and no more memory is taken than a few times `data`.
    """
    if len(data) > MAX_BYTES:
        raise SchemaError(f"the bundle has more than {MAX_BYTES} bytes", hint="no bundle is that large; refuse it")
    line, newline, _ = data[:_MAX_LINE].partition(b"\n")
    match = _LINE.fullmatch(line)
    if match is None or not newline:
        raise SchemaError(
            "this is no bundle: its first line is another", hint="`agent-pipeline bundle export` makes one"
        )
    start = len(line) + 1
    manifest = _manifest(data[start : start + int(match[2])], match[1].decode("ascii"), int(match[2]))
    start += int(match[2])
    wanted = start + sum(content.size for content in manifest.contents)
    if wanted != len(data):
        raise SchemaError(f"the bundle has {len(data)} bytes, its manifest says {wanted}", hint=_AGAIN)
    contents: dict[str, bytes] = {}
    for content in manifest.contents:
        part = data[start : start + content.size]
        start += content.size
        if strict.sha256(part) != content.sha256:
            raise SchemaError(f"`{content.name}` in the bundle is not what its manifest says", hint=_AGAIN)
        contents[content.name] = part
    return Bundle(manifest, contents, strict.sha256(data))


def _manifest(head: bytes, digest: str, size: int) -> BundleManifest:
    if size > BundleManifest.MAX_BYTES or len(head) != size:
        raise SchemaError("the bundle's manifest is cut off, or larger than any", hint=_AGAIN)
    if strict.sha256(head) != digest:
        raise SchemaError("the bundle's manifest is not the one that its first line names", hint=_AGAIN)
    manifest = BundleManifest.from_json(head)
    if manifest.to_json() != head:
        raise SchemaError("the bundle's manifest is not in canonical form", hint=_AGAIN)
    names = [content.name for content in manifest.contents]
    if names != sorted(set(names)):
        raise SchemaError("the bundle's manifest lists its contents out of order, or one twice", hint=_AGAIN)
    return manifest
