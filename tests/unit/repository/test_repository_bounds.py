"""What who may push can write: read within bounds, whatever a few bytes unfold to."""

from __future__ import annotations

import subprocess
import sys
import time
from pathlib import Path

import pytest
from support.gitrepos import Project, make_project
from support.trust import BRANCH, root_of, seal_root

from agent_pipeline.documents import strict
from agent_pipeline.documents.root import first_digest
from agent_pipeline.errors import GitError, SchemaError
from agent_pipeline.repository import attestations, compare, records, trust_files
from agent_pipeline.repository.clone import Clone
from agent_pipeline.repository.records import Record

FIRST = root_of({"ada": ("root",), "bob": ("root",)}, threshold=2)
SECOND = root_of({"ada": ("root",), "bob": ("root",)}, threshold=2, version=2)
SIGNED = {1: seal_root(FIRST, "ada", "bob"), 2: seal_root(SECOND, "ada", "bob")}
OFFERED = (BRANCH, first_digest(FIRST.to_json()))
MANY = 400
TREE = "1" * 40
ROOM = 48 << 20
# Reads in a process that may take `ROOM` bytes more than it has when everything is imported.
_BOUNDED = f"""
import resource, sys
from pathlib import Path
from agent_pipeline.audit import log
from agent_pipeline.errors import GitError, PathError, SchemaError, SignatureError
from agent_pipeline.repository import attestations, compare, growth, listing, records, trust_files
from agent_pipeline.repository.clone import Clone
from agent_pipeline.repository.records import Record
def refused(error, read, *words):
    try:
        read(*words)
    except error:
        return
    sys.exit("it was read: " + repr(words))
clone = Clone.discover(Path(sys.argv[1]))
pages = int(Path("/proc/self/statm").read_text().split()[0])
limit = pages * resource.getpagesize() + {ROOM}
resource.setrlimit(resource.RLIMIT_AS, (limit, limit))
"""


@pytest.fixture
def project(tmp_path: Path) -> Project:
    files = {
        f"{trust_files.FOLDER}/{version}.{number:08x}.dsse.json": data + b"\n"
        for version, signed in SIGNED.items()
        for number, data in enumerate(signed)
    }
    return make_project(tmp_path / "p", files)


@pytest.fixture
def read(monkeypatch: pytest.MonkeyPatch) -> list[str]:
    """Note the objects whose contents are read."""
    found: list[str] = []
    whole = Clone.blob

    def noted(clone: Clone, oid: str) -> bytes:
        found.append(oid)
        return whole(clone, oid)

    monkeypatch.setattr(Clone, "blob", noted)
    return found


def in_trust(project: Project, *rows: tuple[str, str]) -> str:
    """Make a commit whose folder of trust roots has (name, object), exactly as given."""
    trust = project.raw_tree(*(("100644", name.encode(), oid) for name, oid in rows))
    settings = project.raw_tree(("40000", b"trust", trust))
    return project.raw_commit(project.raw_tree(("40000", b".agent-pipeline", settings)))


def named(version: int, number: int) -> str:
    return f"{version}.{number:08x}.dsse.json"


def offer(project: Project, commit: str) -> None:
    """Put it on a branch that is looked at before all others."""
    project.git("update-ref", "refs/heads/aaa", commit)


def offered(project: Project) -> list[tuple[str, str]]:
    return list(trust_files.first_root_branches(project.clone, None))


def attested(project: Project, *rows: tuple[str, str, str]) -> str:
    """Make a commit that has (mode, name, object) for `TREE`."""
    return project.raw_commit(
        project.raw_tree(
            ("40000", TREE.encode(), project.raw_tree(*((mode, name.encode(), oid) for mode, name, oid in rows)))
        )
    )


def within_bounds(project: Project, code: str, *words: str) -> None:
    argv = [sys.executable, "-c", _BOUNDED + code, str(project.folder), *words]
    done = subprocess.run(argv, capture_output=True, text=True, timeout=60, check=False)
    assert done.returncode == 0, done.stderr


