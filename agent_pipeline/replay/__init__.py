"""Clean replay: a fresh container puts the manifest on the base and runs the policy's checks.

What it finds is evidence: code under test shares its process with the test runner. The tree is compared by the host,
never by the container; a person's reading carries the rest.
"""
