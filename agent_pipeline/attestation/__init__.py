"""The wire: DSSE envelopes, in-toto statements, SSH signatures, and the trust root as data.

Pure: bytes and times in, decisions out. Nothing here holds a private key, opens a file or a socket, or reads a clock.
"""