# Trust roots.


def test_an_honest_trust_root(project: Project, read: list[str]) -> None:
    told = tuple(tuple(data + b"\n" for data in SIGNED[version]) for version in (1, 2))
    assert trust_files.versions(project.clone, project.git("rev-parse", "main")) == told
    read.clear()
    assert set(offered(project)) == {OFFERED}
    firsts = [project.git("rev-parse", f"main:{trust_files.FOLDER}/{named(1, number)}") for number in (0, 1)]
    assert read == firsts  # of the versions the first alone


def test_branches_with_the_same_trust_root_are_read_once(project: Project, read: list[str]) -> None:
    for number in range(5):
        project.git("branch", f"other-{number}")
    assert set(offered(project)) == {OFFERED}
    assert len(read) == 2


def test_no_trust_root(tmp_path: Path) -> None:
    for number, name in enumerate(
        ("README", ".agent-pipeline/trust", ".agent-pipeline/trust/1.json", ".agent-pipeline")
    ):
        project = make_project(tmp_path / str(number), {name: b"x"})
        assert trust_files.versions(project.clone, project.git("rev-parse", "main")) == ()
        assert offered(project) == []


def test_a_missing_version(project: Project) -> None:
    good = project.blob(SIGNED[1][0])
    for versions in ((2,), (1, 3), (1, 999999)):
        commit = in_trust(project, *((named(version, 0), good) for version in versions))
        with pytest.raises(SchemaError, match="missing between 1 and"):
            trust_files.versions(project.clone, commit)


def test_an_envelope_that_is_not_here(project: Project) -> None:
    commit = in_trust(project, (named(1, 0), "1" * 40))
    offer(project, commit)
    assert set(offered(project)) == {OFFERED}
    with pytest.raises(GitError):
        trust_files.versions(project.clone, commit)


def test_many_names_of_one_object_cost_one(project: Project, read: list[str]) -> None:
    zeros = project.blob(bytes(strict.MAX_BYTES))
    commit = in_trust(project, *((named(1, number), zeros) for number in range(MANY)))
    offer(project, commit)
    assert set(offered(project)) == {OFFERED}
    assert zeros not in read
    with pytest.raises(SchemaError, match=f"{MANY << 20} bytes; at most"):
        trust_files.versions(project.clone, commit)
    assert zeros not in read
    few = in_trust(project, *((named(1, number), zeros) for number in range(100)))
    assert len(trust_files.versions(project.clone, few)[0]) == 100
    assert read.count(zeros) == 1
    within_bounds(project, "assert list(trust_files.first_root_branches(clone, None))")
    within_bounds(project, "assert len(trust_files.versions(clone, sys.argv[2])[0]) == 100", few)


def test_many_small_envelopes_on_a_branch_are_not_all_read(project: Project, read: list[str]) -> None:
    rows = [(named(1, number), project.blob(b"%d" % number)) for number in range(30)]
    offer(project, in_trust(project, *rows))
    assert set(offered(project)) == {OFFERED}
    assert len(read) < 15


def test_an_enormous_envelope_is_not_read(project: Project, read: list[str]) -> None:
    commit = in_trust(project, (named(1, 0), project.blob(bytes(128 << 20))))
    offer(project, commit)
    with pytest.raises(SchemaError, match=f"{named(1, 0)} has more than"):
        trust_files.versions(project.clone, commit)
    assert read == []
    within_bounds(project, "assert list(trust_files.first_root_branches(clone, None))")
    said = """
try:
    trust_files.versions(clone, sys.argv[2])
except SchemaError:
    sys.exit(0)
sys.exit("it was read")
"""
    within_bounds(project, said, commit)


