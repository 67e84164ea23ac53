"""What is installed from the wheel carries all it reads: schemas, prompts, image definitions, templates, the demo."""

from __future__ import annotations

import os
import subprocess
import sys
import zipfile
from pathlib import Path

import pytest

ROOT = Path(__file__).parents[3]
NEEDED = (
    "agent_pipeline/_data/schemas/proposal.schema.json",
    "agent_pipeline/_data/sandbox_images/seccomp.json",
    "agent_pipeline/_data/sandbox_images/python/frame_agent.py",
    "agent_pipeline/_data/sandbox_images/python/frame_agent.bytecode",
    "agent_pipeline/_data/sandbox_images/images.lock.json",
    "agent_pipeline/_data/ci_templates/github/agent-pipeline.yml",
    "agent_pipeline/_data/golden/demo/case.json",
    "agent_pipeline/_data/golden/demo/transcript.jsonl",
    "agent_pipeline/agent/prompts/fix@1.md",
    "agent_pipeline/py.typed",
)
LOOK = """
from agent_pipeline.documents import schema
from agent_pipeline.agent import prompts
from agent_pipeline.sandbox.images import recipe
folder = schema.data_folder("schemas")
print(folder)
schema.load("proposal"); prompts.load("fix@1"); recipe.load("python")
assert schema.data_folder("golden").joinpath("demo", "case.json").is_file()
"""


@pytest.fixture(scope="module")
def installed(tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("wheel")
    build = [sys.executable, "-m", "hatchling", "build", "-t", "wheel", "-d", str(folder)]
    subprocess.run(build, cwd=ROOT, check=True, capture_output=True, timeout=120)
    (wheel,) = folder.glob("*.whl")
    with zipfile.ZipFile(wheel) as archive:
        archive.extractall(folder / "site")
    return folder / "site"


def test_the_wheel_carries_what_the_package_reads(installed: Path) -> None:
    assert [name for name in NEEDED if not (installed / name).is_file()] == []


def test_the_installed_package_reads_its_own_data(installed: Path, tmp_path: Path) -> None:
    env = {"PATH": os.environ["PATH"], "PYTHONPATH": str(installed), "HOME": str(tmp_path)}
    done = subprocess.run(
        [sys.executable, "-c", LOOK], cwd=tmp_path, env=env, capture_output=True, text=True, check=False, timeout=60
    )
    assert done.returncode == 0, done.stderr
    assert done.stdout.startswith(str(installed))
