"""Making a repository out of a folder, as a person would with `git init` and `git add`; for the demo."""

from __future__ import annotations

from datetime import datetime
from pathlib import Path

import pygit2

from agent_pipeline.errors import GitError


def initialise(folder: Path, name: str, email: str) -> None:
    """Make `folder` a repository on the branch main, with that identity. Raises `GitError`."""
    try:
        repository = pygit2.init_repository(folder, initial_head="main")
    except pygit2.GitError as error:
        raise GitError(f"cannot make a repository in {folder}: {error}") from error
    repository.config["user.name"] = name
    repository.config["user.email"] = email


def commit_all(folder: Path, message: str, moment: datetime) -> str:
    """Commit everything in the folder that its gitignore files do not leave out. Return the commit's id."""
    repository = pygit2.Repository(folder)
    repository.index.add_all()
    repository.index.write()
    tree = repository.index.write_tree()
    who = repository.default_signature
    signature = pygit2.Signature(who.name, who.email, int(moment.timestamp()), 0)
    parents = [] if repository.head_is_unborn else [repository.head.target]
    return str(repository.create_commit("HEAD", signature, signature, message, tree, parents))
