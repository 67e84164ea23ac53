"""What all tests start from."""

from __future__ import annotations

import signal

import pytest
from hypothesis import HealthCheck, settings

# A slow machine is no defect: how long an example takes is for the benchmarks to say.
settings.register_profile("any machine", deadline=None, suppress_health_check=[HealthCheck.too_slow])
settings.load_profile("any machine")


def pytest_configure(config: pytest.Config) -> None:
    """Hear Ctrl-C even where a script started the tests in the background, so that what the tests start hears it."""
    del config
    if signal.getsignal(signal.SIGINT) == signal.SIG_IGN:
        signal.signal(signal.SIGINT, signal.default_int_handler)
