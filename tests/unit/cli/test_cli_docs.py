"""What the documents name is there: commands with their options, files, schemas."""

from __future__ import annotations

import re
from pathlib import Path

import click
import pytest

from agent_pipeline.attestation import state_map, trust
from agent_pipeline.audit import log
from agent_pipeline.cli.main import cli
from agent_pipeline.documents import bundle, strict, transcript
from agent_pipeline.documents.bundle import BundleManifest
from agent_pipeline.documents.log_proof import LogProof
from agent_pipeline.documents.proposal import Proposal
from agent_pipeline.policy import plain_yaml
from agent_pipeline.repository import attestations, compare, records, root_draft, trust_files

ROOT = Path(__file__).parents[3]
DOCUMENTS = sorted([*ROOT.glob("*.md"), *ROOT.glob("docs/**/*.md"), ROOT / "golden" / "README.md"])
NUMBER = r"(?<![\w^])([0-9][0-9,]*)(?! void \\)( [KM]iB|)(?![\w^])"
SHIFTS = {"": 0, " KiB": 10, " MiB": 20}
SHORT = {"-F", "--", "--json", "--debug", "--no-push"}


def find(words: list[str]) -> click.Command | None:
    command: click.Command | None = cli
    for word in words:
        if isinstance(command, click.Group):
            command = command.get_command(click.Context(command), word)
    return command


@pytest.mark.parametrize("document", DOCUMENTS, ids=lambda path: path.name)
def test_every_link_leads_somewhere(document: Path) -> None:
    text = re.sub(r"```.*?```", "", document.read_text(), flags=re.DOTALL)
    links = [link.partition("#")[0] for link in re.findall(r"\]\(([^)\s]+)\)", text) if "://" not in link]
    assert [link for link in links if link and not (document.parent / link).exists()] == []


@pytest.mark.parametrize("document", DOCUMENTS, ids=lambda path: path.name)
def test_every_command_and_option_exists(document: Path) -> None:
    for line in re.findall(r"(?:^ {4}|`)agent-pipeline ([a-z][^`\n]*)", document.read_text(), re.MULTILINE):
        words = re.split(r"\s{2,}#", line)[0].split()
        command = find(words[:2])
        assert command is not None, line
        known = {name for option in command.params for name in option.opts} | SHORT
        used = {word.partition("=")[0] for word in words[: words.index("--") if "--" in words else None]}
        assert {word for word in used if word.startswith("-") and word.strip("[]") == word} <= known, line


def test_the_wire_format_names_every_signed_document() -> None:
    text = (ROOT / "docs" / "wire-format.md").read_text()
    named = set(re.findall(r"([a-z_]+)\.schema\.json", text))
    assert named <= {path.name.removesuffix(".schema.json") for path in (ROOT / "schemas").iterdir()}
    kinds = [line for line in re.findall(r'^PREDICATE_TYPE.* = "(.*)"$', _sources(), re.MULTILINE) if line not in text]
    assert kinds == []


BOUNDS = {
    "a document or an envelope": [strict.MAX_BYTES],
    "manifest": [Proposal.MAX_BYTES, compare.MAX_CHANGES, compare.MAX_BYTES],
    "transcript": [transcript.MAX_BYTES, transcript.MAX_RECORDS, transcript.MAX_LINE],
    "policy": [plain_yaml.MAX_BYTES],
    "versions of the trust root": [trust.MAX_VERSIONS, trust_files.MAX_ENVELOPES, trust_files.MAX_TOTAL],
    "draft of the next version": [root_draft.MAX_SIGNATURES],
    "record": [
        *(records.MAX_FILES, records.MAX_DEPTH, records.MAX_FOLDER, records.MAX_ENVELOPES),
        *(records.MAX_STEPS, records.MAX_STEP, records.MAX_LOOKED, records.MAX_LISTED),
    ],
    "`log/proof.json`": [LogProof.MAX_BYTES],
    "the log": [state_map.MAX_NODE, log.MAX_TAIL],
    "attestations of one tree": [attestations.MAX_TOTAL, attestations.MAX_TREES],
    "bundle": [bundle.MAX_BYTES, bundle.MAX_CONTENTS, bundle.MAX_CONTENT, BundleManifest.MAX_BYTES],
}


@pytest.mark.parametrize("what", BOUNDS)
def test_the_wire_format_gives_the_bounds_that_are_kept(what: str) -> None:
    table = (ROOT / "docs" / "wire-format.md").read_text().partition("## Bounds")[2].partition("## ")[0]
    (said,) = re.findall(rf"^\| {re.escape(what)}[^|]* \| (.*) \|$", table, re.MULTILINE)
    numbers = [int(number.replace(",", "")) << SHIFTS[unit] for number, unit in re.findall(NUMBER, said)]
    assert numbers == BOUNDS[what]


def _sources() -> str:
    return "\n".join(path.read_text() for path in (ROOT / "agent_pipeline" / "documents").glob("*.py"))


def test_the_threats_are_numbered_without_gaps() -> None:
    numbers = [int(n) for n in re.findall(r"^\| T([0-9]+) \|", (ROOT / "docs/threats.md").read_text(), re.MULTILINE)]
    assert numbers == list(range(1, len(numbers) + 1))
