"""Listing the keys that can sign here, wherever they are."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from typing import Any, Final

from agent_pipeline.attestation import keys
from agent_pipeline.config import Config
from agent_pipeline.documents.form import from_plain
from agent_pipeline.documents.root import Key
from agent_pipeline.errors import AgentPipelineError, UsageError
from agent_pipeline.process import inherited
from agent_pipeline.signing import boxes, child, hand, pkcs11_uri, sources
from agent_pipeline.signing.client import SOCKET
from agent_pipeline.signing.hand import Unusable

_LIST_SECONDS: Final = 5.0  # nobody confirms a list


@dataclass(frozen=True, slots=True)
class Listed:
    """A key that can sign here: its store, what AGENT_PIPELINE_KEY calls it, its public half, a remark for people.

    `encrypted` says of a file whether it is; of any other store it is None.
    """

    store: str
    name: str
    key: Key
    remark: str = ""
    encrypted: bool | None = None


@dataclass(frozen=True, slots=True)
class Listing:
    """The keys that can sign here, and the files in the key folder that cannot be used."""

    keys: tuple[Listed, ...]
    unusable: tuple[Unusable, ...]


def list_keys(config: Config, tell: Callable[[str], None]) -> Listing:
    """Return the keys here: those in force first, then the agent's and the token's.

    `tell` hears why an agent or a token could not be asked. Raises as `in_force` does.
    """
    here = in_force(config)
    found = list(here.keys)
    for listed in (*_of_the_agent(tell), *_on_tokens(config, tell)):
        if all((listed.store, listed.key) != (other.store, other.key) for other in found):
            found.append(listed)
    return Listing(tuple(found), here.unusable)


def in_force(config: Config) -> Listing:
    """Return the keys in force: the one that AGENT_PIPELINE_KEY names, else those of the key folder's files.

    Raises the error of a named one that cannot be used; a file of the folder that cannot is listed with its error.
    """
    unusable: list[Unusable] = []
    usable = list(hand.signers(config, unusable))
    files = _fronts([signer.name for signer in usable if signer.store == sources.FILE])
    found = []
    for signer in usable:
        encrypted = files.get(signer.name)
        if isinstance(encrypted, UsageError):
            if config.key is not None:
                raise encrypted
            unusable.append(Unusable(signer.name, encrypted))
        else:
            found.append(Listed(signer.store, signer.name, signer.public(), "in force", encrypted))
    return Listing(tuple(found), tuple(sorted(unusable, key=lambda one: one.path)))


def _fronts(paths: list[str]) -> dict[str, bool | UsageError]:
    """Return for each key file whether it is encrypted, or its error. The child looks: the file may be all key."""
    if not paths:
        return {}
    rows: list[dict[str, Any]] = child.ask({"list": {"files": paths}}, box=boxes.new())["keys"]
    return {
        row["at"]: UsageError(row["error"], hint=row["hint"]) if "error" in row else bool(row["encrypted"])
        for row in rows
    }


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
