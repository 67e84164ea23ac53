"""The decision: a pure function of bytes, trees, policy, trust root, log and time.

Nothing here opens a file, a socket or a process, reads a clock or touches Git: whoever calls brings the facts, and gets
a `Verification` that says, step by step, what holds, what does not, and why. Never a bare yes.
"""

from agent_pipeline.verify.inputs import Inputs, LandingInputs, TreeFacts
from agent_pipeline.verify.landing import decide
from agent_pipeline.verify.verifier import verify

__all__ = ["Inputs", "LandingInputs", "TreeFacts", "decide", "verify"]
