"""A real repository with one request in it at any stage, from fixed keys and times: the same bytes on every machine."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, field, replace
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any

from support.gitrepos import Project, make_project
from support.trust import BRANCH, NOW, POLICY, REPOSITORY, Maker, private, public, seal_root, sign

from agent_pipeline import config as configuration
from agent_pipeline.attestation import drafts, sshsig
from agent_pipeline.audit import log as audit_log
from agent_pipeline.documents import moments, strict
from agent_pipeline.documents.anchor import Anchor
from agent_pipeline.documents.images_lock import ImagesLock, LockedImage
from agent_pipeline.documents.levels import level
from agent_pipeline.documents.proposal import Change
from agent_pipeline.documents.root import first_digest
from agent_pipeline.documents.summary import MERGER_ID, Summary
from agent_pipeline.repository import commits, records, refs, trees
from agent_pipeline.repository.clone import Clone
from agent_pipeline.repository.dossier import attestation_path
from agent_pipeline.repository.landed import Desk, load
from agent_pipeline.repository.refs import RefUpdate
from agent_pipeline.repository.trees import Put

STAGES = ("proposed", "staged", "approved", "merged")
IMAGE = "1" * 64
FILES = {
    "README": b"hello\n",
    "src/app.py": b"old\n",
    "src/other.py": b"beside it\n",
    "docs/much.txt": b"far from it\n" * 1000,
    ".env": b"TOKEN=secret-secret\n",
}
PUTS = {"src/app.py": Put(b"new\n", "100644"), "tests/test_app.py": Put(b"assert 1\n", "100644")}


@dataclass
class Carried:
    """The repository, and who made what in it. `root` is what pins its first trust root."""

    project: Project
    files: dict[str, bytes] = field(default_factory=lambda: dict(FILES))
    puts: dict[str, Put | None] = field(default_factory=lambda: dict(PUTS))
    policy: bytes = POLICY
    trial: bool = False
    maker: Maker = field(default_factory=Maker)
    tip: str = ""
    log: list[bytes] = field(default_factory=list)
    counted: tuple[bytes, ...] | None = None  # the approvals that the merge names, where they are others
    merge_change: Callable[[Summary], Summary] = lambda one: one

    @property
    def clone(self) -> Clone:
        return self.project.clone

    @property
    def root(self) -> str:
        return f"sha256:{first_digest(self.maker.root.to_json())}"

    @property
    def id(self) -> str:
        return self.maker.request().id

    @property
    def desk(self) -> Desk:
        """A desk in it, as a command has one."""
        anchor = Anchor(REPOSITORY, BRANCH, self.root.removeprefix("sha256:"))
        landed = load(self.clone, None, anchor, NOW)
        return Desk(self.clone, None, REPOSITORY, configuration.load(), landed, lambda _line: None)

    def set_up(self, **fields: Any) -> None:
        """Commit the files and the rules, and make the documents follow them."""
        root = Maker(**fields).root
        lock = ImagesLock(1, {"project": LockedImage(IMAGE, {})})
        rules = {"policy.yaml": self.policy, "images.lock.json": lock.to_json()}
        holder = next(person.name for person in root.people if "root" in person.roles)
        rules |= {f"trust/1.{public(holder).keyid[:8]}.dsse.json": seal_root(root, holder)[0]}
        rules = {f".agent-pipeline/{name}": data for name, data in rules.items()}
        base = self.project.commit(self.files | ({} if self.trial else rules))
        if self.trial:
            setup = commit_of(self.clone, base, rules, holder)
            self._point("refs/heads/agent-pipeline-setup", setup)
        self._follow(base, {"policy": self.policy, "engine": "command"} | fields)
        self._extend({"request.dsse.json": self.maker.request_envelope()})
        self._propose()

    def propose_again(self, puts: dict[str, Put | None]) -> None:
        """Add another proposal of the same request, with another change."""
        self.puts, maker = puts, self.maker
        kept = ("root", "requester", "runner", "ci", "merger", "reviewers", "policy", "engine")
        fields = {name: getattr(maker, name) for name in kept}
        self._follow(maker.proposal().base, fields | {"number": maker.number + 1})
        self._propose()

    def _follow(self, base: str, fields: dict[str, Any]) -> None:
        """Let the documents follow the trees."""
        clone = self.clone
        tree = trees.build(clone, clone.tree(base), self.puts)
        changes = trees.compare(clone, clone.tree(base), tree)
        self.maker = _maker(clone, base, tree, changes, trial=self.trial, fields=fields)

    def _propose(self) -> None:
        maker, number = self.maker, self.maker.number
        provenance = sign(maker.statement(), maker.runner)
        files = {
            f"{number}/proposal.json": maker.proposal().to_json(),
            f"{number}/transcript.jsonl": maker.transcript(),
            attestation_path(number, "provenance", provenance): provenance,
        }
        self._extend(files, records.carrier(self.clone, maker.proposal().base, maker.proposal().tree))

    def stage(self) -> None:
        """Do what CI does when it stages."""
        tested, summary = self.maker.test_result(), self.maker.summary()
        self.attest(("test-result", tested), ("summary", summary))
        named = [self.maker.request_envelope(), sign(self.maker.statement(), self.maker.runner), tested, summary]
        self.append("admitted", named)
        self._point(f"refs/heads/agent/{self.id}", self.signed_commit(self._staged(), self.maker.ci))

    def approve(self) -> None:
        """Let everybody approve who is to."""
        for name in self.maker.reviewers:
            self.attest(("approval", self.maker.approval(name)))

    def merge(self) -> None:
        """Do what CI does when it merges."""
        maker, proposal = self.maker, self.maker.proposal()
        given_by_all = tuple(maker.approval(name) for name in maker.reviewers)
        approvals = given_by_all if self.counted is None else self.counted
        given = maker.summary_change
        proven = ("signed", "replayed", "regression", "reviewed 1/1", "3 persons")
        levels = tuple(level(proof) for proof in proven)
        envelopes = (maker.test_result(), maker.summary(), *approvals)
        other = replace(
            maker,
            made={name: value for name, value in maker.made.items() if name != "summary"},
            summary_change=lambda one: self.merge_change(replace(
                given(one), verifier=MERGER_ID, levels=levels, merged_on=proposal.base,
                inputs=(*one.inputs, *(strict.sha256(data) for data in envelopes[1:])),
            )),
            ci=maker.merger,
        )  # fmt: skip
        summary = other.summary()
        self.append("merged", [*envelopes, summary], created=moments.write(NOW + timedelta(minutes=1)))
        self._point(BRANCH, self.signed_commit(self.merge_draft(), maker.merger))
        self.attest(("merge", summary))

    def merge_draft(self, **said: str) -> bytes:
        """The merge commit without its signature, with another `tree`, `base` or `staged` when one is given."""
        proposal = self.maker.proposal()
        message = (
            f"Merge agent change {proposal.name}\n\nAgent-Pipeline-Proposal: {proposal.name}\n"
            f"Agent-Pipeline-Statement: sha256:{self.maker.statement().digest()}\n"
            f"Agent-Pipeline-Log: {self.clone.ref(records.LOG)}\n"
        )
        staged = str(self.clone.ref(f"refs/heads/agent/{self.id}"))
        parts = {"tree": proposal.tree, "base": proposal.base, "staged": staged} | said
        parents = [parts["base"], parts["staged"]]
        when = datetime(2026, 3, 1, 12, 1, tzinfo=UTC)
        return commits.draft(self.clone, parts["tree"], parents, message, "CI", "ci@example.org", when)

    def reach(self, stage: str) -> Carried:
        """Go on to `stage`."""
        steps: tuple[Callable[[], None], ...] = (self.stage, self.approve, self.merge)
        for step in steps[: STAGES.index(stage)]:
            step()
        return self

    def land(self, files: dict[str, bytes]) -> None:
        """Commit files to the protected branch, by hand."""
        self.project.git("reset", "--quiet", "--hard", BRANCH)
        self.project.commit(files)

    def revoke(self, name: str, *, since: int, revoked: bool = True) -> None:
        """Land the next trust root, in which somebody's key counts for nothing that the log has from `since` on."""
        root, expires = self.maker.root, NOW + timedelta(days=300)
        if revoked:
            after = drafts.revoke(root, public(name).keyid, since=since, expires=expires)
        else:
            after = drafts.remove(root, name, (), until=since, expires=expires)
        self.land({f".agent-pipeline/trust/2.{public('ada').keyid[:8]}.dsse.json": seal_root(after, "ada")[0]})

    def append(self, event: str, envelopes: list[bytes], **fields: Any) -> None:
        """Append an entry to the log."""
        entry = self.maker.entry(self.log, event, envelopes, **fields)
        log = audit_log.read(self.clone, None, self.maker.root)
        self._point(records.LOG, audit_log.append(log, log.following(), entry))
        self.log.append(entry)

    def signed_commit(self, draft: bytes, key: str) -> str:
        """Sign and store a drafted commit."""
        return _signed(self.clone, draft, key)

    def _staged(self) -> bytes:
        proposal = self.maker.proposal()
        message = f"fix: it\n\nAgent-Pipeline-Statement: sha256:{self.maker.statement().digest()}\n"
        return commits.draft(self.clone, proposal.tree, [proposal.base], message, "CI", "ci@example.org", NOW)

    def attest(self, *envelopes: tuple[str, bytes]) -> None:
        """Put envelopes of some kind beside the proposal."""
        self._extend({attestation_path(self.maker.number, kind, data): data for kind, data in envelopes})

    def _extend(self, files: dict[str, bytes], carrier: str | None = None) -> None:
        clone = self.clone
        before = records.Record(self.id, self.tip, clone) if self.tip else None
        self.tip = records.extend(clone, before, self.id, files, carrier)
        self._point(records.REQUESTS + self.id, self.tip)

    def _point(self, ref: str, commit: str) -> None:
        refs.update(self.clone, [RefUpdate(ref, self.clone.ref(ref), commit)])


