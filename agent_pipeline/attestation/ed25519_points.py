"""Which 32 bytes may be an Ed25519 public key.

OpenSSL takes any. With a point of small order one fixed signature verifies every message, and a point with two
encodings is one key under two names: both are refused where a key enters, so that no later check has to think of them.

Source: RFC 8032, 5.1.3; C2SP/CCTV ed25519; "Taming the many EdDSAs" (ePrint 2020/1244).
"""

from __future__ import annotations

from typing import Final

P: Final = 2**255 - 19
_D: Final = -121665 * pow(121666, P - 2, P) % P
# The y coordinates of the eight points whose order divides 8: the identity, the point of order 2, those of 4 and of 8.
_Y8: Final = 0x7A03AC9277FDC74EC6CC392CFA53202A0F67100D760B3CBA4FD83D3D706A17C7
_SMALL_ORDER: Final = frozenset({0, 1, P - 1, _Y8, P - _Y8})


def flaw(raw: bytes) -> str | None:
    """Return why the 32 bytes `raw` are no acceptable public key, or None."""
    y = int.from_bytes(raw, "little") & ((1 << 255) - 1)
    if y >= P:
        return "it is not in canonical form"
    if y in _SMALL_ORDER:
        return "it is a point of small order, for which signatures can be made without a private key"
    square = (y * y - 1) * pow(_D * y * y + 1, P - 2, P) % P
    if pow(square, (P - 1) // 2, P) != 1:
        return "it is no point of the curve"
    return None
