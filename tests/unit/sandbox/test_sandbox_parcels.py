"""An archive of a workspace: what no engine makes is refused, and what one makes is what the directory becomes."""

from __future__ import annotations

import contextlib
import io
import os
import stat
import tarfile
import tempfile
from collections.abc import Callable
from pathlib import Path
from typing import Final

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from agent_pipeline.errors import SandboxError
from agent_pipeline.sandbox import parcels
from agent_pipeline.sandbox.parcels import BrokenParcelError, Parcel
from agent_pipeline.sandbox.returning import bring_back

TOP: Final = b"workspace"
Tree = dict[str, tuple[str, bytes]]  # a path's kind and content (or target)


def read(data: bytes, *, max_bytes: int = 1 << 20, max_items: int = 1000, step: int = 700) -> Parcel:
    return Parcel((data[at : at + step] for at in range(0, len(data), step)), TOP, max_bytes, max_items)


def archive(*entries: tuple[str, bytes, bytes], top: str = "workspace", pax: dict[str, str] | None = None) -> bytes:
    """Return a tar archive of entries (name below the top, type, content or target)."""
    out = io.BytesIO()
    with tarfile.open(fileobj=out, mode="w", format=tarfile.PAX_FORMAT, errors="surrogateescape") as tar:
        for name, kind, content in (("", tarfile.DIRTYPE, b""), *entries):
            info = tarfile.TarInfo(f"{top}/{name}".rstrip("/"))
            info.type, info.mode, info.pax_headers = kind, 0o755, pax or {}
            if kind in {tarfile.LNKTYPE, tarfile.SYMTYPE}:
                info.linkname = os.fsdecode(content)
            info.size = len(content) if kind == tarfile.REGTYPE else 0
            tar.addfile(info, io.BytesIO(content))
    return out.getvalue()


def look(folder: Path) -> Tree:
    found: Tree = {}
    for path in sorted(folder.rglob("*")):
        mode, name = path.lstat().st_mode, str(path.relative_to(folder))
        if stat.S_ISLNK(mode):
            found[name] = ("link", os.fsencode(path.readlink()))
        elif stat.S_ISREG(mode):
            found[name] = ("tool" if mode & 0o100 else "file", path.read_bytes())
        else:
            found[name] = ("folder" if stat.S_ISDIR(mode) else "pipe", b"")
    return found


def make(folder: Path, tree: Tree) -> None:
    for name, (kind, content) in tree.items():
        path = folder / name
        if any(parent.is_symlink() or (parent.exists() and not parent.is_dir()) for parent in path.parents):
            continue
        path.parent.mkdir(parents=True, exist_ok=True)
        if os.path.lexists(path):
            continue
        if kind == "link":
            path.symlink_to(os.fsdecode(content))
        elif kind == "folder":
            path.mkdir()
        elif kind == "pipe":
            os.mkfifo(path)
        else:
            path.write_bytes(content)
            path.chmod(0o755 if kind == "tool" else 0o644)


NAMES = st.lists(st.sampled_from(["a", "b", "c", "n" * 120, "é", "-x"]), min_size=1, max_size=3).map("/".join)
CONTENT = st.one_of(st.binary(max_size=20), st.sampled_from([b"x" * 70_000, b"x" * 65_536 + b"y", b"x" * 65_536]))
LEAF = st.one_of(
    st.tuples(st.sampled_from(["file", "tool"]), CONTENT),
    st.tuples(st.just("link"), st.sampled_from([b"a", b"../b", b"/etc", b"y/" * 100])),
    st.sampled_from([("folder", b""), ("pipe", b"")]),
)
TREES = st.dictionaries(NAMES, LEAF, max_size=8)


