"""Keys that people offer with `join`, compared before they are trusted."""

from __future__ import annotations

from agent_pipeline.attestation import keys
from agent_pipeline.cli.output import Output
from agent_pipeline.cli.trust.asking import ask
from agent_pipeline.documents.root import Key
from agent_pipeline.errors import RejectedError, SignatureError, UsageError
from agent_pipeline.repository import records, remotes
from agent_pipeline.repository.landed import Desk
from agent_pipeline.repository.records import Record
from agent_pipeline.signing import offers
from agent_pipeline.verify import repositories


def offered(desk: Desk, name: str) -> Key | None:
    """Return the key that `name` offers here, None when there is no offer.

    Raises `SignatureError` for a forged one, and for one that was made for another repository.
    """
    tip = desk.clone.ref(remotes.tracking(desk.remote, records.OFFERS + name))
    data = Record(name, tip, desk.clone).read(offers.FILE) if tip is not None else None
    if data is None:
        return None
    found, here = offers.read(data, name), desk.landed.root.repository
    if not repositories.same(found.repository, here):
        raise SignatureError(
            f"{name} offers a key to another repository: {repositories.shown(found.repository)!r}, not "
            f"{repositories.shown(here)!r}",
            hint=f"{name} runs `agent-pipeline trust pin` and `agent-pipeline join` in a clone of this one",
        )
    return found.key


def compared(out: Output, name: str, key: Key, fingerprint: str | None) -> Key:
    """Return `key`, which `name` offers, once a person has compared it with what `name` said by another way.

    An offer is a ref that anyone who may push can replace at any moment, so that what is trusted should be what was
    compared: the fingerprint is given, or asked for on a terminal; a script without it is told.
    """
    said = keys.fingerprint(key)
    if fingerprint is None:
        out.talk(f"{name} offers {said}")
        otherwise = f"nobody compared that with {name}; --fingerprint takes only the key that was compared"
        ask(out, f"Is that what {name} told you?", otherwise)
    elif fingerprint != said:
        raise SignatureError(
            f"{name} offers {said}, but you compared {fingerprint}",
            hint=f"somebody replaced the offer since; ask {name} to run `agent-pipeline join` again",
        )
    return key


def need_offer(desk: Desk, name: str) -> Key:
    """Return the key that `name` offers. Raises `UsageError` when there is none."""
    key = offered(desk, name)
    if key is None:
        raise UsageError(f"{name} has offered no key", hint=f"{name} runs `agent-pipeline join` first")
    return key


def waiting(desk: Desk) -> list[dict[str, str]]:
    """Return the offers of keys that nobody has here, by name; what is no offer is talked about."""
    prefix = remotes.tracking(desk.remote, records.OFFERS)
    rows = []
    for ref in sorted(desk.clone.refs(prefix)):
        name = ref.removeprefix(prefix)
        try:
            key = offered(desk, name)
        except RejectedError as error:  # anybody who may push can put one there
            desk.tell(f"{name}: no offer: {error.message}")
            continue
        if key is not None and desk.landed.root.known(key.keyid) is None:
            rows.append({"name": name, "fingerprint": keys.fingerprint(key)})
    return rows
