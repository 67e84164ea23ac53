"""Listing the keys that can sign here, wherever they are."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from typing import Final

from agent_pipeline.attestation import keys
from agent_pipeline.config import Config
from agent_pipeline.documents.form import from_plain
from agent_pipeline.documents.root import Key
from agent_pipeline.errors import AgentPipelineError
from agent_pipeline.process import inherited
from agent_pipeline.signing import boxes, child, hand, pkcs11_uri, sources
from agent_pipeline.signing.client import SOCKET, Signer

_LIST_SECONDS: Final = 5.0  # nobody confirms a list


@dataclass(frozen=True, slots=True)
class Listed:
    """A key that can sign here: its store, what AGENT_PIPELINE_KEY calls it, its public half, a remark for people."""

    store: str
    name: str
    key: Key
    remark: str = ""


def list_keys(config: Config, tell: Callable[[str], None]) -> tuple[Listed, ...]:
    """Return the keys here: the one in force first, then the agent's and the token's.

    `tell` hears why an agent or a token could not be asked. Raises the error of a key in force that cannot be used.
    """
    named = [Signer(source) for source in hand.key_sources(config)]
    found = [Listed(signer.store, signer.name, signer.public(), "in force") for signer in named]
    for listed in (*_of_the_agent(tell), *_on_tokens(config, tell)):
        if all((listed.store, listed.key) != (other.store, other.key) for other in found):
            found.append(listed)
    return tuple(found)


def _of_the_agent(tell: Callable[[str], None]) -> list[Listed]:
    socket = inherited(SOCKET).get(SOCKET)
    if not socket:
        return []
    rows = _asked({"socket": socket, "seconds": _LIST_SECONDS}, tell)
    named = [(from_plain(Key, row["key"]), row["at"]) for row in rows]
    return [Listed(sources.SSH_AGENT, sources.AGENT + keys.fingerprint(key), key, remark) for key, remark in named]


def _on_tokens(config: Config, tell: Callable[[str], None]) -> list[Listed]:
    module = sources.module()
    if config.key is not None and config.key.startswith(pkcs11_uri.SCHEME):
        module = pkcs11_uri.read(config.key).module or module
    rows = _asked({"module": module}, tell) if module else []
    return [Listed(sources.TOKEN, row["at"], from_plain(Key, row["key"])) for row in rows]


def _asked(what: dict[str, object], tell: Callable[[str], None]) -> list[dict[str, str]]:
    try:
        rows: list[dict[str, str]] = child.ask({"list": what}, box=boxes.new())["keys"]
    except AgentPipelineError as error:
        tell(f"note: {error.message}" + (f"; {error.hint}" if error.hint else ""))
        return []
    return rows