@given(before=TREES, after=TREES, linked=st.booleans())
@settings(max_examples=60, deadline=None)
def test_a_directory_becomes_what_its_archive_says(before: Tree, after: Tree, *, linked: bool) -> None:
    with tempfile.TemporaryDirectory() as place:
        here, there = Path(place) / "here", Path(place) / "there"
        for folder, tree in ((here, before), (there, after)):
            folder.mkdir()
            make(folder, tree)
        files = [path for path in there.rglob("*") if stat.S_ISREG(path.lstat().st_mode)]
        if linked and files:
            os.link(files[0], there / "zz-linked")
        out = io.BytesIO()
        with tarfile.open(fileobj=out, mode="w", format=tarfile.PAX_FORMAT) as tar:
            tar.add(there, arcname="workspace")
        same = {name: (here / name).stat().st_ino for name, what in look(here).items() if look(there).get(name) == what
                and what[0] in {"file", "tool"}}  # fmt: skip
        bring_back(read(out.getvalue(), max_bytes=1 << 22), here, 20)
        assert look(here) == look(there)
        assert {name: (here / name).stat().st_ino for name in same} == same


def test_what_is_packed_is_what_is_read(tmp_path: Path) -> None:
    source = tmp_path / "source"
    (source / "folder").mkdir(parents=True)
    (source / os.fsdecode(b"no utf-8 \xff")).write_bytes(b"1")
    (source / "folder/tool").write_bytes(b"22")
    (source / "folder/tool").chmod(0o700)
    (source / "link").symlink_to("/etc/passwd")
    out = io.BytesIO()
    parcels.pack(source, 10001, 10002, out)
    items = {item.path: item for item in Parcel([out.getvalue()], b".", 100, 10).items()}
    assert set(items) == {(), (b"folder",), (b"no utf-8 \xff",), (b"folder", b"tool"), (b"link",)}
    assert {item.uid for item in items.values()} == {10001}
    assert items[(b"folder", b"tool")].executable
    assert items[(b"link",)].link == b"/etc/passwd"


@pytest.mark.parametrize(
    ("data", "why"),
    [
        (lambda: archive(("../evil", tarfile.REGTYPE, b"x")), "elsewhere"),
        (lambda: archive(("a/../../evil", tarfile.REGTYPE, b"x")), "elsewhere"),
        (lambda: archive(("a//b", tarfile.REGTYPE, b"x")), "elsewhere"),
        (lambda: archive(("./b", tarfile.REGTYPE, b"x")), "elsewhere"),
        (lambda: archive(top="/workspace"), "elsewhere"),
        (lambda: archive(top="other"), "elsewhere"),
        (lambda: archive(("n" * 256, tarfile.REGTYPE, b"x")), "elsewhere"),
        (lambda: archive(("d", tarfile.CHRTYPE, b"")), "kind"),
        (lambda: archive(("d", tarfile.BLKTYPE, b"")), "kind"),
        (lambda: archive(("d", tarfile.CONTTYPE, b"")), "kind"),
        (lambda: archive(("d", b"S", b"")), "kind"),
        (lambda: archive(("d", tarfile.SYMTYPE, b"")), "nowhere"),
        (lambda: archive(("d", tarfile.LNKTYPE, b"/etc/passwd")), "elsewhere"),
        (lambda: archive(("d", tarfile.LNKTYPE, b"workspace/../../etc/passwd")), "elsewhere"),
        (lambda: archive(("d", tarfile.LNKTYPE, b"workspace/later"), ("later", tarfile.REGTYPE, b"x")), "no file"),
        (lambda: archive(("l", tarfile.SYMTYPE, b"/etc/passwd"), ("d", tarfile.LNKTYPE, b"workspace/l")), "no file"),
        (lambda: archive(("l", tarfile.SYMTYPE, b"/tmp"), ("l/x", tarfile.REGTYPE, b"x")), "without its directory"),
        (lambda: archive(("a", tarfile.REGTYPE, b"x"), ("a", tarfile.REGTYPE, b"y")), "twice"),
        (lambda: archive(("a", tarfile.REGTYPE, b"x"), ("a", tarfile.DIRTYPE, b"")), "twice"),
        (lambda: archive(("a/b", tarfile.REGTYPE, b"x")), "without its directory"),
        (lambda: archive(pax={"GNU.sparse.major": "1"}), "unknown kind"),
        (lambda: archive(pax={"comment": "x"}), "unknown kind"),
        (lambda: archive(("a", tarfile.REGTYPE, b"x"))[:-10240], "cut off"),
        (lambda: archive(("a", tarfile.REGTYPE, b"x" * 2000))[:2600], "cut off"),
        (lambda: archive(("a", tarfile.REGTYPE, b"x")) + b"\0" * 512 + b"more", "follows"),
        (lambda: b"\0" * 1024, "no top"),
        (lambda: b"", "cut off"),
        (lambda: b"no archive at all".ljust(1024, b"x"), "header"),
        (lambda: archive(("a", tarfile.REGTYPE, b"x")).replace(b"ustar", b"u5tar"), "checksum"),
        (lambda: _extended(b"999999 path=workspace/a\n"), "malformed"),
        (lambda: _extended(b"20 path=workspace/a"), "malformed"),
        (lambda: _extended(b"20 path=workspace/a\n20 path=workspace/b\n"), "malformed"),
        (lambda: _extended(b"11 size=-1\n"), "no number"),
        (lambda: _extended(b"12 size=0x1\n"), "no number"),
        (lambda: _extended(b"x"), "malformed"),
    ],
)
def test_an_archive_that_no_engine_makes_is_refused(tmp_path: Path, data: Callable[[], bytes], why: str) -> None:
    workspace = tmp_path / "here"
    workspace.mkdir()
    with pytest.raises(BrokenParcelError, match=why):
        bring_back(read(data()), workspace, 20)
    assert [path.name for path in tmp_path.iterdir()] == ["here"]


