"""What the protected branch says: policy, trust root and locks. Nothing else is ever judged by.

Whatever target is asked for and whatever lies in the working tree, rules come from the anchor's branch, freshly
fetched. Until `init`'s commit has landed there, requests may use it from the branch `agent-pipeline-setup`, marked
`trial`: no host protects that branch, so it counts only as somebody signed it who may set rules.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from datetime import datetime
from typing import Final

from agent_pipeline.attestation import commit_signer
from agent_pipeline.attestation.trust import load_root
from agent_pipeline.config import Config
from agent_pipeline.documents.anchor import Anchor
from agent_pipeline.documents.characters import visible
from agent_pipeline.documents.images_lock import PATH as IMAGES_PATH
from agent_pipeline.documents.images_lock import REQUIREMENTS, ImagesLock
from agent_pipeline.documents.policy import PATH as POLICY_PATH
from agent_pipeline.documents.policy import Policy
from agent_pipeline.documents.root import TrustRoot
from agent_pipeline.errors import GitError, RejectedError, SchemaError, SignatureError, StaleError, UsageError
from agent_pipeline.policy import load as load_policy
from agent_pipeline.repository import anchor as anchors
from agent_pipeline.repository import commits, remotes, seen_roots
from agent_pipeline.repository.clone import Clone
from agent_pipeline.repository.records import LOG
from agent_pipeline.repository.trust_files import FOLDER, versions

SETUP_BRANCH = "refs/heads/agent-pipeline-setup"
RULE_SETTERS: Final = ("root", "policy")


@dataclass(frozen=True, slots=True)
class Landed:
    """The rules in force at `commit` of the anchor's branch; with `trial`, rules that nobody has merged yet.

    `ref` is what named the commit in this clone.
    """

    anchor: Anchor
    ref: str
    commit: str
    policy_bytes: bytes
    policy: Policy
    root: TrustRoot
    root_versions: tuple[tuple[bytes, ...], ...]
    images: ImagesLock
    requirements: bytes | None
    trial: bool


@dataclass(frozen=True, slots=True)
class Desk:
    """Where one command works: a clone, its records' remote (None: everything in this clone), the rules in force.

    `url` is what the anchor must name, whether or not this command talks to the remote; `left_out` are refs of the
    remote that Git's checks refuse to fetch.
    """

    clone: Clone
    remote: str | None
    url: str
    config: Config
    landed: Landed
    tell: Callable[[str], None]
    left_out: tuple[str, ...] = ()

    def tip(self, branch: str) -> str | None:
        """Return the commit of `branch` (a full ref name) as the remote has it, or this clone without a remote."""
        return self.clone.ref(remotes.tracking(self.remote, branch))


def open_desk(
    clone: Clone, config: Config, tell: Callable[[str], None], now: datetime | None, *, push: bool = True
) -> Desk:
    """Fetch, find the anchor, and load the rules in force. Without `push` nothing is fetched and the work stays local.

    `now` None takes a trust root that has expired too: for looking at it and renewing it. Raises `UsageError` when
    nothing is pinned or set up, `SignatureError` for a trust root that does not hold or was rewound, `UnavailableError`
    for one that has expired.
    """
    remote = clone.remote()
    left_out = remotes.fetch(clone, remote) if remote is not None and push else ()
    anchor = anchors.find(clone, remote, config)
    _check_left_out(left_out, anchor, tell)
    rules = load(clone, remote, anchor, now)
    seen_roots.check(config, rules.anchor, rules.root_versions, rules.commit, tell)
    return Desk(clone, remote if push else None, anchors.url_of(clone, remote), config, rules, tell, left_out)


def _check_left_out(refs: tuple[str, ...], anchor: Anchor, tell: Callable[[str], None]) -> None:
    """Say which refs could not be fetched. Raises `GitError` when nothing can be decided without them."""
    for ref in refs:
        if ref in {anchor.branch, LOG}:
            raise GitError(
                f"{visible(ref)} cannot be fetched: Git's checks refuse what it points to",
                hint="find out who pushed it, and put the branch or the log back where it was",
            )
        tell(f"{visible(ref)}: left out: Git's checks refuse what it points to")


def load(clone: Clone, remote: str | None, anchor: Anchor, now: datetime | None) -> Landed:
    """Load the rules of the anchor's branch, or those on trial.

    Raises `UsageError` when there are none, `SignatureError` for a bad root and for rules on trial that nobody signed
    who may set them.
    """
    for branch, trial in ((anchor.branch, False), (SETUP_BRANCH, True)):
        ref = remotes.tracking(remote, branch)
        commit = clone.ref(ref)
        if commit is not None and clone.file(commit, POLICY_PATH) is not None:
            return _read(clone, ref, commit, anchor, now, trial=trial)
    raise UsageError(
        f"{anchor.branch} has no {POLICY_PATH}, and there is no branch agent-pipeline-setup",
        hint="set the repository up with `agent-pipeline init`, and push or merge its commit",
    )


def read_back(desk: Desk, commit: str) -> Landed:
    """Return the rules of a commit that is to land, as everybody will read them once it has.

    Raises `SchemaError`, `SignatureError`, `UsageError` for what nobody could read: more than any reader takes, too.
    """
    return _read(desk.clone, desk.landed.ref, commit, desk.landed.anchor, None, trial=desk.landed.trial)


def check_in_force(desk: Desk) -> None:
    """Raise `StaleError` when this clone knows of other rules by now than those that the desk was opened with.

    Another command fetched meanwhile: records and the log are read as they are now, so what is judged may have been
    made under rules that this command has not read, and a rejection would be final.
    """
    before, tip = desk.landed, desk.clone.ref(desk.landed.ref)
    if not _are_the_same(desk, tip) or (before.trial and _have_landed(desk)):
        raise StaleError(
            f"the rules on {before.anchor.branch} are other ones than when this began", hint="run the command again"
        )


def _are_the_same(desk: Desk, tip: str | None) -> bool:
    """Return whether the commit `tip` has the very rules that the desk was opened with; not where it is gone."""
    if tip is None or tip == desk.landed.commit:
        return tip is not None
    try:
        return _rules(read_back(desk, tip)) == _rules(desk.landed)
    except (RejectedError, UsageError):  # whoever runs the command again is told what is wrong with them
        return False


def _rules(landed: Landed) -> tuple[bytes, TrustRoot, ImagesLock, bytes | None]:
    return landed.policy_bytes, landed.root, landed.images, landed.requirements


def _have_landed(desk: Desk) -> bool:
    """Return whether rules that were on trial stand on the protected branch by now, beside where they were read."""
    heads = desk.landed.ref.removesuffix(SETUP_BRANCH.removeprefix("refs/heads/"))
    tip = desk.clone.ref(heads + desk.landed.anchor.branch.removeprefix("refs/heads/"))
    return tip is not None and desk.clone.file(tip, POLICY_PATH) is not None


@contextmanager
def _named(where: str) -> Iterator[None]:
    """Say where a document stands that does not have its form."""
    try:
        yield
    except SchemaError as error:
        hint = error.hint or "restore it from an older commit of the protected branch"
        raise SchemaError(f"{where}: {error.message}", hint=hint) from error


def _read(clone: Clone, ref: str, commit: str, anchor: Anchor, now: datetime | None, *, trial: bool) -> Landed:
    policy_bytes, images = clone.file(commit, POLICY_PATH), clone.file(commit, IMAGES_PATH)
    if policy_bytes is None or images is None:
        raise UsageError(f"{commit[:12]} lacks {IMAGES_PATH}", hint="restore it from the commit that `init` made")
    with _named(f"{FOLDER} in {commit[:12]}"):
        chain = versions(clone, commit)
        root = load_root(chain, pin=anchor.root_digest, now=now)
    if trial:
        _check_set_up(clone, commit, root)
    with _named(f"{IMAGES_PATH} in {commit[:12]}"):
        locks = ImagesLock.from_json(images)
    with _named(f"{POLICY_PATH} in {commit[:12]}"):
        policy = load_policy(policy_bytes)
    return Landed(
        anchor=anchor,
        ref=ref,
        commit=commit,
        policy_bytes=policy_bytes,
        policy=policy,
        root=root,
        root_versions=chain,
        images=locks,
        requirements=clone.file(commit, REQUIREMENTS),
        trial=trial,
    )


def _check_set_up(clone: Clone, commit: str, root: TrustRoot) -> None:
    """Raise `SignatureError` unless somebody who may set rules signed the set-up branch's commit, and so its tree."""
    branch = SETUP_BRANCH.removeprefix("refs/heads/")
    hint = (
        f"find out (git show {commit[:12]}) who pushed it; put the branch back, or let somebody with the "
        f"role {' or '.join(RULE_SETTERS)} sign the change with that key (git commit -S, gpg.format ssh)"
    )
    signed = commits.signature_of(clone, commit)
    if signed is None:
        raise SignatureError(f"the rules on trial in {commit[:12]} on {branch} are not signed", hint=hint)
    try:
        commit_signer.signer(*signed, root, *RULE_SETTERS, at=None)
    except RejectedError as error:
        raise SignatureError(f"the rules on trial in {commit[:12]} on {branch}: {error.message}", hint=hint) from error
