"""The operator's remotes: fetching what others recorded, and pushing everything of one step or nothing.

This is where the user's own Git configuration, credentials and agents are needed, so their environment is kept; what
could run something else, ask a question or recurse is off. What is fetched goes into a namespace of its own, below
`refs/agent-pipeline-remote/<remote>/`: neither the user's branches nor `refs/remotes/` are touched, and no ref there is
symbolic, so that a hostile branch named HEAD overwrites nothing.
"""

from __future__ import annotations

import contextlib
import os
import secrets
from collections.abc import Iterator, Sequence
from dataclasses import dataclass, replace
from typing import Final

from agent_pipeline import clock, interrupts
from agent_pipeline.documents.characters import visible
from agent_pipeline.errors import GitError, RejectedError, UsageError
from agent_pipeline.repository.clone import Clone
from agent_pipeline.repository.refs import RefUpdate, check_name, stale, update

TRACKING: Final = "refs/agent-pipeline-remote/"
PUSHING: Final = "refs/agent-pipeline-push/"
FETCHED: Final = ("heads/", "agent-pipeline/", "attestations/")
SECONDS: Final = 600
_ODD, _GROUP = 50, 500  # so many refs may be left out; so many are named in one fetch
_PAUSES: Final = (0.2, 0.5, 1.0)  # between tries while another push holds the remote's locks
_SETTINGS: Final = (
    "core.hooksPath=/dev/null",  # the user's hooks are for the user's own pushes
    "core.fsmonitor=false",
    "advice.graftFileDeprecated=false",
    "protocol.ext.allow=never",  # `ext::` runs a command
    "fetch.fsckObjects=true",
    "fetch.writeCommitGraph=false",
    "gc.auto=0",
    "maintenance.auto=false",
    "submodule.recurse=false",
    "push.followTags=false",
    "push.gpgSign=false",
    "http.lowSpeedLimit=1",  # a remote that says nothing for a minute is not there
    "http.lowSpeedTime=60",
)


def tracking(remote: str | None, ref: str) -> str:
    """Return the local name under which the remote's `ref` (or prefix) lies; without a remote, `ref` itself."""
    return ref if remote is None else f"{TRACKING}{remote}/{ref.removeprefix('refs/')}"


def fetch(clone: Clone, remote: str) -> tuple[str, ...]:
    """Make the tracking refs what the remote has now: its branches, records, log and attestations.

    Git fetches all or nothing, and anyone who may push can push what its checks refuse. What cannot be fetched is then
    looked for, left out and returned. Raises `GitError` when the remote cannot be reached, or too much is wrong.
    """
    specs = [f"+refs/{part}*:{tracking(remote, f'refs/{part}')}*" for part in FETCHED]
    done = _fetch(clone, remote, "--prune", specs)
    if done.code == 0:
        return ()
    parts = [f"refs/{part}*" for part in FETCHED]
    listed = _run(clone, remote, ["ls-remote", "--refs", "--quiet", "--", remote, *parts])
    refs = [line.partition("\t")[2] for line in listed.stdout.splitlines()]
    odd = _unfetchable(clone, remote, refs) if listed.code == 0 else []
    if not odd or len(odd) > _ODD or _fetch(clone, remote, "--prune", [*specs, *(f"^{ref}" for ref in odd)]).code != 0:
        raise _unreachable(clone, remote, done)
    return tuple(odd)


def _fetch(clone: Clone, remote: str, prune: str, specs: Sequence[str]) -> _Done:
    options = [prune, "--no-tags", "--no-recurse-submodules", "--no-write-fetch-head", "--refmap=", "--quiet"]
    return _run(clone, remote, ["fetch", *options, "--", remote, *specs])


