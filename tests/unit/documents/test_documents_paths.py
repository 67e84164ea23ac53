"""Every line of the catalogue of path attacks, and Git itself as the judge of what must be refused."""

from __future__ import annotations

import os
import unicodedata
from pathlib import Path

import pytest
from hypothesis import HealthCheck, example, given, settings
from hypothesis import strategies as st

from agent_pipeline import process
from agent_pipeline.documents import paths
from agent_pipeline.documents.characters import visible
from agent_pipeline.errors import PathError

REFUSED = {
    "parent": "../evil",
    "parent in between": "a/../../evil",
    "absolute": "/abs/path",
    "current": "./x",
    "empty component": "a//b",
    "trailing slash": "a/",
    "empty": "",
    "git config": ".git/config",
    "git hook": ".git/hooks/pre-commit",
    "git upper": ".GIT/config",
    "git mixed, deeper": "sub/.Git/x",
    "git short name": "git~1",
    "git short name upper": "GIT~1/config",
    "modules short name": "GITMOD~1",
    "modules hashed short name": "gi7eba~1",
    "attributes hashed short name": "GI7D29~1",
    "git dot": ".git.",
    "git space": ".git ",
    "git dots": ".git...",
    "git stream": ".git::$INDEX_ALLOCATION",
    "git zero width": ".g\u200cit/x",
    "git byte order mark": ".git\ufeff",
    "git full width": "\uff0egit/x",
    "modules": ".gitmodules",
    "modules upper": ".GITMODULES",
    "modules zero width": ".gitm\u200codules",
    "attributes": "sub/.gitattributes",
    "attributes mixed": ".GitAttributes",
    "ignore in capitals": ".GitIgnore",
    "pipeline in capitals": ".Agent-Pipeline/policy.yaml",
    "backslash": ".git\\config",
    "backslash parent": "a\\..\\..\\x",
    "newline": "a\nb",
    "tab": "a\tb",
    "carriage return": "a\rb",
    "nul": "a\0b",
    "delete": "a\x7fb",
    "C1 control": "a\x9bb",
    "right to left override": "a\u202etxt.py",
    "isolate": "a\u2066b",
    "zero width space": "a\u200bb",
    "decomposed": "cafe\u0301.txt",
    "private use": "a\ue000",
    "lone surrogate": "a\udcff",
    "unassigned": "a\U000e0fff",
    "variation selector": "a\ufe0f",
    "hangul filler": "a\u3164",
    "line separator": "a\u2028b",
    "option": "-rf",
    "option in a directory": "a/--upload-pack=x",
    "device": "CON",
    "device with extension": "src/aux.c",
    "device with spaces": "nul .txt",
    "device superscript": "COM\u00b9",
    "trailing dot": "a./b",
    "trailing space": "a /b",
    "colon": "c:evil",
    "magic pathspec": ":(exclude)x",
    "glob": "*",
    "question": "a?b",
    "pipe": "a|b",
    "full width slash": "a\uff0fb",
    "component too long": "x" * 256,
    "component too long in bytes": "\u00fc" * 128,
    "path too long": "/".join(["abcdefghi"] * 401),
    "too deep": "/".join(["d"] * 101),
}
ALLOWED = [
    "a",
    "src/app/main.py",
    "README",
    ".github/workflows/ci.yml",
    ".gitignore",
    "sub/.gitignore",
    ".gitkeep",
    ".gitlab-ci.yml",
    "gitfoo",
    "pages/[id].tsx",
    "a b/c d.txt",
    "\u00fcber/caf\u00e9.txt",
    "\u65e5\u672c\u8a9e.md",
    "console.py",
    "com10.txt",
    "a~",
    "..a",
    "a..b",
    "backup.txt.~1~",
    "/".join(["d"] * 100),
    "x" * 255,
    "#tmp#",
    "%41",
    "$HOME",
    "a'b",
    "a`b",
]


@pytest.mark.parametrize("path", REFUSED.values(), ids=REFUSED.keys())
def test_refused(path: str) -> None:
    with pytest.raises(PathError) as raised:
        paths.check(path)
    assert raised.value.hint
    assert raised.value.message.isprintable()


@pytest.mark.parametrize("path", ALLOWED)
def test_allowed(path: str) -> None:
    paths.check(path)


