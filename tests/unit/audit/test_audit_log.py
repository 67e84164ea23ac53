"""The shared log in a real repository, and this machine's own events."""

from __future__ import annotations

import contextlib
import json
import os
import stat
import threading
from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest
from support.gitrepos import Project, make_project
from support.logs import following, prove, stored
from support.trust import NOW, TEAM, Maker, ended, public, root_of

from agent_pipeline import config as configuration
from agent_pipeline.audit import events, log
from agent_pipeline.audit.walking import Finding, walk
from agent_pipeline.config import Config
from agent_pipeline.documents import strict
from agent_pipeline.errors import SchemaError, SignatureError, StaleError, StorageError
from agent_pipeline.repository.records import LOG
from agent_pipeline.repository.refs import RefUpdate, update
from agent_pipeline.repository.trees import Put, build
from agent_pipeline.verify.log import check_proof

MAKER = Maker()
ID = MAKER.request().id


@pytest.fixture
def project(tmp_path: Path) -> Project:
    return make_project(tmp_path / "project")


def read(project: Project) -> log.Log:
    return log.read(project.clone, None, MAKER.root)


def signed(found: log.Log, event: str, **fields: Any) -> bytes:
    """The next entry after `found`; what an entry says of the log before it is what the log says must follow."""
    roots = found.following()
    honest = {name: getattr(roots, name) for name in ("index", "previous", "history", "state")}
    return MAKER.entry((), event, **(honest | fields))


def grow(project: Project, *events_: str, **fields: Any) -> None:
    for event in events_:
        found = read(project)
        head = log.append(found, found.following(), signed(found, event, **fields))
        update(project.clone, [RefUpdate(LOG, found.head, head)])


def about(project: Project, request: str = ID) -> list[str]:
    """The events about a request, by proof."""
    return [entry.event for entry in check_proof(read(project).prove(request), MAKER.root, request).entries]


def test_an_empty_log(project: Project) -> None:
    assert (read(project).head, read(project).newest, read(project).size) == (None, None, 0)
    assert about(project) == []


def test_what_is_said_about_a_request_comes_back_in_order_and_verifies(project: Project) -> None:
    grow(project, "admitted", "approved")
    grow(project, "admitted", "merged", request="b" * 16)
    grow(project, "merged")
    assert about(project) == ["admitted", "approved", "merged"]
    assert about(project, "b" * 16) == ["admitted", "merged"]
    assert about(project, "c" * 16) == []
    found = read(project)
    assert (found.size, found.commit, found.head) == (5, found.head, project.git("rev-parse", LOG))
    assert project.git("log", "--format=%s", LOG).splitlines()[0] == f"4 merged {ID}"
    assert project.git("fsck", "--strict", "--no-dangling") == ""


def test_what_git_stores_is_what_is_kept_in_memory(project: Project) -> None:
    for number in range(40):
        grow(project, "admitted", request="abcdefgh"[number % 8] * 16)
    envelopes = [read(project).entry(index) for index in range(40)]
    assert read(project).following() == replace(following(envelopes), files=read(project).following().files)
    held = project.git("ls-tree", "-r", "--name-only", LOG).splitlines()
    assert sorted(held) == sorted([log.FILE, *stored(tuple(envelopes[:-1]))[1]])
    assert read(project).prove("a" * 16) == prove(envelopes, "a" * 16)


def test_the_same_entry_after_the_same_head_is_the_same_commit(project: Project) -> None:
    empty = read(project)
    entry = signed(empty, "admitted")
    assert log.append(empty, empty.following(), entry) == log.append(empty, empty.following(), entry)


def test_appending_moves_no_ref(project: Project) -> None:
    empty = read(project)
    log.append(empty, empty.following(), signed(empty, "admitted"))
    assert read(project).head is None


def test_two_who_append_at_once(project: Project) -> None:
    grow(project, "admitted")
    seen = read(project)
    first = log.append(seen, seen.following(), signed(seen, "approved"))
    second = log.append(seen, seen.following(), signed(seen, "rejected"))
    update(project.clone, [RefUpdate(LOG, seen.head, first)])
    with pytest.raises(StaleError):
        update(project.clone, [RefUpdate(LOG, seen.head, second)])
    assert read(project).head == first


@pytest.mark.parametrize("data", [b"", b"{}", MAKER.test_result()], ids=["nothing", "no envelope", "another statement"])
def test_only_entries_are_appended(project: Project, data: bytes) -> None:
    empty = read(project)
    with pytest.raises(SchemaError):
        log.append(empty, empty.following(), data)


@pytest.mark.parametrize("name", ["index", "previous", "history", "state"])
def test_only_what_follows_is_appended(project: Project, name: str) -> None:
    grow(project, "admitted")
    found = read(project)
    wrong: Any = 7 if name == "index" else "7" * 64
    with pytest.raises(SignatureError):
        log.append(found, found.following(), signed(found, "approved", **{name: wrong}))