def test_more_envelopes_than_any_trust_root_has(project: Project) -> None:
    tiny = project.blob(b"{}")
    for most, why in ((trust_files.MAX_ENVELOPES + 1, "more than 10000 envelopes"), (40_000, "more names than any")):
        commit = in_trust(project, *((named(1, number), tiny) for number in range(most)))
        offer(project, commit)
        with pytest.raises(SchemaError, match=why):
            trust_files.versions(project.clone, commit)
        assert set(offered(project)) == {OFFERED}


def test_as_many_envelopes_as_a_long_life_makes(project: Project) -> None:
    tiny = project.blob(b"{}")
    names = sorted(named(version, number) for version in range(1, 1001) for number in range(10))
    found = trust_files.versions(project.clone, in_trust(project, *((name, tiny) for name in names)))
    assert {len(version) for version in found} == {10}
    assert len(found) == 1000


# Attestations.


def test_honest_attestations(project: Project) -> None:
    good = project.blob(b"good\n")
    largest = project.blob(bytes(strict.MAX_BYTES))
    tip = attested(project, ("100644", "a.intoto.jsonl", good), ("100644", "b.intoto.jsonl", largest))
    told = {"a.intoto.jsonl": b"good\n", "b.intoto.jsonl": bytes(strict.MAX_BYTES)}
    assert attestations.of_tree(project.clone, tip, TREE) == told
    assert attestations.of_tree(project.clone, tip, "2" * 40) == {}
    flat = project.raw_commit(project.raw_tree(("100644", TREE.encode(), good)))
    assert attestations.of_tree(project.clone, flat, TREE) == {}


def test_what_can_be_no_attestation_is_not_read(project: Project, read: list[str]) -> None:
    good, huge = project.blob(b"good\n"), project.blob(bytes(128 << 20))
    tip = attested(
        project,
        ("100644", "a.intoto.jsonl", huge),
        ("100755", "b.intoto.jsonl", good),
        ("120000", "c.intoto.jsonl", good),
        ("100644", "d", huge),
        ("100644", "e.intoto.jsonl", good),
    )
    assert attestations.of_tree(project.clone, tip, TREE) == {"e.intoto.jsonl": b"good\n"}
    assert list(attestations.every(project.clone, tip)) == [b"good"]
    assert read == [good, good]
    within_bounds(project, "assert len(attestations.of_tree(clone, *sys.argv[2:])) == 1", tip, TREE)


