"""The two primitives of SSH's wire format (RFC 4251, 5): a string behind its length, and a cursor that reads them."""

from __future__ import annotations

from agent_pipeline.errors import SchemaError

_LENGTH = 4
_SIGN = 0x80


def string(data: bytes) -> bytes:
    """Return `data` behind its length."""
    return len(data).to_bytes(_LENGTH, "big") + data


def mpint(number: int) -> bytes:
    """Return a positive integer as SSH writes it: big-endian, shortest form, never looking negative."""
    return string(number.to_bytes(number.bit_length() // 8 + 1, "big") if number else b"")


class Reader:
    """Reads SSH's wire format from the front. Every method raises `SchemaError` for what is not there."""

    def __init__(self, data: bytes, what: str) -> None:
        """Read `data`, called `what` in errors."""
        self._data, self._what = data, what

    def take(self, size: int) -> bytes:
        """Return the next `size` bytes."""
        if size > len(self._data):
            raise SchemaError(f"{self._what} is cut short")
        taken, self._data = self._data[:size], self._data[size:]
        return taken

    def uint32(self) -> int:
        """Return the next unsigned integer."""
        return int.from_bytes(self.take(4), "big")

    def string(self) -> bytes:
        """Return the next string."""
        return self.take(self.uint32())

    def mpint(self) -> int:
        """Return the next positive integer, in its shortest form only."""
        data = self.string()
        number = int.from_bytes(data, "big")
        if (data and data[0] & _SIGN) or mpint(number) != string(data):
            raise SchemaError(f"{self._what} holds a number that is negative or not in its shortest form")
        return number

    def finish(self) -> None:
        """Refuse anything that is left."""
        if self._data:
            raise SchemaError(f"{self._what} has {len(self._data)} bytes too many")
