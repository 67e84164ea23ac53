"""CI's replay in in-toto's form of a test result, v0.1: our replay result, and around it the same said once more.

Source: https://github.com/in-toto/attestation/blob/main/spec/predicates/test-result.md.
"""

from __future__ import annotations

from typing import Any, ClassVar

from agent_pipeline.documents import schema
from agent_pipeline.documents.form import to_plain
from agent_pipeline.documents.proposal import SUBJECT
from agent_pipeline.documents.replay_result import PREDICATE_TYPE, ReplayResult
from agent_pipeline.documents.statement import Statement
from agent_pipeline.documents.verification import PASSED, verdict
from agent_pipeline.frozen import frozen


@frozen
class ReplayTest:
    """What CI says of a replay: its `result`, and the SHA-256 of the `policy` that it was run under."""

    STEM: ClassVar[str] = "test_result"

    result: ReplayResult
    policy: str

    def to_statement(self, manifest_sha256: str) -> Statement:
        """Return the in-toto statement about the manifest with that SHA-256. Raises `SchemaError`."""
        predicate = self._predicate()
        schema.validate(self.STEM, predicate)
        return Statement(SUBJECT, manifest_sha256, PREDICATE_TYPE, predicate)

    def _predicate(self) -> dict[str, Any]:
        checks = self.result.checks
        return {
            "result": "PASSED" if verdict(checks) == PASSED else "FAILED",
            "configuration": [
                {"name": "sandbox-image", "digest": {"sha256": self.result.image}},
                {"name": "policy", "digest": {"sha256": self.policy}},
            ],
            "passedTests": [check.name for check in checks if check.outcome == PASSED],
            "failedTests": [check.name for check in checks if check.outcome != PASSED],
            "x-agent-pipeline": to_plain(self.result),
        }

    @classmethod
    def from_statement(cls, statement: Statement) -> ReplayTest:
        """Read what `to_statement` writes. Raises `SchemaError`."""
        schema.validate(cls.STEM, statement.predicate)
        _, policy = statement.predicate["configuration"]
        test = cls(ReplayResult.from_dict(statement.predicate["x-agent-pipeline"]), policy["digest"]["sha256"])
        statement.require(
            Statement(SUBJECT, statement.sha256, PREDICATE_TYPE, test._predicate()),
            "the test result",
        )
        return test
