"""Images in an OCI registry: carried by digest, believed by nothing but their bytes.

The registry's HTTP API is spoken directly (OCI distribution specification 1.1), so that hosts without a container
engine can do it too. `reference` says where, `manifest` what, `credentials` as whom; `client` speaks; `push` and `pull`
are what the command line calls. An image that was pulled is what its configuration's SHA-256 says, or refused.
"""
