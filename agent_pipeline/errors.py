"""The tree of errors, and with it the meaning of every exit code.

::

    AgentPipelineError
    ├─ UsageError             exit 2   used wrongly or misconfigured; the person who called mends it
    ├─ RejectedError          exit 1   the answer is no
    │  ├─ SchemaError                  a document does not have the form of its schema
    │  ├─ PathError                    a path that no proposal may carry
    │  ├─ PolicyError                  the policy refuses it
    │  ├─ SignatureError               a signature, key or role that does not hold
    │  ├─ StaleError                   something moved meanwhile: a target, a record, a lost race
    │  └─ CheckError                   tests fail, a replay ends elsewhere, a request changes nothing
    └─ UnavailableError       exit 3   could not tell: nothing was decided, trying again may help
       ├─ SandboxError                 no engine, no image, walls that are not as expected
       ├─ ModelError                   unreachable, refused, cut off
       ├─ GitError                     Git or a remote did not answer as expected
       └─ StorageError                 a disk that is full or not writable

Anything else that escapes is a defect of ours and is reported as "could not tell" (exit 3); an interrupt is exit 130.
"Could not tell" is never taken as yes.

Foreign exceptions never leak out of the room that called the foreign library.
"""

from __future__ import annotations


class AgentPipelineError(Exception):
    """Base of all errors that people are meant to read.

    `message` says what is wrong and where; `hint` says what to do next.
    """

    exit_code = 3
    advice = "`agent-pipeline doctor` says what works here and what does not"  # what comes next, without a hint

    def __init__(self, message: str, *, hint: str | None = None) -> None:
        """Keep `message` for people and `hint` for what they do next."""
        super().__init__(message)
        self.message = message
        self.hint = hint


class UsageError(AgentPipelineError):
    """Used wrongly or misconfigured."""

    exit_code = 2
    advice = "`--help` after the command shows how it is used"


class RejectedError(AgentPipelineError):
    """The answer is no."""

    exit_code = 1
    advice = "`agent-pipeline show ID` says where a request stands"


class SchemaError(RejectedError):
    """A document does not have the form of its schema."""

    advice = "whoever wrote the document has to mend it"


class PathError(RejectedError):
    """A path that no proposal may carry."""


class PolicyError(RejectedError):
    """The policy refuses it."""


class SignatureError(RejectedError):
    """A signature, key or role that does not hold."""

    advice = "find out who wrote it before you go on; `agent-pipeline trust show` lists whose keys count"


class StaleError(RejectedError):
    """A ref moved meanwhile: what was decided was decided about something else."""


class CheckError(RejectedError):
    """A check failed, a replay ended in another tree, or there is nothing to propose."""


class UnavailableError(AgentPipelineError):
    """Could not tell; trying again may help."""


class SandboxError(UnavailableError):
    """No engine, no image, or walls that are not as expected."""


class ModelError(UnavailableError):
    """The model is unreachable, refused or was cut off."""


class GitError(UnavailableError):
    """Git or a remote did not answer as expected."""

    advice = "try again; `git fsck` shows whether the repository is whole"


class StorageError(UnavailableError):
    """A disk that is full or not writable."""

    advice = "make room or mend the permissions, then try again"
