"""Signing: every use of a private key happens in a short-lived child process that this room starts.

The process that asked for a signature - the one that talked to a model and ran a sandbox - never opens a private key:
it sends what is to be signed and gets signatures back. The child itself makes the bytes that are signed, from a payload
and its type or from a commit, so that nothing can be signed as something else.
"""
