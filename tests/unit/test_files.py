"""A file is written whole or not at all."""

from __future__ import annotations

import errno
import os
import resource
import signal
import stat
from pathlib import Path

import pytest

from agent_pipeline.files import written_whole


def everything(folder: Path) -> dict[str, bytes]:
    return {path.name: path.read_bytes() for path in folder.iterdir()}


def write_half(path: Path, then: type[BaseException]) -> None:
    with written_whole(path) as file:
        file.write(b"half")
        raise then


def test_the_new_stands_where_the_old_stood_with_the_mode_asked_for(tmp_path: Path) -> None:
    path = tmp_path / "a"
    path.write_bytes(b"old")
    with written_whole(path, mode=0o640) as file:
        file.write(b"new")
        assert path.read_bytes() == b"old"
    assert everything(tmp_path) == {"a": b"new"}
    assert stat.S_IMODE(path.stat().st_mode) == 0o640


def test_nobody_else_reads_it_unless_asked(tmp_path: Path) -> None:
    previous = os.umask(0)
    try:
        with written_whole(tmp_path / "a") as file:
            (beside,) = tmp_path.iterdir()
            assert stat.S_IMODE(beside.stat().st_mode) == 0o600
            file.write(b"secret")
    finally:
        os.umask(previous)
    assert stat.S_IMODE((tmp_path / "a").stat().st_mode) == 0o600


@pytest.mark.parametrize("thrown", [KeyboardInterrupt, OSError, SystemExit])
def test_what_is_interrupted_leaves_the_old_and_nothing_beside_it(tmp_path: Path, thrown: type[BaseException]) -> None:
    path = tmp_path / "a"
    path.write_bytes(b"old")
    with pytest.raises(thrown):
        write_half(path, thrown)
    assert everything(tmp_path) == {"a": b"old"}


def test_a_disk_that_is_full_leaves_the_old(tmp_path: Path) -> None:
    path = tmp_path / "a"
    path.write_bytes(b"old")
    soft, hard = resource.getrlimit(resource.RLIMIT_FSIZE)
    ignored = signal.signal(signal.SIGXFSZ, signal.SIG_IGN)
    resource.setrlimit(resource.RLIMIT_FSIZE, (4096, hard))
    try:
        with pytest.raises(OSError, match=os.strerror(errno.EFBIG)), written_whole(path) as file:
            file.write(b"x" * 100_000)
    finally:
        resource.setrlimit(resource.RLIMIT_FSIZE, (soft, hard))
        signal.signal(signal.SIGXFSZ, ignored)
    assert everything(tmp_path) == {"a": b"old"}


def test_without_replace_what_is_there_stays(tmp_path: Path) -> None:
    path = tmp_path / "a"
    with written_whole(path, replace=False) as file:
        file.write(b"first")
    with pytest.raises(FileExistsError), written_whole(path, replace=False) as file:
        file.write(b"second")
    assert everything(tmp_path) == {"a": b"first"}


def test_the_longest_name_that_a_file_may_have_can_be_written(tmp_path: Path) -> None:
    path = tmp_path / ("n" * 255)
    with written_whole(path) as file:
        file.write(b"")
    assert everything(tmp_path) == {path.name: b""}


def test_a_link_is_replaced_and_not_followed(tmp_path: Path) -> None:
    (tmp_path / "elsewhere").write_bytes(b"mine")
    (tmp_path / "a").symlink_to("elsewhere")
    with written_whole(tmp_path / "a") as file:
        file.write(b"new")
    assert everything(tmp_path) == {"elsewhere": b"mine", "a": b"new"}
    assert not (tmp_path / "a").is_symlink()
