"""Two summaries of CI, in the form of SLSA's Verification Summary Attestation v1: of a verification, and of a merge.

Source: https://slsa.dev/spec/v1.1/verification_summary. Levels are organisation properties (`ORG_...`): no SLSA level
is claimed.
"""

from __future__ import annotations

from typing import Any, ClassVar, Final

from agent_pipeline.documents import schema
from agent_pipeline.documents.form import from_plain, to_plain
from agent_pipeline.documents.proposal import SUBJECT
from agent_pipeline.documents.statement import Statement
from agent_pipeline.documents.verification import Check
from agent_pipeline.frozen import frozen

PREDICATE_TYPE: Final = "https://slsa.dev/verification_summary/v1"
VERIFIER_ID: Final = "https://agent-pipeline.dev/verifier/v1"
MERGER_ID: Final = "https://agent-pipeline.dev/merger/v1"


@frozen
class Summary:
    """What CI verified about the manifest `subject`: `inputs` are the SHA-256 of the envelopes it was decided on.

    `verifier` is `VERIFIER_ID` for an admission and `MERGER_ID` for a merge; `base`, `tree` and, for a merge,
    `merged_on` (the target's old commit) bind it to exactly one change of `target`.
    """

    STEM: ClassVar[str] = "summary"

    verifier: str
    version: str
    time: str
    repository: str
    target: str
    policy: str
    statement: str
    inputs: tuple[str, ...]
    passed: bool
    levels: tuple[str, ...]
    base: str
    tree: str
    checks: tuple[Check, ...]
    merged_on: str | None = None

    def to_statement(self, manifest_sha256: str) -> Statement:
        """Return the in-toto statement about the manifest with that SHA-256. Raises `SchemaError`."""
        predicate = self._predicate()
        schema.validate(self.STEM, predicate)
        return Statement(SUBJECT, manifest_sha256, PREDICATE_TYPE, predicate)

    def _predicate(self) -> dict[str, Any]:
        subject_of = {"base": self.base, "tree": self.tree, "statement": self.statement}
        if self.merged_on is not None:
            subject_of["mergedOn"] = self.merged_on
        return {
            "verifier": {"id": self.verifier, "version": {"agent-pipeline": self.version}},
            "timeVerified": self.time,
            "resourceUri": f"{self.repository}@{self.target}",
            "policy": {"digest": {"sha256": self.policy}},
            "inputAttestations": [{"digest": {"sha256": digest}} for digest in self.inputs],
            "verificationResult": "PASSED" if self.passed else "FAILED",
            "verifiedLevels": list(self.levels),
            "slsaVersion": "1.1",
            "x-agent-pipeline": {"change": subject_of, "checks": to_plain(self.checks)},
        }

    @classmethod
    def from_statement(cls, statement: Statement) -> Summary:
        """Read what `to_statement` writes. Raises `SchemaError`."""
        schema.validate(cls.STEM, statement.predicate)
        predicate = statement.predicate
        ours = predicate["x-agent-pipeline"]
        repository, _, branch = predicate["resourceUri"].rpartition("@refs/")
        summary = cls(
            verifier=predicate["verifier"]["id"],
            version=predicate["verifier"]["version"]["agent-pipeline"],
            time=predicate["timeVerified"],
            repository=repository,
            target=f"refs/{branch}",
            policy=predicate["policy"]["digest"]["sha256"],
            statement=ours["change"]["statement"],
            inputs=tuple(item["digest"]["sha256"] for item in predicate["inputAttestations"]),
            passed=predicate["verificationResult"] == "PASSED",
            levels=tuple(predicate["verifiedLevels"]),
            base=ours["change"]["base"],
            tree=ours["change"]["tree"],
            checks=tuple(from_plain(Check, check) for check in ours["checks"]),
            merged_on=ours["change"].get("mergedOn"),
        )
        again = Statement(SUBJECT, statement.sha256, PREDICATE_TYPE, summary._predicate())
        statement.require(again, "the summary")
        return summary
