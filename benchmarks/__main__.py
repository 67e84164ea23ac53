"""`python -m benchmarks` prints a table of all; `python -m benchmarks NAME --json` prints one document.

`python -m benchmarks --json >FILE` is how the documents in `results/` were made: all in one run, with every single
figure and the machine's facts.
"""

from __future__ import annotations

import argparse
import importlib
import json
import sys

from benchmarks import machine

# Imported when asked for: one benchmark needs no engine, another no other library.
WHERE = {
    **dict.fromkeys(("copy", "copy-growth", "harvest", "harvest-growth"), "copies"),
    **dict.fromkeys(("idle-agent", "tool-call", "ready", "ready-bubblewrap", "side-by-side"), "sandboxed"),
    **dict.fromkeys(("sign-verify", "sign-file"), "signatures"),
    **dict.fromkeys(
        (
            "verify-envelope",
            "verify-envelope-p256",
            "verify-record",
            "decide",
            "verify-commit",
            "import-verify",
            "verify-growth",
        ),
        "verifying",
    ),
    **dict.fromkeys(
        ("log-append", "log-append-growth", "log-prove", "log-continues", "log-decide", "log-audit"), "logs"
    ),
    **dict.fromkeys(("swerex-start", "swerex-command"), "against_swerex"),
}


def main() -> None:
    """Run what was asked for."""
    parser = argparse.ArgumentParser(prog="python -m benchmarks", description=__doc__)
    parser.add_argument("names", nargs="*", metavar="NAME", help=", ".join(WHERE))
    parser.add_argument("--json", action="store_true", help="print one JSON document")
    arguments = parser.parse_args()
    unknown = sorted(set(arguments.names) - set(WHERE))
    if unknown:
        parser.error(f"there is no benchmark {unknown[0]}; there are {', '.join(WHERE)}")
    results = []
    if not arguments.json:
        print(f"{'name':<20} {'ours':>10} {'peer':>10} {'ratio':>8}  unit  peer")
    for name in arguments.names or WHERE:
        result = importlib.import_module(f"benchmarks.{WHERE[name]}").ALL[name]()
        results.append(result.document())
        if arguments.json:
            print(
                f"{name}: {result.ours} {result.unit}, {result.ratio} of {result.peer_name}",
                file=sys.stderr,
                flush=True,
            )
        else:
            figures = f"{result.ours:>10.3f} {result.peer:>10.3f} {result.ratio:>8.3f}  {result.unit:<4}"
            print(f"{name:<20} {figures}  {result.peer_name}")
    if arguments.json:
        one = len(arguments.names) == 1
        print(json.dumps(results[0] if one else {"machine": machine.facts(), "results": results}, indent=2))


if __name__ == "__main__":
    main()
