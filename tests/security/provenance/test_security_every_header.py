"""Every field of a merge commit and of a staged one, changed one by one in real commit objects.

With the old signature: refused, wherever a commit decides. Signed again by who may sign it: refused by who binds it, or
on the list of what only its signer can know, with the reason.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator
from dataclasses import dataclass, replace

import pytest
from support.bundles import bundled, failed, proven
from support.carried import Carried, carried
from support.trust import BRANCH, NOW, private, public

from agent_pipeline.attestation import commit_signer, sshsig
from agent_pipeline.audit.whole import Audit
from agent_pipeline.documents.verification import FAILED
from agent_pipeline.errors import RejectedError, SignatureError
from agent_pipeline.repository import attestations, commits, refs
from agent_pipeline.repository.records import Record
from agent_pipeline.repository.refs import RefUpdate
from agent_pipeline.verify import offline

Change = Callable[[bytes], bytes]
HIS = "whoever signs writes it: for people, and no decision reads it"
ELSEWHERE = "names a commit of the log, of which a bundle has entries and no commits: held by `audit verify`"


@dataclass(frozen=True)
class Commit:
    """A signed commit of a repository in which all is well, and what can be said in place of its fields."""

    made: Carried
    ref: str
    signer: str
    role: str
    index: int
    payload: bytes
    armored: str
    others: dict[str, bytes]

    @property
    def head(self) -> str:
        return str(self.made.clone.ref(self.ref))

    def sealed(self, payload: bytes) -> str:
        return sshsig.armor(private(self.signer).sign(sshsig.blob_to_sign(payload)), public(self.signer))

    def signed(self, payload: bytes, armored: str) -> None:
        commit_signer.signer(payload, armored, self.made.maker.root, self.role, at=self.index)

    def audited(self, payload: bytes, armored: str | None) -> list[str]:
        """What an audit finds when the ref points to that commit."""
        clone, old = self.made.clone, self.head
        made = commits.write(clone, payload, armored)
        refs.update(clone, [RefUpdate(self.ref, old, made)])
        try:
            return [one.what for one in Audit(self.made.desk).findings()]
        finally:
            refs.update(clone, [RefUpdate(self.ref, made, old)])


def commit_of(made: Carried, ref: str, role: str, index: int, others: dict[str, bytes]) -> Commit:
    found = commits.signature_of(made.clone, str(made.clone.ref(ref)))
    assert found is not None
    return Commit(made, ref, "robot", role, index, *found, others)


def others(made: Carried) -> dict[str, bytes]:
    """A tree and a commit that are in the repository, so that nothing but the change is why."""
    base = made.maker.proposal().base
    (first,) = made.clone.parents(base)
    return {"tree": made.clone.tree(base).encode(), "parent": first.encode()}


def keep_proofs(made: Carried, *trees: str) -> None:
    """Keep what the merge rests on, as it was made and for another tree, so that an audit misses none of it."""
    envelopes = Record(made.id, made.tip, made.clone).attestations(made.maker.number).values()
    names = {f"envelope.{number}": data for number, data in enumerate(envelopes)}
    tip = None
    for tree in trees:
        tip = attestations.add(made.clone, tip, tree, names, NOW)
    refs.update(made.clone, [RefUpdate(attestations.REF, None, tip)])


@pytest.fixture(scope="module")
def merge(tmp_path_factory: pytest.TempPathFactory) -> Commit:
    made = carried(tmp_path_factory.mktemp("merged") / "r", "merged")
    found = commit_of(made, BRANCH, "merger", 1, others(made))
    keep_proofs(made, made.maker.proposal().tree, found.others["tree"].decode())
    return found


@pytest.fixture(scope="module")
def bundle(merge: Commit) -> offline.Carried:
    """What the bundle of the merge brings to somebody who has nothing else."""
    return proven(bundled(merge.made), merge.made.root).carried


@pytest.fixture(scope="module")
def staged(tmp_path_factory: pytest.TempPathFactory) -> Commit:
    made = carried(tmp_path_factory.mktemp("approved") / "r", "approved")
    return commit_of(made, f"refs/heads/agent/{made.id}", "ci", 0, others(made))


def line(name: bytes, number: int, change: Change) -> Change:
    """A change of the words after the name of a header, or of a line of the message: the `number`th of that name."""

    def changed(payload: bytes) -> bytes:
        lines = payload.split(b"\n")
        at = [index for index, one in enumerate(lines) if one.startswith(name)][number]
        lines[at] = name + change(lines[at].removeprefix(name))
        return b"\n".join(lines)

    return changed


def without(name: bytes, number: int) -> Change:
    def changed(payload: bytes) -> bytes:
        lines = payload.split(b"\n")
        del lines[[index for index, one in enumerate(lines) if one.startswith(name)][number]]
        return b"\n".join(lines)

    return changed


def last(words: bytes) -> bytes:
    """Another last digit, of a number or an id."""
    return words[:-1] + (b"2" if words[-1:] != b"2" else b"3")


def put(old: bytes, new: bytes) -> Change:
    def changed(words: bytes) -> bytes:
        assert old in words
        return words.replace(old, new, 1)

    return changed


def by(who: str) -> dict[str, Change]:
    """Everything that an author's or committer's line says."""
    name = f"{who} ".encode()
    return {
        f"{who}'s name": line(name, 0, put(b"CI ", b"CJ ")),
        f"{who}'s address": line(name, 0, put(b"ci@", b"cj@")),
        f"{who}'s time": line(name, 0, put(b"> 1772366", b"> 1772367")),
        f"{who}'s zone": line(name, 0, put(b"+0000", b"+0100")),
    }


def fields(commit: Commit) -> dict[str, Change]:
    """Every field of the commit changed, by the field's name."""
    tree, other = commit.others["tree"], commit.others["parent"]
    found: dict[str, Change] = {"tree": line(b"tree ", 0, lambda _: tree)}
    for number in range(commit.payload.count(b"\nparent ")):
        found[f"parent {number + 1}"] = line(b"parent ", number, lambda _: other)
        found[f"no parent {number + 1}"] = without(b"parent ", number)
    found["one parent more"] = put(b"\nauthor ", b"\nparent " + other + b"\nauthor ")
    found |= by("author") | by("committer")
    found["a header more"] = put(b"\n\n", b"\nencoding utf-8\n\n")
    message = commit.payload.partition(b"\n\n")[2].split(b"\n")
    for words in message:
        name, colon, _ = words.partition(b": ")
        if name.startswith(b"Agent-Pipeline-"):
            found[name.decode()] = line(name + colon, 0, last)
            found[f"no {name.decode()}"] = without(name + colon, 0)
    found["title"] = line(message[0], 0, lambda rest: rest + b" and more")
    found["a line more"] = lambda payload: payload + b"Reviewed-by: nobody\n"
    return found


