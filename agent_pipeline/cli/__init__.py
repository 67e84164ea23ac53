"""The command line: argv to calls. The only place with exit codes; one file per group of commands.

stdout is data, stderr is talk. With `--json` stdout is exactly one JSON document.
"""

import signal


def main() -> None:
    """Run the command line; the entry point of the package.

    Secrets leave the environment before anything else is imported.

    Until a command begins and after it has ended there is nothing to clean up: Ctrl-C then just ends the process.
    """
    if signal.getsignal(signal.SIGINT) != signal.SIG_IGN:
        signal.signal(signal.SIGINT, signal.SIG_DFL)
    from agent_pipeline.signing.handover import take_secrets  # noqa: PLC0415 - only now, for the line above

    take_secrets()
    from agent_pipeline.cli.main import main as run  # noqa: PLC0415 - only now, for the line above

    run()
