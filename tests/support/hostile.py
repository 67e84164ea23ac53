"""A runner that is hostile: it has the roles requester and runner, signs what it likes, and runs no sandbox."""

from __future__ import annotations

import dataclasses
import os
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from typing import Any, Final

from support.people import Person
from support.pushers import Pusher
from support.teams import LOG, MAIN, REQUESTS, Team
from support.trust import NOW

from agent_pipeline import clock
from agent_pipeline.audit import log as audit_log
from agent_pipeline.documents import moments, strict
from agent_pipeline.documents.envelope import Envelope
from agent_pipeline.documents.log_entry import LogEntry
from agent_pipeline.documents.proposal import Proposal
from agent_pipeline.documents.provenance import Command, Provenance, SandboxFacts, Usage
from agent_pipeline.documents.request import EngineChoice, Limits, Request
from agent_pipeline.documents.root import TrustRoot
from agent_pipeline.documents.transcript import line
from agent_pipeline.repository import dossier as dossiers
from agent_pipeline.repository import records, trees
from agent_pipeline.repository.clone import Clone
from agent_pipeline.repository.trees import Put
from agent_pipeline.signing.client import Signer

_NO_TOOLS: Final = strict.sha256(strict.canonical([]))


def signer(person: Person) -> Signer:
    """The person's own key."""
    return Signer(str(person.home / "config" / "agent-pipeline" / "keys" / "default"))


@dataclass
class HostileRunner:
    """Alice with a program of her own: signs what she likes with her key, and runs no sandbox at all."""

    team: Team

    def __post_init__(self) -> None:
        self.clone = Clone.discover(self.team.alice.clone)
        self.signer = signer(self.team.alice)
        self.team.alice.git("fetch", "-q", "origin", "+refs/heads/*:refs/remotes/origin/*")
        self.base = self.clone.commit("refs/remotes/origin/main")

    def request(self, **changes: Any) -> Request:
        """A request like any other, but for `changes`."""
        plain = Request(
            version=1, nonce=os.urandom(16).hex(), repository=str(self.team.bare), target=MAIN, base=self.base,
            kind="refactor", text="tidy up", only=(), engine=EngineChoice("command", command=("true",)),
            limits=Limits(10, 60, "1"), sandbox="bubblewrap", requester="alice",
            created=clock.rfc3339(clock.now()), trial=False,
        )  # fmt: skip
        return dataclasses.replace(plain, **changes)

    def built(self, changes: Mapping[str, Put | None], base: str | None = None) -> str:
        """Return the tree of the base with `changes`, made as an honest host makes it."""
        return trees.build(self.clone, self.clone.tree(base or self.base), changes)

    def made(self, entries: Callable[[dict[str, Any]], object]) -> str:
        """Return the tree of the base changed by hand, by no rule at all."""
        pusher = Pusher(self.clone.path, self.team.bare)
        files = pusher.files(self.base)
        entries(files)
        return pusher.tree(files)

    def propose(
        self,
        tree: str,
        *,
        request: Request | None = None,
        signed: Request | None = None,
        facts: Mapping[str, Any] | None = None,
        manifest: Mapping[str, Any] | None = None,
        changes: tuple[Any, ...] | None = None,
        number: int = 1,
        onto: str | None = None,
    ) -> str:
        """Publish a signed proposal for `tree` and return its id. `signed` is the request that stands in the record."""
        asked = request or self.request()
        envelope = self.signer.statement((signed or asked).to_statement()).to_json()
        base_tree = self.clone.tree(asked.base)
        said = Proposal(
            version=1, request=asked.id, number=number, repository=asked.repository, target=asked.target,
            base=asked.base, base_tree=base_tree, tree=tree,
            changes=changes if changes is not None else trees.compare(self.clone, base_tree, tree),
            summary="", rationale="",
        )  # fmt: skip
        said = dataclasses.replace(said, **(manifest or {}))
        transcript, records_count = self._transcript(asked)
        told = self._provenance(asked, envelope, said, transcript, records_count)
        told = dataclasses.replace(told, **(facts or {}))
        statement = self.signer.statement(told.to_statement(strict.sha256(said.to_json()))).to_json()
        files = {
            f"{number}/proposal.json": said.to_json(),
            f"{number}/transcript.jsonl": transcript,
            dossiers.attestation_path(number, "provenance", statement): statement,
        }
        if onto is None:
            files["request.dsse.json"] = envelope
        record = records.Record(asked.id, onto, self.clone) if onto is not None else None
        carrier = records.carrier(self.clone, asked.base, tree)
        commit = records.extend(self.clone, record, asked.id, files, carrier)
        self.team.alice.git("push", "-q", "--force", "origin", f"{commit}:{REQUESTS}{asked.id}")
        return asked.id

    def _transcript(self, asked: Request) -> tuple[bytes, int]:
        header = {
            "type": "header", "version": 1, "request": asked.id, "engine": "command", "tools": [],
            "tools_digest": _NO_TOOLS, "task": strict.sha256(asked.text.encode()),
            "command": list(asked.engine.command or ()),
        }  # fmt: skip
        ran = {
            "type": "command", "argv": list(asked.engine.command or ()), "code": 0, "seconds": 0, "output": "",
            "output_digest": strict.sha256(b""),
        }  # fmt: skip
        end = {"type": "end", "outcome": "finished", "detail": "", "records": 3}
        return b"".join(line(one) for one in (header, ran, end)), 3

    def _provenance(self, asked: Request, envelope: bytes, said: Proposal, transcript: bytes, count: int) -> Provenance:
        landed = self.clone.file(asked.base, ".agent-pipeline/policy.yaml") or b""
        image = strict.parse(self.clone.file(self.base, ".agent-pipeline/images.lock.json") or b"", what="lock")
        argv = asked.engine.command or ()
        return Provenance(
            request=asked.id, number=said.number, request_envelope=strict.sha256(envelope), kind=asked.kind,
            task=strict.sha256(asked.text.encode()), repository=asked.repository, target=asked.target, base=asked.base,
            base_tree=said.base_tree, tree=said.tree, staging=f"refs/heads/agent/{asked.id}", only=asked.only,
            engine="command", trial=asked.trial, requester=asked.requester, policy=strict.sha256(landed),
            root_version=3, tools=(), tools_digest=_NO_TOOLS,
            sandbox=SandboxFacts(
                "bubblewrap", "0.8.0", "bwrap", image["images"]["project"]["identity"], "0" * 64, "0" * 64, (), "copy"
            ),
            usage=Usage("1", "0", "0", "0", "0", "0"), transcript=strict.sha256(transcript), transcript_records=count,
            outcome="finished", runner_version="0.1.0", started=asked.created, finished=asked.created,
            command=Command(tuple(argv), strict.sha256(strict.canonical(list(argv))), strict.sha256(b""), 0),
        )  # fmt: skip


