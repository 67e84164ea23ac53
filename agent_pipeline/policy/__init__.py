"""What is allowed: reading a policy strictly, and pure evaluation of a loaded one.

Default deny, and deny wins. Nothing here reads a file, a clock or a repository.
"""

from agent_pipeline.policy.reader import digest, load

__all__ = ["digest", "load"]
