"""Where a proposal comes from: SLSA provenance v1 with our own `buildType`.

`externalParameters` is what was asked: untrusted input that a verifier checks field by field, refusing unknown ones.
Everything about model, prompt and cost is asserted by the runner; a signature says which runner vouched, not that it
was honest.

Source: https://slsa.dev/spec/v1.1/provenance.
"""

from __future__ import annotations

from typing import Any, ClassVar, Final

from agent_pipeline.documents import proposal, schema
from agent_pipeline.documents.form import from_plain, to_plain
from agent_pipeline.documents.statement import Statement
from agent_pipeline.frozen import frozen

PREDICATE_TYPE: Final = "https://slsa.dev/provenance/v1"
BUILD_TYPE: Final = "https://agent-pipeline.dev/agent-patch/v1"
BUILDER_ID: Final = "https://agent-pipeline.dev/runner/v1"


@frozen
class Model:
    """The model that was asked for and the ones that answered, and the endpoint's origin."""

    requested: str
    served: tuple[str, ...]
    endpoint: str
    api_version: str


@frozen
class Prompt:
    """A frozen prompt, `NAME@VERSION`, and the SHA-256 of its text and of what was rendered from it."""

    name: str
    sha256: str
    rendered: str


@frozen
class Command:
    """The command engine: what ran, the digest of its canonical argv and of its output."""

    argv: tuple[str, ...]
    sha256: str
    output: str
    code: int


@frozen
class SandboxFacts:
    """Where the agent ran. `posture` is the SHA-256 of the self-test; `unenforced` is what this host could not hold.

    `workspace` is what the copy was: an overlay, a full copy, or one that went to an engine elsewhere as an archive.
    """

    backend: str
    engine_version: str
    runtime: str
    image: str
    seccomp: str
    posture: str
    unenforced: tuple[str, ...]
    workspace: str


@frozen
class Usage:
    """What the run used. Counts are decimal strings, `usd` too."""

    steps: str
    input_tokens: str
    output_tokens: str
    cache_read_tokens: str
    usd: str
    seconds: str