def stolen(team: Team, base: str, event: str, *, push: bool = True, **fields: Any) -> str:
    """A thief with CI's key appends an entry after the log's commit `base`, and pushes it by force."""
    clone = HostileRunner(team).clone
    team.alice.git("fetch", "-q", "origin", f"+{LOG}:refs/stolen/log")
    root = team_root(team)
    log = audit_log.at(clone, base, root)
    roots = log.following()
    honest = {name: getattr(roots, name) for name in ("index", "previous", "history", "state")}
    said: dict[str, Any] = {"request": team.id, "number": 1, "statement": "7" * 64, "envelopes": ()} | honest | fields
    said = {"root": root.version} | said
    entry = LogEntry(version=1, event=event, repository=root.repository, created=moments.write(NOW), **said)
    envelope = signer(team.ci).statement(entry.to_statement()).to_json()
    lying = dataclasses.replace(
        roots, history=entry.history, state=entry.state, index=entry.index, previous=entry.previous
    )
    commit = audit_log.append(log, lying, envelope)
    if push:
        team.alice.git("push", "-q", "--force", "origin", f"{commit}:{LOG}")
    return commit


def team_root(team: Team) -> TrustRoot:
    """The trust root on the protected branch."""
    clone = HostileRunner(team).clone
    files = team.alice.git("ls-tree", "-r", "--name-only", "refs/remotes/origin/main", ".agent-pipeline/trust").split()
    newest = max(files, key=lambda path: int(path.rpartition("/")[2].split(".")[0]))
    data = clone.file(clone.commit("refs/remotes/origin/main"), newest)
    assert data is not None
    return TrustRoot.from_json(Envelope.from_json(data.strip()).payload)
