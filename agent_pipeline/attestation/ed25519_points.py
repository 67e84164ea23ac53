"""Which 32 bytes may be an Ed25519 public key.

OpenSSL takes any. With a point of small order one fixed signature verifies every message, and a point with two
encodings is one key under two names: both are refused where a key enters, so that no later check has to think of them.

Source: RFC 8032, 5.1.3; C2SP/CCTV ed25519; "Taming the many EdDSAs" (ePrint 2020/1244).
"""

from __future__ import annotations

from typing import Final

P: Final = 2**255 - 19
_D: Final = -121665 * pow(121666, P - 2, P) % P
_ROOT_OF_MINUS_1: Final = pow(2, (P - 1) // 4, P)


def _root(square: int) -> int | None:
    """Return a square root modulo P, None when there is none (RFC 8032, 5.1.3)."""
    found = pow(square, (P + 3) // 8, P)
    for candidate in (found, found * _ROOT_OF_MINUS_1 % P):
        if candidate * candidate % P == square % P:
            return candidate
    return None


def _of_order_8() -> frozenset[int]:
    """Return the y coordinates of the points of order 8: those whose double has y = 0, so that d y^4 + 2 y^2 = 1.

    Computed, not copied: one wrong digit would let a key in for which anybody can sign.
    """
    root = _root(1 + _D)
    assert root is not None  # noqa: S101 - 1 + d is a square
    squares = [(sign * root - 1) * pow(_D, P - 2, P) % P for sign in (1, -1)]
    return frozenset(y for square in squares if (found := _root(square)) is not None for y in (found, P - found))


# The y coordinates of the eight points whose order divides 8: the identity, the point of order 2, those of 4 and of 8.
_SMALL_ORDER: Final = frozenset({0, 1, P - 1, *_of_order_8()})


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
