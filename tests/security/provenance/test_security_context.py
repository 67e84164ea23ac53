"""Attacks 37 to 48: the right documents in the wrong place, at the wrong time, or wider than what was asked."""

from __future__ import annotations

import json
from collections.abc import Callable
from dataclasses import replace
from datetime import timedelta
from pathlib import Path
from typing import Any

import pytest
from support.courts import Court, refused, refusing
from support.hostile import HostileRunner, team_root
from support.keyrings import written
from support.logs import prove
from support.people import Person
from support.teams import MAIN, REQUESTS, Team
from support.trust import IMAGE, NOW, POLICY, Maker, change, private, public, seal, sign

from agent_pipeline import clock
from agent_pipeline.attestation import drafts, dsse
from agent_pipeline.documents import moments, strict
from agent_pipeline.documents.anchor import Anchor
from agent_pipeline.documents.envelope import Envelope
from agent_pipeline.documents.images_lock import ImagesLock, LockedImage
from agent_pipeline.documents.request import EngineChoice, Limits
from agent_pipeline.documents.root import PAYLOAD_TYPE as ROOT_TYPE
from agent_pipeline.documents.statement import PAYLOAD_TYPE
from agent_pipeline.documents.verification import PASSED, UNKNOWN
from agent_pipeline.repository.dossier import open_dossier
from agent_pipeline.repository.records import Record
from agent_pipeline.repository.trees import Put
from agent_pipeline.repository.trust_files import file_name
from agent_pipeline.signing.client import Signer
from agent_pipeline.verify import decide, verify

At = Callable[[str], Team]
MAKER = Maker()
GOOD = MAKER.inputs()
LANDING = MAKER.landing()
OTHER, OTHER_ID = "f" * 64, "a" * 40
FILE = Put(b"x = 1\n", "100644")
ELSEWHERE = "https://git.example.org/evil/app"


def said(name: str, **fields: Any) -> dict[str, Any]:
    """A change of one document, before it is signed."""
    return {f"{name}_change": lambda document: replace(document, **fields)}


def recorded(team: Team) -> Record:
    """The record of the team's request as the remote has it."""
    clone = HostileRunner(team).clone
    team.alice.git("fetch", "-q", "origin", f"+{REQUESTS}*:refs/looked-at/*")
    return Record(team.id, clone.commit(f"refs/looked-at/{team.id}"), clone)


@pytest.mark.containers
def test_037_a_fork_with_the_same_commits_keys_and_root(at: At, tmp_path: Path) -> None:
    team = at("approved")
    fork = tmp_path / "fork.git"
    team.ci.git("clone", "-q", "--mirror", str(team.bare), str(fork), cwd=tmp_path)
    root = team.alice.yes("trust", "show")["root"]
    key = str(team.ci.home / "config" / "agent-pipeline" / "keys" / "default")
    there = Person("ci", tmp_path / "home", tmp_path / "clone")
    there.git("clone", "-q", str(fork), str(there.clone), cwd=there.home)
    unpinned = there.run("ci", "merge", AGENT_PIPELINE_KEY=key)
    assert unpinned.code == 2, str(unpinned)
    assert "nothing is pinned" in unpinned.err
    for argv in (("ci", "run", team.id), ("ci", "merge", team.id), ("review", "list"), ("trust", "pin", root)):
        done = there.run(*argv, "--json", AGENT_PIPELINE_ROOT=root, AGENT_PIPELINE_KEY=key)
        assert done.code == 2, str(done)
        assert "addressed as another repository" in done.document["error"]["message"]
    moved = team.ci.git("remote", "set-url", "origin", str(fork))
    assert moved == ""
    assert team.ci.run("ci", "merge").code == 2
    assert team.ci.git("--git-dir", str(fork), "rev-parse", "main").strip() == team.tip()


@pytest.mark.parametrize("document", ["request", "provenance", "proposal"])
def test_037_one_document_of_another_repository(document: str) -> None:
    refused(verify(Maker(**said(document, repository=ELSEWHERE)).inputs()), "08 repository", "not the same")
    asked_there = replace(GOOD, url=ELSEWHERE)
    refused(verify(asked_there), "04 anchor", "is pinned", alone=True)
    refused(verify(replace(GOOD, anchor=Anchor(ELSEWHERE, GOOD.anchor.branch, OTHER))), "04 anchor", "is pinned")


