"""The group `trust`, by name and one line each."""

from __future__ import annotations

from agent_pipeline.cli.groups import group

trust = group(
    "trust",
    "Who may do what in this repository.",
    {
        "pin": ("trust.pinning:pin", "Pin this repository's first trust root."),
        "show": ("trust.showing:show", "Who may do what, with fingerprints."),
        "add": ("trust.adding:add", "Add a person, a key, or roles for one."),
        "remove": ("trust.removing:remove", "Take roles from somebody, or all of them."),
        "rotate": ("trust.rotating:rotate", "Give somebody a new key in place of an old one."),
        "revoke": ("trust.revoking:revoke", "Void what a stolen key signs; lists what it signed."),
        "sign": ("trust.signing:sign", "Sign the next version: a draft, or a renewal."),
    },
    "agent-pipeline trust show",
)
