"""The shared log in a real repository, and this machine's own events."""

from __future__ import annotations

import json
import os
import stat
import threading
from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path

import pytest
from support.gitrepos import Project, make_project
from support.trust import NOW, Maker, root_of

from agent_pipeline import config as configuration
from agent_pipeline.audit import events, log
from agent_pipeline.config import Config
from agent_pipeline.documents import strict
from agent_pipeline.errors import SchemaError, SignatureError, StaleError, StorageError
from agent_pipeline.repository.records import LOG
from agent_pipeline.repository.refs import RefUpdate, update
from agent_pipeline.verify.log import check_log

MAKER = Maker()


@pytest.fixture
def project(tmp_path: Path) -> Project:
    return make_project(tmp_path / "project")


def grow(project: Project, *events_: str) -> None:
    for event in events_:
        found = log.read(project.clone, None)
        head = log.append(project.clone, found, MAKER.entry(found.envelopes, event))
        update(project.clone, [RefUpdate(LOG, found.head, head)])


def test_an_empty_log(project: Project) -> None:
    assert log.read(project.clone, None) == log.Log((), None)


def test_entries_come_back_in_order_and_verify(project: Project) -> None:
    grow(project, "admitted", "approved", "merged")
    found = log.read(project.clone, None)
    entries = check_log(found.envelopes, root_of({"robot": ("ci", "merger")}, bots=("robot",)))
    assert [entry.event for entry in entries] == ["admitted", "approved", "merged"]
    assert found.entries[-1].commit == found.head == project.git("rev-parse", LOG)
    assert project.git("log", "--format=%s", LOG).splitlines()[0] == f"2 merged {MAKER.request().id}"
    assert project.git("fsck", "--strict", "--no-dangling") == ""


def test_the_same_entry_after_the_same_head_is_the_same_commit(project: Project) -> None:
    empty = log.read(project.clone, None)
    entry = MAKER.entry([], "admitted")
    assert log.append(project.clone, empty, entry) == log.append(project.clone, empty, entry)


def test_appending_moves_no_ref(project: Project) -> None:
    log.append(project.clone, log.read(project.clone, None), MAKER.entry([], "admitted"))
    assert log.read(project.clone, None).head is None


def test_two_who_append_at_once(project: Project) -> None:
    grow(project, "admitted")
    seen = log.read(project.clone, None)
    first = log.append(project.clone, seen, MAKER.entry(seen.envelopes, "approved"))
    second = log.append(project.clone, seen, MAKER.entry(seen.envelopes, "rejected"))
    update(project.clone, [RefUpdate(LOG, seen.head, first)])
    with pytest.raises(StaleError):
        update(project.clone, [RefUpdate(LOG, seen.head, second)])
    assert log.read(project.clone, None).head == first


@pytest.mark.parametrize("data", [b"", b"{}", MAKER.test_result()], ids=["nothing", "no envelope", "another statement"])
def test_only_entries_are_appended(project: Project, data: bytes) -> None:
    with pytest.raises(SchemaError):
        log.append(project.clone, log.read(project.clone, None), data)


def test_a_log_that_forks_or_holds_something_else(project: Project) -> None:
    grow(project, "admitted", "approved")
    tree, head = project.git("rev-parse", f"{LOG}^{{tree}}"), project.git("rev-parse", LOG)
    blob = project.blob(b"x")
    for commit in (
        project.raw_commit(tree, head, project.git("rev-parse", "HEAD")),
        project.raw_commit(project.git("rev-parse", "HEAD^{tree}"), head),
        project.raw_commit(project.raw_tree(), head),
        project.raw_commit(project.raw_tree(("100644", b"entry.dsse.json", blob), ("100644", b"more", blob)), head),
        project.raw_commit(project.raw_tree(("120000", b"entry.dsse.json", blob)), head),
        project.raw_commit(
            project.raw_tree(("100644", b"entry.dsse.json", project.blob(b"x" * (1 << 20) + b"x"))), head
        ),
    ):
        project.git("update-ref", LOG, commit)
        with pytest.raises(SignatureError):
            log.read(project.clone, None)