@pytest.mark.containers
def test_038_another_target_and_rules_from_there(court: Court) -> None:
    """A branch beside the protected one, with rules of its own that ask for nothing: they are never looked at."""
    alice = court.runner.team.alice
    alice.git("checkout", "-q", "-b", "weaker", court.runner.base)
    path = alice.clone / ".agent-pipeline" / "policy.yaml"
    path.write_text(path.read_text().replace("reviewers: 1", "reviewers: 0").replace("persons: 3", "persons: 1"))
    alice.git("commit", "-q", "-am", "Weaker rules")
    alice.git("push", "-q", "origin", "weaker")
    weak = alice.git("rev-parse", "weaker").strip()
    alice.git("checkout", "-q", "main")
    runner = court.runner
    wanted = runner.request(target="refs/heads/weaker", base=weak)
    there = runner.propose(runner.built({"calc.py": FILE}, weak), request=wanted)
    on_its_base = runner.propose(runner.built({"calc.py": FILE}, weak), request=runner.request(base=weak))
    told, honest = court.judge_all([there, on_its_base])
    refused(told, "09 target", "refs/heads/weaker")
    refused(told, "11 policy", "in force is")
    refused(honest, "11 policy", "in force is", alone=True)
    assert court.desk().landed.policy.landing.reviewers == 1


@pytest.mark.containers
def test_038_a_trust_root_from_there_gives_nobody_a_role(court: Court, tmp_path: Path) -> None:
    """A version that Alice signed with her own key, which holds and never landed: it gives Mallory every role."""
    team = court.runner.team
    runner = HostileRunner(team)
    mallory = Signer(str(written(tmp_path / "mallory", private("mallory"))))
    roles = ("requester", "runner", "ci", "merger", "reviewer", "policy", "root")
    in_force = team_root(team)
    generous = drafts.add(in_force, "mallory", mallory.public(), roles, expires=clock.now() + timedelta(days=300))
    sealed = runner.signer.envelope(ROOT_TYPE, generous.to_json())
    alice = team.alice
    alice.git("checkout", "-q", "-b", "generous", runner.base)
    path = alice.clone / file_name(generous.version, sealed.keyid)
    path.write_bytes(sealed.to_json() + b"\n")
    alice.git("add", str(path))
    alice.git("commit", "-q", "-m", "Mallory may do everything")
    alice.git("push", "-q", "origin", "generous")
    there = alice.git("rev-parse", "generous").strip()
    alice.git("checkout", "-q", "main")
    runner.signer = mallory
    tree, facts = runner.built({"calc.py": FILE}, there), {"root_version": generous.version}
    wanted = [
        runner.request(requester="mallory", base=there, target=target) for target in ("refs/heads/generous", MAIN)
    ]
    asked = [runner.propose(tree, request=one, facts=facts) for one in wanted]
    for verification in court.judge_all(asked):
        refused(verification, "05 runner", f"nobody's in version {in_force.version}")
        refused(verification, "06 requester", f"nobody's in version {in_force.version}")
    assert "09 target" in refusing(court.judge(asked[0]))
    landed = court.desk().landed.root
    assert (landed.version, landed.person("mallory")) == (in_force.version, None)


@pytest.mark.parametrize("document", ["request", "provenance", "proposal"])
def test_038_one_document_of_another_target(document: str) -> None:
    refused(verify(Maker(**said(document, target="refs/heads/release")).inputs()), "09 target", "not the same")


@pytest.mark.containers
def test_039_the_base_moved(at: At) -> None:
    team = at("approved")
    team.alice.git("pull", "-q", "--ff-only", "origin", "main")
    team.alice.git("commit", "-q", "--allow-empty", "-m", "Something else")
    team.alice.git("push", "-q", "origin", "main")
    tip = team.tip()
    code, rows = team.ci_merge(team.id)
    assert (code, rows[team.id]["merged"]) == (1, False)
    assert "ask again" in rows[team.id]["reason"]
    assert team.tip() == tip
    refused(decide(replace(LANDING, target_tip=OTHER_ID)), "33 target unmoved", "ask again", alone=True)


