"""Parse: a stored document as Python objects, its integers exact."""

from __future__ import annotations

import json
from typing import Any

import orjson

from strongroom.errors import LimitExceeded

MAX_INTEGER_DIGITS = 100_000
"""The longest integer that is turned into a number, in 20 ms. The time grows faster than the length: 16 MiB would take hours."""

_READ_BYTES_INSTEAD = "Its bytes are there: get_documentation_bytes or stream_documentation."
_FIRST_INEXACT = float(2**63)  # orjson makes floats of larger integers (of positive ones twice as large)
_PIECE_DIGITS = 4000  # Python refuses to convert more than 4,300 at once, unless a whole process is told to


def parse_document(plain: bytes) -> dict[str, Any]:
    """Return a checked document as the object that it is: what ``json.loads`` gives, faster.

    Integers are exact whatever their length; other numbers are the nearest float, past its range infinity.

    Raises:
        LimitExceeded: an integer has more than 100,000 digits, or the nesting is deeper than the interpreter goes.
    """
    try:
        parsed: dict[str, Any] = orjson.loads(plain)
    except orjson.JSONDecodeError:
        return _parse_exactly(plain)  # a number past a float's range, or nesting past 1,024: a document all the same
    return _parse_exactly(plain) if _holds_huge_float(parsed) else parsed


def _holds_huge_float(document: dict[str, Any]) -> bool:
    """Whether a number may have been an integer. Looking at the text instead took six times as long on real documents."""
    level: list[Any] = [document]  # dicts and lists
    while level:
        below: list[Any] = []
        for container in level:
            for value in container.values() if type(container) is dict else container:
                kind = type(value)
                if kind is dict or kind is list:
                    below.append(value)
                elif kind is float and not -_FIRST_INEXACT < value < _FIRST_INEXACT:
                    return True
        level = below
    return False


def _parse_exactly(plain: bytes) -> dict[str, Any]:
    try:
        parsed: dict[str, Any] = json.loads(plain, parse_int=_integer)
    except RecursionError:
        raise LimitExceeded("The document is nested deeper than it can be parsed here.", _READ_BYTES_INSTEAD) from None
    return parsed


def _integer(digits: str) -> int:
    if len(digits) <= _PIECE_DIGITS:
        return int(digits)
    if len(digits) > MAX_INTEGER_DIGITS:
        message = f"The document holds an integer of {len(digits):,} digits; up to {MAX_INTEGER_DIGITS:,} are parsed."
        raise LimitExceeded(message, _READ_BYTES_INSTEAD)
    return -_join(digits[1:]) if digits.startswith("-") else _join(digits)


def _join(digits: str) -> int:
    """Return the number by halves: int(Decimal(digits)) needs no limit lifted either, but thirty times as long."""
    if len(digits) <= _PIECE_DIGITS:
        return int(digits)
    half = len(digits) // 2
    scale: int = 10**half  # to a type checker it might be a float: half might be negative
    return _join(digits[:-half]) * scale + _join(digits[-half:])