def test_a_log_whose_ref_is_no_commit(project: Project) -> None:
    project.git("update-ref", LOG, project.blob(b"x"))
    with pytest.raises(SignatureError, match="no log"):
        log.read(project.clone, None)


def test_a_rewound_log_is_a_valid_one_that_says_less(project: Project) -> None:
    grow(project, "admitted", "merged")
    whole = log.read(project.clone, None)
    project.git("update-ref", LOG, whole.entries[0].commit)
    assert log.read(project.clone, None).entries == whole.entries[:1]
    assert whole.entries[1].commit != whole.entries[0].commit  # what the merge on the protected branch names


# This machine's events.


@pytest.fixture
def config(tmp_path: Path) -> Config:
    return replace(configuration.load(), state_dir=tmp_path / "state")


@pytest.fixture(autouse=True)
def _fixed_clock() -> Iterator[None]:
    kept = os.environ.get("SOURCE_DATE_EPOCH")
    os.environ["SOURCE_DATE_EPOCH"] = str(int(NOW.timestamp()))
    yield
    del os.environ["SOURCE_DATE_EPOCH"]
    if kept is not None:
        os.environ["SOURCE_DATE_EPOCH"] = kept


def test_events_are_lines_that_only_their_owner_reads(config: Config) -> None:
    events.record(config, "contain", "started", "a" * 16, backend="docker", seconds=3)
    events.record(config, "merge", "refused")
    first, second = events.tail(config, 10)
    assert first == {
        "time": "2026-03-01T12:00:00Z",
        "pid": os.getpid(),
        "stage": "contain",
        "event": "started",
        "request": "a" * 16,
        "backend": "docker",
        "seconds": 3,
    }
    assert second["event"] == "refused"
    assert stat.S_IMODE(events.path(config).stat().st_mode) == 0o600
    assert events.tail(config, 1) == [second]


@pytest.mark.parametrize(
    "secret",
    [
        "-----BEGIN OPENSSH PRIVATE KEY-----",
        "the key sk-ant-api03-abc",
        "ghp_" + "a" * 36,
        "https://me:hunter2@example.org/x",
        "AKIA" + "A" * 16,
    ],
)
def test_what_looks_like_a_secret_is_left_out(config: Config, secret: str) -> None:
    events.record(config, "act", "said", detail=secret)
    assert secret.encode() not in events.path(config).read_bytes()
    assert events.tail(config, 1)[0]["detail"].startswith("[left out")


def test_long_and_odd_values_stay_one_line(config: Config) -> None:
    events.record(config, "act", "said", detail="x" * 10_000 + "\n\x1b[2J")
    (line,) = events.path(config).read_bytes().splitlines()
    assert len(line) < 1000
    assert json.loads(line)["detail"] == "x" * events.MAX_VALUE


def test_many_writers_leave_whole_lines(config: Config) -> None:
    def write(number: int) -> None:
        for _ in range(20):
            events.record(config, "act", "step", detail=str(number) * 100)

    threads = [threading.Thread(target=write, args=(number,)) for number in range(4)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert len(events.tail(config, 1000)) == 80


def test_a_large_log_is_put_aside(config: Config) -> None:
    events.record(config, "act", "old")
    with events.path(config).open("ab") as file:
        file.truncate(events.ROTATE_BYTES + 1)
    events.record(config, "act", "new")
    assert events.path(config).stat().st_size < 1000
    assert events.path(config).with_name("events.jsonl.1").exists()
    assert events.tail(config, 1)[0]["event"] == "new"


def test_a_place_where_nothing_can_be_written(config: Config) -> None:
    config.state_dir.parent.mkdir(exist_ok=True)
    config.state_dir.write_bytes(b"")
    with pytest.raises(StorageError):
        events.record(config, "act", "said")


def test_an_entry_is_named_by_its_bytes() -> None:
    entry = MAKER.entry([], "admitted")
    assert strict.sha256(entry) == strict.sha256(MAKER.entry([], "admitted"))
