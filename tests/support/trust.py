"""Makes complete, valid sets of signed documents from fixed keys and times, and any of them broken in one place.

`Maker` holds what a set is made from; each `..._change` is a function that is applied to the document before it is
signed, so that a test says only what it breaks. Everything that depends on a document follows it: digests and
signatures always hold, unless a test breaks those.
"""

from __future__ import annotations

import hashlib
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field, replace
from datetime import UTC, datetime, timedelta
from typing import Any

from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PrivateKey
from support import logs

from agent_pipeline.attestation import drafts, dsse, keys, sshsig
from agent_pipeline.documents import moments, strict, transcript
from agent_pipeline.documents.anchor import Anchor
from agent_pipeline.documents.approval import APPROVED, Approval
from agent_pipeline.documents.envelope import Envelope
from agent_pipeline.documents.images_lock import ImagesLock, LockedImage
from agent_pipeline.documents.log_entry import LogEntry
from agent_pipeline.documents.proposal import Change, Proposal
from agent_pipeline.documents.provenance import Command, Model, Prompt, Provenance, SandboxFacts, Usage
from agent_pipeline.documents.replay_result import ReplayResult, Run
from agent_pipeline.documents.request import EngineChoice, Limits, Request
from agent_pipeline.documents.root import PAYLOAD_TYPE as ROOT_TYPE
from agent_pipeline.documents.root import Former, Key, Person, TrustRoot
from agent_pipeline.documents.statement import PAYLOAD_TYPE, Statement
from agent_pipeline.documents.summary import VERIFIER_ID, Summary
from agent_pipeline.documents.test_result import ReplayTest
from agent_pipeline.documents.verification import PASSED, Check
from agent_pipeline.verify.inputs import Inputs, LandingInputs, TreeFacts

NOW = datetime(2026, 3, 1, 12, 0, tzinfo=UTC)
REPOSITORY, BRANCH = "https://git.example.org/acme/app", "refs/heads/main"
BASE, BASE_TREE, TREE = "b" * 40, "c" * 40, "d" * 40
IMAGE, TOOLS = "1" * 64, ("str_replace_based_edit_tool", "run_check", "submit_proposal")
MODEL, PROMPT, ENDPOINT = "claude-sonnet-4-5", "fix@1", "https://api.anthropic.com"
PROMPTS = {PROMPT: "2" * 64}
POLICY = f"""\
version: 1
engines: [claude, command, recorded]
tools: [str_replace_based_edit_tool, run_check, submit_proposal]
paths:
  read: {{allow: ["**"], deny: ["secrets/**"]}}
  write: {{allow: ["**"], deny: [".github/**"]}}
  tests: ["tests/**"]
  ignore: []
limits: {{steps: 50, seconds: 600, usd: "2", tokens: 100000, files: 10, bytes: 100000}}
models:
  allow: [{MODEL}]
  endpoints: ["{ENDPOINT}"]
  prompts: [{PROMPT}]
sandbox:
  backends: [docker, bubblewrap]
  image: project
  memory_mb: 512
  pids: 64
  cpus: "1"
  disk_mb: 256
  require: [memory]
checks:
  quick: {{run: [pytest, -q], seconds: 60}}
  full: {{run: [pytest], seconds: 600}}
setup: {{run: [], env: {{}}, seconds: 60}}
landing:
  proofs:
    fix: [signed, replayed, regression]
    feature: [signed, replayed]
    refactor: [signed, replayed]
    tests: [signed, replayed]
    deps: [signed, replayed]
    docs: [signed]
  reviewers: 1
  persons: 3
  approval_days: 14
""".encode()


def private(name: str) -> Ed25519PrivateKey:
    """The fixed private key called `name`."""
    return Ed25519PrivateKey.from_private_bytes(hashlib.sha256(name.encode()).digest())


def public(name: str) -> Key:
    """Its public half."""
    return keys.key_from_public(private(name).public_key())


def seal(payload_type: str, payload: bytes, name: str) -> bytes:
    """`payload` in an envelope signed with the key called `name`."""
    signature = private(name).sign(dsse.pae(payload_type, payload))
    return Envelope(payload_type, payload, public(name).keyid, signature).to_json()


def sign(statement: Statement, name: str) -> bytes:
    """A statement in an envelope signed with the key called `name`."""
    return seal(PAYLOAD_TYPE, statement.to_json(), name)


