"""A verifier of bundles, written from docs/wire-format.md alone: nothing of agent_pipeline is imported.

It shows that the document suffices. Left out is what good libraries do: JSON Schema, the policy's YAML and patterns,
and Git's own check of objects. `python independent_verifier.py FILE sha256:...` prints what it found.
"""

from __future__ import annotations

import base64
import sys
from dataclasses import dataclass, field
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any

import independent_evidence as evidence
from cryptography.exceptions import InvalidSignature, UnsupportedAlgorithm
from independent_objects import Bundle
from independent_trust import Log, Root, about_itself, follow, signed
from independent_wire import Commit, Envelope, NoError, moment, need, parse, sha256, ssh_signer

OURS, SLSA, SKEW, LEVEL = "https://agent-pipeline.dev", "https://slsa.dev", timedelta(minutes=5), "ORG_SOURCE_AGENT_"
TEST, SUMMARY = "https://in-toto.io/attestation/test-result/v0.1", f"{SLSA}/verification_summary/v1"


@dataclass
class Verdict:
    """What was found: where the proposal stands, who approved it, who signed, and what that proves as levels."""

    proposal: str
    state: str = "proposed"
    approvals: set[str] = field(default_factory=set)
    people: set[str] = field(default_factory=set)
    levels: list[str] = field(default_factory=lambda: [f"{LEVEL}SIGNED"])


