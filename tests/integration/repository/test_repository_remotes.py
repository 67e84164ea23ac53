"""Two clones and a bare repository between them: fetching, atomic pushes with leases, lost races, hostile remotes."""

from __future__ import annotations

import os
import sys
import threading
import time
from pathlib import Path

import pytest
from support.gitrepos import Project, clone_of, make_bare, make_project, run_git

from agent_pipeline import process
from agent_pipeline.errors import GitError, RejectedError, StaleError, UsageError
from agent_pipeline.repository import attestations, records, remotes
from agent_pipeline.repository.refs import RefUpdate
from agent_pipeline.repository.remotes import tracking

MAIN = "refs/heads/main"
LOG = records.LOG


@pytest.fixture
def bare(tmp_path: Path) -> Path:
    return make_bare(tmp_path / "remote.git")


@pytest.fixture
def ada(tmp_path: Path, bare: Path) -> Project:
    made = make_project(tmp_path / "ada")
    made.git("remote", "add", "origin", str(bare))
    made.git("push", "--quiet", "origin", "main")
    return made


@pytest.fixture
def bob(tmp_path: Path, bare: Path, ada: Project) -> Project:
    assert ada
    return clone_of(bare, tmp_path / "bob")


def remote_refs(bare: Path) -> dict[str, str]:
    lines = run_git(bare, "for-each-ref", "--format=%(refname) %(objectname)").decode().splitlines()
    return dict(line.split(" ") for line in lines)


def test_tracking_names() -> None:
    assert tracking(None, MAIN) == MAIN
    assert tracking("origin", MAIN) == "refs/agent-pipeline-remote/origin/heads/main"
    assert tracking("origin", LOG) == "refs/agent-pipeline-remote/origin/agent-pipeline/log"


def test_what_one_publishes_the_other_fetches(ada: Project, bob: Project, bare: Path) -> None:
    one, two = ada.git("rev-parse", "HEAD"), ada.commit({"a": b"2"})
    updates = [RefUpdate(MAIN, one, two), RefUpdate(LOG, None, two), RefUpdate(attestations.REF, None, one)]
    records.publish(ada.clone, updates, remote="origin")
    wanted = {MAIN: two, LOG: two, attestations.REF: one}
    assert remote_refs(bare) == wanted
    remotes.fetch(bob.clone, "origin")
    for ref, oid in wanted.items():
        assert bob.clone.ref(tracking("origin", ref)) == oid
        assert ada.clone.ref(tracking("origin", ref)) == oid
    assert ada.clone.ref(LOG) == two
    assert bob.clone.ref(MAIN) == one, "the user's own branch is theirs"
    assert bob.git("rev-parse", "refs/remotes/origin/main") == one


def test_git_completes_no_name_of_what_is_pushed(ada: Project, bare: Path) -> None:
    """A tag that is called like the commit that is pushed, branches that are called like the refs it is pushed to."""
    one, evil = ada.git("rev-parse", "HEAD"), ada.commit({"a": b"evil"})
    two = ada.commit({"a": b"2"})
    ada.git("update-ref", f"refs/tags/{two}", evil)
    alike = [f"refs/{folder}/{ref}" for folder in ("heads", "tags") for ref in (MAIN, LOG)]
    for name in (*alike, f"refs/remotes/{LOG}", f"refs/{LOG}"):
        run_git(bare, "update-ref", name, one)
    before = remote_refs(bare)
    records.publish(ada.clone, [RefUpdate(MAIN, one, two), RefUpdate(LOG, None, two)], remote="origin")
    assert remote_refs(bare) == before | {MAIN: two, LOG: two}
    with pytest.raises(StaleError):
        records.publish(ada.clone, [RefUpdate(MAIN, one, evil)], remote="origin")
    assert ada.clone.refs(remotes.PUSHING) == {}


def test_fetching_prunes(ada: Project, bob: Project) -> None:
    head = ada.git("rev-parse", "HEAD")
    records.publish(ada.clone, [RefUpdate("refs/heads/agent/x", None, head)], remote="origin")
    remotes.fetch(bob.clone, "origin")
    assert bob.clone.ref(tracking("origin", "refs/heads/agent/x")) == head
    records.publish(ada.clone, [RefUpdate("refs/heads/agent/x", head, None)], remote="origin")
    assert ada.clone.ref(tracking("origin", "refs/heads/agent/x")) is None
    remotes.fetch(bob.clone, "origin")
    assert bob.clone.ref(tracking("origin", "refs/heads/agent/x")) is None


