"""The trust root's chain and the shared log by proof, by docs/wire-format.md: for the verifier beside.

Written from that document alone: nothing of agent_pipeline is imported.
"""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from typing import Any

from independent_wire import (
    Envelope,
    PublicKey,
    canonical,
    keyid_of,
    load_key,
    need,
    parse,
    parse_canonical,
    sha256,
    unbase64,
)

STATEMENT, ROOT = "application/vnd.in-toto+json", "application/vnd.tuf+json"
ENTRY = "https://agent-pipeline.dev/log-entry/v1"
SPEAKERS = {
    "merged": {"merger"},
    "reverted": {"merger"},
    "resumed": {"merger", "root"},
    "stopped": {"ci", "merger", "root"},
    "revoked": {"ci", "merger", "root"},
    "retired": {"ci", "merger", "root"},
}
EVERYTHING, NOTHING = "*", "0" * 64


class Root:
    """One version of the trust root that is sound by itself."""

    def __init__(self, payload: bytes) -> None:
        value = parse_canonical(payload)
        ours = value["x-agent-pipeline"]
        self.version, self.expires, self.threshold = (
            value["version"],
            value["expires"],
            value["roles"]["root"]["threshold"],
        )
        self.repository, self.branch, self.people, self.former = (
            ours["repository"],
            ours["branch"],
            ours["people"],
            ours["former"],
        )
        self.keys = {
            keyid: load_key(keyid, one["scheme"], one["keyval"]["public"]) for keyid, one in value["keys"].items()
        }
        kinds = {"ed25519": "ed25519", "ecdsa-sha2-nistp256": "ecdsa"}
        need(all(one["keytype"] == kinds[one["scheme"]] for one in value["keys"].values()), "a key of another type")
        self._check_roles(value)
        self.ended = {
            grant["keyid"]: load_key(grant["keyid"], grant["scheme"], grant["public"]) for grant in self.former
        }
        order = [(grant["keyid"], grant["until"], grant["roles"]) for grant in self.former]
        need(order == sorted(order), "former grants are not sorted")
        need(not any(grant["revoked"] and grant["keyid"] in self.keys for grant in self.former), "a revoked key")

    def _check_roles(self, value: Any) -> None:
        holders = {name: one for name, one in self.people.items() if "root" in one["roles"] and one["keys"]}
        role = {"keyids": sorted(key for one in holders.values() for key in one["keys"]), "threshold": self.threshold}
        need(value["roles"] == dict.fromkeys(("root", "timestamp", "snapshot", "targets"), role), "TUF's roles differ")
        said = (value["_type"], value["spec_version"], value["consistent_snapshot"])
        need(said == ("root", "1.0.31", False), "no root of ours")
        owned = [keyid for one in self.people.values() for keyid in one["keys"]]
        need(sorted(owned) == sorted(self.keys), "a key without one owner")
        need(1 <= self.threshold <= len(holders), "nobody could sign the next version")
        for one in (*self.people.values(), *self.former):
            need(not (one["bot"] and {"root", "reviewer"} & set(one["roles"])), "a bot with such a role")

    def owner(self, keyid: str) -> str | None:
        return next((name for name, one in self.people.items() if keyid in one["keys"]), None)

    def key(self, keyid: str) -> PublicKey:
        key = self.keys.get(keyid) or self.ended.get(keyid)
        need(key is not None, f"key {keyid[:8]} is nobody's")
        assert key is not None
        return key

    def speaker(self, keyid: str, at: int | None) -> tuple[str, frozenset[str], bool]:
        """Who speaks with a key at the log's index `at` (None: never logged), in which roles, and whether a bot."""
        name = self.owner(keyid)
        grants = [self.people[name]] if name is not None else []
        grants += [one for one in self.former if one["keyid"] == keyid and at is not None and at < one["until"]]
        need(grants, f"key {keyid[:8]} speaks for nobody there")
        roles = frozenset(role for one in grants for role in one["roles"])
        return name or grants[0]["owner"], roles, any(one["bot"] for one in grants)


