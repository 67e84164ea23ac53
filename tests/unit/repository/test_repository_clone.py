"""Opening repositories that people really have, and saying plainly why one cannot be used."""

from __future__ import annotations

import os
from pathlib import Path

import pygit2
import pytest
from support.gitrepos import clone_of, make_bare, make_project, run_git

from agent_pipeline.errors import GitError, UsageError
from agent_pipeline.repository.clone import Clone
from agent_pipeline.repository.opening import CACHE


def test_found_from_below(tmp_path: Path) -> None:
    project = make_project(tmp_path / "p", {"src/a/b.py": b"x"})
    clone = Clone.discover(tmp_path / "p" / "src" / "a")
    assert clone.path == tmp_path / "p" / ".git"
    assert clone.worktree == tmp_path / "p"
    assert clone.branch() == "refs/heads/main" == clone.head_ref()
    assert clone.commit("main") == project.git("rev-parse", "HEAD")
    assert clone.tree(clone.commit("HEAD")) == project.git("rev-parse", "HEAD^{tree}")


def test_what_is_kept_of_objects_that_were_read_is_bounded(tmp_path: Path) -> None:
    project = make_project(tmp_path / "p")
    long = "x" * 3900  # libgit2 keeps commits of up to 4 KiB
    commit = project.git("rev-parse", "HEAD")
    stream = "".join(
        f"commit refs/heads/many\ncommitter a <a@b> {number} +0000\ndata {len(long)}\n{long}\n"
        for number in range(2 * CACHE // len(long))
    )
    run_git(project.folder, "fast-import", "--quiet", stdin=stream.encode())
    clone = Clone.discover(project.folder)
    for walked in clone.objects.walk(clone.commit("many")):
        assert walked.message
    kept, most = pygit2.settings.cached_memory
    assert most == CACHE
    assert most // 2 < kept <= most
    assert clone.commit("HEAD") == commit


def test_not_a_repository(tmp_path: Path) -> None:
    with pytest.raises(UsageError, match="not in a Git repository") as raised:
        Clone.discover(tmp_path)
    assert raised.value.hint


def test_no_commits(tmp_path: Path) -> None:
    run_git(tmp_path, "init", "--quiet")
    with pytest.raises(UsageError, match="no commits"):
        Clone.discover(tmp_path)


def test_shallow(tmp_path: Path) -> None:
    project = make_project(tmp_path / "p")
    project.commit({"a": b"2"})
    run_git(tmp_path, "clone", "--quiet", "--depth=1", f"file://{project.folder}", "shallow")
    with pytest.raises(UsageError, match="shallow") as raised:
        Clone.discover(tmp_path / "shallow")
    assert "unshallow" in (raised.value.hint or "")


def test_grafts_are_refused(tmp_path: Path) -> None:
    project = make_project(tmp_path / "p")
    head = project.git("rev-parse", "HEAD")
    (project.folder / ".git" / "info" / "grafts").write_text(f"{head}\n")
    with pytest.raises(UsageError, match="rewrites the history"):
        Clone.discover(project.folder)


def test_replace_refs_are_not_followed(tmp_path: Path) -> None:
    project = make_project(tmp_path / "p", {"a": b"evil"})
    evil = project.git("rev-parse", "HEAD")
    project.git("switch", "--quiet", "--orphan", "other")
    nice = project.commit({"a": b"nice"})
    project.git("replace", evil, nice)
    assert project.git("show", f"{evil}:a") == "nice"
    assert project.clone.file(evil, "a") == b"evil"


def test_sha256_repository(tmp_path: Path) -> None:
    run_git(tmp_path, "init", "--quiet", "--object-format=sha256")
    with pytest.raises(UsageError, match=r"names its objects by sha256 \(extensions.objectformat\)") as raised:
        Clone.discover(tmp_path)
    assert "sha1" in (raised.value.hint or "")


def test_partial_clone(tmp_path: Path) -> None:
    project = make_project(tmp_path / "p")
    project.git("config", "uploadpack.allowFilter", "true")
    run_git(tmp_path, "clone", "--quiet", "--filter=blob:none", f"file://{project.folder}", "partial")
    with pytest.raises(UsageError, match="partial clone") as raised:
        Clone.discover(tmp_path / "partial")
    assert "--filter" in (raised.value.hint or "")


def test_an_extension_that_nothing_here_reads(tmp_path: Path) -> None:
    project = make_project(tmp_path / "p")
    project.git("config", "core.repositoryFormatVersion", "1")
    project.git("config", "extensions.refStorage", "reftable")
    with pytest.raises(UsageError, match="refstorage") as raised:
        Clone.discover(project.folder)
    assert "without it" in (raised.value.hint or "")


def test_no_settings(tmp_path: Path) -> None:
    project = make_project(tmp_path / "p")
    head = project.git("rev-parse", "HEAD")
    (project.folder / ".git" / "config").unlink()
    assert Clone.discover(project.folder).commit("HEAD") == head


def test_bare(tmp_path: Path) -> None:
    project = make_project(tmp_path / "p")
    bare = make_bare(tmp_path / "bare.git")
    project.git("push", "--quiet", str(bare), "main")
    clone = Clone.discover(bare)
    assert clone.worktree is None
    assert clone.dirty() == ()
    assert clone.commit("main") == project.git("rev-parse", "HEAD")


def test_linked_worktree_has_the_common_directory(tmp_path: Path) -> None:
    project = make_project(tmp_path / "p")
    project.git("worktree", "add", "--quiet", "-b", "side", str(tmp_path / "linked"))
    clone = Clone.discover(tmp_path / "linked")
    assert clone.path == project.folder / ".git"
    assert clone.worktree == tmp_path / "linked"
    assert clone.branch() == "refs/heads/side"


def test_detached_head(tmp_path: Path) -> None:
    project = make_project(tmp_path / "p")
    project.git("checkout", "--quiet", "--detach")
    assert project.clone.head_ref() is None
    with pytest.raises(UsageError, match="detached head") as raised:
        project.clone.branch()
    assert raised.value.hint


@pytest.mark.parametrize(
    "rev", ["nope", "", "-x", "--all", "a..b", "\0", "HEAD~5", "HEAD:README", "deadbeef", "x" * 5000]
)
def test_revisions_that_name_no_commit(tmp_path: Path, rev: str) -> None:
    with pytest.raises(UsageError, match="names no commit"):
        make_project(tmp_path / "p").clone.commit(rev)


def test_dirty_and_submodules(tmp_path: Path) -> None:
    inner = make_project(tmp_path / "inner")
    project = make_project(tmp_path / "p", {"a": b"1", ".gitignore": b"*.log\n"})
    assert project.clone.dirty() == ()
    project.git("submodule", "add", "--quiet", str(inner.folder), "libs/inner")
    project.git("commit", "--quiet", "-m", "sub")
    clone = project.clone
    assert clone.submodules(clone.tree(clone.commit("HEAD"))) == ("libs/inner",)
    project.write({"a": b"2", "new\nline": b"", "x.log": b""})
    (project.folder / os.fsdecode(b"odd\xff")).touch()
    assert project.clone.dirty() == ("a", "new\\nline", "odd\\udcff")


def test_dirty_runs_no_filter(tmp_path: Path) -> None:
    project = make_project(tmp_path / "p", {"a": b"1", ".gitattributes": b"* filter=evil\n"})
    project.git("config", "filter.evil.clean", f"touch {tmp_path}/ran; cat")
    project.git("config", "core.fsmonitor", f"touch {tmp_path}/ran")
    project.write({"a": b"3"})
    assert project.clone.dirty() == ("a",)
    assert not (tmp_path / "ran").exists()


def test_file_only_reads_files(tmp_path: Path) -> None:
    project = make_project(tmp_path / "p", {"d/a": b"1"})
    (project.folder / "link").symlink_to("d/a")
    head = project.commit({})
    clone = project.clone
    assert clone.file(head, "d/a") == b"1"
    for path in ("d", "link", "nope", "d/nope", "", "/d/a", "../p"):
        assert clone.file(head, path) is None


def test_refs(tmp_path: Path) -> None:
    project = make_project(tmp_path / "p")
    head = project.git("rev-parse", "HEAD")
    project.git("update-ref", "refs/x/b", head)
    project.git("update-ref", "refs/x/a", head)
    project.git("update-ref", "refs/x/blob", project.blob(b"1"))
    project.git("symbolic-ref", "refs/x/sym", "refs/heads/main")
    clone = project.clone
    assert list(clone.refs("refs/x/")) == ["refs/x/a", "refs/x/b"]
    assert clone.ref("refs/x/a") == head
    for name in ("refs/x/none", "refs/x/blob", "", "x", "refs/..", "refs/x/\0"):
        assert clone.ref(name) is None


def test_missing_objects_are_git_errors(tmp_path: Path) -> None:
    clone = make_project(tmp_path / "p").clone
    for call in (clone.blob, clone.tree, clone.parents, clone.size):
        for oid in ("0" * 40, "zz", "1" * 41):
            with pytest.raises(GitError):
                call(oid)
    with pytest.raises(GitError):
        clone.blob(clone.tree(clone.commit("HEAD")))


def test_is_ancestor(tmp_path: Path) -> None:
    project = make_project(tmp_path / "p")
    first, second = project.git("rev-parse", "HEAD"), project.commit({"b": b""})
    clone = project.clone
    assert clone.is_ancestor(first, second)
    assert clone.is_ancestor(first, first)
    assert not clone.is_ancestor(second, first)
    assert not clone.is_ancestor("0" * 40, first)


def test_settings_and_remotes(tmp_path: Path) -> None:
    project = make_project(tmp_path / "p")
    clone = project.clone
    assert clone.remote() is None
    bare = make_bare(tmp_path / "r.git")
    project.git("remote", "add", "records", str(bare))
    assert project.clone.remote() is None
    clone.set_config("agent-pipeline.remote", "records")
    assert project.git("config", "agent-pipeline.remote") == "records"
    assert project.clone.remote() == "records"
    assert project.clone.remote_url("records") == str(bare)
    project.git("remote", "remove", "records")
    with pytest.raises(UsageError, match="no such remote"):
        project.clone.remote()
    with pytest.raises(UsageError, match="no remote"):
        project.clone.remote_url("records")


def test_origin_is_the_default_remote(tmp_path: Path) -> None:
    project = make_project(tmp_path / "p")
    bare = make_bare(tmp_path / "r.git")
    project.git("push", "--quiet", str(bare), "main")
    other = clone_of(bare, tmp_path / "q")
    assert other.clone.remote() == "origin"
    assert other.clone.identity() == ("Bob", "bob@example.org")


def test_identity_must_be_set(tmp_path: Path) -> None:
    project = make_project(tmp_path / "p")
    project.git("config", "user.email", "")
    with pytest.raises(UsageError, match=r"user\.email"):
        project.clone.identity()