@pytest.mark.parametrize("name", [".git", ".GIT", "GIT~1", "git~12", ".git. ", ".git::$X", ".g\u200cit", "\uff0egit"])
def test_names_that_are_git_directories(name: str) -> None:
    assert paths.is_git_directory(name)
    assert not paths.is_git_directory(f"x{name}")


# Names are mostly harmless, with what attacks are made of mixed in.
PIECES = st.sampled_from(
    [".git", "GIT", "~1", ".", "..", "/", " ", "-", ":", "modules", "attributes", "\u200c", "\ufeff", "\\", "con", "a"]
)
TEXTS = st.one_of(
    st.text(min_size=1, max_size=20),
    st.lists(st.one_of(PIECES, st.text(max_size=3)), min_size=1, max_size=8).map("".join),
)


@given(TEXTS)
@example("\u1e9e")
@example("\u0345\u0301")
@example("\u03d4\u0301")
def test_collision_key_is_idempotent(text: str) -> None:
    key = paths.collision_key(text)
    assert paths.collision_key(key) == key


@given(TEXTS)
def test_collision_key_ignores_form_case_and_invisible_characters(text: str) -> None:
    key = paths.collision_key(text)
    assert paths.collision_key(unicodedata.normalize("NFD", text)) == key
    assert paths.collision_key(text.casefold()) == key
    assert paths.collision_key("\u200d".join(text)) == key


@pytest.mark.parametrize("name", ["\U0001fae8.py", "\ua7cb", "\u0378"], ids=["of 15.0", "of 16.0", "of none"])
def test_what_unicode_14_has_not_assigned_is_the_same_everywhere(name: str) -> None:
    """Whatever Unicode this Python has: of `U+A7CB` a newer one makes `U+0264` in lower case."""
    with pytest.raises(PathError, match=r"Unicode 14\.0 has not assigned"):
        paths.check(f"src/{name}")
    assert paths.collision_key(f"\uff21{name}\u212b") == f"a{name}\xe5"


@given(TEXTS)
def test_what_passes_needs_no_escape(text: str) -> None:
    try:
        paths.check(text)
    except PathError:
        return
    assert visible(text) == text
    assert unicodedata.normalize("NFC", text) == text


@pytest.fixture(scope="module")
def bare(tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("judge") / "bare.git"
    _git(None, "init", "-q", "--bare", str(folder))
    return folder


def _git(folder: Path | None, *args: str, stdin: bytes = b"", index: Path | None = None) -> tuple[int, bytes]:
    env = {"PATH": os.environ["PATH"], "HOME": "/nonexistent", "GIT_CONFIG_NOSYSTEM": "1", "LC_ALL": "C"}
    if index is not None:
        env["GIT_INDEX_FILE"] = str(index)
    where = [] if folder is None else ["--git-dir", str(folder)]
    protect = ["-c", "core.protectHFS=true", "-c", "core.protectNTFS=true"]
    done = process.run(["git", *where, *protect, *args], env=env, stdin=stdin, cwd=Path("/"))
    return done.code, done.stdout


def _apart(names: list[str]) -> list[str]:
    """Those names that stand in nobody's way: no two are one file, none is another's directory."""
    keys = {name: paths.collision_key(name) for name in names}
    return [
        name
        for name, key in keys.items()
        if not any(other != name and (f"{keys[other]}/").startswith(f"{key}/") for other in keys)
    ]


@settings(deadline=None, max_examples=150, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(st.lists(TEXTS, min_size=1, max_size=30))
def test_git_accepts_whatever_passes(bare: Path, texts: list[str]) -> None:
    """Git is asked through its index and its strictest check of the tree that comes out."""
    passed = []
    for text in texts:
        try:
            paths.check(text)
        except PathError:
            continue
        passed.append(text)
    apart = _apart(passed)
    blob = _git(bare, "hash-object", "-w", "--stdin", stdin=b"x")[1].decode().strip()
    index = bare / "index.judge"
    index.unlink(missing_ok=True)
    lines = b"".join(f"100644 {blob}\t{text}".encode() + b"\0" for text in apart)
    assert _git(bare, "update-index", "-z", "--index-info", stdin=lines, index=index)[0] == 0
    code, tree = _git(bare, "write-tree", index=index)
    assert code == 0
    listed = _git(bare, "ls-tree", "-r", "-z", "--name-only", tree.decode().strip())[1]
    assert {name.decode() for name in listed.split(b"\0") if name} == set(apart)
    assert _git(bare, "fsck", "--strict", "--no-dangling", tree.decode().strip())[0] == 0
