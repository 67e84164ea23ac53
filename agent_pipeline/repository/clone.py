"""The operator's own repository: reading it, and the few settings that are kept in it.

Objects are read as they are stored, wherever they are stored, and hashed when they are read. What cannot be relied on
is not opened (`opening.py`).
"""

from __future__ import annotations

from collections import OrderedDict
from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path

import pygit2
from pygit2.enums import FileMode, FileStatus, ReferenceType

from agent_pipeline.documents.characters import visible
from agent_pipeline.errors import GitError, SchemaError, UsageError
from agent_pipeline.repository.opening import open_repository

MAX_FILE = 64 << 20  # bytes; the largest document that is read whole
MAX_FOLDER = 64 << 20  # bytes of one directory's own object: a row for each name
_REGULAR = (FileMode.BLOB, FileMode.BLOB_EXECUTABLE)


@dataclass(frozen=True, slots=True, eq=False)
class Clone:
    """An opened repository.

    `path` is its Git directory (the common one, in a linked worktree), `worktree` its checked-out files or None.
    `listings` are the files of the trees that were listed last, or why a tree was not, for `records`.
    """

    path: Path
    worktree: Path | None
    objects: pygit2.Repository
    listings: OrderedDict[tuple[str, int], Mapping[str, str] | str] = field(
        default_factory=OrderedDict, init=False, repr=False
    )

    @classmethod
    def discover(cls, start: Path) -> Clone:
        """Open the repository that `start` lies in.

        Raises `UsageError` when there is none, one without commits, or one whose objects cannot be relied on.
        """
        common, repository = open_repository(start)
        clone = cls(common, Path(repository.workdir).resolve() if repository.workdir else None, repository)
        if repository.head_is_unborn and not clone.refs("refs/"):
            raise UsageError(f"{common} has no commits", hint="make a first commit, then try again")
        return clone

    # objects ---------------------------------------------------------------------------------------------------------

    def commit(self, rev: str) -> str:
        """Return the full id of the commit that `rev` means. Raises `UsageError` when there is none."""
        try:
            return str(self.objects.revparse_single(rev).peel(pygit2.Commit).id)
        except (KeyError, ValueError, pygit2.GitError) as error:
            raise UsageError(
                f"`{visible(rev)}` names no commit in {self.path}",
                hint="give a branch, a tag or a commit id; `git fetch` if it should come from a remote",
            ) from error

    def tree(self, commit: str) -> str:
        """Return the id of a commit's tree. Raises `GitError` when there is no such commit."""
        return str(self._commit(commit).tree_id)

    def parents(self, commit: str) -> tuple[str, ...]:
        """Return the ids of a commit's parents. Raises `GitError` when there is no such commit."""
        return tuple(str(parent) for parent in self._commit(commit).parent_ids)

    def message(self, commit: str) -> str:
        """Return a commit's message. Raises `GitError` when there is no such commit."""
        return self._commit(commit).raw_message.decode("utf-8", "backslashreplace")

    def is_ancestor(self, older: str, newer: str) -> bool:
        """Return whether `older` is `newer` or among its ancestors; False when either is not here."""
        try:
            return older == newer or self.objects.descendant_of(newer, older)
        except (KeyError, ValueError, pygit2.GitError):
            return False

    def size(self, oid: str) -> int:
        """Return an object's size in bytes without reading it. Raises `GitError` when it is not here."""
        try:
            return self.objects.odb.read_header(oid)[1]
        except (KeyError, ValueError, pygit2.GitError) as error:
            raise _missing(oid) from error

    def raw(self, oid: str) -> bytes:
        """Return an object's bytes as stored, whatever it is. Raises `GitError` when it is not here."""
        try:
            return self.objects.odb.read(oid)[1]
        except (KeyError, ValueError, pygit2.GitError) as error:
            raise _missing(oid) from error

    def blob(self, oid: str) -> bytes:
        """Return a blob's content. Raises `GitError` when there is none, `SchemaError` beyond `MAX_FILE` bytes."""
        if self.size(oid) > MAX_FILE:
            raise SchemaError(f"object {oid} has {self.size(oid)} bytes; at most {MAX_FILE} are read")
        try:
            found = self.objects[oid]
        except (KeyError, ValueError, pygit2.GitError) as error:  # libgit2 hashes what it reads
            raise GitError(f"object {oid} cannot be read: {error}", hint="fetch again; see `git fsck`") from error
        if not isinstance(found, pygit2.Blob):
            raise GitError(f"object {oid} is no file content", hint="the repository is damaged; see `git fsck`")
        return found.data

    def file(self, commit: str, path: str, *, folder: int = MAX_FOLDER) -> bytes | None:
        """Return the content of the regular file `path` in a commit, or None. Raises as `file_id` does."""
        oid = self.file_id(commit, path, folder=folder)
        return None if oid is None else self.blob(oid)

    def file_size(self, commit: str, path: str, *, folder: int = MAX_FOLDER) -> int | None:
        """Return the size of the regular file `path` in a commit without reading it, or None. Raises as `file_id`."""
        oid = self.file_id(commit, path, folder=folder)
        return None if oid is None else self.size(oid)

    def file_id(self, commit: str, path: str, *, folder: int = MAX_FOLDER) -> str | None:
        """Return the object that the regular file `path` in a commit is, or None (also for links and directories).

        Raises `SchemaError` when a directory on the way has more than `folder` bytes: it is not read for that.
        """
        above, *names = self.tree(commit), *path.split("/")
        for name in names[:-1]:
            below = self._row(above, name, folder)
            if below is None or below.filemode != FileMode.TREE:
                return None
            above = str(below.id)
        found = self._row(above, names[-1], folder)
        return str(found.id) if found is not None and found.filemode in _REGULAR else None

    def _row(self, tree: str, name: str, most: int) -> pygit2.Object | None:
        try:
            size = self.objects.odb.read_header(tree)[1]
            if size > most:
                raise SchemaError(f"tree {tree} has {size} bytes; at most {most} are read here")
            found = self.objects[tree]
            return found[name] if isinstance(found, pygit2.Tree) else None
        except (KeyError, ValueError, pygit2.GitError):
            return None

    def submodules(self, tree: str) -> tuple[str, ...]:
        """Return the paths of all submodules in a tree, for people."""
        from agent_pipeline.repository.trees import GITLINK, entries  # noqa: PLC0415 - trees builds on this module

        return tuple(
            visible(e.path.decode("utf-8", "surrogateescape")) for e in entries(self, tree) if e.mode == GITLINK
        )

    def _commit(self, oid: str) -> pygit2.Commit:
        try:
            return self.objects[oid].peel(pygit2.Commit)
        except (KeyError, ValueError, pygit2.GitError) as error:
            raise _missing(oid) from error

    # refs ------------------------------------------------------------------------------------------------------------

    def ref(self, name: str) -> str | None:
        """Return the commit that the full ref `name` points to, or None when there is no such ref."""
        try:
            found = self.objects.references.get(name)
            return None if found is None else str(found.peel(pygit2.Commit).id)
        except (KeyError, ValueError, pygit2.GitError):
            return None

    def names(self, prefix: str) -> tuple[str, ...]:
        """Return the full names of all refs below `prefix`, whatever they point to, sorted."""
        every = (raw.decode("utf-8", "surrogateescape") for raw in self.objects.raw_listall_references())
        return tuple(sorted(name for name in every if name.startswith(prefix)))

    def refs(self, prefix: str) -> dict[str, str]:
        """Return the refs below `prefix` that point to commits, full names sorted. Symbolic refs are left out."""
        found = {}
        for name in self.names(prefix):
            reference = self.objects.references.get(name)
            if reference is not None and reference.type == ReferenceType.DIRECT and (oid := self.ref(name)) is not None:
                found[name] = oid
        return found

    def head_ref(self) -> str | None:
        """Return the checked-out branch's full name, None when the head is detached."""
        return None if self.objects.head_is_detached else str(self.objects.lookup_reference("HEAD").target)

    def branch(self) -> str:
        """Return the checked-out branch's full name. Raises `UsageError` when the head is detached."""
        name = self.head_ref()
        if name is None:
            raise UsageError(
                f"no branch is checked out in {self.path} (detached head)",
                hint="check out a branch with `git switch NAME`, or name one with `--target`",
            )
        return name

    # the checked-out files -------------------------------------------------------------------------------------------

    def dirty(self) -> tuple[str, ...]:
        """Return the checked-out files that are changed, staged or untracked, for people. Runs no filter or hook."""
        if self.worktree is None:
            return ()
        quiet = (FileStatus.CURRENT, FileStatus.IGNORED)
        try:
            status = self.objects.status(untracked_files="normal")
        except pygit2.GitError as error:
            raise GitError(f"cannot compare the files in {self.worktree} with the index: {error}") from error
        return tuple(sorted(visible(path) for path, flags in status.items() if flags not in quiet))

    # settings --------------------------------------------------------------------------------------------------------

    def config(self, key: str) -> str | None:
        """Return a setting as this repository's user has it, or None."""
        try:
            return self.objects.config[key]
        except (KeyError, ValueError, pygit2.GitError):
            return None

    def set_config(self, key: str, value: str) -> None:
        """Write a setting into this repository's own configuration. Raises `GitError`."""
        try:
            self.objects.config[key] = value
        except (ValueError, OSError, pygit2.GitError) as error:
            raise GitError(f"cannot write {key} to the configuration of {self.path}: {error}") from error

    def identity(self) -> tuple[str, str]:
        """Return the user's name and address for commits. Raises `UsageError` when they are not set."""
        name, email = self.config("user.name"), self.config("user.email")
        if not name or not email:
            missing = "user.name" if not name else "user.email"
            raise UsageError(
                f"Git does not know your {missing}", hint=f"set it with `git config --global {missing} ...`"
            )
        return name, email

    def remote(self) -> str | None:
        """Return the records' remote: `agent-pipeline.remote`, else `origin` if there is one, else None.

        Raises `UsageError` when the setting names a remote that is not there.
        """
        names = self.objects.remotes.names()
        chosen = self.config("agent-pipeline.remote")
        if chosen is None:
            return "origin" if "origin" in names else None
        if chosen not in names:
            raise UsageError(
                f"agent-pipeline.remote names `{visible(chosen)}`, but there is no such remote",
                hint="add it with `git remote add`, or change the setting with `git config`",
            )
        return chosen

    def remote_url(self, name: str) -> str:
        """Return a remote's URL as the configuration has it. Raises `UsageError` when there is none.

        What `url.<base>.insteadOf` makes of it says how this machine gets there, not which repository it is.
        """
        try:
            url = self.objects.remotes[name].url
        except (KeyError, ValueError) as error:
            raise UsageError(f"there is no remote `{visible(name)}`", hint="`git remote -v` lists them") from error
        url = next(iter(self.objects.config.get_multivar(f"remote.{name}.url")), url)
        if not url:
            raise UsageError(f"the remote `{visible(name)}` has no URL", hint=f"`git remote set-url {name} URL`")
        return url


def _missing(oid: str) -> GitError:
    return GitError(
        f"object {oid} is not in this repository", hint="fetch from the remote; if it persists, see `git fsck`"
    )
