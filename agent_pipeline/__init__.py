"""agent-pipeline: every line an agent writes is proven before it lands.

The pipeline in ten lines (`pipeline.py` holds the order)::

    request   cli                    words become a signed request with an id
    copy      workspace              the base's permitted paths, without Git
    contain   sandbox                a container that proved its own walls
    act       agent, mediator        an engine works through policed tools
    propose   workspace, repository  the host computes what really changed
    attest    attestation, signing   digests of all of the above, signed
    verify    verify                 a pure decision over bytes
    replay    replay                 a clean container, the tests, the same tree
    stage     review                 the branch `agent/<id>`
    approve   review                 people sign that tree on that base
    merge     merge                  what was approved, and nothing else
"""

from agent_pipeline.version import VERSION as __version__  # noqa: N811 - the name that tools look for

__all__ = ["__version__"]
