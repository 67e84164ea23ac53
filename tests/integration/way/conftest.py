"""One repository that is set up once, for all tests of what goes wrong in one."""

from __future__ import annotations

import os
import subprocess
import sys
from collections.abc import Callable, Iterator

import pytest
from support.desks import Desk, initialised


@pytest.hookimpl(tryfirst=True)
def pytest_pyfunc_call(pyfuncitem: pytest.Function) -> bool | None:
    """Run a test that mounts where it may: as who is not root, in user and mount namespaces of its own."""
    if os.geteuid() == 0 or pyfuncitem.get_closest_marker("mounts") is None:
        return None
    launch = f"unshare --user --map-user={os.geteuid()} --map-group={os.getegid()} --"
    again = [sys.executable, "-m", "pytest", "-q", "-p", "no:cacheprovider", pyfuncitem.nodeid]
    done = subprocess.run(
        ["unshare", "--user", "--map-root-user", "--mount", *again],
        env=os.environ | {"AGENT_PIPELINE_TEST_LAUNCH": launch}, cwd=pyfuncitem.config.rootpath,
        capture_output=True, text=True, check=False, timeout=300,
    )  # fmt: skip
    assert done.returncode == 0, done.stdout + done.stderr
    return True


@pytest.fixture(scope="session")
def ready() -> Iterator[Callable[[], Desk]]:
    with initialised() as restored:
        yield restored


@pytest.fixture
def desk(ready: Callable[[], Desk]) -> Iterator[Desk]:
    """A desk in an initialised repository, as `init` left it. Whatever a test does, nothing may be left behind."""
    one = ready()
    yield one
    assert one.left() == []
