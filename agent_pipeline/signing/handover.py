"""Taking secrets out of the environment before anything else happens.

CI gives its key, or a passphrase, in an environment variable. What stands in a process's environment can be read for as
long as it lives (`/proc/<pid>/environ`), and is inherited. So the program's first act is to put such secrets into boxes
and to start itself again without them, in the same process: memory and environment of what then reads requests, models
and repositories never held them.

Imports nothing but Python's own: it runs before everything else.
"""

from __future__ import annotations

import os
import sys
from functools import lru_cache
from typing import Final

from agent_pipeline.signing import boxes

KEY: Final = "AGENT_PIPELINE_KEY"
PASSPHRASE: Final = "AGENT_PIPELINE_KEY_PASSPHRASE"  # noqa: S105 - the variable's name
BOX: Final = "box:"
_PASSPHRASE_BOX: Final = "AGENT_PIPELINE_PASSPHRASE_BOX"  # noqa: S105 - ours alone: a descriptor, no secret
_ARMOR: Final = "-----BEGIN "


def is_text(source: str) -> bool:
    """Return whether `source` is a key's text rather than its name."""
    return source.lstrip().startswith(_ARMOR)


def take_secrets() -> None:
    """Start the program again without the secrets of its environment, if there are any; return if there are none.

    The second time it only sees to it that no program inherits the boxes.
    """
    key, passphrase = os.environ.get(KEY, ""), os.environ.get(PASSPHRASE, "")
    if not is_text(key) and not passphrase:
        for box in _boxes():
            os.set_inheritable(box, False)  # noqa: FBT003 - the library's own form
        return
    environment = {name: value for name, value in os.environ.items() if name != PASSPHRASE}
    if is_text(key):
        environment[KEY] = f"{BOX}{_handed(key)}"
    if passphrase:
        environment[_PASSPHRASE_BOX] = str(_handed(passphrase))
    os.execve(sys.executable, [sys.executable, *sys.orig_argv[1:]], environment)  # noqa: S606 - the same program


def passphrase_box() -> int | None:
    """Return a box with the passphrase that the environment gave, or None."""
    if os.environ.get(PASSPHRASE):  # the program was started as a library: the environment is the caller's own
        return _kept(os.environ[PASSPHRASE])
    return handle(os.environ.get(_PASSPHRASE_BOX, ""))


@lru_cache(maxsize=8)
def _kept(text: str) -> int:
    return boxes.new(text.encode(errors="surrogateescape"))


def _handed(text: str) -> int:
    box = boxes.new(text.encode(errors="surrogateescape"))
    os.set_inheritable(box, True)  # noqa: FBT003 - the library's own form
    return box


def _boxes() -> list[int]:
    texts = (os.environ.get(KEY, "").removeprefix(BOX), os.environ.get(_PASSPHRASE_BOX, ""))
    return [box for box in map(handle, texts) if box is not None]


def handle(text: str) -> int | None:
    """Return the descriptor of the box that `text` names, or None when it names none."""
    return int(text) if text.isdecimal() and len(text) < 8 and boxes.is_box(int(text)) else None  # noqa: PLR2004
