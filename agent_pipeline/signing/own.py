"""The key of somebody who comes to a repository for the first time: the first one here, made where there is none."""

from __future__ import annotations

from collections.abc import Callable

from agent_pipeline.config import Config
from agent_pipeline.signing import hand as hands
from agent_pipeline.signing import protection
from agent_pipeline.signing.client import Signer
from agent_pipeline.signing.generate import generate
from agent_pipeline.signing.hand import Unusable


def own(config: Config, person: str, tell: Callable[[str], None]) -> Signer:
    """Return the first key here that can be used. Where there is no file at all one is made for `person`, and told.

    Raises what is wrong with the first file where none can be used: a second key is made only by who asks for it.
    """
    if not hands.key_sources(config):
        path = config.keys / "default"
        made = generate(path, f"agent-pipeline {person}")
        tell(f"made a key of your own: {path}")
        if not made.encrypted:
            tell(f"note: it is {protection.PLAIN}; {protection.ENCRYPTS}")
    unusable: list[Unusable] = []
    signer = next(hands.signers(config, unusable), None)
    if signer is None:
        raise hands.nothing(config, unusable)
    return signer
