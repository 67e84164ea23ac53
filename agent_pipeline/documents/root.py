"""The trust root: people, their keys and their roles. A TUF root payload (spec 1.0) inside our own DSSE envelopes.

TUF's four top-level roles are held by the holders of `root`; people and pipeline roles stand in a member of our own,
which TUF readers keep and ignore. So do grants that ended: the newest version alone says for which part of the shared
log each key speaks, so that what people signed outlives their leaving, and what a thief signed does not.
"""

from __future__ import annotations

from typing import Any, ClassVar

from agent_pipeline.documents import schema, strict
from agent_pipeline.documents.form import Document, from_plain, to_plain
from agent_pipeline.frozen import frozen

PAYLOAD_TYPE = "application/vnd.tuf+json"
ROLES = ("root", "requester", "runner", "ci", "merger", "reviewer", "prompts", "policy")
LOCAL = "local:"  # begins the name of a repository that was set up without a remote; random digits follow
_MEMBER = "x-agent-pipeline"
_SPEC = "1.0.31"


@frozen
class Key:
    """A public key: `scheme` is ed25519 or ecdsa-sha2-nistp256, `public` hex of the raw key or PEM, as TUF has it."""

    keyid: str  # sha256 of the SubjectPublicKeyInfo (DER)
    scheme: str
    public: str
    owner: str


@frozen
class Person:
    """Who owns keys. `bot` never counts as a reviewer."""

    name: str
    keys: tuple[str, ...]
    roles: tuple[str, ...]
    bot: bool = False


@frozen
class Former:
    """A grant that ended: a key that `owner` no longer has, or roles that it no longer speaks in.

    It counts for what the shared log has at an index below `until`, and for nothing that was never logged. `revoked`
    says that the key was taken for stolen: it never comes back.
    """

    keyid: str
    scheme: str
    public: str
    owner: str
    roles: tuple[str, ...]
    bot: bool
    until: int
    revoked: bool

    @property
    def key(self) -> Key:
        """The key itself."""
        return Key(self.keyid, self.scheme, self.public, self.owner)


@frozen
class TrustRoot(Document):
    """Version `version` of who may do what in `repository`, whose protected branch is `branch` (a full ref name)."""

    STEM: ClassVar[str] = "root"

    version: int
    expires: str
    repository: str
    branch: str
    threshold: int  # how many people's signatures make the next root
    keys: tuple[Key, ...]
    people: tuple[Person, ...]
    former: tuple[Former, ...] = ()

    def key(self, keyid: str) -> Key | None:
        """Return the key named `keyid` that somebody has now, or None."""
        for key in self.keys:
            if key.keyid == keyid:
                return key
        return None

    def known(self, keyid: str) -> Key | None:
        """Return the key named `keyid` that somebody has or once had, or None."""
        key = self.key(keyid)
        return next((grant.key for grant in self.ended(keyid)), None) if key is None else key

    def ended(self, keyid: str) -> tuple[Former, ...]:
        """Return the grants of the key `keyid` that ended."""
        return tuple([grant for grant in self.former if grant.keyid == keyid])

    def speaker(self, keyid: str, at: int | None) -> Person | None:
        """Return for whom the key `keyid` speaks at the log's index `at`, with every role that it has there, or None.

        `at` is None for what was never logged: only grants that have not ended count then.
        """
        now = self.owner(keyid)
        then = [grant for grant in self.ended(keyid) if at is not None and at < grant.until]
        if now is None and not then:
            return None
        name = now.name if now is not None else then[0].owner
        roles = {*(now.roles if now is not None else ()), *(role for grant in then for role in grant.roles)}
        bot = (now is not None and now.bot) or any(grant.bot for grant in then)
        return Person(name, (keyid,), tuple([role for role in ROLES if role in roles]), bot)

    def person(self, name: str) -> Person | None:
        """Return the person called `name`, or None."""
        return next((person for person in self.people if person.name == name), None)

    def owner(self, keyid: str) -> Person | None:
        """Return who owns the key `keyid` now, or None."""
        for person in self.people:
            if keyid in person.keys:
                return person
        return None

    def to_dict(self) -> dict[str, Any]:
        """Return the TUF root payload."""
        root_keys = sorted(keyid for person in self.people if "root" in person.roles for keyid in person.keys)
        role = {"keyids": root_keys, "threshold": self.threshold}
        value: dict[str, Any] = {
            "_type": "root",
            "spec_version": _SPEC,
            "version": self.version,
            "expires": self.expires,
            "consistent_snapshot": False,
            "keys": {key.keyid: _tuf_key(key) for key in self.keys},
            "roles": dict.fromkeys(("root", "timestamp", "snapshot", "targets"), role),
            _MEMBER: {
                "repository": self.repository,
                "branch": self.branch,
                "people": {person.name: _tuf_person(person) for person in self.people},
                "former": [to_plain(grant) for grant in sorted(self.former, key=_order)],
            },
        }
        schema.validate(self.STEM, value)
        return value

    @classmethod
    def from_dict(cls, value: Any) -> TrustRoot:  # noqa: ANN401 - any JSON value
        """Validate and convert. Raises `SchemaError`."""
        schema.validate(cls.STEM, value)
        ours = value[_MEMBER]
        people = tuple(from_plain(Person, {"name": name, **person}) for name, person in sorted(ours["people"].items()))
        owners = {keyid: person.name for person in people for keyid in person.keys}
        return cls(
            version=value["version"],
            expires=value["expires"],
            repository=ours["repository"],
            branch=ours["branch"],
            threshold=value["roles"]["root"]["threshold"],
            keys=tuple(
                Key(keyid, key["scheme"], key["keyval"]["public"], owners.get(keyid, ""))
                for keyid, key in sorted(value["keys"].items())
            ),
            people=people,
            former=tuple(from_plain(Former, grant) for grant in ours["former"]),
        )


def first_digest(payload: bytes) -> str:
    """Return the digest that pins a first root: the SHA-256 of its payload bytes."""
    return strict.sha256(payload)


def _order(grant: Former) -> tuple[str, int, tuple[str, ...]]:
    """Grants have one order, since a trust root has one form."""
    return grant.keyid, grant.until, grant.roles


def _tuf_key(key: Key) -> dict[str, Any]:
    kind = "ed25519" if key.scheme == "ed25519" else "ecdsa"
    return {"keytype": kind, "scheme": key.scheme, "keyval": {"public": key.public}}


def _tuf_person(person: Person) -> dict[str, Any]:
    value = to_plain(person)
    del value["name"]
    return dict(value)