def signed(data: bytes, root: Root, at: int | None, kind: str, roles: set[str]) -> tuple[Any, str, bool]:
    """The statement in an envelope, whose it is, and whether a bot's, once somebody with one of `roles` signed it."""
    envelope = Envelope.read(data)
    name, has, bot = root.speaker(envelope.keyid, at)
    envelope.check(root.key(envelope.keyid), STATEMENT)
    need(roles & has, f"{name} is no {' or '.join(sorted(roles))}")
    statement = parse_canonical(envelope.payload)
    need(set(statement) == {"_type", "subject", "predicateType", "predicate"}, "no statement")
    need(statement["_type"] == "https://in-toto.io/Statement/v1", "no statement of version 1")
    (subject,) = statement["subject"]
    need(set(subject) == {"name", "digest"} and set(subject["digest"]) == {"sha256"}, "no subject of ours")
    need(statement["predicateType"] == kind, f"{kind} was expected")
    return statement, name, bot


def about_itself(statement: Any, name: str) -> Any:
    """The predicate of a statement whose subject it is."""
    found = statement["predicate"]
    need(statement["subject"] == [{"name": name, "digest": {"sha256": sha256(canonical(found))}}], "another subject")
    return found


def follow(versions: Sequence[Sequence[Envelope]], pin: str) -> Root:
    """Follow the chain from the pinned first version to the newest one."""
    before: Root | None = None
    need(versions, "there is no trust root")
    for number, envelopes in enumerate(versions, 1):
        payloads = {one.payload for one in envelopes}
        need(len(payloads) == 1, f"version {number} has several contents")
        (payload,) = payloads
        need(number > 1 or sha256(payload) == pin, "another first version is pinned")
        root = Root(payload)
        need(root.version == number, "another version stands there")
        judges = [root, *([before] if before is not None else [])]
        for one in envelopes:
            key = next((judge.keys[one.keyid] for judge in judges if one.keyid in judge.keys), None)
            need(key is not None, "signed by somebody who is unknown")
            assert key is not None
            need(keyid_of(key) == one.keyid, "another key")
            one.check(key, ROOT)
        for judge in judges:
            names = {judge.owner(one.keyid) for one in envelopes} - {None}
            people = {name for name in names if "root" in judge.people[str(name)]["roles"]}
            need(len(people) >= judge.threshold, f"version {number} lacks signatures by version {judge.version}")
        if before is not None:
            _check_follows(before, root)
        before = root
    assert before is not None
    return before


def _check_follows(before: Root, after: Root) -> None:
    """What ended stays ended, and what a key could speak for is current or former."""
    for old in before.former:
        same = [one for one in after.former if one["keyid"] == old["keyid"] and set(old["roles"]) <= set(one["roles"])]
        same = [one for one in same if one["until"] <= old["until"] and one["revoked"] >= old["revoked"]]
        need(same, "the end of a grant was taken back")
        need(all(one["owner"] == old["owner"] for one in same), "a key has one owner for ever")
    for name, person in before.people.items():
        for keyid in person["keys"]:
            now = after.owner(keyid)
            grants = [one for one in after.former if one["keyid"] == keyid]
            need(now in (None, name) and all(one["owner"] == name for one in grants), "a key changed its owner")
            kept = {role for one in grants for role in one["roles"]}
            kept |= set(after.people[now]["roles"]) if now is not None else set()
            need(set(person["roles"]) <= kept, "what a key could speak for was forgotten")