@pytest.mark.containers
def test_040_again_after_it_was_merged(at: At) -> None:
    """The same record, the record of before, and the same documents as if they were new."""
    team = at("merged")
    tip, runner = team.tip(), HostileRunner(team)
    dossier = open_dossier(recorded(team))
    merged = team.ci.run("ci", "merge", team.id, "--json")
    assert merged.code == 1, str(merged)
    assert "merged by entry" in merged.out + merged.err
    before = next(one for one in dossier.record.history() if runner.clone.file(one, "1/proposal.json"))
    team.mallory.push(REQUESTS + team.id, before)
    team.mallory.delete(f"refs/heads/agent/{team.id}")
    assert team.ci_run() == (0, {})
    again = team.ci.run("ci", "merge", team.id, "--json")
    assert again.code == 1, str(again)
    assert team.tip() == tip
    for events in (("merged",), ("merged", "reverted")):
        log: list[bytes] = []
        for event in events:
            log.append(MAKER.entry(log, event))
        refused(verify(replace(GOOD, log=prove(log, GOOD.request))), "31 open", "merged by entry 0", alone=True)


BRANCHES = (
    "refs/heads/main", "refs/heads/agent", "refs/heads/agent/", "refs/heads/agent/../main", "refs/heads/agent/x.lock",
    "refs/heads/agent/x@{1}", "refs/heads/agent/" + "a" * 40, "refs/heads/" + "a" * 40, "refs/tags/agent/x",
    "refs/heads/agent/" + "A" * 16, "refs/heads/agent/" + "a" * 16 + "/x", "refs/heads/agent/" + "a" * 16 + "\n",
)  # fmt: skip


@pytest.mark.parametrize("branch", BRANCHES)
def test_041_a_staging_branch_outside(branch: str) -> None:
    value = json.loads(Envelope.from_json(GOOD.provenance_envelope).payload)
    value["predicate"]["buildDefinition"]["externalParameters"]["target"]["stagingRef"] = branch
    inputs = replace(GOOD, provenance_envelope=seal(PAYLOAD_TYPE, strict.canonical(value), "ada"))
    refused(verify(inputs), "01 documents", "stagingRef")


def test_041_somebody_else_s_staging_branch() -> None:
    other = Maker(**said("provenance", staging="refs/heads/agent/" + "a" * 16)).inputs()
    refused(verify(other), "28 staging branch", "names", alone=True)


def b64(value: object) -> str:
    import base64  # noqa: PLC0415 - beside its one use

    return base64.urlsafe_b64encode(json.dumps(value).encode()).decode().rstrip("=")


TOKENS = {
    "alg none": b64({"alg": "none", "typ": "JWT"}) + "." + b64({"sub": "ada", "aud": "agent-pipeline"}) + ".",
    "alg HS256": b64({"alg": "HS256", "typ": "JWT"}) + "." + b64({"iss": "https://ci.example.org"}) + ".AAAA",
    "an OIDC token": b64({"alg": "EdDSA", "typ": "at+jwt"})
    + "."
    + b64({"jti": "1", "exp": 9999999999})
    + "."
    + "A" * 86,
}


@pytest.mark.parametrize("what", TOKENS)
def test_042_there_is_no_run_token_a_signed_request_stands_in_its_place(what: str) -> None:
    """No bearer token is taken anywhere: not as a request, not in a request's envelope, signed or not."""
    token = TOKENS[what].encode()
    refused(verify(replace(GOOD, request_envelope=token)), "01 documents", "strict JSON")
    signature = private("ada").sign(dsse.pae("application/jwt", token))
    inside = Envelope("application/jwt", token, public("ada").keyid, signature)
    refused(verify(replace(GOOD, request_envelope=inside.to_json())), "06 requester", "the envelope carries")
    refused(verify(replace(GOOD, request_envelope=seal(PAYLOAD_TYPE, token, "ada"))), "01 documents", "strict JSON")


def test_042_a_request_that_is_not_valid_yet_or_names_another() -> None:
    late = Maker(**said("request", created=moments.write(NOW + timedelta(hours=1)))).inputs()
    refused(verify(late), "27 times", "before it was asked", alone=True)
    refused(verify(Maker(**said("request", requester="mel")).inputs()), "06 requester", "is signed by ada")
    refused(verify(Maker(**said("request", trial=True)).inputs()), "29 trial", "was a trial", alone=True)
    refused(verify(Maker(**said("request", repository=ELSEWHERE)).inputs()), "08 repository", "not the same")


@pytest.mark.containers
def test_043_one_request_s_permission_and_another_s_run(court: Court) -> None:
    runner = court.runner
    shown, ran = runner.request(text="fix a typo", kind="docs"), runner.request(text="add a back door")
    verification = court.judge(runner.propose(runner.built({"calc.py": FILE}), request=ran, signed=shown))
    refused(verification, "02 record", "holds the request")
    refused(verification, "07 request", "not the same")
    other = Maker(**said("request", text="something else")).inputs()
    crossed = replace(GOOD, request_envelope=other.request_envelope)
    refused(verify(crossed), "07 request", "the request's id")
    refused(verify(replace(crossed, request=other.request)), "07 request", "the request's id")
    by_another = replace(
        GOOD, request_envelope=sign(MAKER.request().to_statement(), "mel")
    )  # the same words, signed anew
    refused(verify(by_another), "06 requester", "is signed by mel")
    refused(verify(by_another), "07 request", "the request's envelope")


