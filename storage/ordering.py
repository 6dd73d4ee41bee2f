"""How versions order, so that `latest` is the newest release and not the last download."""

from __future__ import annotations

import re
from dataclasses import dataclass
from itertools import pairwise

UNNUMBERED, PRE_RELEASE, RELEASE = range(3)
"""The ranks: no number to order by, a pre-release of a number, a release."""

MAX_KEY_CHARS = 300
"""The longest key. Keys are cut there, which never reverses two of them, only makes far-off differences ties."""


@dataclass(frozen=True, slots=True, order=True)
class VersionOrder:
    """Where a version stands among the others of its library. `latest` is the maximum of (rank, key, time stored)."""

    rank: int
    key: str


def order_of(version: str) -> VersionOrder:
    """Return where ``version`` stands: never fails, whatever the text.

    The key is ASCII; its bytewise order is the order of the versions (SQLite's BINARY, PostgreSQL's "C" collation), with
    a pre-release just below its release. PEP 440 decides, then SemVer 2.0.0 section 11, then Maven's ComparableVersion;
    docs/explanation/version-order.md says where they disagree. Versions that differ only in spelling (1.0 and 1.0.0,
    v2 and 2) have equal keys: break the tie by the time stored.
    """
    text = version.lower()
    if _PLAIN.fullmatch(text):  # what most versions look like, and what the general way makes of them
        return VersionOrder(RELEASE, (_NO_EPOCH + _numbers(text.removeprefix("v").split(".")) + _END)[:MAX_KEY_CHARS])
    if stamp := _STAMP.fullmatch(text):
        # "!" sorts below every number: a store-time id beats a bare name and loses to a real version, by key alone too.
        return VersionOrder(UNNUMBERED, "!" + _number(stamp["unix"]) + _number(stamp["microseconds"]))
    found = _VERSION.match(text)
    if found is None or _COMMIT.fullmatch(text):
        return VersionOrder(UNNUMBERED, "")
    public, _, local = found["rest"].partition("+")
    suffix, early = _suffix(_announced(found["name"]) + _PIECE.findall(public))
    key = _number(found["epoch"] or "0") + _release(found) + suffix + _local(local) + _END
    return VersionOrder(PRE_RELEASE if early else RELEASE, key[:MAX_KEY_CHARS])


# The key is a sequence of tokens, each starting with one of these, in this order. A version that goes on where another
# ends is above it from _LOCAL on and below it before _END. All are below the digits and letters that start a number of the
# release, so that 1.0.post1 is below 1.0.1.
_TILDE, _DEV, _EARLY, _END, _LOCAL, _LOCAL_WORD, _NUMBER, _WORD, _POST = "!$%)*+,-."
# Above every number: the line 6.x is the newest 6.
_ANY = "Z"

_PLAIN = re.compile(r"v?[0-9]+(?:\.[0-9]+)*")
_STAMP = re.compile(r"v_(?P<unix>[0-9]{9,12})_(?P<microseconds>[0-9]{1,6})")
_VERSION = re.compile(
    r"(?P<name>[^0-9]*)"
    r"(?:(?P<epoch>[0-9]+)[!:](?=[0-9]))?"
    # Behind a year dashes are dots: 2024-10 is a month (or week), where 1.0-10 is a revision.
    r"(?P<numbers>(?:[12][0-9]{3}(?:-[0-9]+)+|[0-9]+)(?:[._][0-9]+)*)"
    r"(?P<line>(?:\.(?:x|\*)(?![^\W_]))(?:\.(?:x|\*|[0-9]+)(?![^\W_]))*)?"
    r"(?P<rest>.*)"
)
# An abbreviated or whole commit id. A date with a letter (20240101a, 1234567b1) or a month (dec2024) is not one.
_COMMIT = re.compile(r"(?=.*[0-9])(?=.*[a-f])(?![a-f]*[0-9]+[abc]?[0-9]*\Z|[0-9]+[a-f]+\Z)[0-9a-f]{7,64}")
# A dash between two numbers makes the second a revision: 1.0-1 in PEP 440, 1.0~rc1-2 in Debian.
_PIECE = re.compile(r"(?:(?<=[0-9])-)?[0-9]+|[^\W0-9_]+|~")