class Log:
    """What the shared log says about a request, by a proof that holds: `entries` are those that stand, by index."""

    def __init__(self, data: bytes, root: Root, request: str) -> None:
        self.root, proof = root, parse_canonical(data)
        need(proof["request"] == request, "a proof about another request")
        self.entries: list[Any] = []
        if "head" not in proof:
            need(not proof["entries"] and not proof["nodes"], "an empty log has nothing")
            return
        head, void = self._entry(unbase64(proof["head"]), None)
        need(not void, "the newest entry is void")
        nodes = {sha256(node): node for node in map(unbase64, proof["nodes"])}
        used: set[str] = set()
        items = [(key, item) for key in (request, EVERYTHING) for item in _walk(nodes, used, head["state"], key)]
        need(used == set(nodes) and len(nodes) == len(proof["nodes"]), "a node proves nothing")
        items.sort(key=lambda one: one[1][0])
        need(len(items) == len(proof["entries"]), "entries were left out or put in")
        voids: list[tuple[Any, str]] = []
        for (key, (index, event, digest)), text in zip(items, proof["entries"], strict=True):
            entry, void = self._entry(unbase64(text), index)
            said = (sha256(unbase64(text)), entry["index"], entry["event"], entry.get("request", EVERYTHING))
            need(said == (digest, index, event, key) and index < head["index"], "another entry than the map names")
            if void:
                voids.append((entry, Envelope.read(unbase64(text)).keyid))
            else:
                self.entries.append(entry)
        if head.get("request", EVERYTHING) in (request, EVERYTHING):
            self.entries.append(head)
        self._check_voids(voids)

    def _entry(self, data: bytes, index: int | None) -> tuple[Any, bool]:
        """An entry, and whether it is void: signed by a key that could have said it, whose grant had ended by then."""
        envelope = Envelope.read(data)
        need(envelope.one_form, "not in the one form")
        said = parse(envelope.payload)["predicate"]
        at, roles = said["index"] if index is None else index, SPEAKERS.get(said["event"], {"ci", "merger"})
        grants = [one for one in self.root.former if one["keyid"] == envelope.keyid and roles & set(one["roles"])]
        over = grants and max(one["until"] for one in grants) <= at
        now = self.root.owner(envelope.keyid)
        void = bool(over) and not (now is not None and roles & set(self.root.people[now]["roles"]))
        statement, _, _ = signed(data, self.root, min(at, grants[0]["until"] - 1) if void else at, ENTRY, roles)
        entry = about_itself(statement, "log-entry.json")
        need(entry["repository"] == self.root.repository, "an entry of another repository's log")
        need(void or entry["root"] <= self.root.version, "the protected branch was rewound")
        return entry, void

    def _check_voids(self, voids: Iterable[tuple[Any, str]]) -> None:
        for entry, keyid in voids:
            last = max((one for one in self.root.former if one["keyid"] == keyid), key=lambda one: int(one["until"]))
            event, known = ("revoked", last["until"]) if last["revoked"] else ("retired", last["until"] - 1)
            for end in self.entries:
                late = end["event"] == event and keyid in end.get("keys", ())
                late = late and known <= end["index"] < entry["index"]
                need(not late, f"entry {entry['index']} is by a key whose end the log knew")

    def names(self) -> dict[str, int]:
        """The first entry that names each envelope."""
        found: dict[str, int] = {}
        for entry in self.entries:
            for digest in entry["envelopes"]:
                found.setdefault(digest, entry["index"])
        return found


def _walk(nodes: dict[str, bytes], used: set[str], state: str, key: str) -> list[Any]:
    """All entries about `key` in the map with the root `state`."""
    place, wanted = sha256(key.encode()), state
    for depth in range(65):
        if wanted == NOTHING:
            return []
        need(wanted in nodes, "a node is missing")
        used.add(wanted)
        node = nodes[wanted]
        if node[0] == 2:
            need(depth and node[1:33].hex()[:depth] == place[:depth], "a leaf stands elsewhere than it belongs")
            items = parse_canonical(node[33:])
            indexes = [item[0] for item in items]
            need(indexes == sorted(set(indexes)), "a leaf's entries are not in order")
            return list(items) if node[1:33].hex() == place else []
        bits = int.from_bytes(node[1:3], "big")
        children = [number for number in range(16) if bits >> number & 1]
        need(node[0] == 3 and children and len(node) == 3 + 32 * len(children), "no node of the map")
        at = children.index(nibble) if (nibble := int(place[depth], 16)) in children else None
        if at is None:
            return []
        wanted = node[3 + 32 * at : 35 + 32 * at].hex()
    raise AssertionError
