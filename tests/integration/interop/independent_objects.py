"""The bundle's form and the Git objects in it, by docs/wire-format.md: for the verifier beside.

Written from that document alone: nothing of agent_pipeline is imported.
"""

from __future__ import annotations

import re
from typing import Any

from independent_wire import LINK, TREE, Commit, Envelope, need, object_id, parse_canonical, rows_of, sha256

PLAIN = re.compile(r"[A-Za-z0-9][A-Za-z0-9._-]{0,99}(/[A-Za-z0-9][A-Za-z0-9._-]{0,99}){0,2}")
RULES = re.compile(r"policy\.yaml|images\.lock\.json|requirements\.lock|trust/[1-9][0-9]{0,5}\.[0-9a-f]{8}\.dsse\.json")
WHO = "agent-pipeline <agent-pipeline@localhost> 946684800 +0000"
CARRIER = b"Carrier of a proposed tree\n\nUnsigned and never merged: it only brings the tree along.\n"
Row = tuple[str, str]  # mode, object


class Bundle:
    """A bundle whose form is right, which holds exactly what its commits need."""

    def __init__(self, data: bytes) -> None:
        line, _, rest = data.partition(b"\n")
        match = re.fullmatch(rb"agentpatch 1 ([0-9a-f]{64}) ([1-9][0-9]{0,8})", line)
        need(match, "no bundle")
        assert match is not None
        head = rest[: int(match[2])]
        need(sha256(head) == match[1].decode(), "another manifest")
        self.manifest = parse_canonical(head)
        names = [one["name"].encode() for one in self.manifest["contents"]]
        need(self.manifest["version"] == 1 and names == sorted(set(names)), "names out of order, or twice")
        need(len(rest) == len(head) + sum(one["size"] for one in self.manifest["contents"]), "longer or shorter")
        self.contents: dict[str, bytes] = {}
        at = len(head)
        for one in self.manifest["contents"]:
            part = rest[at : at + one["size"]]
            at += one["size"]
            need(sha256(part) == one["sha256"], f"{one['name']} is another")
            self.contents[one["name"]] = part
        self.size = len(self.manifest["record"])
        self.objects: dict[str, tuple[str, bytes]] = {}
        self._read_objects()
        need(self._wanted() == set(self.contents) - {"log/proof.json"}, "not exactly what its commits need")

    def _read_objects(self) -> None:
        for name, data in self.contents.items():
            folder, _, rest = name.partition("/")
            if folder == "objects":
                head, _, content = data.partition(b"\0")
                kind = head.decode().split(" ")[0]
                need(head == f"{kind} {len(content)}".encode() and kind in ("commit", "tree", "blob"), "no Git object")
                need(object_id(kind, content, len(rest)) == rest, f"object {rest} is another")
                self.objects[rest] = kind, content
            elif folder in ("record", "rules"):
                self.objects[object_id("blob", data, self.size)] = "blob", data

    # reading ----------------------------------------------------------------------------------------------------------

    def object(self, kind: str, name: str) -> bytes:
        need(self.objects[name][0] == kind, f"{name} is no {kind}")
        return self.objects[name][1]

    def commit(self, name: str) -> Commit:
        return Commit.read(self.object("commit", name))

    def rows(self, tree: str | None) -> dict[str, Row]:
        if tree is None:
            return {}
        rows = list(rows_of(self.object("tree", tree), self.size))
        need(len({name for name, _, _ in rows}) == len(rows), "a name stands twice in a directory")
        return {name: (mode, oid) for name, mode, oid in rows}

    def files(self, tree: str, prefix: str = "") -> dict[str, str]:
        """The files of a whole tree: path and object."""
        found: dict[str, str] = {}
        for name, (mode, oid) in self.rows(tree).items():
            found |= self.files(oid, f"{prefix}{name}/") if mode == TREE else {f"{prefix}{name}": oid}
        return found

    def file(self, commit: str, path: str) -> bytes:
        oid = self.commit(commit).tree
        for part in path.split("/"):
            oid = self.rows(oid)[part][1]
        return self.object("blob", oid)

    def record(self, path: str) -> bytes:
        return self.contents[f"record/{path}"]

    def attestations(self, kind: str) -> list[bytes]:
        prefix = f"record/{self.manifest['number']}/attestations/{kind}."
        return [data for name, data in self.contents.items() if name.startswith(prefix)]

    def closures(self) -> list[bytes]:
        return [data for name, data in self.contents.items() if name.startswith("record/closure.")]

    def trust(self) -> list[list[Envelope]]:
        """The envelopes of each version of the trust root."""
        found: dict[int, list[Envelope]] = {}
        for name, data in self.contents.items():
            if name.startswith("rules/trust/"):
                found.setdefault(int(name.split("/")[2].split(".")[0]), []).append(Envelope.read(data))
        need(sorted(found) == list(range(1, len(found) + 1)), "a version of the trust root is missing")
        return [found[number] for number in sorted(found)]

    # what follows from its commits ------------------------------------------------------------------------------------

    def steps(self) -> list[str]:
        """The record's commits, newest first."""
        found = [self.manifest["record"]]
        while parents := self.commit(found[-1]).parents:
            if self.commit(parents[0]).message != b"Record\n":
                break
            found.append(parents[0])
        return found

    def _wanted(self) -> set[str]:
        named: dict[str, str] = {}
        found: set[str] = set()
        steps = self.steps()
        for step in steps:
            self._whole(found, self.commit(step).tree)
            for parent in self.commit(step).parents:
                found.add(parent)
                if parent not in steps and self.commit(parent).message == CARRIER:
                    base = self.commit(parent).parents[0]
                    found.add(base)
                    self._difference(found, self.commit(base).tree, self.commit(parent).tree)
            found.add(step)
        for path, oid in self.files(self.commit(steps[0]).tree).items():
            named |= {f"record/{path}": oid} if PLAIN.fullmatch(path) else {}
        for path, oid in self._rules(found, self.manifest["rules"]).items():
            named[f"rules/{path}"] = oid
        found |= {self.manifest[name] for name in ("staged", "merge") if name in self.manifest}
        if "merge" in self.manifest:
            found |= set(self._rules(found, self.commit(self.manifest["merge"]).parents[0]).values())
        need(all(self.contents[name] == self.object("blob", oid) for name, oid in named.items()), "a file is another")
        return set(named) | {f"objects/{oid}" for oid in found - set(named.values())}

    def _whole(self, found: set[str], tree: str) -> None:
        found.add(tree)
        for mode, oid in self.rows(tree).values():
            if mode == TREE:
                self._whole(found, oid)
            elif mode != LINK:
                found.add(oid)

    def _rules(self, found: set[str], commit: str) -> dict[str, str]:
        """The rules that a commit has, and on the way to them the commit itself and three trees."""
        top = self.commit(commit).tree
        found |= {commit, top}
        files: dict[str, str] = {}
        settings = self.rows(top).get(".agent-pipeline", ("", ""))
        trust = self.rows(settings[1]).get("trust", ("", "")) if settings[0] == TREE else ("", "")
        for folder, (mode, oid) in (("", settings), ("trust/", trust)):
            if mode == TREE:
                found.add(oid)
                rows = {f"{folder}{name}": row for name, row in self.rows(oid).items()}
                files |= {path: row[1] for path, row in rows.items() if RULES.fullmatch(path) and row[0] != TREE}
        return files

    def _difference(self, found: set[str], base: str | None, result: str | None) -> None:
        """Of two trees the directories in which something differs, and the new contents."""
        found |= {tree for tree in (base, result) if tree is not None}
        before, after = self.rows(base), self.rows(result)
        for name in before.keys() | after.keys():
            was, now = before.get(name, ("", "")), after.get(name, ("", ""))
            if was != now:
                found |= {now[1]} if now[0] not in ("", TREE, LINK) else set()
                folders = [row[1] if row[0] == TREE else None for row in (was, now)]
                if folders != [None, None]:
                    self._difference(found, folders[0], folders[1])

    # the change -------------------------------------------------------------------------------------------------------

    def check_carrier(self, number: int, base: str, tree: str) -> None:
        """The carrier of a proposal is the commit that anyone can compute, and came with the proposal."""
        content = f"tree {tree}\nparent {base}\nauthor {WHO}\ncommitter {WHO}\n\n".encode() + CARRIER
        name = object_id("commit", content, self.size)
        path = f"{number}/proposal.json"
        first = next(step for step in reversed(self.steps()) if path in self.files(self.commit(step).tree))
        need(name in self.commit(first).parents and name in self.objects, "the carrier is another commit")

    def changes(self, base: str, result: str) -> list[dict[str, Any]]:
        """What a manifest must list, sorted by the bytes of the paths."""
        found: dict[str, tuple[Row | None, Row | None]] = {}
        self._changed(found, "", base, result)
        return [
            _change(path, was, now, self) for path, (was, now) in sorted(found.items(), key=lambda one: one[0].encode())
        ]

    def _changed(
        self, found: dict[str, tuple[Row | None, Row | None]], prefix: str, base: str | None, result: str | None
    ) -> None:
        before, after = self.rows(base), self.rows(result)
        for name in before.keys() | after.keys():
            was, now = before.get(name), after.get(name)
            if was == now:
                continue
            files = tuple(row if row is not None and row[0] != TREE else None for row in (was, now))
            if files != (None, None):
                found[prefix + name] = files[0], files[1]
            folders = [row[1] if row is not None and row[0] == TREE else None for row in (was, now)]
            if folders != [None, None]:
                self._changed(found, f"{prefix}{name}/", folders[0], folders[1])


def _change(path: str, was: Row | None, now: Row | None, bundle: Bundle) -> dict[str, Any]:
    found: dict[str, Any] = {"path": path, "op": "delete" if now is None else "put"}
    if was is not None:
        found |= {"base_mode": was[0], "base_object": was[1]}
    if now is not None:
        content = bundle.object("blob", now[1])
        found |= {"mode": now[0], "object": now[1], "sha256": sha256(content), "size": len(content)}
    return found