def test_a_lost_race_moves_nothing_and_names_the_ref(ada: Project, bob: Project, bare: Path) -> None:
    one, mine, theirs = ada.git("rev-parse", "HEAD"), ada.commit({"a": b"2"}), bob.commit({"b": b"2"})
    records.publish(bob.clone, [RefUpdate(LOG, None, theirs)], remote="origin")
    before = remote_refs(bare)
    with pytest.raises(StaleError, match=LOG) as raised:
        records.publish(ada.clone, [RefUpdate(MAIN, one, mine), RefUpdate(LOG, None, mine)], remote="origin")
    assert theirs[:12] in raised.value.message
    assert "again" in (raised.value.hint or "")
    assert remote_refs(bare) == before
    assert ada.clone.ref(tracking("origin", LOG)) == theirs, "the next try sees what happened"
    assert ada.clone.ref(LOG) is None


def test_a_lease_holds_even_against_a_fast_forward(ada: Project, bob: Project, bare: Path) -> None:
    """The target may only move from where it was verified, not from anywhere that can be fast-forwarded."""
    one, two = ada.git("rev-parse", "HEAD"), ada.commit({"a": b"2"})
    three = ada.commit({"a": b"3"})
    records.publish(ada.clone, [RefUpdate(MAIN, one, two)], remote="origin")
    with pytest.raises(StaleError, match=MAIN):
        records.publish(ada.clone, [RefUpdate(MAIN, one, three)], remote="origin")
    assert remote_refs(bare)[MAIN] == two
    assert bob