def test_044_more_than_the_request_allows() -> None:
    wider: dict[str, tuple[dict[str, Any], str, str]] = {
        "paths": (said("request", only=("docs/**",)), "17 allowed paths", "outside what the request"),
        "paths that only the runner widened": (said("provenance", only=("**",)), "07 request", "narrowing"),
        "steps": (said("request", limits=Limits(2, 300, "1")), "25 limits", "5 steps of 2"),
        "seconds": (said("request", limits=Limits(20, 10, "1")), "25 limits", "seconds"),
        "money": (said("request", limits=Limits(20, 300, "0.01")), "25 limits", "US dollars"),
        "the sandbox": (said("request", sandbox="bubblewrap"), "23 sandbox", "not the same"),
        "the kind": (said("provenance", kind="docs"), "07 request", "the kind"),
        "the base": (said("provenance", base=OTHER_ID), "10 base", "not the same"),
        "the model": (
            said("request", engine=EngineChoice("claude", model="x", prompt="fix@1")), "20 model", "not the same",
        ),
        "limits beyond the policy's": (said("request", limits=Limits(51, 300, "1")), "18 allowed request", "limits"),
    }  # fmt: skip
    for changes, step, word in wider.values():
        refused(verify(Maker(**changes).inputs()), step, word)
    infra = Maker(changes=(change("infra/main.tf"),), **said("request", only=("src/**",)))
    refused(verify(infra.inputs()), "17 allowed paths", "infra/main.tf", alone=True)


def test_045_times_that_cannot_be() -> None:
    tomorrow, before = moments.write(NOW + timedelta(days=1)), moments.write(NOW - timedelta(days=1))
    finished_first = {
        "started": moments.write(NOW - timedelta(minutes=10)),
        "finished": moments.write(NOW - timedelta(minutes=12)),
    }
    for fields, word in (
        (finished_first, "before it started"),
        ({"started": before, "finished": before}, "before it was asked"),
        ({"started": "2026-02-30T00:00:00Z"}, "moment"),
    ):
        refused(verify(Maker(**said("provenance", **fields)).inputs()), "27 times", word, alone=True)
    early = verify(Maker(**said("provenance", finished=tomorrow)).inputs())
    assert early.verdict == UNKNOWN
    assert ["in the future" in check.reason for check in early.checks if check.outcome != PASSED] == [True]


@pytest.mark.containers
def test_045_ci_rejects_nothing_for_good_because_its_own_clock_may_be_slow(at: At) -> None:
    team = at("ready")
    runner = HostileRunner(team)
    finished = clock.rfc3339(clock.now() + timedelta(hours=1))
    request = runner.propose(runner.built({"calc.py": FILE}), facts={"finished": finished})
    code, rows = team.ci_run()
    assert (code, rows[request]["verdict"]) == (3, "unknown"), rows
    assert [row["reason"] for row in rows[request]["checks"] if "look at this machine's clock" in row["reason"]]
    assert team.tip("refs/agent-pipeline/log") is None
    assert team.tip(f"refs/heads/agent/{request}") is None
    assert team.rosa.yes("show", request)["state"] == "proposed"


def test_046_another_transcript_or_only_its_beginning() -> None:
    lines = GOOD.transcript.splitlines(keepends=True)
    refused(verify(replace(GOOD, transcript=b"".join(lines[:-1]))), "26 transcript", "not complete", alone=True)
    refused(
        verify(replace(GOOD, transcript=GOOD.transcript.replace(b"hard", b"easy"))),
        "26 transcript",
        "SHA-256",
        alone=True,
    )
    refused(verify(replace(GOOD, transcript=GOOD.transcript + lines[-1])), "26 transcript", "its end says 3")
    shorter = Maker(records_change=lambda records: [records[0], records[-1]]).inputs()
    refused(verify(shorter), "26 transcript", "its end says 3")
    refused(
        verify(Maker(**said("provenance", transcript_records=4)).inputs()), "26 transcript", "number of its records"
    )


