"""A pytest plugin inside the sandbox: writes which tests ran and how they ended, outside the tree under test.

It does nothing unless AGENT_PIPELINE_REPORT names a file. One JSON array per line: ["start"], ["test", node id,
outcome], ["end", exit status]. The code under test shares this process and may lie about its own tests, nothing more: a
replay reads this as evidence, never as proof.
"""

import json
import os
from pathlib import Path

_PATH = os.environ.get("AGENT_PIPELINE_REPORT")


class _Reporter:
    def __init__(self, path):
        self._file = Path(path).open("w", encoding="utf-8")  # noqa: SIM115 - open for the whole session
        self._outcomes = {}
        self._write(["start"])

    def _write(self, record):
        self._file.write(json.dumps(record) + "\n")
        self._file.flush()

    def pytest_runtest_logreport(self, report):
        """Remember the worst outcome of a test's phases."""
        before = self._outcomes.get(report.nodeid)
        if report.failed or before == "failed":
            outcome = "failed"
        elif report.skipped:
            outcome = "skipped"
        else:
            outcome = before or "passed"
        self._outcomes[report.nodeid] = outcome

    def pytest_collectreport(self, report):
        """A file that cannot be collected is a failed test named after the file."""
        if report.failed:
            self._outcomes[report.nodeid or "collection"] = "failed"

    def pytest_sessionfinish(self, exitstatus):
        """Write everything at the end, in a fixed order."""
        for nodeid in sorted(self._outcomes):
            self._write(["test", nodeid, self._outcomes[nodeid]])
        self._write(["end", int(exitstatus)])
        self._file.close()


def pytest_configure(config):
    """Start reporting, in the main process only (not in the workers of pytest-xdist)."""
    if _PATH and not hasattr(config, "workerinput"):
        config.pluginmanager.register(_Reporter(_PATH), "agent-pipeline-reporter")