def _extended(body: bytes) -> bytes:
    """An archive whose first file has this as its extended header."""
    info = tarfile.TarInfo("workspace/x")
    info.type, info.size = tarfile.XHDTYPE, len(body)
    header = info.tobuf(tarfile.USTAR_FORMAT) + body.ljust(-(-len(body) // 512) * 512, b"\0")
    return archive()[:512] + header + archive(("a", tarfile.REGTYPE, b"x"))[512:]


def test_there_is_no_more_than_may_be(tmp_path: Path) -> None:
    data = archive(*((str(number), tarfile.REGTYPE, b"x" * 100) for number in range(20)))
    with pytest.raises(SandboxError, match="more files"):
        bring_back(read(data, max_items=20), tmp_path, 20)
    with pytest.raises(SandboxError, match="more than its disk"):
        bring_back(read(data, max_bytes=1999), tmp_path, 20)
    with pytest.raises(SandboxError, match="too long"):
        bring_back(read(data), tmp_path, -1)
    deep = [("/".join(["d"] * depth), tarfile.DIRTYPE, b"") for depth in range(1, parcels.MAX_DEPTH + 2)]
    with pytest.raises(SandboxError, match="deeper"):
        bring_back(read(archive(*deep)), tmp_path, 20)
    bring_back(read(archive(*deep[:-1])), tmp_path, 20)


@given(st.data())
@settings(max_examples=200, deadline=None)
def test_damage_is_noticed_or_harmless(data: st.DataObject) -> None:
    """Whatever one byte becomes: an error of ours, or a change below the workspace and nowhere else."""
    original = bytearray(archive(("a", tarfile.REGTYPE, b"x" * 600), ("l", tarfile.SYMTYPE, b"a"), ("é", b"6", b"")))
    original[data.draw(st.integers(0, len(original) - 1))] = data.draw(st.integers(0, 255))
    with tempfile.TemporaryDirectory() as place:
        workspace = Path(place) / "here"
        workspace.mkdir()
        with contextlib.suppress(SandboxError):
            bring_back(read(bytes(original)), workspace, 20)
        assert [path.name for path in Path(place).iterdir()] == ["here"]
