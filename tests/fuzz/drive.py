"""Runs one target in a process of its own, with bounded memory and time: `drive.py NAME CORPUS SECONDS`.

Coverage-guided (atheris). `drive.py --once NAME...` only reads the seeds and whatever fell once. The exit code is 0
when nothing fell; what did lies in the corpus' folder beside it, `<NAME>-crash-...`, to be kept in `found/`.
"""

from __future__ import annotations

import resource
import signal
import sys
from pathlib import Path

sys.path[:0] = [str(Path(__file__).parents[2]), str(Path(__file__).parents[1])]
MEMORY = 3 << 30
EACH = 20  # seconds for one input


def main() -> None:
    resource.setrlimit(resource.RLIMIT_AS, (MEMORY, MEMORY))
    resource.setrlimit(resource.RLIMIT_CORE, (0, 0))
    if sys.argv[1] == "--once":
        once(sys.argv[2:])
    else:
        fuzz(sys.argv[1], Path(sys.argv[2]), int(sys.argv[3]))


def once(names: list[str]) -> None:
    """Read every known input of these targets, each within its time."""
    from fuzz.targets import TARGETS  # noqa: PLC0415 - under the limits

    for name in names:
        for data in (*TARGETS[name].seeds(), *TARGETS[name].found()):
            signal.alarm(EACH)
            TARGETS[name].take(data)
    signal.alarm(0)


def fuzz(name: str, corpus: Path, seconds: int) -> None:
    """Look for inputs that fall."""
    import atheris  # noqa: PLC0415 - there for the long runs only, and not on every machine

    with atheris.instrument_imports(include=["agent_pipeline", "yaml", "rfc8785"]):
        from fuzz.targets import TARGETS  # noqa: PLC0415 - instrumented

    target = TARGETS[name]
    corpus.mkdir(parents=True, exist_ok=True)
    for number, data in enumerate((*target.seeds(), *target.found())):
        (corpus / f"seed-{number}").write_bytes(data)
    words = corpus.parent / f"{name}.dict"
    words.write_text("".join('"' + "".join(f"\\x{byte:02x}" for byte in word) + '"\n' for word in target.words))
    flags = {
        "max_total_time": seconds, "timeout": EACH, "rss_limit_mb": MEMORY >> 20, "max_len": 65536,
        "artifact_prefix": f"{corpus.parent}/{name}-", "print_final_stats": 1,
    }  # fmt: skip
    if target.words:
        flags["dict"] = str(words)
    atheris.Setup([sys.argv[0], str(corpus), *(f"-{flag}={value}" for flag, value in flags.items())], target.take)
    atheris.Fuzz()


if __name__ == "__main__":
    main()
