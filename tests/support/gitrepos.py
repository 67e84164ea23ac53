"""Makers of real Git repositories for tests, without the configuration of who runs them."""

from __future__ import annotations

import os
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path

from agent_pipeline import process
from agent_pipeline.repository.clone import Clone

IDENTITY = {
    "GIT_AUTHOR_NAME": "Ada",
    "GIT_AUTHOR_EMAIL": "ada@example.org",
    "GIT_AUTHOR_DATE": "2024-01-02T03:04:05Z",
    "GIT_COMMITTER_NAME": "Ada",
    "GIT_COMMITTER_EMAIL": "ada@example.org",
    "GIT_COMMITTER_DATE": "2024-01-02T03:04:05Z",
}


def run_git(
    folder: Path, *args: str, stdin: bytes = b"", ok: bool = True, env: Mapping[str, str] | None = None
) -> bytes:
    """Run git in `folder` as its owner would, and return its stdout."""
    clean = {"PATH": os.environ["PATH"], "HOME": "/nonexistent", "GIT_CONFIG_NOSYSTEM": "1", "LC_ALL": "C"}
    more = {"GIT_CONFIG_COUNT": "1", "GIT_CONFIG_KEY_0": "protocol.file.allow", "GIT_CONFIG_VALUE_0": "always"}
    done = process.run(["git", *args], env={**clean, **more, **IDENTITY, **(env or {})}, cwd=folder, stdin=stdin)
    assert done.ok or not ok, done.explain()
    return done.stdout


@dataclass(frozen=True)
class Project:
    """A repository with checked-out files, as a developer has it."""

    folder: Path

    @property
    def clone(self) -> Clone:
        return Clone.discover(self.folder)

    def git(self, *args: str, stdin: bytes = b"", ok: bool = True) -> str:
        return run_git(self.folder, *args, stdin=stdin, ok=ok).decode("utf-8", "surrogateescape").strip()

    def write(self, files: Mapping[str, bytes]) -> None:
        for name, data in files.items():
            path = self.folder / name
            path.parent.mkdir(parents=True, exist_ok=True)
            path.write_bytes(data)

    def commit(self, files: Mapping[str, bytes], message: str = "change") -> str:
        self.write(files)
        self.git("add", "--all")
        self.git("commit", "--quiet", "--allow-empty", "-m", message)
        return self.git("rev-parse", "HEAD")

    def raw_tree(self, *rows: tuple[str, bytes, str]) -> str:
        """Store a tree object exactly as given, however damaged: (mode, name, object)."""
        data = b"".join(mode.encode() + b" " + name + b"\0" + bytes.fromhex(oid) for mode, name, oid in rows)
        return self.git("hash-object", "-t", "tree", "-w", "--literally", "--stdin", stdin=data)

    def raw_commit(self, tree: str, *parents: str) -> str:
        return self.git("commit-tree", tree, *(word for one in parents for word in ("-p", one)), "-m", "raw")

    def blob(self, data: bytes) -> str:
        return self.git("hash-object", "-w", "--stdin", stdin=data)


def make_project(folder: Path, files: Mapping[str, bytes] | None = None) -> Project:
    """Make a repository with one commit on main, and an identity of its own."""
    folder.mkdir(parents=True, exist_ok=True)
    run_git(folder, "init", "--quiet", "--initial-branch=main")
    run_git(folder, "config", "user.name", "Ada")
    run_git(folder, "config", "user.email", "ada@example.org")
    project = Project(folder)
    project.commit({"README": b"hello\n"} if files is None else files, "first")
    return project


def make_bare(folder: Path) -> Path:
    """Make an empty bare repository that accepts atomic pushes."""
    folder.mkdir(parents=True)
    run_git(folder, "init", "--quiet", "--bare", "--initial-branch=main")
    return folder


def clone_of(remote: Path, folder: Path) -> Project:
    """Clone `remote` as another developer would."""
    run_git(folder.parent, "clone", "--quiet", str(remote), str(folder))
    run_git(folder, "config", "user.name", "Bob")
    run_git(folder, "config", "user.email", "bob@example.org")
    return Project(folder)
