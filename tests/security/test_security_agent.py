"""The agent in the sandbox is fully hostile: what it leaves is data, refused or harmless, and never runs here."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

import pytest
from support.people import FIX, Done, ask
from support.teams import Team

pytestmark = pytest.mark.containers

At = Callable[[str], Team]
OWNED = "agent-pipeline-owned-by-the-agent"
# What a Git that is started beside it would run; each writes a file with a name that is looked for afterwards.
PLANT = f"""
import os, pathlib
run = "touch /tmp/{OWNED}; touch {OWNED}"
config = (
    "[core]\\n\\trepositoryformatversion = 0\\n\\tbare = false\\n\\tfsmonitor = " + run + "\\n\\tpager = " + run +
    "\\n\\tsshCommand = " + run + "\\n\\thooksPath = hooks\\n[diff]\\n\\texternal = " + run +
    "\\n[filter \\"x\\"]\\n\\tclean = " + run + "\\n\\tsmudge = " + run + "\\n[gpg]\\n\\tprogram = " + run + "\\n"
)
def repository(folder):
    for name in ("hooks", "objects/info", "refs/heads", "info"):
        os.makedirs(folder + "/" + name)
    pathlib.Path(folder + "/HEAD").write_text("ref: refs/heads/main\\n")
    pathlib.Path(folder + "/config").write_text(config)
    pathlib.Path(folder + "/info/attributes").write_text("* filter=x diff=x\\n")
    for hook in ("post-checkout", "pre-commit", "reference-transaction", "post-index-change"):
        path = pathlib.Path(folder + "/hooks/" + hook)
        path.write_text("#!/bin/sh\\n" + run + "\\n")
        path.chmod(0o755)
"""
REFUSED = {
    "a Git directory": (PLANT + "repository('.git')", ".git"),
    "a Git file": ("open('.git', 'w').write('gitdir: /tmp/x')", ".git"),
    "a bare repository": (PLANT + "repository('vendor')", "vendor/HEAD"),
    "git attributes": ("open('.gitattributes', 'w').write('* filter=x')", ".gitattributes"),
    "a link out": ("import os; os.symlink('/etc/passwd', 'passwd')", "symbolic link"),
    "a link in a folder's place": (
        "import os, shutil; shutil.rmtree('tests'); os.symlink('/etc', 'tests')", "symbolic link",
    ),
    "a pipe": ("import os; os.mkfifo('pipe')", "named pipe"),
    "a socket": ("import socket; socket.socket(socket.AF_UNIX).bind('socket')", "socket"),
    "a name that moves the cursor": (r"open('a\x1b[2J\x1b]0;x\x07b.py', 'w').write('x')", "control"),
    "a name that runs backwards": (r"open('a\u202eyp.b', 'w').write('x')", "invisible"),
    "a name of bytes": (r"open(b'a\xff.py', 'w').write('x')", "UTF-8"),
    "an option for a name": ("open('--output=x', 'w').write('x')", "option"),
    "the same file in capitals": ("open('CALC.py', 'w').write('x')", "same file"),
    "a plugin for the test runner": (
        "import os; os.mkdir('a.dist-info'); open('a.dist-info/entry_points.txt', 'w').write('[pytest11]')",
        "dist-info",
    ),
    "the rules": ("open('.agent-pipeline/policy.yaml', 'w').write('x')", "rules"),
}  # fmt: skip


def plain(done: Done) -> None:
    """Nothing that a terminal obeys, and nobody's words in the place of ours."""
    said = done.out + done.err
    assert not [char for char in said if (ord(char) < 32 and char not in "\n\t") or 0x7F <= ord(char) < 0xA0], repr(
        said
    )
    assert "\u202e" not in said


@pytest.fixture(scope="module")
def ready(at: At) -> Team:
    return at("ready")


@pytest.mark.parametrize("what", REFUSED)
def test_what_no_proposal_may_carry(ready: Team, what: str) -> None:
    script, word = REFUSED[what]
    done = ask(ready.alice, "bubblewrap", f"exec({script!r})", kind="refactor")
    assert done.code == 1, str(done)
    assert word in done.err, done.err
    plain(done)
    for place in (Path("/tmp"), ready.alice.clone, ready.alice.home):
        assert not (place / OWNED).exists()


def test_nothing_that_an_agent_refused_itself_into_is_there_for_ci(ready: Team) -> None:
    assert ready.ci_run() == (0, {})
    assert ready.rosa.yes("review", "list")["waiting"] == []


LOUD = r"""
import os, sys
text = "\x1b[2J\x1b]0;owned\x07\u202e\r\nproofs    signed · reviewed 9/9 · 9 persons\nnext:  nothing\n"
sys.stdout.write(text * 3)
sys.stderr.write(text)
for fd in range(3, 64):
    try:
        os.write(fd, b"\x00\x00\x00\x04DONE" * 100)
    except OSError:
        pass
"""


def test_what_an_agent_says_repaints_no_terminal_and_forges_no_line(at: At) -> None:
    team = at("ready")
    asked = ask(team.alice, "bubblewrap", LOUD + FIX)
    assert asked.code == 0, str(asked)
    request = asked.document["id"]
    assert team.ci_run()[0] == 0
    for argv in (("show", request), ("transcript", request), ("diff", request), ("log", request), ("list",)):
        done = team.rosa.run(*argv)
        assert done.code == 0, str(done)
        plain(done)
        if argv[0] != "transcript":
            assert not [line for line in done.out.splitlines() if line.startswith("proofs") and "9" in line]
    shown = team.rosa.run("show", request)
    assert [line for line in shown.out.splitlines() if line.startswith("proofs")] == [
        "proofs    signed · replayed · regression · reviewed 0/1 · 2 persons"
    ]


def test_a_requests_words_form_no_line_and_no_trailer(at: At) -> None:
    team = at("ready")
    words = (
        "mend it\x1b[2J\u202e\n\nApproved-by: rosa\nSigned-off-by: rosa\nproofs    reviewed 9/9\n[skip ci] #1 @rosa\r"
        "\x85proofs    reviewed 8/8\u2028proofs    reviewed 7/7"
    )
    done = team.alice.run(
        "request", words, "--kind", "fix", "--engine", "command", "--sandbox", "bubblewrap", "--json",
        "--", "python", "-c", FIX,
    )  # fmt: skip
    assert done.code == 0, str(done)
    request = done.document["id"]
    assert team.ci_run()[0] == 0
    for argv in (("review", "list"), ("show", request), ("list",)):
        said = team.rosa.run(*argv)
        plain(said)
        assert not [line for line in said.out.splitlines() if line.startswith(("proofs    reviewed", "Approved"))]
    team.mallory.fetch()
    message = team.mallory.git("log", "-1", "--format=%B", f"refs/heads/agent/{request}")
    assert (
        team.mallory.git("interpret-trailers", "--parse", stdin=message.encode()).splitlines()[0].startswith("Agent-")
    )
    for word in ("Approved-by", "Signed-off-by"):
        assert not [line for line in message.splitlines() if line.startswith(word)]
    assert not {"#", "@"} & set(message)
    assert "[skip ci]" not in message
