"""Code under test is hostile while CI replays it: no yes for what did not run, and nothing left over."""

from __future__ import annotations

import os
from collections.abc import Callable
from pathlib import Path

import pytest
from support.hostile import HostileRunner
from support.teams import Team

from agent_pipeline.repository.trees import Put

pytestmark = pytest.mark.containers

At = Callable[[str], Team]
HONEST = b"from calc import mean\n\n\ndef test_mean():\n    assert mean([1, 2, 3]) == 2\n"
REPORT = """
import json, os
path = os.environ["AGENT_PIPELINE_REPORT"]
def forge(*records):
    with open(path, "w") as file:
        file.write("".join(json.dumps(list(record)) + "\\n" for record in records))
"""
KILLS = """
import os, signal
for pid in (1, -1, os.getppid(), os.getpid()):
    try:
        os.kill(pid, signal.SIGKILL)
    except OSError:
        pass
"""
FRAMES = """
import os
for fd in range(3, 64):
    try:
        os.write(fd, bytes(4096))
    except OSError:
        pass
os.write(1, b"\\0\\0\\0\\x10RESULT0" * 1000)
assert False
"""
NAMES = """
import pytest
@pytest.mark.parametrize("x", range(400), ids=lambda x: "\\x1b[2J" + "n" * 3900 + str(x))
def test_x(x):
    assert False
"""
# What a hostile test file does, and the word that CI's reason must have.
ATTACKS = {
    "ends the session with success": ("import os\nos._exit(0)\n", "not whole"),
    "ends it and removes the report": (
        REPORT + "os.unlink(path)\nos._exit(0)\n", "not whole",
    ),
    "ends it with half a report": (REPORT + "forge(('start',), ('test', 'x', 'passed'))\nos._exit(0)\n", "not whole"),
    "writes what is no report": (REPORT + "open(path, 'wb').write(b'\\xff\\x00[' * 99)\nos._exit(0)\n", "not whole"),
    "writes numbers for names": (REPORT + "forge(('start',), ('test', 1, 2), ('end', 0))\nos._exit(0)\n", "not whole"),
    "makes the report a link": (
        REPORT + "os.unlink(path)\nos.symlink('/proc/self/environ', path)\nos._exit(0)\n", "not whole",
    ),
    "makes the report a pipe": (REPORT + "os.unlink(path)\nos.mkfifo(path)\nos._exit(0)\n", "not whole"),
    "reports a gigabyte": (
        REPORT + "os.truncate(path, 1 << 30)\nos._exit(0)\n", "not whole",
    ),
    "kills everything it can": (KILLS, ""),
    "forges what the sandbox says": (FRAMES, "not whole"),
    "fails under long names": (NAMES, ""),
    "skips everything": ("import pytest\npytest.skip('x', allow_module_level=True)\n", "exit 5"),
    "has no tests": ("x = 1\n", ""),
}  # fmt: skip


def test_hostile_tests_get_no_yes_and_keep_nobody_waiting(at: At) -> None:
    team = at("ready")
    runner = HostileRunner(team)
    tests = "tests/test_calc.py"
    asked = {
        runner.propose(runner.built({tests: Put(script.encode(), "100644")})): (what, word)
        for what, (script, word) in ATTACKS.items()
    }
    honest = runner.propose(runner.built({"tests/test_more.py": Put(HONEST.replace(b"_mean", b"_more"), "100644")}))
    code, rows = team.ci_run()
    assert code == 1, rows
    assert rows[honest]["verdict"] == "passed", rows[honest]
    for request, (what, word) in asked.items():
        row = rows[request]
        assert row["verdict"] == "failed", (what, row)
        reasons = " ".join(check["reason"] for check in row["checks"] if check["outcome"] == "failed")
        assert word in reasons, (what, reasons)
        assert len(reasons) < 5000, what
    assert team.ci_run() == (0, {})
    listed = team.rosa.run("review", "list")
    assert [line[:16] for line in listed.out.splitlines()] == [honest]


LEAVES = """
import os, subprocess, sys, time
code = (
    "import os, sys, time\\n"
    "if os.fork(): os._exit(0)\\n"
    "os.setsid()\\n"
    "time.sleep(3)\\n"  # until the test that left it is over: before, it only spoils its own run
    "for _ in range(600):\\n"
    "    time.sleep(0.1)\\n"
    "    open(os.environ['AGENT_PIPELINE_REPORT'], 'w').write('owned')\\n"
)
subprocess.Popen([sys.executable, "-c", code, "agent-pipeline-left-behind"], start_new_session=True)
"""


def test_processes_that_a_test_leaves_behind_are_gone_before_its_report_is_read(at: At) -> None:
    team = at("ready")
    runner = HostileRunner(team)
    script = LEAVES.encode() + HONEST
    request = runner.propose(runner.built({"tests/test_calc.py": Put(script, "100644")}))
    code, rows = team.ci_run()
    assert (code, rows[request]["verdict"]) == (0, "passed"), [
        check for check in rows[request]["checks"] if check["outcome"] != "passed"
    ]
    for entry in Path("/proc").iterdir():
        if entry.name.isdigit():
            try:
                assert b"agent-pipeline-left-behind" not in (entry / "cmdline").read_bytes(), entry
            except (FileNotFoundError, ProcessLookupError):
                continue


# A fix whose tests lie: what has to fail on the base, and what has to be there afterwards.
LIES = {
    "its test fails nowhere": ({"tests/test_new.py": b"def test_new():\n    pass\n"}, "no test that fails without"),
    "it removes the test that would fail": (
        {"calc.py": b"def mean(values):\n    return 0.0\n", "tests/test_calc.py": None,
         "tests/test_new.py": b"from calc import mean\ndef test_new():\n    assert mean([]) == 0.0\n"},
        "tests/test_calc.py::test_mean",
    ),
    "it weakens the test that would fail": (
        {"calc.py": b"def mean(values):\n    return 0.0\n",
         "tests/test_calc.py": b"from calc import mean\ndef test_mean():\n    assert mean([]) == 0.0\n"},
        "tests/test_calc.py::test_mean",
    ),
    "it makes the old tests skip": (
        {"calc.py": b"import pytest\ndef mean(values):\n    if values:\n        pytest.skip('later')\n    return 0.0\n",
         "tests/test_new.py": b"from calc import mean\ndef test_new():\n    assert mean([]) == 0.0\n"},
        "no test ran",
    ),
    "its new file ends the session before the old tests": (
        {"calc.py": b"def mean(values):\n    return 0.0\n",
         "tests/test_aaa.py": REPORT.encode() + b"""
fixed = "return 0.0" in open("calc.py").read()
forge(("start",), ("test", "tests/test_aaa.py::test_x", "passed" if fixed else "failed"), ("end", 0 if fixed else 1))
os._exit(0 if fixed else 1)
"""},
        "tests/test_calc.py::test_mean",
    ),
}  # fmt: skip


def test_a_fix_whose_tests_lie_is_rejected(at: At) -> None:
    team = at("ready")
    runner = HostileRunner(team)
    asked = {}
    for what, (files, word) in LIES.items():
        tree = runner.built({path: None if data is None else Put(data, "100644") for path, data in files.items()})
        asked[runner.propose(tree, request=runner.request(kind="fix"))] = (what, word)
    code, rows = team.ci_run()
    assert code == 1
    for request, (what, word) in asked.items():
        row = rows[request]
        assert row["verdict"] == "failed", (what, row)
        reasons = " ".join(check["reason"] for check in row["checks"] if check["outcome"] == "failed")
        assert word in reasons, (what, reasons)
    assert not os.path.lexists("/tmp/owned")