def test_047_what_is_on_no_list() -> None:
    image = Maker(provenance_change=lambda made: replace(made, sandbox=replace(made.sandbox, image=OTHER))).inputs()
    refused(verify(image), "24 image", "not the locked", alone=True)
    unlocked = replace(GOOD, images=ImagesLock(1, {"other": LockedImage(IMAGE, {})}))
    refused(verify(unlocked), "24 image", "not in the images lock", alone=True)
    no_prompt = Maker(policy=POLICY.replace(b"prompts: [fix@1]", b"prompts: [fix@2]")).inputs()
    refused(verify(no_prompt), "21 prompt", "does not allow the prompt")
    text = Maker(provenance_change=lambda made: replace(made, prompt=replace(made.prompt, sha256=OTHER))).inputs()
    refused(verify(text), "21 prompt", "the prompt's text")
    refused(verify(Maker(**said("provenance", tools=("bash",))).inputs()), "22 tools", "bash")
    served = Maker(provenance_change=lambda made: replace(made, model=replace(made.model, served=("gpt-x",)))).inputs()
    refused(verify(served), "20 model", "gpt-x", alone=True)
    endpoint = Maker(
        provenance_change=lambda made: replace(made, model=replace(made.model, endpoint="https://evil.example.org"))
    ).inputs()
    refused(verify(endpoint), "20 model", "endpoint")
    replayed_elsewhere = Maker(**said("result", image=OTHER)).landing()
    refused(decide(replayed_elsewhere), "36 proofs", "replayed")
    elsewhere = Maker(
        **said("result", backend="bubblewrap"), policy=POLICY.replace(b"[docker, bubblewrap]", b"[docker]")
    )
    refused(decide(elsewhere.landing()), "36 proofs", "replayed")


def test_048_a_summary_of_something_else() -> None:
    wrong: dict[str, dict[str, Any]] = {
        "failed": {"passed": False},
        "of another statement": {"statement": OTHER},
        "of another tree": {"tree": OTHER_ID},
        "of another base": {"base": OTHER_ID},
        "under another policy": {"policy": OTHER},
        "in another repository": {"repository": ELSEWHERE},
        "for another branch": {"target": "refs/heads/release"},
        "without this proposal among its inputs": {"inputs": (OTHER,)},
    }
    for fields in wrong.values():
        refused(decide(Maker(**said("summary", **fields)).landing()), "34 admitted", "no summary")
    other = Maker(**said("request", text="something else"))
    moved = (*other.landing().attestations[:3], *LANDING.attestations[3:])
    log = prove([MAKER.entry([], "admitted", moved)], GOOD.request)
    refused(decide(replace(LANDING, attestations=moved, inputs=replace(GOOD, log=log))), "34 admitted", "no summary")


# Beside the list.


@pytest.mark.containers
def test_a_runner_that_names_another_requester(court: Court) -> None:
    runner = court.runner
    tree = runner.built({"calc.py": FILE})
    in_the_request = runner.propose(tree, request=runner.request(requester="rosa"))
    in_the_provenance = runner.propose(tree, facts={"requester": "rosa"})
    first, second = court.judge_all([in_the_request, in_the_provenance])
    refused(first, "06 requester", "names rosa and is signed by alice", alone=True)
    refused(second, "07 request", "the requester", alone=True)


@pytest.mark.containers
def test_a_rejected_proposal_offered_again(at: At) -> None:
    """CI rejected it for good: the same statement under a new number, or its record put back, is not taken up."""
    team = at("ready")
    runner = HostileRunner(team)
    request = runner.propose(runner.built({".github/workflows/x.yml": FILE}))
    code, rows = team.ci_run()
    assert (code, rows[request]["verdict"]) == (1, "failed")
    assert team.ci_run() == (0, {})
    team.mallory.fetch()
    files = team.mallory.files(REQUESTS + request)

    def again(nested: dict[str, Any]) -> None:
        nested["2"] = files["1"]

    team.mallory.rewrite(REQUESTS + request, again)
    assert team.ci_run() == (0, {})  # by its statement it is the one that was rejected, whatever the folder's number
    code, rows = team.ci_run(request)
    assert (code, rows[request]["verdict"]) == (1, "failed")
    assert "rejected" in rows[request]["checks"][0]["reason"]

    def back(nested: dict[str, Any]) -> None:
        del nested["2"]
        for name in [name for name in nested["1"]["attestations"] if not name.startswith("provenance.")]:
            del nested["1"]["attestations"][name]
        nested["1"].pop("reports", None)

    team.mallory.rewrite(REQUESTS + request, back)
    assert team.ci_run() == (0, {})
