"""Which content may refer to which: chains of references stay short, and reading along one stays cheap."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass

from models.rows import Place
from storage.codecs import REFERRING
from storage.read import MAX_DEPTH, MAX_REFERENCE_BYTES

SLOWER = 2.7
"""How many times longer than from its gzip a version may take to read; the promise is 3, and machines differ."""

# What reading costs, in the time of unpacking a byte from gzip: a fit to the 215 versions of a corpus, read through the engine.
_FIXED = 280_000
_HOP = 120_000
_BASE_OF_GZIP, _BASE_OF_ZSTD = 0.91, 0.6
_WITH_REFERENCE = 0.15
_STORED_NEAR, _STORED_FAR = 4.0, 14.0
"""For each plain and each stored byte of what refers: where two versions differ much, unpacking jumps to and fro."""
_NEAR_BYTES = 2 << 20
"""What is referred to and fits into a processor's cache costs less for each jump."""


@dataclass(frozen=True, slots=True)
class Link:
    """A content as something to refer to: how many references lie behind it, and what it costs to have it."""

    content_sha256: str
    size_bytes: int
    depth: int
    cost: float


def link_alone(content_sha256: str, size_bytes: int, codec: str) -> Link:
    """Return the link of a content that refers to nothing."""
    rate = _BASE_OF_GZIP if codec == "gzip" else _BASE_OF_ZSTD
    return Link(content_sha256, size_bytes, 0, rate * size_bytes)


def link_behind(base: Link, content_sha256: str, size_bytes: int, stored_bytes: int) -> Link:
    """Return the link of a content that refers to another."""
    jumps = stored_bytes * (_STORED_NEAR if base.size_bytes <= _NEAR_BYTES else _STORED_FAR)
    cost = base.cost + _HOP + _WITH_REFERENCE * size_bytes + jumps
    return Link(content_sha256, size_bytes, base.depth + 1, cost)


def link_of(place: Place, find: Callable[[str], Place | None], depth: int = MAX_DEPTH) -> Link | None:
    """Return the link of an object as it is stored; None when what it refers to is nowhere, or too deep."""
    if place.codec != REFERRING or place.reference_sha256 is None:
        return link_alone(place.content_sha256, place.size_bytes, place.codec)
    base = find(place.reference_sha256) if depth else None
    behind = None if base is None else link_of(base, find, depth - 1)
    return None if behind is None else link_behind(behind, place.content_sha256, place.size_bytes, place.length)


def may_be_base(base: Link, size_bytes: int) -> bool:
    """Whether a content of that size may refer to this one."""
    if max(base.size_bytes, size_bytes) > MAX_REFERENCE_BYTES:
        return False
    return is_fit(link_behind(base, "", size_bytes, 0))


def is_fit(link: Link) -> bool:
    """Whether what lies behind a link can be read fast enough."""
    return link.depth <= MAX_DEPTH and _FIXED + link.cost <= SLOWER * (_FIXED + link.size_bytes)


def bears(link: Link, dependents: Callable[[str], Sequence[Place]]) -> bool:
    """Whether all that refers to a content, directly or not, stays fit when the content gets this link."""
    for place in dependents(link.content_sha256):
        behind = link_behind(link, place.content_sha256, place.size_bytes, place.length)
        if not is_fit(behind) or not bears(behind, dependents):
            return False
    return True


def are_short(contents: Iterable[str], find: Callable[[str], Place | None], dependents: Callable[[str], Sequence[Place]]) -> bool:
    """Whether these contents, and all that refers to them, directly or not, are read by following no more than MAX_DEPTH."""
    named = set(contents)
    return all(_is_short(find(one), find) for one in named.union(*(descendants(one, dependents) for one in named)))


def _is_short(place: Place | None, find: Callable[[str], Place | None]) -> bool:
    for _ in range(MAX_DEPTH + 1):
        if place is None or place.reference_sha256 is None:
            return True
        place = find(place.reference_sha256)
    return False


def descendants(content_sha256: str, dependents: Callable[[str], Sequence[Place]]) -> set[str]:
    """Return all that refers to a content, directly or not."""
    found: set[str] = set()
    waiting = [content_sha256]
    while waiting:
        more = {place.content_sha256 for place in dependents(waiting.pop())} - found
        found |= more
        waiting += more
    return found
