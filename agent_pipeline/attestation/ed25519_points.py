"""Which 32 bytes may be an Ed25519 public key.

OpenSSL takes any. With a point of small order one fixed signature verifies every message, and a point with two
encodings is one key under two names: both are refused where a key enters, so that no later check has to think of them.

Source: RFC 8032, 5.1.3; C2SP/CCTV ed25519; "Taming the many EdDSAs" (ePrint 2020/1244).
"""

from __future__ import annotations

from typing import Final

P: Final = 2**255 - 19
_D: Final = -121665 * pow(121666, P - 2, P) % P


def flaw(raw: bytes) -> str | None:
    """Return why the 32 bytes `raw` are no acceptable public key, or None."""
    y = int.from_bytes(raw, "little") & ((1 << 255) - 1)
    if y >= P:
        return "it is not in canonical form"
    if _small(y):
        return "it is a point of small order, for which signatures can be made without a private key"
    square = (y * y - 1) * pow(_D * y * y + 1, P - 2, P) % P
    if pow(square, (P - 1) // 2, P) != 1:
        return "it is no point of the curve"
    return None


def _small(y: int) -> bool:
    """Whether a point with this y has an order that divides 8, computed rather than looked up.

    The identity and the point of order 2 have y = 1 and -1, those of order 4 have y = 0. A point of order 8 doubles to
    one of order 4: by the doubling formula x^2 + y^2 = 0, and with the curve's equation d y^4 + 2 y^2 - 1 = 0.
    """
    return y in (0, 1, P - 1) or (_D * pow(y, 4, P) + 2 * y * y - 1) % P == 0
