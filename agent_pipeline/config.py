"""Frozen configuration: where things lie on this machine, and the few environment variables that are read.

Nothing here reads a repository; what is allowed is decided by the policy alone, and flags or variables only narrow it.
The names of all variables that the program itself looks at are in `VARIABLES`.
"""

from __future__ import annotations

import os
from dataclasses import dataclass
from pathlib import Path

import platformdirs

from agent_pipeline.version import VERSION as VERSION  # noqa: PLC0414 - what is running is part of the configuration

APP = "agent-pipeline"

VARIABLES = {
    "AGENT_PIPELINE_ROOT": "CI's anchor: `sha256:<digest of the first trust root>`",
    "AGENT_PIPELINE_KEY": "the key that signs: a path, `agent:SHA256:...`, `pkcs11:...`, or, for CI, its text",
    "AGENT_PIPELINE_KEY_PASSPHRASE": "the passphrase of an encrypted private key",
    "AGENT_PIPELINE_PKCS11_MODULE": "the PKCS #11 module of a token, for key URIs that do not name one",
    "AGENT_PIPELINE_CACHE": "where images and copies are kept instead of the platform's cache directory",
    "ANTHROPIC_API_KEY": "the key for `--engine claude`",
    "ANTHROPIC_BASE_URL": "another endpoint for `--engine claude`; the policy must list it",
}


@dataclass(frozen=True, slots=True)
class Config:
    """Where the user's own things are, and what the environment says. Paths need not exist."""

    config_dir: Path
    cache_dir: Path
    state_dir: Path
    root_digest: str | None
    key: str | None
    api_key: str | None
    base_url: str | None

    @property
    def pins(self) -> Path:
        """The anchors: one JSON document."""
        return self.config_dir / "pins.json"

    @property
    def keys(self) -> Path:
        """The directory of private keys, mode 0700."""
        return self.config_dir / "keys"

    @property
    def images(self) -> Path:
        """Built and imported images, by identity."""
        return self.cache_dir / "images"

    @property
    def lowers(self) -> Path:
        """The readable paths of trees, unpacked once for all copies of them."""
        return self.cache_dir / "lowers"

    @property
    def runs(self) -> Path:
        """Directories of runs in progress; each vanishes with its run."""
        return self.cache_dir / "runs"


def load() -> Config:
    """Read the environment once.

    Root's cache is the system's (`/var/cache`): the sandbox gives up root before it starts and could not read below
    root's home.
    """
    system = os.geteuid() == 0
    cache = os.environ.get("AGENT_PIPELINE_CACHE")
    default = platformdirs.site_cache_path(APP) if system else platformdirs.user_cache_path(APP)
    return Config(
        config_dir=platformdirs.user_config_path(APP),
        cache_dir=Path(cache) if cache else default,
        state_dir=platformdirs.user_state_path(APP),
        root_digest=os.environ.get("AGENT_PIPELINE_ROOT") or None,
        key=os.environ.get("AGENT_PIPELINE_KEY") or None,
        api_key=os.environ.get("ANTHROPIC_API_KEY") or None,
        base_url=os.environ.get("ANTHROPIC_BASE_URL") or None,
    )
