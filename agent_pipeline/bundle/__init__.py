"""A proposal as one file that needs no repository: exported, verified offline, imported elsewhere.

The file's form is `documents/bundle.py`, what goes into it `repository/portable.py`, what is said of it
`verify/offline.py`. This room puts them together. Nothing of a bundle is believed because of where it came from.
"""