def test_many_attestations_are_read_once_each_and_within_bounds(
    project: Project, read: list[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    zeros = project.blob(bytes(strict.MAX_BYTES))
    names = [f"{number:08x}.intoto.jsonl" for number in range(MANY)]
    tip = attested(project, *(("100644", name, zeros) for name in names))
    assert list(attestations.of_tree(project.clone, tip, TREE)) == names
    assert read == [zeros]
    within_bounds(project, f"assert len(attestations.of_tree(clone, *sys.argv[2:])) == {MANY}", tip, TREE)
    monkeypatch.setattr(attestations, "MAX_TOTAL", 2 * strict.MAX_BYTES)
    others = [project.blob(bytes([number]) * strict.MAX_BYTES) for number in range(1, 4)]
    tip = attested(project, *(("100644", name, oid) for name, oid in zip(names, others, strict=False)))
    assert list(attestations.of_tree(project.clone, tip, TREE)) == names[:2]


def test_a_folder_with_more_names_than_proofs_have(project: Project, read: list[str]) -> None:
    tiny = project.blob(b"{}")
    tip = attested(project, *(("100644", f"{number:08x}.intoto.jsonl", tiny) for number in range(40_000)))
    assert attestations.of_tree(project.clone, tip, TREE) == {}
    assert read == []


# Directories of so many names that reading one takes a machine's memory, though it is a small push.


def wide(project: Project, names: int) -> str:
    """A directory of so many names, 37 bytes for each, and much more once it is read."""
    blob = bytes.fromhex(project.blob(b"x"))
    data = b"".join(b"100644 f%07d\0" % number + blob for number in range(names))
    return project.git("hash-object", "-t", "tree", "-w", "--literally", "--stdin", stdin=data)


@pytest.fixture
def huge(project: Project) -> str:
    return wide(project, 2_000_000)


def step(project: Project, tree: str, *parents: str) -> str:
    words = [word for one in parents for word in ("-p", one)]
    return project.git("commit-tree", tree, *words, stdin=b"Record\n")


def in_folder(project: Project, tree: str, *, name: bytes = b"1") -> str:
    asked = project.blob(b"{}")
    return project.raw_tree(("40000", name, tree), ("100644", b"request.dsse.json", asked))


def test_a_record_with_a_huge_directory_is_not_read(project: Project, huge: str) -> None:
    for tree in (huge, in_folder(project, huge)):
        tip = step(project, tree)
        code = """
one = Record("a" * 16, sys.argv[2], clone)
refused(SchemaError, one.files)
refused(SchemaError, one.envelopes, "")
refused(SchemaError, list, one.each_envelope("", 1000))
assert one.carrier(1) is None
refused(SchemaError, one.read, "1/proposal.json")
refused(SchemaError, one.size, "1/proposal.json")
refused(SchemaError, records.check_plain, one)
"""
        within_bounds(project, code, tip)


def test_a_step_with_a_huge_directory_continues_nothing_that_was_seen(project: Project, huge: str) -> None:
    small = project.raw_tree(("100644", b"a", project.blob(b"x")))
    for old, new in ((small, huge), (in_folder(project, small), in_folder(project, huge))):
        before = step(project, old)
        after = step(project, new, before)
        code = """
refused(SchemaError, growth.grew, clone, *sys.argv[2:])
refused(SchemaError, list, growth.cuts(Record("a" * 16, sys.argv[3], clone)))
"""
        within_bounds(project, code, before, after)


def test_a_log_with_a_huge_directory_is_not_read(project: Project, huge: str) -> None:
    entry, small = project.blob(b"{}"), project.raw_tree(("100644", b"node", project.blob(b"x")))
    head = project.raw_commit(huge)
    within_bounds(project, "refused(SignatureError, log.envelope_of, clone, sys.argv[2])", head)
    rows = ("100644", b"entry.dsse.json", entry), ("40000", b"entries", huge), ("40000", b"state", small)
    head = project.raw_commit(project.raw_tree(rows[1], rows[0], rows[2]))
    code = """
assert log.envelope_of(clone, sys.argv[2]) == b"{}"
assert log.stored(clone, sys.argv[2], "state/node") == b"x"
refused(SignatureError, log.stored, clone, sys.argv[2], "entries/node")
"""
    within_bounds(project, code, head)


def test_attestations_of_a_huge_number_of_trees_are_not_read(project: Project, huge: str) -> None:
    tip = project.raw_commit(huge)
    code = """
assert attestations.of_tree(clone, sys.argv[2], "1" * 40) == {}
refused(GitError, list, attestations.every(clone, sys.argv[2]))
refused(SchemaError, attestations.add, clone, sys.argv[2], "1" * 40, {"a": b""}, None)
"""
    within_bounds(project, code, tip)


def test_any_other_huge_directory_is_not_read(project: Project, huge: str) -> None:
    code = """
refused(GitError, list, listing.children(clone, sys.argv[3]))
refused(GitError, list, listing.entries(clone, sys.argv[3]))
refused(SchemaError, clone.file, sys.argv[2], "a")
"""
    within_bounds(project, code, project.raw_commit(huge), huge)


def test_directories_that_differ_in_more_than_may_are_not_read(project: Project) -> None:
    large, small = wide(project, 1_500_000), project.raw_tree(("100644", b"a", project.blob(b"x")))
    code = """
for words in (sys.argv[2:4], sys.argv[3:5], (None, sys.argv[3])):
    refused(PathError, list, compare.differences(clone, *words))
"""
    within_bounds(project, code, small, large, small)
    most = wide(project, compare.MAX_CHANGES)
    assert len(list(compare.differences(project.clone, small, most))) == compare.MAX_CHANGES + 1


def test_branches_with_large_directories_are_looked_at_last(project: Project) -> None:
    offer(project, project.raw_commit(wide(project, 1_000_000)))
    within_bounds(project, "assert next(trust_files.first_root_branches(clone, None))")


def test_an_attestation_under_many_names_is_given_once(project: Project, read: list[str]) -> None:
    good = project.blob(b"good\n")
    tip = attested(project, *(("100644", f"{number:08x}.intoto.jsonl", good) for number in range(MANY)))
    assert list(attestations.every(project.clone, tip)) == [b"good"]
    assert read == [good]


# Records of many steps.


def test_a_step_is_no_larger_than_those_that_are_made(project: Project) -> None:
    tree, first = project.raw_tree(), step(project, project.raw_tree())
    lines = f"tree {tree}\n" + "".join(f"parent {parent}\n" for parent in [first] * 100)
    lines += "author A <a@b> 0 +0000\ncommitter A <a@b> 0 +0000\n\nRecord\n"
    tip = project.git("hash-object", "-t", "commit", "-w", "--literally", "--stdin", stdin=lines.encode())
    with pytest.raises(SchemaError, match="has more than 4096 bytes"):
        Record("a" * 16, tip, project.clone).history()
    assert not records.is_carrier(project.clone, tip)
    above = Record("a" * 16, step(project, tree, tip), project.clone)
    with pytest.raises(SchemaError, match="has more than 4096 bytes"):
        above.history()
    assert next(above.steps()) == above.tip


def test_a_proposal_is_sought_in_each_directory_once_and_within_bounds(
    project: Project, monkeypatch: pytest.MonkeyPatch
) -> None:
    blob = project.blob(b"x")
    rows = [("100644", b"f%05d" % number, blob) for number in range(1000)]
    inner = project.raw_tree(("100644", b"proposal.json", blob))
    carrier = records.carrier(project.clone, project.git("rev-parse", "main"), project.raw_tree(*rows))

    def sought(trees: list[str]) -> str | None:
        tip = step(project, trees[0])
        for tree in trees[1:]:
            tip = step(project, tree, tip)
        last = project.raw_tree(("40000", b"1", inner))
        return Record("a" * 16, step(project, last, tip, carrier), project.clone).carrier(1)

    monkeypatch.setattr(records, "MAX_LOOKED", 100_000)
    assert sought([project.raw_tree(*rows)] * 10) == carrier
    with pytest.raises(SchemaError, match="more than 100000 bytes of directories"):
        sought([project.raw_tree(*rows, ("100644", b"g%d" % number, blob)) for number in range(10)])


def test_steps_that_are_taken_in_are_listed_within_bounds(project: Project, monkeypatch: pytest.MonkeyPatch) -> None:
    clone, id_ = project.clone, "a" * 16
    tip = records.extend(clone, None, id_, {f"1/{number}.json": b"" for number in range(50)})
    for number in range(5):
        tip = records.extend(clone, Record(id_, tip, clone), id_, {f"2/{number}.json": b""})
    records.check_plain(Record(id_, tip, clone))
    monkeypatch.setattr(records, "MAX_LISTED", 200)
    with pytest.raises(SchemaError, match="more than 200 entries of directories"):
        records.check_plain(Record(id_, tip, clone))


def test_one_tree_under_the_names_of_many_records_is_listed_once(project: Project) -> None:
    blob, clone = project.blob(b"x"), project.clone
    rows = [("100644", b"f%05d" % number, blob) for number in range(9_000)]
    good = step(project, project.raw_tree(*rows))
    bad = step(project, project.raw_tree(*rows, ("120000", b"link", blob)))
    begun = time.process_time()
    for number in range(1000):
        assert len(Record(f"{number:016}", good, clone).files()) == 9_000
        with pytest.raises(SchemaError, match=f"{number:016} holds something else"):
            Record(f"{number:016}", bad, clone).files()
    assert time.process_time() - begun < 10