def _unfetchable(clone: Clone, remote: str, refs: Sequence[str]) -> list[str]:
    """Return those of `refs` that cannot be fetched even alone; stops looking when there are too many."""
    odd: list[str] = []
    groups = [list(refs[at : at + _GROUP]) for at in range(0, len(refs), _GROUP)]
    while groups and len(odd) <= _ODD:
        group = groups.pop()
        if _fetch(clone, remote, "--no-prune", [f"+{ref}:{tracking(remote, ref)}" for ref in group]).code == 0:
            continue
        if len(group) == 1:
            odd += group
        else:
            groups += [group[: len(group) // 2], group[len(group) // 2 :]]
    return sorted(odd)


def push(clone: Clone, remote: str, updates: Sequence[RefUpdate]) -> None:
    """Move all refs of `updates` on the remote in one atomic push, each only from its `old`.

    Raises `StaleError` naming the first ref that was elsewhere, `RejectedError` when the remote's own rules refuse,
    `GitError` when it cannot be reached or was busy. After an error the remote is unchanged; only when the connection
    is lost for good while it answers can nobody here tell, and the error says so.
    """
    if not updates:
        return
    for one in updates:
        check_name(one.ref)
    leases = [f"--force-with-lease={one.ref}:{one.old or ''}" for one in updates]
    options = ["--atomic", "--porcelain", "--no-verify", "--no-follow-tags", "--recurse-submodules=no", *leases]
    with _specs(clone, updates) as specs:
        for pause in _PAUSES:
            done = _run(clone, remote, ["push", *options, "--", remote, *specs])
            if done.code == 0 or _arrived(clone, remote, updates, done):
                return
            clock.sleep(pause)
    raise _unreachable(clone, remote, done, ": another push is at work there")


@contextlib.contextmanager
def _specs(clone: Clone, updates: Sequence[RefUpdate]) -> Iterator[list[str]]:
    """Give the refspecs of `updates`, none of which Git takes for anything else.

    Git completes even full names: where the remote has `refs/heads/refs/heads/main`, a push to `refs/heads/main` goes
    astray or fails, and a tag that is called like a commit is pushed in its place. It never completes patterns, so what
    is pushed stands below a prefix of its own while it is. (Something is deleted by its name all the same.)
    """
    prefix = f"{PUSHING}{secrets.token_hex(8)}/"
    made = [replace(one, ref=prefix + one.ref.removeprefix("refs/"), old=None) for one in updates if one.new]
    update(clone, made)
    try:
        yield [*([f"{prefix}*:refs/*"] if made else []), *(f":{one.ref}" for one in updates if not one.new)]
    finally:
        update(clone, [replace(one, old=one.new, new=None) for one in made])


def _arrived(clone: Clone, remote: str, updates: Sequence[RefUpdate], done: _Done) -> bool:
    """Look at the remote again after a failed push, and raise what happened.

    Return True when it did arrive after all, False when the remote was busy with another push.
    """
    refused = _refused(done.stdout)
    try:
        fetch(clone, remote)
    except GitError:
        unsure = "" if refused else "; whether the push arrived is not known: fetch before you try again"
        raise _unreachable(clone, remote, done, unsure) from None
    now = {one.ref: clone.ref(tracking(remote, one.ref)) for one in updates}
    if not refused and all(now[one.ref] == one.new for one in updates):
        return True
    for one in updates:
        if now[one.ref] != one.old:
            raise stale(one.ref, one.old, now[one.ref])
    rules = {ref: why for ref, why in refused.items() if why not in _BUSY}
    if rules:
        ref, why = next(iter(rules.items()))
        raise RejectedError(
            f"{remote} refuses to move {ref}: {why}; nothing was changed\n{_lines(done.stderr)}",
            hint="ask who administers the remote: its hooks or branch protection do not allow this",
        )
    if not refused:
        raise _unreachable(clone, remote, done)
    return False


# Reasons of git's porcelain output that name no rule: another push was at work, or another ref of ours was refused.
_BUSY: Final = (
    "",
    "stale info",
    "failed to update ref",
    "failed to lock",
    "atomic push failed",
    "atomic push failure",
    "atomic transaction failed",
    "transaction failed",
)


@dataclass(frozen=True, slots=True)
class _Done:
    code: int
    stdout: str
    stderr: str


def _run(clone: Clone, remote: str, args: Sequence[str]) -> _Done:
    """Run git through GitPython with the user's environment, on this clone and no other."""
    try:
        import git  # noqa: PLC0415 - slow to import, and only needed by commands that talk to a remote
    except ImportError as error:  # GitPython's word for: there is no git program
        raise GitError(f"cannot run git: {error}", hint="install git, or run `agent-pipeline doctor`") from error
    if clone.remote_url(remote).startswith("ext::"):
        raise UsageError(f"the remote `{remote}` would run a command (ext::)", hint="give it an ssh, https or file URL")
    command = git.Git("/")
    command.update_environment(**_environment(clone))
    settings = [word for setting in _SETTINGS for word in ("-c", setting)]
    try:
        # A terminal's Ctrl-C reaches git itself, which ends and takes its locks with it; then it reaches us.
        with interrupts.held_back():
            code, stdout, stderr = command.execute(
                ["git", *settings, *args],
                with_extended_output=True,
                with_exceptions=False,
                stdout_as_string=False,
                kill_after_timeout=SECONDS,
            )
    except (git.GitError, OSError) as error:
        raise GitError(f"cannot run git: {error}", hint="install git, or run `agent-pipeline doctor`") from error
    return _Done(int(code), _text(stdout), _text(stderr))


def _text(said: bytes | str | object) -> str:
    return said.decode("utf-8", "backslashreplace") if isinstance(said, bytes) else str(said)


def _environment(clone: Clone) -> dict[str, str]:
    """Return what is set over the user's environment. Inside a hook, GIT_* would point elsewhere."""
    return {
        "GIT_DIR": os.fspath(clone.path),
        "GIT_COMMON_DIR": os.fspath(clone.path),
        "GIT_OBJECT_DIRECTORY": os.fspath(clone.path / "objects"),
        "GIT_ALTERNATE_OBJECT_DIRECTORIES": "",
        "GIT_NAMESPACE": "",
        "GIT_NO_REPLACE_OBJECTS": "1",
        "GIT_GRAFT_FILE": "/dev/null",
        "GIT_TERMINAL_PROMPT": "0",
        "GIT_OPTIONAL_LOCKS": "0",
    }


def _refused(porcelain: str) -> dict[str, str]:
    """Return the reason for each ref that was not moved, from lines `!<TAB>from:to<TAB>[rejected] (reason)`."""
    found = {}
    for line in porcelain.splitlines():
        flag, _, rest = line.partition("\t")
        spec, _, summary = rest.partition("\t")
        if flag == "!":
            found[spec.rpartition(":")[2]] = visible(summary.partition("(")[2].rpartition(")")[0])
    return found


def _unreachable(clone: Clone, remote: str, done: _Done, more: str = "") -> GitError:
    return GitError(
        f"the remote `{remote}` ({visible(clone.remote_url(remote))}) did not do what it was asked to"
        f" (exit {done.code}){more}\n{_lines(done.stderr)}",
        hint="try again; check the network and your access with `git ls-remote`, or work locally with `--no-push`",
    )


def _lines(said: str) -> str:
    """Return the end of what git and the remote said, with nothing in it that a terminal would obey."""
    return "\n".join(f"  | {visible(line)}" for line in said.strip()[-1500:].splitlines())


def follow(clone: Clone, remote: str, updates: Sequence[RefUpdate]) -> None:
    """After a push, let the tracking refs and the local copies of records say what the remote has now.

    The remote has decided: whatever moved here meanwhile is newer, and the next fetch mends the rest.
    """
    for one in updates:
        _follow(clone, tracking(remote, one.ref), one)
        if not one.ref.startswith("refs/heads/"):
            _follow(clone, one.ref, one)


def _follow(clone: Clone, name: str, one: RefUpdate) -> None:
    here = clone.ref(name)
    if here == one.new or (here is not None and one.new is not None and not clone.is_ancestor(here, one.new)):
        return
    with contextlib.suppress(RejectedError, GitError):
        update(clone, [RefUpdate(name, here, one.new)])
