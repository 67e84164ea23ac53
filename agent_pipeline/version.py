"""The version, in a module that imports nothing: `--help` and `--version` need no more."""

VERSION = "0.1.0"