def carried(folder: Path, stage: str = "approved", **fields: Any) -> Carried:
    """Make the repository in `folder`, with the request at `stage`."""
    made = Carried(make_project(folder, {"first": b"1\n"}))
    for name in ("files", "puts", "policy", "trial"):
        if name in fields:
            setattr(made, name, fields.pop(name))
    made.set_up(**fields)
    return made.reach(stage)


def commit_of(clone: Clone, base: str, files: dict[str, bytes], signer: str | None = None) -> str:
    """A commit that also holds `files`, signed with the key called `signer` if one is named."""
    tree = trees.build(clone, clone.tree(base), {path: Put(data, "100644") for path, data in files.items()})
    draft = commits.draft(clone, tree, [base], "Set up\n", "Ada", "ada@example.org", NOW)
    return commits.write(clone, draft, None) if signer is None else _signed(clone, draft, signer)


def _signed(clone: Clone, draft: bytes, signer: str) -> str:
    """Write a drafted commit, signed with the key called `signer`."""
    signature = private(signer).sign(sshsig.blob_to_sign(draft))
    return commits.write(clone, draft, sshsig.armor(signature, public(signer)))


def _maker(
    clone: Clone, base: str, tree: str, changes: tuple[Change, ...], *, trial: bool, fields: dict[str, Any]
) -> Maker:
    base_tree = clone.tree(base)
    follow = {
        "request_change": lambda one: replace(one, base=base, trial=trial),
        "proposal_change": lambda one: replace(one, base_tree=base_tree, tree=tree),
        "provenance_change": lambda one: replace(one, base_tree=base_tree),
        "result_change": lambda one: replace(one, tree=tree, runs=tuple(replace(run, tree=tree) for run in one.runs)),
    }
    return Maker(changes=changes, **(follow | fields))