def root_of(people: dict[str, Sequence[str]], *, bots: Sequence[str] = (), **fields: Any) -> TrustRoot:
    """A trust root in which everybody has one key, called as the person."""
    owned = tuple(replace(public(name), owner=name) for name in people)
    root = TrustRoot(
        version=1,
        expires=moments.write(NOW + timedelta(days=300)),
        repository=REPOSITORY,
        branch=BRANCH,
        threshold=1,
        keys=tuple(sorted(owned, key=lambda key: key.keyid)),
        people=tuple(
            Person(name, (public(name).keyid,), tuple(roles), bot=name in bots)
            for name, roles in sorted(people.items())
        ),
    )
    return replace(root, **fields)


def ended(root: TrustRoot, until: int, *names: str, revoked: bool = False) -> tuple[Former, ...]:
    """The grants of `names` as they stand in a later version, in which they have ended."""
    people = [person for person in root.people if person.name in names]
    found = [
        Former(key.keyid, key.scheme, key.public, person.name, person.roles, person.bot, until, revoked)
        for person in people
        for key in root.keys
        if key.keyid in person.keys
    ]
    return tuple(sorted(found, key=lambda grant: grant.keyid))


def seal_root(root: TrustRoot, *names: str) -> tuple[bytes, ...]:
    """All envelopes of a root's version, one for each signer."""
    return tuple(seal(ROOT_TYPE, root.to_json(), name) for name in names)


TEAM = {
    "ada": ("root", "requester", "runner", "policy"),
    "robot": ("ci", "merger"),
    "rita": ("reviewer",),
    "rex": ("reviewer",),
    "mel": ("requester", "reviewer"),
}
ALONE = {"solo": drafts.ALONE}


def same(value: Any) -> Any:
    """Change nothing."""
    return value


def once(method: Callable[[Maker], Any]) -> Any:
    """Make a document once for each maker: the others are made from it again and again."""
    name = method.__name__

    def made(self: Maker) -> Any:
        if name not in self.made:
            self.made[name] = method(self)
        return self.made[name]

    return made


def change(path: str = "src/app.py", text: str = "new\n", base: str | None = "e" * 40) -> Change:
    """A changed file."""
    data = text.encode()
    return Change(
        path=path,
        op="put",
        mode="100644",
        sha256=strict.sha256(data),
        size=len(data),
        object=hashlib.sha1(b"blob %d\x00%b" % (len(data), data), usedforsecurity=False).hexdigest(),
        base_object=base,
        base_mode=None if base is None else "100644",
    )


