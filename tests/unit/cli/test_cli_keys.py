"""`keys generate` and `keys list`, as people call them."""

from __future__ import annotations

from pathlib import Path

from support.people import Done, Person


def somebody(tmp_path: Path) -> Person:
    (tmp_path / "clone").mkdir()
    return Person("ada", tmp_path / "home", tmp_path / "clone")


def made(person: Person, *argv: str) -> Done:
    done = person.run("keys", "generate", *argv, "--json")
    assert done.code == 0, str(done)
    return done


def test_both_schemes_are_made_and_listed(tmp_path: Path) -> None:
    person = somebody(tmp_path)
    first, second = made(person, "one").document, made(person, "two", "--scheme", "p256").document
    assert (first["scheme"], second["scheme"]) == ("ed25519", "ecdsa-sha2-nistp256")
    rows = person.yes("keys", "list")["keys"]
    assert [(row["name"], row["fingerprint"]) for row in rows] == [
        (document["path"], document["fingerprint"]) for document in (first, second)
    ]
    assert {(row["store"], row["remark"]) for row in rows} == {("file", "in force")}
    lines = person.run("keys", "list").out.splitlines()
    assert [line.split()[:3] for line in lines] == [
        [document["fingerprint"], document["scheme"], "file"] for document in (first, second)
    ]


def test_a_passphrase_that_nobody_can_be_asked_for(tmp_path: Path) -> None:
    person = somebody(tmp_path)
    refused = person.run("keys", "generate", "--passphrase")
    assert refused.code == 2
    assert "AGENT_PIPELINE_KEY_PASSPHRASE" in refused.err
    assert not (tmp_path / "home" / "config" / "agent-pipeline" / "keys" / "default").exists()


def test_a_name_that_leads_elsewhere_and_an_unknown_scheme(tmp_path: Path) -> None:
    person = somebody(tmp_path)
    assert person.run("keys", "generate", "../x").code == 2
    assert person.run("keys", "generate", "--scheme", "rsa").code == 2


def folder(person: Person) -> Path:
    return person.home / "config" / "agent-pipeline" / "keys"


def test_a_file_that_is_no_key_is_listed_with_the_reason_and_in_nobody_s_way(tmp_path: Path) -> None:
    person = somebody(tmp_path)
    good = made(person).document
    for name, data, mode in (("aaa", "junk\n", 0o600), ("bbb", "junk\n", 0o644), ("ccc", "", 0o600)):
        (folder(person) / name).write_text(data, encoding="ascii")
        (folder(person) / name).chmod(mode)
    (folder(person) / "ccc.pub").write_text((folder(person) / "default.pub").read_text())
    found = person.yes("keys", "list")
    assert [row["path"] for row in found["keys"]] == [good["path"]]
    assert [Path(row["path"]).name for row in found["unusable"]] == ["aaa", "bbb", "ccc"]
    for row, word in zip(found["unusable"], ("no readable private key", "by others", "no readable"), strict=True):
        assert row["path"] in row["reason"]
        assert word in row["reason"]
        assert row["hint"]
    said = person.run("keys", "list").out
    assert said.count("not usable: ") == 3
    assert good["fingerprint"] in said


def test_a_file_that_is_named_must_be_a_key(tmp_path: Path) -> None:
    person = somebody(tmp_path)
    made(person)
    (folder(person) / "aaa").write_text("junk\n", encoding="ascii")
    (folder(person) / "aaa").chmod(0o600)
    for public in (False, True):
        if public:
            (folder(person) / "aaa.pub").write_text((folder(person) / "default.pub").read_text())
        named = person.run("keys", "list", AGENT_PIPELINE_KEY=str(folder(person) / "aaa"))
        assert named.code == 2
        assert "no readable private key" in named.err
        assert "encrypt it anew" not in named.err


def test_a_key_file_says_whether_it_is_encrypted(tmp_path: Path) -> None:
    person = somebody(tmp_path)
    plain = made(person, "plain")
    assert plain.document["encrypted"] is False
    assert "not encrypted: whoever reads the file has the key" in plain.err
    assert "keys generate NAME --passphrase" in plain.err
    locked = person.run("keys", "generate", "locked", "--json", AGENT_PIPELINE_KEY_PASSPHRASE="correct horse")
    assert locked.document["encrypted"] is True
    assert "not encrypted" not in locked.err
    assert {Path(row["path"]).name: row["encrypted"] for row in person.yes("keys", "list")["keys"]} == {
        "locked": True,
        "plain": False,
    }
    listed = person.run("keys", "list")
    assert [line.partition("  (")[2] for line in listed.out.splitlines()] == [
        "in force, encrypted)",
        "in force, not encrypted)",
    ]
    assert "not encrypted: whoever reads the file has the key" in listed.err
    (folder(person) / "plain").unlink()
    assert "not encrypted" not in person.run("keys", "list").err