OWN = {f"{who}'s {what}": HIS for who in ("author", "committer") for what in ("name", "address", "time", "zone")}
OWN |= {"title": HIS, "a line more": HIS, "a header more": HIS}


UNTOLD = OWN | {"Agent-Pipeline-Log": ELSEWHERE, "no Agent-Pipeline-Log": ELSEWHERE}


def altered(commit: Commit) -> Iterator[tuple[str, bytes]]:
    names = fields(commit)
    assert len(names) > 15
    for name, change in names.items():
        payload = change(commit.payload)
        assert payload != commit.payload, name
        yield name, payload


def test_every_field_of_the_fixed_commits_is_among_these(merge: Commit, staged: Commit) -> None:
    """A commit with another header or line than these is one that the changes here do not know."""
    for commit in (merge, staged):
        header, _, message = commit.payload.partition(b"\n\n")
        assert {row.partition(b" ")[0] for row in header.split(b"\n")} == {b"tree", b"parent", b"author", b"committer"}
        title, empty, *rows = message.removesuffix(b"\n").split(b"\n")
        assert title
        assert not empty
        assert all(row.partition(b": ")[0].decode() in fields(commit) for row in rows)


def refused_offline(bundle: offline.Carried, payload: bytes, armored: str) -> bool:
    decision = offline.decide(replace(bundle, merge=(payload, armored)))
    assert failed(decision) <= {"merge"}
    return decision.verdict == FAILED


def test_every_field_of_a_merge_with_the_old_signature_is_refused(merge: Commit, bundle: offline.Carried) -> None:
    assert merge.audited(merge.payload, merge.armored) == []
    assert not refused_offline(bundle, merge.payload, merge.armored)
    for name, payload in altered(merge):
        with pytest.raises(SignatureError):
            merge.signed(payload, merge.armored)
        assert refused_offline(bundle, payload, merge.armored), name
        assert merge.audited(payload, merge.armored), name


def test_every_field_of_a_merge_signed_again_is_bound_or_on_the_list(merge: Commit, bundle: offline.Carried) -> None:
    for name, payload in altered(merge):
        armored = merge.sealed(payload)
        merge.signed(payload, armored)
        assert refused_offline(bundle, payload, armored) == (name not in UNTOLD), name
        assert bool(merge.audited(payload, armored)) == (name not in OWN), name


def test_every_field_of_a_staged_commit_with_the_old_signature_is_refused(staged: Commit) -> None:
    assert staged.audited(staged.payload, staged.armored) == []
    for name, payload in altered(staged):
        with pytest.raises(SignatureError):
            staged.signed(payload, staged.armored)
        assert staged.audited(payload, staged.armored), name


def test_every_field_of_a_staged_commit_signed_again_is_bound_or_on_the_list(staged: Commit) -> None:
    for name, payload in altered(staged):
        assert bool(staged.audited(payload, staged.sealed(payload))) == (name not in OWN), name


def test_every_byte_of_a_merge_and_its_signature_is_signed(merge: Commit, bundle: offline.Carried) -> None:
    payload, armored = merge.payload, merge.armored
    for position in range(len(payload)):
        other = payload[:position] + bytes([payload[position] ^ 1]) + payload[position + 1 :]
        with pytest.raises(SignatureError):
            merge.signed(other, armored)
    for position in range(len(armored.strip())):
        if armored[position] == "\n":  # where lines are broken is no part of base64
            continue
        letter = "A" if armored[position] != "A" else "B"
        changed = armored[:position] + letter + armored[position + 1 :]
        with pytest.raises(RejectedError):
            merge.signed(payload, changed)
        assert position % 9 or refused_offline(bundle, payload, changed), position


def test_a_merge_s_signature_is_in_the_one_header_that_holds_it(merge: Commit, bundle: offline.Carried) -> None:
    """Of another protocol's header, of another commit, or none at all: no other signature stands for it."""
    twin = last(merge.payload.removesuffix(b"\n")) + b"\n"
    for armored in (merge.sealed(twin), merge.armored.replace("SSH", "PGP")):
        with pytest.raises(RejectedError):
            merge.signed(merge.payload, armored)
        assert refused_offline(bundle, merge.payload, armored)
        assert merge.audited(merge.payload, armored)
    assert offline.decide(replace(bundle, merge=None)).verdict == FAILED
    assert merge.audited(merge.payload, None)
