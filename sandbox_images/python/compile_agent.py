"""Compiles the frame agent: `python3 compile_agent.py < frame_agent.py > frame_agent.bytecode`, by the image's Python.

Compiling is a third of PID 1's start, and starting is part of every run. The result lies beside the source, so that the
image is the same bytes on every host; `ci/relock.py` writes it, and a test compiles again in the image and compares.
PEP 552's unchecked form: the source is not looked at when it is loaded, and another Python refuses it.
"""

import importlib.util
import marshal
import sys

NAME = "/opt/agent-pipeline/frame_agent.py"  # where the source is in the image, for tracebacks
UNCHECKED = 1

if __name__ == "__main__":
    source = sys.stdin.buffer.read()
    code = compile(source, NAME, "exec", dont_inherit=True, optimize=0)
    header = importlib.util.MAGIC_NUMBER + UNCHECKED.to_bytes(4, "little") + importlib.util.source_hash(source)
    sys.stdout.buffer.write(header + marshal.dumps(code))
