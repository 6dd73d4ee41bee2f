"""The strings and numbers of a document that is read: what is remembered of them, and how a key looks in a message."""

from __future__ import annotations

import hashlib

import orjson

from storage.identity import FACT_CHARS, FACT_NUMBER_BYTES, Scalar

_WHOLE_KEY_BYTES = 32
_SHOWN_CHARS = 40


def decode_string(spelled: bytes) -> str:
    """Return the string that a valid spelling (what stands between the quotes) means."""
    text: str = orjson.loads(b'"' + spelled + b'"') if b"\\" in spelled else spelled.decode()
    return text


def fact_of(scalar: bytes) -> Scalar | None:
    """Return the fact that a whole scalar states: a string, or a number that a float can hold and is not spelled too long."""
    if scalar.startswith(b'"'):
        return decode_string(scalar[1:-1])
    if len(scalar) > FACT_NUMBER_BYTES or scalar in (b"true", b"false", b"null"):
        return None
    try:
        number: float | int = orjson.loads(scalar)
    except orjson.JSONDecodeError:  # 1e400, which is JSON and no float
        return None
    return number


def remember_key(key: bytes) -> bytes:
    """Return what is remembered of a key in order to know it again: itself, or a digest when it is long.

    A digest stands behind a byte that begins no UTF-8 text, so that it equals no key. Should two long keys ever share one
    (BLAKE2b, 128 bits), a document is refused, nothing worse.
    """
    return key if len(key) <= _WHOLE_KEY_BYTES else b"\xff" + hashlib.blake2b(key, digest_size=16).digest()


def show_key(key: str) -> str:
    """Return a key fit for a message: escaped, and cut when it is long."""
    return repr(key) if len(key) <= _SHOWN_CHARS else f"{key[:_SHOWN_CHARS]!r}..."


class OpenString:
    """A string whose end has not been read: its length as spelled and, if it is wanted, FACT_CHARS of its characters or more."""

    __slots__ = ("kept", "length", "start", "wanted")

    def __init__(self, start: int, wanted: bool) -> None:
        self.start, self.wanted, self.length, self.kept = start, wanted, 0, ""

    def add(self, spelled: bytes) -> None:
        """Take the next complete characters."""
        self.length += len(spelled)
        if self.wanted and len(self.kept) < FACT_CHARS:
            self.kept += decode_string(spelled)


class OpenKey(OpenString):
    """A key whose end has not been read."""

    __slots__ = ("_digest", "_size")

    def __init__(self, start: int) -> None:
        super().__init__(start, wanted=True)
        self._digest, self._size = hashlib.blake2b(digest_size=16), 0

    def add(self, spelled: bytes) -> None:
        """Take the next complete characters. Two spellings of one key leave the same digest."""
        super().add(spelled)
        decoded = decode_string(spelled).encode()
        self._digest.update(decoded)
        self._size += len(decoded)

    def remembered(self) -> bytes:
        """Return what ``remember_key`` returns of the whole key."""
        return self.kept.encode() if self._size <= _WHOLE_KEY_BYTES else b"\xff" + self._digest.digest()
