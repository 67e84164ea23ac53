"""The command line: argv to calls. The only place with exit codes; one file per group of commands.

stdout is data, stderr is talk. With `--json` stdout is exactly one JSON document.
"""

import os
import signal
import sys
from typing import Final

_STREAMS: Final = 3


def main() -> None:
    """Run the command line; the entry point of the package.

    Secrets leave the environment before anything else is imported.

    Until a command begins and after it has ended there is nothing to clean up: Ctrl-C then just ends the process.
    """
    if signal.getsignal(signal.SIGINT) != signal.SIG_IGN:
        signal.signal(signal.SIGINT, signal.SIG_DFL)  # noqa: TID251 - before anything else is imported
    _open_streams()
    from agent_pipeline.signing.handover import take_secrets  # noqa: PLC0415 - only now, for the line above

    take_secrets()
    from agent_pipeline.cli.main import main as run  # noqa: PLC0415 - only now, for the line above

    run()


def _open_streams() -> None:
    """Open those of the three streams that whoever started us closed: else a file of ours would get their numbers."""
    while (number := os.open(os.devnull, os.O_RDWR)) < _STREAMS:
        os.set_inheritable(number, True)  # noqa: FBT003 - as a stream is
    os.close(number)
    sys.stdin = sys.stdin or open(0, closefd=False)  # noqa: SIM115 - a number, for as long as we live
    sys.stdout = sys.stdout or open(1, "w", errors="backslashreplace", closefd=False)  # noqa: SIM115 - the same
    sys.stderr = sys.stderr or open(2, "w", errors="backslashreplace", closefd=False)  # noqa: SIM115 - the same