def test_a_log_that_forks_or_holds_something_else(project: Project) -> None:
    grow(project, "admitted", "approved")
    head = project.git("rev-parse", LOG)
    blob = project.blob(b"x")
    for commit in (
        project.raw_commit(project.git("rev-parse", "HEAD^{tree}"), head),
        project.raw_commit(project.raw_tree(), head),
        project.raw_commit(project.raw_tree(("100644", b"entry.dsse.json", blob), ("100644", b"more", blob)), head),
        project.raw_commit(project.raw_tree(("100644", b"entries", blob), ("100644", b"entry.dsse.json", blob)), head),
        project.raw_commit(project.raw_tree(("120000", b"entry.dsse.json", blob)), head),
        project.raw_commit(
            project.raw_tree(("100644", b"entry.dsse.json", project.blob(b"x" * (1 << 20) + b"x"))), head
        ),
    ):
        project.git("update-ref", LOG, commit)
        with pytest.raises(SignatureError):
            read(project)
    with pytest.raises(SignatureError, match="forks"):
        log.before(project.clone, project.raw_commit(project.git("rev-parse", f"{head}^{{tree}}"), head, f"{head}~1"))


def test_a_log_whose_ref_is_no_commit(project: Project) -> None:
    project.git("update-ref", LOG, project.blob(b"x"))
    with pytest.raises(SignatureError, match="no log"):
        read(project)


def test_a_rewound_log_is_a_valid_one_that_says_less(project: Project) -> None:
    grow(project, "admitted", "merged")
    project.git("update-ref", LOG, f"{LOG}~1")
    assert about(project) == ["admitted"]


def files_of(project: Project) -> dict[str, str]:
    """Every file beside the newest entry, with its object."""
    rows = [line.split("\t") for line in project.git("ls-tree", "-r", LOG).splitlines()]
    return {path: meta.split()[2] for meta, path in rows if path != log.FILE}


def test_every_file_beside_the_newest_entry_is_bound_to_its_signature(project: Project) -> None:
    for number in range(18):
        grow(project, "admitted", request="abcd"[number % 4] * 16)
    good = project.git("rev-parse", LOG)
    following_ = read(project).following()
    proofs = {name * 16: read(project).prove(name * 16) for name in "abcd"}
    for path, oid in files_of(project).items():
        data = bytearray(project.clone.blob(oid))
        data[len(data) // 2] ^= 1
        project.git("update-ref", LOG, replaced(project, good, path, bytes(data)))
        found = read(project)
        for request, proof in proofs.items():  # what can be read at all is what was signed
            try:
                given = check_proof(found.prove(request), MAKER.root, request).entries
            except SignatureError:
                continue
            assert given == check_proof(proof, MAKER.root, request).entries, path
        with contextlib.suppress(SignatureError):
            assert found.following() == following_, path


def replaced(project: Project, commit: str, path: str, data: bytes) -> str:
    """A commit like `commit` with other content in one file."""
    tree = build(project.clone, project.clone.tree(commit), {path: Put(data, "100644")})
    return project.raw_commit(tree)


def test_entries_by_a_key_that_ended_are_passed_over_and_stay(project: Project) -> None:
    grow(project, "admitted")
    thief = Maker(ci="eve")
    found = read(project)
    roots = found.following()
    honest = {name: getattr(roots, name) for name in ("index", "previous")}
    lies = thief.entry((), "merged", **honest, history="5" * 64, state="6" * 64)
    tree = build(project.clone, project.clone.tree(str(found.head)), {log.FILE: Put(lies, "100644")})
    project.git("update-ref", LOG, project.raw_commit(tree, str(found.head)))
    with pytest.raises(SignatureError, match="nobody's"):
        read(project)
    team = root_of({**TEAM, "eve": ("merger",)}, bots=("robot",))
    root = replace(MAKER.root, version=2, former=ended(team, 1, "eve", revoked=True))
    seen = log.read(project.clone, None, root)
    assert (seen.size, len(seen.tail)) == (1, 1)
    assert [entry.event for entry in check_proof(seen.prove(ID), root, ID).entries] == ["admitted"]
    with pytest.raises(SignatureError, match="more than 0 void entries"):
        log.read(project.clone, None, root, most=0)
    after = seen.following()
    assert after == replace(following([found.entry(0), lies]), files=after.files)
    keyid = public("eve").keyid
    told = MAKER.entry((), "revoked", index=2, previous=after.previous, history=after.history, state=after.state,
                       request=None, number=None, statement=None, keys=(keyid,), since=1)  # fmt: skip
    project.git("update-ref", LOG, log.append(seen, after, told))
    now = log.read(project.clone, None, root)
    assert (now.size, now.tail) == (3, ())
    assert [entry.event for entry in check_proof(now.prove(ID), root, ID).entries] == ["admitted", "revoked"]
    late = thief.entry(
        (), "merged", **{name: getattr(now.following(), name) for name in ("index", "previous", "history", "state")}
    )
    project.git("update-ref", LOG, log.append(now, now.following(), late))
    with pytest.raises(SignatureError, match="which entry 2 had revoked"):
        log.read(project.clone, None, root).about_everything(root)
    for base in (None, now.head):  # whoever has gone through the log up to its `revoked` knows of it all the same
        steps = list(walk(project.clone, root, project.git("rev-parse", LOG), base))
        (row,) = [step for step in steps if isinstance(step, Finding)]
        assert (row.index, row.signer, row.ref) == (3, "eve", None)
        assert "which entry 2 had revoked" in row.what
    assert not [step for step in walk(project.clone, root, str(now.head)) if isinstance(step, Finding)]


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
