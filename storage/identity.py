"""What a document says about itself: which library and version it is, and facts for the library's row."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field

Scalar = str | float | int

FACT_CHARS = 4096
"""A longer string is cut here. Longer than any valid id, so that a cut id is still refused as too long."""

FACT_NUMBER_BYTES = 4096
"""A number spelled longer than this is no fact."""

INFO_KEY = "library_info"
_LIBRARY_ID, _VERSION = ("library_id",), ("version_id", "version")
_INFO_LIBRARY_ID, _INFO_VERSION = ("library_id", "libraryId", "id"), ("version", "version_id")
_TEXTS = {
    "name": ("name", "title"),
    "description": ("description",),
    "category": ("category",),
    "language": ("language",),
    "homepage_url": ("homepage_url", "homepage"),
    "repository_url": ("repository_url", "repository", "source_repository"),
}
_TRUST, _STARS = ("trust_score", "trustScore"), ("star_count", "stars")
_LARGEST_INTEGER = 2**63 - 1  # of the catalogue's columns

ROOT_KEYS = frozenset(_LIBRARY_ID + _VERSION)
"""The keys of the root object that may hold a fact."""

INFO_KEYS = frozenset(sum(_TEXTS.values(), _INFO_LIBRARY_ID + _INFO_VERSION + _TRUST + _STARS))
"""The keys of ``library_info`` that may hold a fact."""


@dataclass(frozen=True, slots=True)
class Identity:
    """What the document says about itself. ``library`` holds facts by the names of the library row's columns."""

    library_id: str | None
    version: str | None
    library: Mapping[str, str | float | int] = field(default_factory=dict)


def identify(root: Mapping[str, object], info: Mapping[str, object]) -> Identity:
    """Return the identity that the members of the root object and of its ``library_info`` tell.

    ``library_info`` goes first: in the downloader's own shapes it names the upstream version, and the root only a
    ``version_id`` made when the document was downloaded. What is not of the expected type is passed over.
    """
    if not info:
        return Identity(_text(root, _LIBRARY_ID), _text(root, _VERSION))
    library = {name: text for name, keys in _TEXTS.items() if (text := _text(info, keys)) is not None and "\0" not in text}
    trust, stars = _number(info, _TRUST), _number(info, _STARS)
    numbers: dict[str, Scalar] = {}
    if trust is not None:
        numbers["trust_score"] = float(trust)
    if isinstance(stars, int) and 0 <= stars <= _LARGEST_INTEGER:
        numbers["star_count"] = stars
    return Identity(
        library_id=_text(info, _INFO_LIBRARY_ID) or _text(root, _LIBRARY_ID),
        version=_text(info, _INFO_VERSION) or _text(root, _VERSION),
        library={**library, **numbers},
    )


def _text(members: Mapping[str, object], keys: tuple[str, ...]) -> str | None:
    """Return the first that is a string and not empty, cut to FACT_CHARS."""
    for key in keys:
        value = members.get(key)
        if isinstance(value, str) and value:
            return value[:FACT_CHARS]
    return None


def _number(members: Mapping[str, object], keys: tuple[str, ...]) -> float | int | None:
    values = (members.get(key) for key in keys)
    return next((value for value in values if isinstance(value, int | float) and not isinstance(value, bool)), None)