class Verifier:
    """One bundle under one pinned first trust root."""

    def __init__(self, data: bytes, pin: str, now: datetime) -> None:
        self.bundle, self.now = Bundle(data), now
        said = self.bundle.manifest
        self.root: Root = follow(self.bundle.trust(), pin.removeprefix("sha256:"))
        need((said["repository"], said["branch"]) == (self.root.repository, self.root.branch), "of another repository")
        self.log = Log(self.bundle.contents["log/proof.json"], self.root, said["request"])
        self.names = self.log.names()
        self.verdict = Verdict(f"{said['request']}.{said['number']}")
        self.request_bytes = self.bundle.record("request.dsse.json")
        self.manifest_bytes = self.bundle.record(f"{said['number']}/proposal.json")
        self.manifest = parse(self.manifest_bytes)
        (self.provenance_bytes,) = self.bundle.attestations("provenance")
        self.identity = sha256(Envelope.read(self.provenance_bytes).payload)
        mine = [one for one in self.log.entries if one.get("statement") == self.identity]
        self.merged = next((one for one in mine if one["event"] == "merged"), None)
        self.rules = said["rules"] if self.merged is None else self.bundle.commit(said["merge"]).parents[0]
        if self.merged is not None:  # decided as it was just before its entry
            self.now = moment(self.merged["created"])
        end = self.merged["index"] if self.merged is not None else 1 << 20
        self.before = [one for one in self.log.entries if one["index"] < end]
        self.mine = [one for one in self.before if one.get("statement") == self.identity]
        self.policy = sha256(self.bundle.file(self.rules, ".agent-pipeline/policy.yaml"))

    def at(self, envelope: bytes) -> int | None:
        return self.names.get(sha256(envelope))

    def run(self) -> Verdict:
        need(self.now < moment(self.root.expires), "the trust root has expired")
        self._request()
        self._provenance()
        self._change()
        self._open()
        admission = next((one for one in reversed(self.mine) if one["event"] == "admitted"), None)
        if admission is not None:
            self._admitted(admission)
        if self.merged is not None:
            self._merged(self.merged)
        return self.verdict

    def _request(self) -> None:
        at = self.at(self.request_bytes)
        statement, self.requester, _ = signed(self.request_bytes, self.root, at, f"{OURS}/request/v1", {"requester"})
        asked = self.request = about_itself(statement, "request.json")
        id_ = base64.b32encode(bytes.fromhex(statement["subject"][0]["digest"]["sha256"])).decode().lower()[:16]
        need(id_ == self.bundle.manifest["request"], "the record holds another request")
        need(self.requester == asked["requester"], "the request names somebody else")
        need((asked["repository"], asked["target"]) == (self.root.repository, self.root.branch), "asked elsewhere")
        self.verdict.people.add(self.requester)

    def _provenance(self) -> None:
        at = self.at(self.provenance_bytes)
        statement, self.runner, _ = signed(self.provenance_bytes, self.root, at, f"{SLSA}/provenance/v1", {"runner"})
        need(statement["subject"] == self._subject(), "the provenance is about another manifest")
        build, run = statement["predicate"]["buildDefinition"], statement["predicate"]["runDetails"]
        outer, asked, id_ = build["externalParameters"], self.request, self.bundle.manifest["request"]
        number, target = self.bundle.manifest["number"], asked["target"]
        need(build["buildType"] == f"{OURS}/agent-patch/v1", "another build type")
        wanted = {
            "request": {"id": id_, "number": number, "digest": {"sha256": sha256(self.request_bytes)}},
            "task": {
                "kind": asked["kind"], "digest": {"sha256": sha256(asked["text"].encode())}, "only": asked["only"],
            },
            "target": {
                "repository": asked["repository"], "ref": target, "baseCommit": asked["base"],
                "stagingRef": f"refs/heads/agent/{id_}",
            },
            "engine": asked["engine"]["name"], "requester": asked["requester"], "trial": asked["trial"],
        }  # fmt: skip
        need({name: outer[name] for name in wanted} == wanted, "the provenance answers another request")
        source, image, policy = build["resolvedDependencies"]
        need(source["uri"] == f"{asked['repository']}@{target}", "another source")
        trees = {"gitCommit": asked["base"], "gitTree": self.manifest["base_tree"]}
        need(source["digest"] == trees, "another base")
        need(image["digest"]["sha256"] == build["internalParameters"]["sandboxPolicy"]["image"], "another image")
        need(policy["digest"]["sha256"] == self.policy, "made under another policy")
        need(int(policy["annotations"]["rootVersion"]) <= self.root.version, "the protected branch was rewound")
        transcript, _, result = run["byproducts"]
        need(run["metadata"]["invocationId"] == f"{id_}.{number}", "another run")
        need(result["digest"] == {"gitTree": self.manifest["tree"]}, "another tree")
        lines = self.bundle.record(f"{number}/transcript.jsonl")
        need(transcript["digest"] == {"sha256": sha256(lines)}, "another transcript")
        need(transcript["annotations"]["records"] == str(lines.count(b"\n")), "a transcript of another length")
        started, finished = moment(run["metadata"]["startedOn"]), moment(run["metadata"]["finishedOn"])
        need(
            moment(asked["created"]) <= started + SKEW and started <= finished <= self.now + SKEW, "times run backwards"
        )
        self.verdict.people.add(self.runner)

    def _subject(self) -> list[Any]:
        return [{"name": "proposal.json", "digest": {"sha256": sha256(self.manifest_bytes)}}]

    def _change(self) -> None:
        said, asked = self.manifest, self.request
        name = f"{said['request']}.{said['number']}"
        need(name == self.verdict.proposal, "the record holds another proposal")
        need(
            (said["repository"], said["target"], said["base"]) == (asked["repository"], asked["target"], asked["base"]),
            "the manifest is about something else",
        )
        need(self.bundle.commit(said["base"]).tree == said["base_tree"], "another tree of the base")
        self.bundle.check_carrier(said["number"], said["base"], said["tree"])
        need(said["changes"] == self.bundle.changes(said["base_tree"], said["tree"]), "the trees say otherwise")

    def _open(self) -> None:
        about = [one for one in self.before if one.get("request") == self.bundle.manifest["request"]]
        cord = [one for one in self.before if one["event"] in ("stopped", "resumed")]
        need(not cord or cord[-1]["event"] == "resumed", "everything is stopped")
        need(not any(one["event"] in ("merged", "closed") for one in about), "merged or closed before")
        standing: list[Any] = []
        for one in self.mine:
            standing += [one] if one["event"] == "rejected" else []
            if one["event"] == "approved":
                named, by = set(one["envelopes"]), one.get("reviewer")
                ended = [old for old in standing if old.get("reviewer", "") == by and named >= set(old["envelopes"])]
                standing = [old for old in standing if old not in ended]
        need(not standing, "the proposal was rejected")
        for data in self.bundle.closures():
            try:
                statement, by, _ = signed(data, self.root, None, f"{OURS}/closure/v1", {"requester", "merger"})
                said = about_itself(statement, "closure")
            except (NoError, InvalidSignature):
                continue
            merger = "merger" in self.root.speaker(Envelope.read(data).keyid, None)[1]
            may = by == self.request["requester"] or merger
            closes = (said["request"], said["by"]) == (self.bundle.manifest["request"], by)
            need(not (may and closes), f"{by} closed the request")

    def _held(self, kind: str, predicate_type: str, role: str) -> list[tuple[bytes, Any, str]]:
        """The envelopes of one kind that hold: bytes, predicate, who. One that does not changes nothing."""
        found = []
        for data in sorted(self.bundle.attestations(kind)):
            try:
                need(Envelope.read(data).one_form, "not in the one form")
                statement, name, bot = signed(data, self.root, self.at(data), predicate_type, {role})
                need(statement["subject"] == self._subject(), "about another manifest")
                need(not bot or kind != "approval", "a bot reviews nothing")
            except (NoError, InvalidSignature, ValueError, KeyError):
                continue
            found.append((data, statement["predicate"], name))
        return found

    def _is_mine(self, said: Any, verifier: str, merged_on: str | None) -> bool:
        change = {"base": self.manifest["base"], "tree": self.manifest["tree"], "statement": self.identity}
        change |= {"mergedOn": merged_on} if merged_on is not None else {}
        inputs = {one["digest"]["sha256"] for one in said["inputAttestations"]}
        facts = (
            said["verifier"]["id"], said["verificationResult"], said["resourceUri"], said["policy"],
            said["x-agent-pipeline"]["change"],
        )  # fmt: skip
        uri = f"{self.root.repository}@{self.manifest['target']}"
        wanted = (f"{OURS}/{verifier}/v1", "PASSED", uri, {"digest": {"sha256": self.policy}}, change)
        return facts == wanted and inputs >= {sha256(self.request_bytes), sha256(self.provenance_bytes)}

    def _admitted(self, entry: Any) -> None:
        held = self._held("summary", SUMMARY, "ci")
        mine = [one for one in held if sha256(one[0]) in entry["envelopes"] and self._is_mine(one[1], "verifier", None)]
        need(mine, "the log says that CI admitted it, and no such summary is here")
        _, said, who = mine[0]
        self.verdict.state = "staged"
        self.verdict.people.add(who)
        inputs = {one["digest"]["sha256"] for one in said["inputAttestations"]}
        self._tests(inputs)
        need(set(said["verifiedLevels"]) <= set(self.verdict.levels), "the summary claims more than its replay proves")
        self._reviews()
        staged = self.bundle.commit(self.bundle.manifest["staged"])
        need(staged.tree == self.manifest["tree"] and staged.parents == (self.manifest["base"],), "staged otherwise")
        self._commit(staged, entry["index"], "ci", f"Agent-Pipeline-Statement: sha256:{self.identity}")

    def _commit(self, commit: Commit, at: int, role: str, *lines: str) -> None:
        keyid = ssh_signer(commit)
        self.root.key(keyid)
        need(role in self.root.speaker(keyid, at)[1], f"the commit is not signed by a {role}")
        need({line.encode() for line in lines} <= set(commit.message.split(b"\n")), "a commit of another proposal")

    def _tests(self, inputs: set[str]) -> None:
        lock = parse(self.bundle.file(self.rules, ".agent-pipeline/images.lock.json"))
        images = {one["identity"] for one in lock["images"].values()}
        found: set[str] = set()
        for data, said, who in self._held("test-result", TEST, "ci"):
            result = said["x-agent-pipeline"]
            facts = (f"{result['request']}.{result['number']}", result["statement"], result["tree"])
            about = facts == (self.verdict.proposal, self.identity, self.manifest["tree"]) and result["image"] in images
            counts = about and said == evidence.test_result(result, self.policy) and said["result"] == "PASSED"
            if counts and sha256(data) in inputs:
                self.verdict.people.add(who)
                found |= evidence.proven(result["checks"])
        self.verdict.levels += [f"{LEVEL}{word}" for word in evidence.WORDS if word in found]

    def _reviews(self) -> None:
        held = [
            one for one in self._held("approval", f"{OURS}/approval/v1", "reviewer") if one[1]["reviewer"] == one[2]
        ]
        change = {
            "repository": self.root.repository, "target": self.manifest["target"], "base": self.manifest["base"],
            "tree": self.manifest["tree"], "request": self.manifest["request"], "proposal": self.identity,
            "policy": self.policy,
        }  # fmt: skip
        named = self.merged["envelopes"] if self.merged is not None else None  # who came later adds nothing to it
        for data, said, who in held:
            if named is not None and sha256(data) not in named:
                continue
            exact = {name: said[name] for name in change} == change and said["decision"] == "approved"
            timely = moment(said["created"]) <= self.now + SKEW and self.now < moment(said["expires"])
            if exact and timely and who not in (self.request["requester"], self.requester, self.runner):
                self.verdict.approvals.add(who)
        rejecting = {one[2] for one in held} | {one.get("reviewer") for one in self.mine}
        standing = {who for who in rejecting - {None} if evidence.rejects(str(who), held, self.identity, self.before)}
        need(not standing, f"rejected by {', '.join(sorted(map(str, standing)))}")
        self.verdict.people |= self.verdict.approvals

    def _merged(self, entry: Any) -> None:
        mine = [one for one in self._held("merge", SUMMARY, "merger") if sha256(one[0]) in entry["envelopes"]]
        mine = [one for one in mine if self._is_mine(one[1], "merger", self.manifest["base"])]
        need(mine, "the log says that it was merged, and no such summary is here")
        levels, inputs = (
            mine[0][1]["verifiedLevels"],
            {one["digest"]["sha256"] for one in mine[0][1]["inputAttestations"]},
        )
        rests = {sha256(self.request_bytes), sha256(self.provenance_bytes), *entry["envelopes"]}
        need(inputs == rests - {sha256(mine[0][0])}, "the merge's summary rests on something else than the log says")
        got, people = len(self.verdict.approvals), len(self.verdict.people)
        review = [one for one in levels if one.startswith(f"{LEVEL}REVIEWED_")]
        wanted = [int(one.rpartition("_OF_")[2]) for one in review]
        need(all(got >= most for most in wanted), "fewer people approved than the policy wanted")
        again = [f"{LEVEL}REVIEWED_{got}_OF_{wanted[0]}"] if review else []
        self.verdict.levels += [*again, f"{LEVEL}PERSONS_{people}"]
        need(levels == self.verdict.levels, f"the merge claims {levels}, the envelopes prove {self.verdict.levels}")
        merge, said = self.bundle.commit(self.bundle.manifest["merge"]), self.bundle.manifest
        need(merge.tree == self.manifest["tree"], "merged was another tree")
        need(merge.parents == (self.manifest["base"], said["staged"]), "merged on something else")
        lines = (
            f"Agent-Pipeline-Proposal: {self.verdict.proposal}",
            f"Agent-Pipeline-Statement: sha256:{self.identity}",
        )
        self._commit(merge, entry["index"], "merger", *lines)
        self.verdict.state = "merged"


def verify(data: bytes, pin: str, now: datetime) -> Verdict:
    """Say what a bundle proves. Raises `NoError` for everything that does not hold."""
    try:
        return Verifier(data, pin, now).run()
    except (InvalidSignature, UnsupportedAlgorithm) as error:
        raise NoError("a signature does not hold") from error
    except (KeyError, ValueError, TypeError, IndexError, AttributeError, RecursionError) as error:
        raise NoError(f"a document has another form: {error!r}") from error


if __name__ == "__main__":
    try:
        print(verify(Path(sys.argv[1]).read_bytes(), sys.argv[2], datetime.now(UTC)))  # noqa: T201 - a script
    except NoError as error:
        sys.exit(f"no: {error}")
