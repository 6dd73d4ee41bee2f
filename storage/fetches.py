"""What is asked of sources beyond the data folder: a content that is to be found again."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from dataclasses import dataclass
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from models.mending import Holder


@dataclass(frozen=True, slots=True)
class Wanted:
    """A content that is to be found again: its digest, its size where it is known, and the revisions that it is."""

    content_sha256: str
    size_bytes: int | None = None
    holders: tuple[Holder, ...] = ()


Fetch = Callable[[Wanted], Iterator[bytes] | None]
"""Returns the bytes of a content, plain or gzipped, as they come; None when it has none. They need not be trusted."""


@dataclass(frozen=True, slots=True)
class Fetches:
    """Sources beyond the data folder: the newest backup that has a content, and its producer's source. None: there is none."""

    backup: Fetch | None = None
    producer: Fetch | None = None
