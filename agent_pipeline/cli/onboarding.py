"""What `init` does: survey, measure the check in the sandbox, write the rules, make the first trust root."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass

from agent_pipeline.attestation import drafts
from agent_pipeline.cli import dependencies
from agent_pipeline.config import Config
from agent_pipeline.documents.images_lock import PATH as IMAGES_PATH
from agent_pipeline.documents.images_lock import REQUIREMENTS, ImagesLock, LockedImage
from agent_pipeline.documents.policy import FULL
from agent_pipeline.documents.policy import PATH as POLICY_PATH
from agent_pipeline.documents.schema import data_folder
from agent_pipeline.errors import CheckError, UsageError
from agent_pipeline.policy import load as load_policy
from agent_pipeline.policy import starter
from agent_pipeline.replay.checks import NOT_THERE, Bench, Ran, run_check
from agent_pipeline.repository import remotes
from agent_pipeline.repository.clone import Clone
from agent_pipeline.repository.version import base_version
from agent_pipeline.sandbox.contract import Engine, Image
from agent_pipeline.sandbox.engines import choose
from agent_pipeline.sandbox.images.build import ensure as ensure_base
from agent_pipeline.sandbox.images.derive import derive
from agent_pipeline.sandbox.images.store import Store
from agent_pipeline.signing import offers
from agent_pipeline.signing.hand import Hand
from agent_pipeline.signing.own import own

BASE_IMAGE, PROJECT_IMAGE = "python", "project"
ROOT_DAYS = 365
NO_TESTS = 5  # pytest's exit code
MEASURE_SECONDS = 1800
PROMPTS = ("fix@1", "feature@1", "refactor@1", "tests@1", "deps@1", "docs@1")
CI_FILES = {
    "github": ("github/agent-pipeline.yml", ".github/workflows/agent-pipeline.yml"),
    "gitlab": ("gitlab/agent-pipeline.gitlab-ci.yml", ".gitlab/agent-pipeline.gitlab-ci.yml"),
    "hook": ("hook/post-receive", ".agent-pipeline/post-receive"),
}
PROJECT_FILES = ("pyproject.toml", "setup.py", "setup.cfg")


@dataclass(frozen=True, slots=True)
class Place:
    """The repository that is set up: its branch and base, who does it with which key."""

    clone: Clone
    remote: str | None
    config: Config
    tell: Callable[[str], None]
    branch: str
    base: str
    hand: Hand


@dataclass(frozen=True, slots=True)
class Setup:
    """What was found out, as the files of one commit."""

    files: dict[str, bytes]
    known_failures: tuple[str, ...]
    seconds: int
    image: str


def survey(clone: Clone, remote: str | None, config: Config, tell: Callable[[str], None]) -> Place:
    """Look before anything is done. Raises `UsageError` for what stands in the way."""
    branch = clone.branch()
    base = clone.commit(branch)
    if clone.file(base, POLICY_PATH) is not None:
        raise UsageError(
            f"{branch} already has {POLICY_PATH}",
            hint="`agent-pipeline trust pin` pins it; edit the policy to change it",
        )
    tracked = clone.ref(remotes.tracking(remote, branch)) if remote is not None else base
    if tracked != base:
        raise UsageError(
            f"{branch} is not what {remote} has",
            hint=f"push it first: git push {remote} {branch.removeprefix('refs/heads/')}",
        )
    if clone.submodules(clone.tree(base)):
        tell(f"note: submodules are left out of every sandbox: {', '.join(clone.submodules(clone.tree(base)))}")
    dirty = clone.dirty()
    if dirty:
        tell(f"note: uncommitted changes are left out: {', '.join(dirty[:5])}{' …' if len(dirty) > 5 else ''}")  # noqa: PLR2004
    return Place(clone, remote, config, tell, branch, base, _own_hand(clone, config, tell))


def _own_hand(clone: Clone, config: Config, tell: Callable[[str], None]) -> Hand:
    """Return the person's own key, made when there is none. Nobody's trust root is asked: this makes the first."""
    name, email = clone.identity()
    person = offers.person_name(name)
    return Hand(own(config, person, tell), person, drafts.ALONE, name, email)


def prepare(place: Place, check: tuple[str, ...], ci: str | None) -> Setup:
    """Find out everything, in a sandbox where it runs the project's code.

    Raises `CheckError` when the check cannot run.
    """
    engine = choose(place.config, ("docker", "bubblewrap"), None)
    place.tell(f"sandbox: {engine.name}")
    lock, locked, image = _images(place, engine)
    start, ran = _measure(place, engine, image, check)
    files = {
        POLICY_PATH: starter.render(start),
        IMAGES_PATH: ImagesLock(1, locked).to_json() + b"\n",
        REQUIREMENTS: lock,
    }
    if ci is not None:
        source, target = CI_FILES[ci]
        folder = data_folder("ci_templates")
        template = folder if folder.is_dir() else data_folder("ci") / "templates"
        files[target] = (template / source).read_bytes()
    return Setup(files, start.known_failures, ran.run.seconds, image.identity)


def _images(place: Place, engine: Engine) -> tuple[bytes, dict[str, LockedImage], Image]:
    """Return the requirements lock, the images lock's entries, and the image with the project's dependencies."""
    base_lock, base = ensure_base(place.config, BASE_IMAGE, place.tell)
    lock = dependencies.resolved(place.clone, place.base, place.tell)
    derived = derive(place.config, engine, base, lock, PROJECT_IMAGE, place.tell)
    image = Store(place.config).require(PROJECT_IMAGE, derived)
    return lock, {BASE_IMAGE: base_lock, PROJECT_IMAGE: derived}, image


def _measure(place: Place, engine: Engine, image: Image, check: tuple[str, ...]) -> tuple[starter.Start, Ran]:
    """Run the check on the base: how long it takes, what fails. Tries an editable install, then plain paths."""
    files = dependencies.project_files(place.clone, place.base)
    plain: dict[str, str] = {"PYTHONPATH": "/opt/agent-pipeline/lib:/workspace/src:/workspace"}
    ways: list[tuple[tuple[tuple[str, ...], ...], dict[str, str]]] = [((), plain)]
    if any(name in files for name in PROJECT_FILES):
        editable = (
            "python",
            "-m",
            "pip",
            "install",
            "--quiet",
            "--user",
            "--no-deps",
            "--no-build-isolation",
            "-e",
            ".",
        )
        env = {"SETUPTOOLS_SCM_PRETEND_VERSION": "{version}"} if _version_from_git(files) else {}
        ways.insert(0, ((editable,), env))
    ran = None
    for setup, env in ways:
        start = starter.Start(check, MEASURE_SECONDS // 10, (), setup, env, PROMPTS, PROJECT_IMAGE)
        place.tell(
            f"measuring `{' '.join(check)}` on {place.base[:12]}" + (" after an editable install" if setup else "")
        )
        ran = run_check(_bench(place, engine, image, start), FULL, "result", place.clone.tree(place.base))
        if ran.setup_error is None:
            return _started(start, ran), ran
        place.tell(f"note: {ran.setup_error.splitlines()[0]}; trying without an install")
    assert ran is not None  # noqa: S101 - there is at least one way
    raise CheckError(
        f"the project cannot be set up in the sandbox: {ran.setup_error}", hint="see --test, and the policy's `setup`"
    )


def _version_from_git(files: dict[str, bytes]) -> bool:
    text = b"\n".join(files.get(name, b"") for name in PROJECT_FILES)
    return any(
        word in text for word in (b"setuptools_scm", b"setuptools-scm", b"hatch-vcs", b"versioningit", b"pdm-backend")
    )


def _bench(place: Place, engine: Engine, image: Image, start: starter.Start) -> Bench:
    policy = load_policy(starter.render(start))
    version = base_version(place.clone, place.base)
    return Bench(place.clone, place.config, policy, engine, image, f"init-{place.base[:12]}", version)


def _started(start: starter.Start, ran: Ran) -> starter.Start:
    """Return the measured start. Raises `CheckError` when the check tells nothing."""
    run = ran.run
    if run.code is None:
        raise CheckError(f"`{' '.join(start.check)}` did not end in time", hint="give a faster check with --test")
    if run.code in NOT_THERE and not run.reported:
        said = run.output.strip()[-300:]
        raise UsageError(
            f"`{start.check[0]}` is not there or cannot run in the sandbox: {said}",
            hint="name what it comes from in the requirements files, or give another check with --test",
        )
    if run.code == NO_TESTS and not run.passed and not run.failed:
        raise UsageError("no tests were found", hint="say how this project is tested: agent-pipeline init --test 'CMD'")
    if run.code != 0 and not (run.reported and run.failed and run.passed):
        raise CheckError(
            f"`{' '.join(start.check)}` fails on the base (exit {run.code}):\n{run.output[-1500:]}",
            hint="mend the base, or give another check with --test",
        )
    return starter.Start(
        start.check, run.seconds, run.failed, start.setup, start.env, start.prompts, start.image, run.reported
    )
