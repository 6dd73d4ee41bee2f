"""The tokens of JSON (RFC 8259) as patterns over bytes: what is one, and what may still become one."""

from __future__ import annotations

import re

# Every repetition is possessive: a token is read once, and hostile input cannot make the matcher go back. Where a group must
# be captured it stands outside the repetitions.
_HEX = rb"[0-9A-Fa-f]"
_SPACE = rb"[ \t\r\n]*+"
_PLAIN = rb'[^"\\\x00-\x1f]*+'
_HIGH, _LOW = rb"[dD][89abAB]" + _HEX + rb"{2}", rb"[dD][c-fC-F]" + _HEX + rb"{2}"
_ESCAPE = rb'\\(?:["\\/bfnrt]|u(?:(?![dD][89a-fA-F])' + _HEX + rb"{4}|" + _HIGH + rb"\\u" + _LOW + rb"))"
_TEXT = _PLAIN + rb"(?:" + _ESCAPE + _PLAIN + rb")*+"
_NUMBER = rb"-?+(?:0|[1-9][0-9]*+)(?:\.[0-9]++)?+(?:[eE][+-]?+[0-9]++)?+"
_SCALAR = rb'(?:"' + _TEXT + rb'"|' + _NUMBER + rb"|true|false|null)"

SPACE = re.compile(_SPACE)

TEXT = re.compile(_TEXT)
"""A string's content as far as it is complete: never the first half of an escape or of a surrogate pair."""

MEMBER = re.compile(
    _SPACE + rb'"(' + _PLAIN + rb')"' + _SPACE + rb":" + _SPACE + rb"(?:(" + _SCALAR + rb")" + _SPACE + rb"[,}]|[{\[])"
)
"""A member whose key has no escape, up to the comma or brace behind its scalar, or up to the bracket that opens its value."""

ELEMENTS = re.compile(rb"(?:" + _SPACE + _SCALAR + _SPACE + rb",)++")
"""Scalars of an array, each with its comma."""

NUMBER_SO_FAR = re.compile(rb"-?+(?:(?:0|[1-9][0-9]*+)(?:\.(?:[0-9]++(?:[eE][+-]?+[0-9]*+)?+)?+|[eE][+-]?+[0-9]*+)?+)?+")
"""The beginning of a number. It is a whole number when its last byte is a digit."""

NUMBER_STARTS = b"-0123456789"
DIGITS = b"0123456789"
LITERALS = {literal[0]: literal for literal in (b"true", b"false", b"null")}

LONGEST_ESCAPE_BYTES = 12  # a surrogate pair

_ESCAPE_SO_FAR = re.compile(
    rb"\\(?:u(?:" + _HEX + rb"{0,3}|" + _HIGH + rb"(?:\\(?:u(?:[dD](?:[c-fC-F]" + _HEX + rb"?)?)?)?)?)?)?"
)
_SURROGATE = re.compile(rb"\\u(?:" + _HIGH + rb"|" + _LOW + rb")")
_INNER_DIGITS = re.compile(rb"(?<=[0-9])[0-9]++")


def may_become_escape(rest: bytes) -> bool:
    """Say whether bytes that no text follows yet can be the beginning of an escape (or of a pair of them)."""
    return _ESCAPE_SO_FAR.fullmatch(rest) is not None


def starts_with_surrogate(rest: bytes) -> bool:
    """Say whether the bytes begin with one escape of half a surrogate pair."""
    return _SURROGATE.match(rest) is not None


def shorten_number(beginning: bytes) -> bytes:
    """Return a shorter beginning that exactly the same bytes can follow: each run of digits becomes its first."""
    return _INNER_DIGITS.sub(b"", beginning)


def end_of(pattern: re.Pattern[bytes], text: bytes, at: int) -> int:
    """Return where the match that begins at ``at`` ends; ``at`` itself when there is none."""
    match = pattern.match(text, at)
    return match.end() if match else at
