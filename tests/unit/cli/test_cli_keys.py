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
