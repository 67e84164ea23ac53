"""What a replay found in a clean container: which tests ran where, and what follows from it."""

from __future__ import annotations

from typing import ClassVar

from agent_pipeline.documents.form import Document
from agent_pipeline.documents.verification import Check
from agent_pipeline.frozen import frozen

PREDICATE_TYPE = "https://in-toto.io/attestation/test-result/v0.1"


@frozen
class Run:
    """One run of one of the policy's checks on one tree.

    `code` is the exit code, None when it was killed; `passed` and `failed` are test names, empty when the check is not
    pytest.
    """

    check: str
    on: str  # result, tests-on-base, base-tests
    tree: str
    seconds: int
    passed: int
    failed: tuple[str, ...]
    reported: bool  # whether our reporter wrote a complete report
    output: str  # the end of what the check said
    code: int | None = None


@frozen
class ReplayResult(Document):
    """A replay of one proposal: `statement` is the digest of the provenance statement that was replayed."""

    STEM: ClassVar[str] = "replay_result"

    version: int
    request: str
    number: int
    statement: str
    tree: str
    image: str
    backend: str
    posture: str  # sha256 of the sandbox's self-test
    checks: tuple[Check, ...]
    runs: tuple[Run, ...]