# The words of a pre-release order by the alphabet, as SemVer has it: alpha < beta < canary < milestone < next < rc < snapshot.
_EARLY_WORDS = {word: word for word in ("alpha", "beta", "canary", "draft", "ea", "edge", "experimental", "insider", "insiders")}
_EARLY_WORDS |= {word: word for word in ("milestone", "next", "nightly", "pre", "preview", "rc", "snapshot", "unstable", "wip")}
_EARLY_WORDS |= {"candidate": "rc", "cr": "rc"}
_EARLY_LETTERS = {"a": "alpha", "b": "beta", "c": "rc", "m": "milestone"}
_DEV_WORDS = frozenset({"dev", "devel", "develop", "development"})
_POST_WORDS = frozenset({"post", "rev", "r"})
_PLAIN_WORDS = frozenset({"final", "ga", "lts", "rel", "release", "stable"})
_LEAD_IN = frozenset({"v", "r", "rel", "release", "version"})


def _release(found: re.Match[str]) -> str:
    numbers = re.split("[._-]", found["numbers"])
    if found["line"]:
        return "".join(map(_number, numbers)) + _ANY
    return _numbers(numbers)


def _numbers(numbers: list[str]) -> str:
    while len(numbers) > 1 and not numbers[-1].strip("0"):
        numbers.pop()
    return "".join(map(_number, numbers))


def _announced(name: str) -> list[str]:
    """Return the pre-release word that a prefix ends with, as in ``nightly-2024-10-11``; ``next@14`` is a package."""
    words = [word for word in _PIECE.findall(name) if word not in _LEAD_IN]
    is_package = name.rstrip("v").endswith("@")
    return words[-1:] if words and not is_package and _is_early(words[-1]) else []


def _suffix(pieces: list[str]) -> tuple[str, bool]:
    """Return the tokens behind the release, and whether they make a pre-release of it."""
    tokens: list[str] = []
    early = False
    for piece, following in pairwise([*pieces, ""]):
        if token := _token(piece, following, first=not tokens, early=early):
            early = early or token[0] in _DEV + _EARLY or (token == _TILDE and not tokens)
            tokens.append(token)
    return "".join(tokens), early


def _token(piece: str, following: str, *, first: bool, early: bool) -> str:
    if _is_digits(piece.removeprefix("-")):
        return (_POST if first or piece[0] == "-" else "") + _NUMBER + _number(piece.removeprefix("-"))
    if piece == "~":
        return "" if _is_early(following) else _TILDE
    if piece in _PLAIN_WORDS:
        return ""
    counted = _counted(piece, following, first=first, early=early)
    if not counted:
        return _WORD + _word(piece)
    # PEP 440 reads a word without a number as number 0; in SemVer another word may follow and decides then.
    bare = following in {"", "~", "snapshot"} | _DEV_WORDS | _POST_WORDS
    return counted + (_NUMBER + _number("0") if bare else "")


def _counted(piece: str, following: str, *, first: bool, early: bool) -> str:
    """Return the start of a token that says when in the life of a release this is, or "" for any other word."""
    if piece in _DEV_WORDS:
        return _DEV
    if piece in _POST_WORDS:
        return _POST
    if piece in _EARLY_LETTERS:
        # 1.1.1b, 3.3a and 2024a are releases with a patch letter; 1.1.1b1 is a beta.
        return _EARLY + _EARLY_LETTERS[piece] if first and _is_digits(following) else ""
    # In alpha.beta the second word only orders, but a snapshot is below what it is a snapshot of.
    if piece in _EARLY_WORDS and (piece == "snapshot" or not early):
        return _EARLY + _EARLY_WORDS[piece]
    return ""


def _local(label: str) -> str:
    """Return the tokens of what stands behind ``+``, where PEP 440 has words below numbers, unlike elsewhere."""
    parts = re.findall(r"[^\W_]+", label)
    tokens = (_NUMBER + _number(part) if _is_digits(part) else _LOCAL_WORD + _word(part) for part in parts)
    return _LOCAL + "".join(tokens) if parts else ""


def _is_early(word: str) -> bool:
    return word in _EARLY_WORDS or word in _DEV_WORDS


def _is_digits(piece: str) -> bool:
    return piece.isascii() and piece.isdigit()


def _number(digits: str) -> str:
    """Return the digits behind their count, so that text order is number order. Not by int(): it refuses 4,301 digits."""
    digits = digits.lstrip("0") or "0"
    count = len(digits)
    return f"{count}{digits}" if count <= 9 else f"A{count:06d}{digits}"


def _word(text: str) -> str:
    return "".join(char if char.isascii() else f"{{{ord(char):06x}" for char in text)


_NO_EPOCH = _number("0")