@frozen
class Provenance:
    """Everything that shaped a proposal. `request_envelope` binds the signed request, `policy` the policy's bytes."""

    STEM: ClassVar[str] = "provenance"

    request: str
    number: int
    request_envelope: str
    kind: str
    task: str
    repository: str
    target: str
    base: str
    base_tree: str
    tree: str
    staging: str
    only: tuple[str, ...]
    engine: str
    trial: bool
    requester: str
    policy: str
    root_version: int
    tools: tuple[str, ...]
    tools_digest: str
    sandbox: SandboxFacts
    usage: Usage
    transcript: str
    transcript_records: int
    outcome: str
    runner_version: str
    started: str
    finished: str
    model: Model | None = None
    prompt: Prompt | None = None
    command: Command | None = None
    recording: str | None = None

    def to_statement(self, manifest_sha256: str) -> Statement:
        """Return the in-toto statement about the manifest with that SHA-256. Raises `SchemaError`."""
        predicate = self._predicate()
        schema.validate(self.STEM, predicate)
        return Statement(proposal.SUBJECT, manifest_sha256, PREDICATE_TYPE, predicate)

    def _predicate(self) -> dict[str, Any]:
        return {
            "buildDefinition": {
                "buildType": BUILD_TYPE,
                "externalParameters": self._external(),
                "internalParameters": self._internal(),
                "resolvedDependencies": self._dependencies(),
            },
            "runDetails": self._details(),
        }

    def _external(self) -> dict[str, Any]:
        value: dict[str, Any] = {
            "request": {"id": self.request, "number": self.number, "digest": {"sha256": self.request_envelope}},
            "task": {"kind": self.kind, "digest": {"sha256": self.task}, "only": list(self.only)},
            "target": {
                "repository": self.repository,
                "ref": self.target,
                "baseCommit": self.base,
                "stagingRef": self.staging,
            },
            "engine": self.engine,
            "requester": self.requester,
            "trial": self.trial,
        }
        if self.prompt is not None:
            value["prompt"] = to_plain(self.prompt)
        if self.command is not None:
            value["command"] = to_plain(self.command)
        if self.recording is not None:
            value["recording"] = {"sha256": self.recording}
        return value

    def _internal(self) -> dict[str, Any]:
        agent: dict[str, Any] = {"tools": list(self.tools), "toolsDigest": {"sha256": self.tools_digest}}
        if self.model is not None:
            agent["model"] = to_plain(self.model)
        return {
            "agent": agent,
            "sandboxPolicy": {"network": "none", "credentials": "none", "filesystem": "ephemeral-copy"}
            | to_plain(self.sandbox),
        }

    def _dependencies(self) -> list[dict[str, Any]]:
        return [
            {
                "name": "source",
                "uri": f"{self.repository}@{self.target}",
                "digest": {"gitCommit": self.base, "gitTree": self.base_tree},
            },
            {"name": "sandbox-image", "digest": {"sha256": self.sandbox.image}},
            {
                "name": "policy",
                "digest": {"sha256": self.policy},
                "annotations": {"rootVersion": str(self.root_version)},
            },
        ]

    def _details(self) -> dict[str, Any]:
        return {
            "builder": {"id": BUILDER_ID, "version": {"agent-pipeline": self.runner_version}},
            "metadata": {
                "invocationId": f"{self.request}.{self.number}",
                "startedOn": self.started,
                "finishedOn": self.finished,
            },
            "byproducts": [
                {
                    "name": "transcript",
                    "mediaType": "application/jsonl",
                    "digest": {"sha256": self.transcript},
                    "annotations": {"records": str(self.transcript_records), "outcome": self.outcome},
                },
                {"name": "usage", "annotations": to_plain(self.usage)},
                {
                    "name": "result-tree",
                    "mediaType": proposal.MEDIA_TYPE,
                    "digest": {"gitTree": self.tree},
                },
            ],
        }

    @classmethod
    def from_statement(cls, statement: Statement) -> Provenance:
        """Read what `to_statement` writes; its form is exact, unknown members are refused. Raises `SchemaError`."""
        schema.validate(cls.STEM, statement.predicate)
        definition, details = statement.predicate["buildDefinition"], statement.predicate["runDetails"]
        external, internal = definition["externalParameters"], definition["internalParameters"]
        source, image, policy = definition["resolvedDependencies"]
        transcript, usage, result = details["byproducts"]
        sandbox = {
            name: value
            for name, value in internal["sandboxPolicy"].items()
            if name not in ("network", "credentials", "filesystem")
        }
        sandbox["image"] = image["digest"]["sha256"]
        model, prompt, command = internal["agent"].get("model"), external.get("prompt"), external.get("command")
        provenance = cls(
            request=external["request"]["id"],
            number=external["request"]["number"],
            request_envelope=external["request"]["digest"]["sha256"],
            kind=external["task"]["kind"],
            task=external["task"]["digest"]["sha256"],
            repository=external["target"]["repository"],
            target=external["target"]["ref"],
            base=external["target"]["baseCommit"],
            base_tree=source["digest"]["gitTree"],
            tree=result["digest"]["gitTree"],
            staging=external["target"]["stagingRef"],
            only=tuple(external["task"]["only"]),
            engine=external["engine"],
            trial=external["trial"],
            requester=external["requester"],
            policy=policy["digest"]["sha256"],
            root_version=int(policy["annotations"]["rootVersion"]),
            tools=tuple(internal["agent"]["tools"]),
            tools_digest=internal["agent"]["toolsDigest"]["sha256"],
            sandbox=from_plain(SandboxFacts, sandbox),
            usage=from_plain(Usage, usage["annotations"]),
            transcript=transcript["digest"]["sha256"],
            transcript_records=int(transcript["annotations"]["records"]),
            outcome=transcript["annotations"]["outcome"],
            runner_version=details["builder"]["version"]["agent-pipeline"],
            started=details["metadata"]["startedOn"],
            finished=details["metadata"]["finishedOn"],
            model=None if model is None else from_plain(Model, model),
            prompt=None if prompt is None else from_plain(Prompt, prompt),
            command=None if command is None else from_plain(Command, command),
            recording=external["recording"]["sha256"] if "recording" in external else None,
        )
        again = Statement(proposal.SUBJECT, statement.sha256, PREDICATE_TYPE, provenance._predicate())
        statement.require(again, "the provenance")
        return provenance
