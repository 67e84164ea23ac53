"""Trust roots and attestations by who may push: read within bounds, whatever a few bytes unfold to."""

from __future__ import annotations

import subprocess
import sys
from pathlib import Path

import pytest
from support.gitrepos import Project, make_project
from support.trust import BRANCH, root_of, seal_root

from agent_pipeline.documents import strict
from agent_pipeline.documents.root import first_digest
from agent_pipeline.errors import GitError, SchemaError
from agent_pipeline.repository import attestations, trust_files
from agent_pipeline.repository.clone import Clone

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
from agent_pipeline.errors import SchemaError
from agent_pipeline.repository import attestations, trust_files
from agent_pipeline.repository.clone import Clone
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
