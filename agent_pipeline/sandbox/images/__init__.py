"""The sandbox images: an image is its bytes, and its name is their digest.

An image is a list of normalised layers and a configuration (OCI image configuration), all written by us; its identity
is the SHA-256 of the configuration, which names the layers by theirs. Both engines run the same bytes: Docker loads
them, bubblewrap gets them unpacked. Base images come from Debian's packages (`build`), a project's dependencies go on
top (`requirements`, `derive`), and `archive` carries an image to another party, who gets the same identity.
"""
