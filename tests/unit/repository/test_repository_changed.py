"""What differs between two trees is found below directories that differ, and nowhere else."""

from __future__ import annotations

from pathlib import Path

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from support.gitrepos import Project, make_project

from agent_pipeline.errors import GitError
from agent_pipeline.repository.changed import blob_id, changed_files

NAMES = st.lists(st.sampled_from(["a", "b", "node", "\u00e9", "a-b"]), min_size=1, max_size=3).map("/".join)
TREES = st.dictionaries(NAMES, st.sampled_from([b"1", b"2", b""]), max_size=6).filter(
    lambda files: not any(other.startswith(f"{path}/") for path in files for other in files)
)


@pytest.fixture
def project(tmp_path: Path) -> Project:
    return make_project(tmp_path / "p", {"README": b"x\n"})


def written(project: Project, files: dict[str, bytes]) -> str:
    project.git("read-tree", "--empty")
    for path, data in files.items():
        (project.folder / "blob").write_bytes(data)
        project.git("update-index", "--add", "--cacheinfo", f"100644,{project.git('hash-object', '-w', 'blob')},{path}")
    return project.git("write-tree")


@settings(suppress_health_check=[HealthCheck.function_scoped_fixture], deadline=None, max_examples=40)
@given(old=TREES, new=TREES)
def test_it_is_what_the_contents_say(project: Project, old: dict[str, bytes], new: dict[str, bytes]) -> None:
    before, after = written(project, old), written(project, new)
    wanted = {
        path: None if path not in new else blob_id(new[path])
        for path in old.keys() | new.keys()
        if old.get(path) != new.get(path)
    }
    assert changed_files(project.clone, before, after) == wanted
    assert changed_files(project.clone, None, after) == {path: blob_id(data) for path, data in new.items()}


def test_what_is_no_plain_file_equals_no_object(project: Project) -> None:
    plain = written(project, {"a": b"1", "b": b"2"})
    project.git("update-index", "--add", "--cacheinfo", f"120000,{blob_id(b'1')},a")
    project.git("update-index", "--add", "--cacheinfo", f"100755,{blob_id(b'2')},b")
    found = changed_files(project.clone, plain, project.git("write-tree"))
    assert found == {"a": f"120000 {blob_id(b'1')}", "b": f"100755 {blob_id(b'2')}"}


def test_nothing_below_what_is_the_same_is_read(project: Project) -> None:
    """Directories that are the same are not even looked up: an audit's time must not grow with the log."""
    files = {f"old/{number}/file": b"%d" % number for number in range(20)}
    before, after = written(project, files), written(project, files | {"new/file": b"x"})
    same = project.git("rev-parse", f"{after}:old")
    (project.folder / ".git/objects" / same[:2] / same[2:]).unlink()
    assert changed_files(project.clone, before, after) == {"new/file": blob_id(b"x")}
    with pytest.raises(GitError, match=same[:12]):
        changed_files(project.clone, None, after)
