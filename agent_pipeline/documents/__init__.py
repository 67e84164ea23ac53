"""What crosses a boundary: frozen dataclasses, strict JSON in and canonical JSON out, one module per schema.

The form of every document is in `schemas/`; nothing here opens a socket, reads the clock or knows about Git.
"""
