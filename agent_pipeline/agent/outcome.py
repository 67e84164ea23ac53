"""How a run ends. Ends are values, not exceptions: a limit that is reached is an answer like any other."""

from __future__ import annotations

from dataclasses import dataclass
from enum import StrEnum

from agent_pipeline.documents.provenance import Command, Model, Prompt, Usage
from agent_pipeline.documents.submission import Submission


class Outcome(StrEnum):
    """The word in the transcript's end record and in the provenance."""

    SUBMITTED = "submitted"  # a claim was accepted
    FINISHED = "finished"  # the command engine's command ended with 0
    STEPS = "steps"
    SECONDS = "seconds"
    TOKENS = "tokens"
    USD = "usd"
    ENDED = "ended"  # the model stopped without submitting, though told
    MISMATCH = "mismatch"  # what was submitted is not what changed, and was not mended
    REFUSAL = "refusal"
    MAX_TOKENS = "max_tokens"  # one answer was longer than answers may be
    CONTEXT = "context"  # the conversation no longer fits the model
    UNKNOWN_STOP = "unknown stop"
    COMMAND_FAILED = "command failed"
    # Only in a transcript: these runs end in an exception.
    ERROR = "error"
    INTERRUPTED = "interrupted"


@dataclass(frozen=True, slots=True)
class End:
    """How the loop ended. `detail` is one line for people."""

    outcome: Outcome
    detail: str = ""
    submission: Submission | None = None


@dataclass(frozen=True, slots=True)
class RunOutcome:
    """All that a run leaves behind beside the workspace. `differences` are what `recorded` found, for people."""

    transcript: bytes
    records: int
    outcome: Outcome
    detail: str
    submission: Submission | None
    usage: Usage
    tools: tuple[str, ...]
    tools_digest: str
    model: Model | None = None
    prompt: Prompt | None = None
    command: Command | None = None
    recording: str | None = None
    differences: tuple[str, ...] = ()

    @property
    def proposes(self) -> bool:
        """Whether there may be a change to propose; only `submitted` and `finished` ever are."""
        return self.outcome in (Outcome.SUBMITTED, Outcome.FINISHED)
