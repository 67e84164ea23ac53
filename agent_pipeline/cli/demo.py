"""`demo`: the whole way on a real project, through the same commands that a person would type."""

from __future__ import annotations

import contextlib
import json
import shlex
import shutil
import sys
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import click

from agent_pipeline import clock, process, temporary
from agent_pipeline import config as configuration
from agent_pipeline.cli import sdist
from agent_pipeline.cli.life import life
from agent_pipeline.cli.options import command
from agent_pipeline.cli.output import Output
from agent_pipeline.documents.policy import PATH as POLICY_PATH
from agent_pipeline.documents.schema import data_folder
from agent_pipeline.errors import CheckError, UsageError
from agent_pipeline.repository import fresh

LIMIT = 64 << 20
SECONDS = 1800


@dataclass(frozen=True, slots=True)
class Stage:
    """The demo's own folder: the project, and a home of its own, so that nobody's keys and pins are touched."""

    folder: Path
    project: Path
    out: Output

    def env(self) -> dict[str, str]:
        """Return the environment of the commands that the demo types."""
        kept = process.inherited(
            "PATH",
            "HOME",
            "LANG",
            "AGENT_PIPELINE_CACHE",
            "ANTHROPIC_API_KEY",
            "ANTHROPIC_BASE_URL",
            "DOCKER_HOST",
            "TMPDIR",
            "PIP_INDEX_URL",
            "PIP_CERT",
            "PIP_FIND_LINKS",
            "SSL_CERT_FILE",
            "HTTPS_PROXY",
            "HTTP_PROXY",
            "NO_PROXY",
        )
        own = {"XDG_CONFIG_HOME": str(self.folder / "config"), "XDG_STATE_HOME": str(self.folder / "state")}
        return kept | own

    def type(self, *words: str) -> dict[str, Any]:
        """Run one command of ours in the project and return its JSON document. Raises `CheckError` when it says no."""
        self.out.talk(f"\n$ agent-pipeline {' '.join(_typed(word) for word in words)}")
        return self.read(*words)

    def read(self, *words: str) -> dict[str, Any]:
        """Do the same without a word about it."""
        argv = [sys.executable, "-P", "-m", "agent_pipeline", *words, "--json"]
        code, data = process.stream(
            argv, env=self.env(), cwd=self.project, say=self.out.talk, timeout=SECONDS, limit=LIMIT
        )
        document: dict[str, Any] = json.loads(data) if data.strip() else {}
        if code != 0:
            said = document.get("error", {}).get("message", f"exit {code}")
            raise CheckError(f"`agent-pipeline {words[0]}` said no: {said}", hint=f"look into {self.project}")
        return document


def _typed(word: str) -> str:
    """Return `word` as a person would type it, long ones cut."""
    plain = " ".join(word.split())
    return f'"{plain[:72]}…"' if len(plain) > 80 else shlex.quote(word)  # noqa: PLR2004 - a terminal's width


@command("agent-pipeline demo --keep /tmp/demo")
@click.option("--keep", type=click.Path(path_type=Path, file_okay=False), help="Work in this new folder and keep it.")
@click.option(
    "--engine",
    type=click.Choice(["recorded", "claude"]),
    default="recorded",
    show_default=True,
    hidden=True,
    help="Who does the work.",
)
def demo(out: Output, keep: Path | None, engine: str) -> None:
    """The whole way on a real project: a released bug, from request to merge. Needs no key and no account."""
    if engine == "claude" and configuration.load().api_key is None:
        raise UsageError("ENGINE=claude needs a key", hint="set ANTHROPIC_API_KEY, or run the demo without ENGINE")
    case_folder = data_folder("golden") / "demo"
    case = json.loads((case_folder / "case.json").read_bytes())
    with _folder(keep) as folder:
        stage = Stage(folder, folder / "project", out)
        out.talk(f"{case['package']} {case['version']} ({case['homepage']}, {case['license']}): {case['title']}")
        unpack(case, stage)
        stage.type("init", "--test", case["test"])
        if engine == "recorded":
            _allow_recording(stage)
            played = ["--engine", "recorded", "--transcript", str(case_folder / "transcript.jsonl")]
            out.talk("\nno model is asked: a recording is played through the same loop (ENGINE=claude asks one)")
        else:
            played = ["--engine", "claude"]
        asked = stage.type("request", case["request"], "--kind", case["kind"], *played)
        stage.type("land", asked["id"])
        document, shown = stage.read("show", asked["id"]), stage.read("diff", asked["id"])
        out.talk("\nand this is what `agent-pipeline show` and `agent-pipeline diff` print:\n")
        out.finish(
            {
                "project": str(stage.project),
                "package": case["package"],
                "version": case["version"],
                "proposal": document,
            },
            lambda: _story(case, document, shown["diff"], stage.project if keep else None),
        )


def _story(case: dict[str, Any], document: dict[str, Any], diff: str, kept: Path | None) -> str:
    lines = [f"{case['package']} {case['version']}", "", life(document), "", "the change", ""]
    lines += [f"  {line}" for line in diff.splitlines()]
    lines += ["", f"kept in {kept}: look around with git log, git verify-commit, agent-pipeline show"] if kept else []
    return "\n".join(lines)


@contextlib.contextmanager
def _folder(keep: Path | None) -> Iterator[Path]:
    if keep is None:
        with temporary.scratch("demo") as folder:
            yield folder
        return
    if keep.exists() and any(keep.iterdir()):
        raise UsageError(f"{keep} is not empty", hint="name a new folder")
    keep.mkdir(parents=True, exist_ok=True)
    yield keep.absolute()


def unpack(case: dict[str, Any], stage: Stage) -> None:
    """Download the release, check its digest, and make a repository of what its authors wrote."""
    stage.out.talk(f"downloading {case['sdist']}")
    archive = sdist.fetch(case["package"], case["sdist"], case["sha256"], stage.folder)
    sdist.unpack(archive, stage.project)
    for name in case["remove"]:  # what the packaging tool added: an install would write it anew
        path = stage.project / name
        shutil.rmtree(path) if path.is_dir() else path.unlink()
    fresh.initialise(stage.project, "Demo Developer", "developer@example.org")
    fresh.commit_all(stage.project, f"Import {case['package']} {case['version']}\n", clock.now())


def _allow_recording(stage: Stage) -> None:
    """Allow the engine `recorded` here: the default policy does so for nothing but this."""
    policy = stage.project / POLICY_PATH
    text = policy.read_text(encoding="utf-8")
    allowed = text.replace("engines: [claude, command]", "engines: [recorded]")
    if allowed == text:
        raise CheckError(f"{POLICY_PATH} is not the starter policy", hint="remove the folder and run the demo again")
    policy.write_text(allowed, encoding="utf-8")
    fresh.commit_all(stage.project, "Allow recordings here: this is a demo\n", clock.now())
