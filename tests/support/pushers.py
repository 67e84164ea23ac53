"""Somebody who may push and has no role: plain git, objects made by hand, refs set by force."""

from __future__ import annotations

import os
import subprocess
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

Tree = Mapping[str, "bytes | str | Tree"]


@dataclass
class Pusher:
    """Somebody who may push, with plain git and with objects made by hand."""

    folder: Path
    bare: Path

    def git(self, *argv: str, stdin: bytes = b"", ok: bool = True) -> str:
        """Run git as Mallory, in her clone."""
        env = {
            "PATH": os.environ["PATH"], "HOME": str(self.folder), "GIT_CONFIG_NOSYSTEM": "1", "LC_ALL": "C",
            "GIT_AUTHOR_NAME": "agent-pipeline", "GIT_AUTHOR_EMAIL": "agent-pipeline@localhost",
            "GIT_AUTHOR_DATE": "946684800 +0000", "GIT_COMMITTER_NAME": "agent-pipeline",
            "GIT_COMMITTER_EMAIL": "agent-pipeline@localhost", "GIT_COMMITTER_DATE": "946684800 +0000",
        }  # fmt: skip
        done = subprocess.run(
            ["git", f"--git-dir={self.folder}", *argv], env=env, input=stdin, capture_output=True, check=False,
            timeout=60,
        )  # fmt: skip
        assert done.returncode == 0 or not ok, f"git {' '.join(argv)}: {done.stderr.decode()}"
        return done.stdout.decode("utf-8", "surrogateescape").strip()

    def fetch(self) -> None:
        """See what the remote has."""
        if not self.folder.exists():
            subprocess.run(["git", "init", "-q", "--bare", str(self.folder)], check=True, capture_output=True)
        self.git("fetch", "-q", "--prune", str(self.bare), "+refs/*:refs/*")

    def ref(self, name: str) -> str:
        """The commit that a ref points to."""
        return self.git("rev-parse", "--verify", name)

    def blob(self, data: bytes) -> str:
        """Store a file's content."""
        return self.git("hash-object", "-w", "--stdin", stdin=data)

    def raw_tree(self, *rows: tuple[str, str, str]) -> str:
        """Store a tree exactly as given, however odd: (mode, name, object)."""
        data = b"".join(f"{mode} {name}\0".encode() + bytes.fromhex(oid) for mode, name, oid in rows)
        return self.git("hash-object", "-t", "tree", "-w", "--literally", "--stdin", stdin=data)

    def tree(self, files: Tree) -> str:
        """Store nested files: bytes are contents, a word is an object with its mode (`120000:<oid>`)."""
        rows = []
        for name, value in files.items():
            if isinstance(value, bytes):
                rows.append(("100644", name, self.blob(value)))
            elif isinstance(value, str):
                mode, _, oid = value.partition(":")
                rows.append((mode, name, oid))
            else:
                rows.append(("40000", name, self.tree(value)))
        return self.raw_tree(*sorted(rows, key=lambda row: row[1] + ("/" if row[0] == "40000" else "")))

    def commit(self, tree: str, *parents: str, message: str = "Record\n") -> str:
        """Make a commit."""
        words = [word for parent in parents for word in ("-p", parent)]
        return self.git("commit-tree", tree, *words, stdin=message.encode())

    def push(self, ref: str, oid: str) -> None:
        """Set a ref on the remote, by force."""
        self.git("push", "-q", "--force", str(self.bare), f"{oid}:{ref}")

    def delete(self, ref: str) -> None:
        """Delete a ref on the remote."""
        self.git("push", "-q", str(self.bare), f":{ref}")

    def files(self, ref: str) -> dict[str, Any]:
        """Return a ref's files, nested."""
        nested: dict[str, Any] = {}
        for row in self.git("ls-tree", "-r", "-z", ref).split("\0"):
            if row:
                head, _, path = row.partition("\t")
                mode, _, oid = head.split(" ")
                *folders, name = path.split("/")
                place = nested
                for folder in folders:
                    place = place.setdefault(folder, {})
                place[name] = f"{mode}:{oid}"
        return nested

    def rewrite(self, ref: str, change: Callable[[dict[str, Any]], object]) -> str:
        """Rewrite a record in place: the same parents, its files changed by hand. Returns the new commit."""
        self.fetch()
        files = self.files(ref)
        change(files)
        parents = self.git("rev-list", "--parents", "-1", ref).split()[1:]
        new = self.commit(self.tree(files), *parents)
        self.push(ref, new)
        return new

    def add(self, ref: str, files: dict[str, bytes]) -> str:
        """Add files to a record, as any step does, with whatever content."""

        def put(nested: dict[str, Any]) -> None:
            for path, data in files.items():
                *folders, name = path.split("/")
                place = nested
                for folder in folders:
                    place = place.setdefault(folder, {})
                place[name] = data

        self.fetch()
        nested = self.files(ref)
        put(nested)
        new = self.commit(self.tree(nested), self.ref(ref))
        self.push(ref, new)
        return new