@dataclass
class Maker:
    """What a set of documents is made from. `now` is when it is judged."""

    root: TrustRoot = field(default_factory=lambda: root_of(TEAM, bots=("robot",)))
    requester: str = "ada"
    runner: str = "ada"
    ci: str = "robot"
    merger: str = "robot"
    reviewers: tuple[str, ...] = ("rita",)
    policy: bytes = POLICY
    engine: str = "claude"
    kind: str = "fix"
    now: datetime = NOW
    number: int = 1
    changes: tuple[Change, ...] = (change(), change("tests/test_app.py", "assert 1\n", None))
    log: tuple[bytes, ...] = ()
    request_change: Callable[[Request], Request] = same
    proposal_change: Callable[[Proposal], Proposal] = same
    provenance_change: Callable[[Provenance], Provenance] = same
    records_change: Callable[[list[dict[str, Any]]], list[dict[str, Any]]] = same
    facts_change: Callable[[TreeFacts], TreeFacts] = same
    inputs_change: Callable[[Inputs], Inputs] = same
    result_change: Callable[[ReplayResult], ReplayResult] = same
    summary_change: Callable[[Summary], Summary] = same
    approval_change: Callable[[Approval], Approval] = same
    entry_change: Callable[[LogEntry], LogEntry] = same
    landing_change: Callable[[LandingInputs], LandingInputs] = same
    made: dict[str, Any] = field(default_factory=dict)

    # What was asked.

    @once
    def request(self) -> Request:
        engines = {
            "claude": EngineChoice("claude", model=MODEL, prompt=PROMPT),
            "command": EngineChoice("command", command=("ruff", "--fix")),
            "recorded": EngineChoice("recorded", transcript="3" * 64),
        }
        return self.request_change(
            Request(
                version=1,
                nonce="0" * 32,
                repository=REPOSITORY,
                target=BRANCH,
                base=BASE,
                kind=self.kind,
                text="the total is wrong",
                only=(),
                engine=engines[self.engine],
                limits=Limits(20, 300, "1"),
                sandbox="docker",
                requester=self.requester,
                created=moments.write(NOW - timedelta(minutes=20)),
                trial=False,
            )
        )

    @once
    def request_envelope(self) -> bytes:
        return sign(self.request().to_statement(), self.requester)

    # What came of it.

    @once
    def proposal(self) -> Proposal:
        request = self.request()
        return self.proposal_change(
            Proposal(
                version=1,
                request=request.id,
                number=self.number,
                repository=request.repository,
                target=request.target,
                base=request.base,
                base_tree=BASE_TREE,
                tree=TREE,
                changes=self.changes,
                summary="mend the total",
                rationale="it added one too many",
            )
        )

    @once
    def records(self) -> list[dict[str, Any]]:
        request = self.request()
        header: dict[str, Any] = {
            "type": "header",
            "version": 1,
            "engine": self.engine,
            "request": request.id,
            "task": strict.sha256(request.text.encode()),
            "tools": [] if self.engine == "command" else list(TOOLS),
            "tools_digest": "4" * 64,
        }
        middle: dict[str, Any] = {"type": "note", "event": "worked", "detail": "hard"}
        if self.engine == "command":
            argv = ["ruff", "--fix"]
            header |= {"command": argv}
            middle = {"type": "command", "argv": argv, "code": 0, "seconds": 1, "output": "", "output_digest": "5" * 64}
        else:
            header |= {"prompt": PROMPT, "prompt_digest": PROMPTS[PROMPT]}
        if self.engine == "claude":
            header |= {"model": MODEL, "endpoint": ENDPOINT, "api_version": "2023-06-01"}
        if self.engine == "recorded":
            header |= {"recording": "3" * 64}
        outcome = "finished" if self.engine == "command" else "submitted"
        return self.records_change([header, middle, {"type": "end", "outcome": outcome, "records": 3}])

    @once
    def transcript(self) -> bytes:
        return b"".join(transcript.line(record) for record in self.records())

    @once
    def provenance(self) -> Provenance:
        request, proposal, records = self.request(), self.proposal(), self.records()
        argv = ("ruff", "--fix")
        command = Command(argv, strict.sha256(strict.canonical(list(argv))), "5" * 64, 0)
        return self.provenance_change(
            Provenance(
                request=request.id,
                number=self.number,
                request_envelope=strict.sha256(self.request_envelope()),
                kind=request.kind,
                task=strict.sha256(request.text.encode()),
                repository=request.repository,
                target=request.target,
                base=request.base,
                base_tree=BASE_TREE,
                tree=proposal.tree,
                staging=f"refs/heads/agent/{request.id}",
                only=request.only,
                engine=self.engine,
                trial=request.trial,
                requester=request.requester,
                policy=strict.sha256(self.policy),
                root_version=self.root.version,
                tools=() if self.engine == "command" else TOOLS,
                tools_digest="4" * 64,
                sandbox=SandboxFacts("docker", "28.2", "runc", IMAGE, "6" * 64, "7" * 64, ("disk",), "overlay"),
                usage=Usage("5", "1000", "200", "0", "0.05", "60"),
                transcript=strict.sha256(self.transcript()),
                transcript_records=len(records),
                outcome=str(records[-1].get("outcome")),
                runner_version="0.1.0",
                started=moments.write(NOW - timedelta(minutes=15)),
                finished=moments.write(NOW - timedelta(minutes=10)),
                model=Model(MODEL, (MODEL,), ENDPOINT, "2023-06-01") if self.engine == "claude" else None,
                prompt=Prompt(PROMPT, PROMPTS[PROMPT], "8" * 64) if self.engine != "command" else None,
                command=command if self.engine == "command" else None,
                recording="3" * 64 if self.engine == "recorded" else None,
            )
        )

    @once
    def statement(self) -> Statement:
        return self.provenance().to_statement(self.proposal().digest())

    def facts(self) -> TreeFacts:
        return self.facts_change(
            TreeFacts(BASE_TREE, self.changes, TREE, BASE, carrier_message_ok=True, disagreement=None)
        )

    def inputs(self) -> Inputs:
        """Everything about the proposal that a verifier is given."""
        return self.inputs_change(
            Inputs(
                request=self.request().id,
                number=self.number,
                request_envelope=self.request_envelope(),
                manifest=self.proposal().to_json(),
                provenance_envelope=sign(self.statement(), self.runner),
                transcript=self.transcript(),
                tree_facts=self.facts(),
                policy_bytes=self.policy,
                root=self.root,
                anchor=Anchor(REPOSITORY, BRANCH, "9" * 64),
                url=REPOSITORY,
                log=logs.prove(self.log, self.request().id),
                landed=True,
                images=ImagesLock(1, {"project": LockedImage(IMAGE, {})}),
                now=self.now,
                prompts=PROMPTS,
            )
        )

    # What CI and the reviewers add.

    @once
    def result(self) -> ReplayResult:
        names = [
            "replay: tree",
            "replay: full",
            "regression: fails without the fix",
            "regression: the base's tests pass",
        ]
        names = names if self.kind == "fix" else names[:2]
        return self.result_change(
            ReplayResult(
                version=1,
                request=self.request().id,
                number=self.number,
                statement=self.statement().digest(),
                tree=TREE,
                image=IMAGE,
                backend="docker",
                posture="7" * 64,
                checks=tuple(Check(name, PASSED, "as it should be") for name in names),
                runs=(Run("full", "result", TREE, 5, 3, (), reported=True, output="", code=0),),
            )
        )

    @once
    def test_result(self) -> bytes:
        result = self.result()
        test = ReplayTest(result, strict.sha256(self.policy))
        return sign(test.to_statement(self.proposal().digest()), self.ci)

    @once
    def summary(self) -> bytes:
        proposal = self.proposal()
        named = (self.request_envelope(), sign(self.statement(), self.runner), self.test_result())
        summary = Summary(
            verifier=VERIFIER_ID,
            version="0.1.0",
            time=moments.write(NOW - timedelta(minutes=5)),
            repository=proposal.repository,
            target=proposal.target,
            policy=strict.sha256(self.policy),
            statement=self.statement().digest(),
            inputs=tuple(strict.sha256(data) for data in named),
            passed=True,
            levels=("ORG_SOURCE_AGENT_SIGNED",),
            base=proposal.base,
            tree=proposal.tree,
            checks=(Check("01 documents", PASSED, "fine"),),
        )
        return sign(self.summary_change(summary).to_statement(proposal.digest()), self.ci)

    def approval(self, reviewer: str, decision: str = APPROVED, **fields: Any) -> bytes:
        proposal = self.proposal()
        approval = Approval(
            version=1,
            decision=decision,
            repository=proposal.repository,
            target=proposal.target,
            base=proposal.base,
            tree=proposal.tree,
            request=proposal.request,
            proposal=self.statement().digest(),
            policy=strict.sha256(self.policy),
            reviewer=reviewer,
            created=moments.write(NOW - timedelta(minutes=2)),
            expires=moments.write(NOW + timedelta(days=10)),
        )
        approval = self.approval_change(replace(approval, **fields))
        return sign(approval.to_statement(proposal.digest()), reviewer)

    def entry(self, log: Sequence[bytes], event: str, envelopes: Sequence[bytes] = (), **fields: Any) -> bytes:
        """The next entry after `log`."""
        roots = logs.following(log)
        entry = LogEntry(
            version=1,
            index=roots.index,
            previous=roots.previous,
            history=roots.history,
            state=roots.state,
            event=event,
            repository=REPOSITORY,
            envelopes=tuple(strict.sha256(data) for data in envelopes),
            created=moments.write(NOW),
            root=self.root.version,
            request=self.request().id,
            number=self.number,
            statement=self.statement().digest(),
        )
        return sign(self.entry_change(replace(entry, **fields)).to_statement(), self.ci)

    def staged(self, **fields: str) -> tuple[bytes, str]:
        said = {"tree": TREE, "parent": BASE, "key": self.ci, "statement": self.statement().digest()} | fields
        payload = (
            f"tree {said['tree']}\nparent {said['parent']}\n"
            "author CI <ci@example.org> 1772366400 +0000\ncommitter CI <ci@example.org> 1772366400 +0000\n\n"
            f"staged\n\nAgent-Pipeline-Statement: sha256:{said['statement']}\n"
        ).encode()
        signature = private(said["key"]).sign(sshsig.blob_to_sign(payload))
        return payload, sshsig.armor(signature, public(said["key"]))

    def admission(self) -> bytes:
        """The log's entry by which CI admitted it."""
        return self.entry(self.log, "admitted", [self.test_result(), self.summary()])

    def landing(self) -> LandingInputs:
        """Everything that a merge is decided on."""
        approvals = tuple(self.approval(name) for name in self.reviewers)
        return self.landing_change(
            LandingInputs(
                inputs=replace(self.inputs(), log=logs.prove((*self.log, self.admission()), self.request().id)),
                attestations=(sign(self.statement(), self.runner), self.test_result(), self.summary(), *approvals),
                staged=self.staged(),
                target_tip=BASE,
                merger=public(self.merger).keyid,
            )
        )


def alone(**fields: Any) -> Maker:
    """One person who has every role but reviewer, in a repository whose policy says that this is enough."""
    policy = POLICY.replace(b"reviewers: 1", b"reviewers: 0").replace(b"persons: 3", b"persons: 1")
    who = {"requester": "solo", "runner": "solo", "ci": "solo", "merger": "solo", "reviewers": ()}
    return Maker(**({"root": root_of(ALONE), "policy": policy} | who | fields))