def test_only_one_of_many_writers_wins(ada: Project, bare: Path, tmp_path: Path) -> None:
    writers = [clone_of(bare, tmp_path / f"w{number}") for number in range(4)]
    heads = [writer.commit({f"f{number}": b"1"}) for number, writer in enumerate(writers)]
    outcomes: list[str] = []

    def write(project: Project, head: str) -> None:
        try:
            records.publish(project.clone, [RefUpdate(LOG, None, head)], remote="origin")
            outcomes.append(head)
        except StaleError:
            outcomes.append("stale")

    threads = [threading.Thread(target=write, args=pair) for pair in zip(writers, heads, strict=True)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join(timeout=60)
    assert len(outcomes) == 4
    assert [one for one in outcomes if one != "stale"] == [remote_refs(bare)[LOG]]
    assert ada


def test_a_hook_that_declines_is_the_remotes_no(ada: Project, bare: Path) -> None:
    hook = bare / "hooks" / "pre-receive"
    hook.parent.mkdir(exist_ok=True)
    hook.write_text("#!/bin/sh\necho main is protected >&2\nexit 1\n")
    hook.chmod(0o755)
    one, two = ada.git("rev-parse", "HEAD"), ada.commit({"a": b"2"})
    with pytest.raises(RejectedError, match="main is protected") as raised:
        records.publish(ada.clone, [RefUpdate(MAIN, one, two), RefUpdate(LOG, None, two)], remote="origin")
    assert not isinstance(raised.value, StaleError)
    assert remote_refs(bare) == {MAIN: one}
    assert ada.clone.ref(LOG) is None


@pytest.mark.parametrize("url", ["/nonexistent/x.git", "https://127.0.0.1:9/x.git", "ssh://127.0.0.1:9/x.git"])
def test_a_remote_that_is_not_there_is_could_not_tell(ada: Project, url: str) -> None:
    ada.git("remote", "set-url", "origin", url)
    before = ada.clone.refs("refs/")
    head = ada.git("rev-parse", "HEAD")
    with pytest.raises(GitError, match="origin") as raised:
        remotes.fetch(ada.clone, "origin")
    assert raised.value.exit_code == 3
    assert raised.value.hint
    with pytest.raises(GitError, match="origin"):
        records.publish(ada.clone, [RefUpdate(LOG, None, head)], remote="origin")
    assert ada.clone.refs("refs/") == before


@pytest.mark.parametrize("url", ["ext::sh -c touch% {marker}", "ext::touch {marker}"])
def test_no_remote_runs_a_command(ada: Project, tmp_path: Path, url: str) -> None:
    marker = tmp_path / "ran"
    ada.git("remote", "set-url", "origin", url.format(marker=marker))
    with pytest.raises((UsageError, GitError)):
        remotes.fetch(ada.clone, "origin")
    assert not marker.exists()


def test_neither_hooks_nor_submodules_of_the_clone_run(ada: Project, tmp_path: Path) -> None:
    marker = tmp_path / "ran"
    hooks = ada.folder / ".git/hooks"
    hooks.mkdir(exist_ok=True)
    for name in ("pre-push", "reference-transaction", "post-merge"):
        (hooks / name).write_text(f"#!/bin/sh\ntouch {marker}\n")
        (hooks / name).chmod(0o755)
    ada.git("config", "push.recurseSubmodules", "on-demand")
    ada.git("config", "fetch.recurseSubmodules", "true")
    head = ada.clone.commit("HEAD")
    records.publish(ada.clone, [RefUpdate(LOG, None, head)], remote="origin")
    remotes.fetch(ada.clone, "origin")
    assert not marker.exists()


def test_a_hostile_branch_named_head_replaces_nothing(ada: Project, bob: Project, bare: Path) -> None:
    """`refs/remotes/origin/HEAD` is symbolic: fetching a branch of that name would move what it points to."""
    evil = ada.commit({"a": b"evil"})
    ada.git("push", "--quiet", "origin", f"{evil}:refs/heads/HEAD")
    main = remote_refs(bare)[MAIN]
    assert bob.git("symbolic-ref", "refs/remotes/origin/HEAD") == "refs/remotes/origin/main"
    remotes.fetch(bob.clone, "origin")
    assert bob.clone.ref(tracking("origin", MAIN)) == main
    assert bob.git("rev-parse", "refs/remotes/origin/main") == main


def test_replace_refs_are_not_fetched(ada: Project, bob: Project) -> None:
    head, other = ada.git("rev-parse", "HEAD"), ada.commit({"a": b"2"})
    ada.git("push", "--quiet", "origin", f"{other}:refs/replace/{head}")
    remotes.fetch(bob.clone, "origin")
    assert bob.clone.refs("refs/replace/") == {}


def test_damaged_objects_are_left_out_and_nothing_else(ada: Project, bob: Project) -> None:
    blob = ada.blob(b"1")
    inner = ada.raw_tree(("100644", b"config", blob))
    evil = ada.raw_commit(ada.raw_tree(("40000", b".git", inner)))
    ada.git("push", "--quiet", "origin", f"{evil}:refs/agent-pipeline/requests/evil")
    ada.git("push", "--quiet", "origin", "HEAD:refs/agent-pipeline/requests/good")
    told = remotes.fetch(bob.clone, "origin")
    assert bob.clone.ref(tracking("origin", "refs/agent-pipeline/requests/evil")) is None
    assert bob.clone.ref(tracking("origin", "refs/agent-pipeline/requests/good")) is not None
    assert any("evil" in line for line in told)


def test_names_that_no_utf8_do_not_stop_anybody(ada: Project, bob: Project, bare: Path) -> None:
    head = ada.git("rev-parse", "HEAD")
    (bare / "packed-refs").write_bytes(
        f"# pack-refs with: peeled fully-peeled sorted \n{head} refs/heads/od".encode() + b"d\xff\n"
    )
    remotes.fetch(bob.clone, "origin")
    assert bob.clone.ref(tracking("origin", MAIN)) == head
    assert len(bob.clone.refs(tracking("origin", "refs/heads/"))) == 2


def test_inside_a_hook_the_own_clone_is_used(ada: Project, bob: Project, bare: Path) -> None:
    """Git sets GIT_DIR and more for hooks; whoever calls us from one means the clone they named."""
    script = (
        "import sys; from pathlib import Path; from agent_pipeline.repository import remotes;"
        "from agent_pipeline.repository.clone import Clone;"
        "remotes.fetch(Clone.discover(Path(sys.argv[1])), 'origin')"
    )
    env = {
        "PATH": os.environ["PATH"],
        "PYTHONPATH": str(Path.cwd()),
        "GIT_DIR": str(ada.folder / ".git"),
        "GIT_WORK_TREE": str(ada.folder),
        "GIT_INDEX_FILE": ".git/index",
        "GIT_PREFIX": "",
    }
    done = process.run([sys.executable, "-c", script, str(bob.folder)], env=env)
    assert done.ok, done.explain()
    assert bob.clone.ref(tracking("origin", MAIN)) == remote_refs(bare)[MAIN]
    assert ada.clone.ref(tracking("origin", MAIN)) is None


def test_a_silent_remote_is_given_up(ada: Project, tmp_path: Path) -> None:
    helper = tmp_path / "ssh"
    helper.write_text("#!/bin/sh\nexit 255\n")
    helper.chmod(0o755)
    ada.git("config", "core.sshCommand", str(helper))
    ada.git("remote", "set-url", "origin", "ssh://example.invalid/x.git")
    before = time.monotonic()
    with pytest.raises(GitError):
        remotes.fetch(ada.clone, "origin")
    assert time.monotonic() - before < 10


def test_the_users_own_ssh_command_is_used(ada: Project, bare: Path, tmp_path: Path) -> None:
    """Credentials, agents and configuration are the user's: ours must keep them working."""
    helper = tmp_path / "ssh"
    helper.write_text(f'#!/bin/sh\ntouch {tmp_path}/used\nshift $(($# - 1))\neval "$1"\n')
    helper.chmod(0o755)
    ada.git("config", "core.sshCommand", str(helper))
    ada.git("remote", "set-url", "origin", f"ssh://example.invalid{bare}")
    head = ada.git("rev-parse", "HEAD")
    records.publish(ada.clone, [RefUpdate(LOG, None, head)], remote="origin")
    remotes.fetch(ada.clone, "origin")
    assert (tmp_path / "used").exists()
    assert remote_refs(bare)[LOG] == head


def test_a_busy_remote_is_could_not_tell(ada: Project, bare: Path) -> None:
    lock = bare / "refs/agent-pipeline/log.lock"
    lock.parent.mkdir(parents=True)
    lock.touch()
    with pytest.raises(GitError, match="another push"):
        records.publish(ada.clone, [RefUpdate(LOG, None, ada.clone.commit("HEAD"))], remote="origin")
    assert LOG not in remote_refs(bare)


def test_a_push_whose_answer_was_lost_has_arrived(ada: Project, bare: Path, tmp_path: Path) -> None:
    """The connection ends after the remote moved its refs and before it says so."""
    one, two = ada.git("rev-parse", "HEAD"), ada.commit({"a": b"2"})
    hook = bare / "hooks" / "reference-transaction"
    hook.parent.mkdir(exist_ok=True)
    hook.write_text(f"#!/bin/sh\nif [ $1 = committed ]; then rm $0; touch {tmp_path}/cut; kill -9 $PPID; fi\n")
    hook.chmod(0o755)
    records.publish(ada.clone, [RefUpdate(MAIN, one, two), RefUpdate(LOG, None, two)], remote="origin")
    assert (tmp_path / "cut").exists()
    assert remote_refs(bare) == {MAIN: two, LOG: two}
    assert ada.clone.ref(tracking("origin", LOG)) == two


def test_a_push_that_was_cut_off_before_it_arrived(ada: Project, bare: Path, tmp_path: Path) -> None:
    two = ada.commit({"a": b"2"})
    hook = bare / "hooks" / "reference-transaction"
    hook.parent.mkdir(exist_ok=True)
    hook.write_text(f"#!/bin/sh\nif [ $1 = prepared ]; then rm $0; touch {tmp_path}/cut; kill -9 $PPID; fi\n")
    hook.chmod(0o755)
    with pytest.raises(GitError):
        records.publish(ada.clone, [RefUpdate(LOG, None, two)], remote="origin")
    assert (tmp_path / "cut").exists()
    assert LOG not in remote_refs(bare)
    assert ada.clone.ref(LOG) is None


def test_without_the_git_program_it_says_so(ada: Project) -> None:
    script = (
        "import sys; from pathlib import Path; from agent_pipeline.repository import remotes, git;"
        "from agent_pipeline.repository.clone import Clone; from agent_pipeline.errors import UnavailableError\n"
        "for call in (lambda c: remotes.fetch(c, 'origin'), lambda c: git.git(c, 'version')):\n"
        "    try: call(Clone.discover(Path(sys.argv[1])))\n"
        "    except UnavailableError as error: print(error.hint)\n"
    )
    env = {"PATH": "/nonexistent", "PYTHONPATH": str(Path.cwd())}
    done = process.run([sys.executable, "-c", script, str(ada.folder)], env=env)
    assert done.ok, done.explain()
    assert done.stdout.count(b"install") == 2
