"""Advice: what compressing would save, measured on a sample of each library."""

from __future__ import annotations

import time
from collections.abc import Sequence
from dataclasses import asdict, dataclass
from typing import Any

from models.database import Database
from models.recompress import Shown, Stored, library_contents, library_names
from storage.encodings import BEST, SHOWN, Kept, Plain, encode_alone, encode_with
from storage.layout import DataFolder
from storage.read import MAX_REFERENCE_BYTES, read_content
from strongroom.errors import IntegrityError, NotFound

SAMPLE_BYTES = 4 << 20
"""Larger documents are sampled by their beginning."""


@dataclass(frozen=True, slots=True)
class Advice:
    """What a library takes now, what compressing it would save, and for how much work: estimates from a sample."""

    library_id: str
    stored_bytes: int
    saves_bytes: int
    cpu_s: float
    sampled: int

    def as_json(self) -> dict[str, Any]:
        """Return the fields."""
        return asdict(self) | {"cpu_s": round(self.cpu_s, 2)}


def advise(folder: DataFolder, database: Database, shown: Shown, kept: Kept, library_id: str | None = None) -> list[Advice]:
    """Return advice for a library, or for each; those that save most first.

    Raises:
        NotFound: no such library.
    """
    names = [library_id] if library_id is not None else list(_all_names(database))
    found: list[Advice] = []
    for name in names:
        with database.read() as connection:
            contents = library_contents(connection, name, shown)
        if not contents and library_id is not None:
            raise NotFound(f"{library_id} is not stored.")
        found.append(_advice(folder, name, contents, kept))
    return sorted(found, key=lambda one: -one.saves_bytes)


def _all_names(database: Database) -> Sequence[str]:
    names: list[str] = []
    while True:
        with database.read() as connection:
            more = library_names(connection, names[-1] if names else "")
        if not more:
            return names
        names += more


def _advice(folder: DataFolder, library_id: str, contents: Sequence[Stored], kept: Kept) -> Advice:
    """Measure one kept content and one older one, and take the others to be like them."""
    total = sum(one.place.length for one in contents)
    saves, cpu_s, sampled = 0.0, 0.0, 0
    for group in ([one for one in contents if one.kept], [one for one in contents if not one.kept]):
        waiting = [one for one in group if _waits(one, kept)]
        if not waiting:
            continue
        one = waiting[len(waiting) // 2]
        newer = next((other for other in contents if other is not one), None) if not one.kept else None
        begun = time.process_time()
        ratio = _ratio(folder, one, newer, kept)
        if ratio is None:
            continue
        sampled += 1
        plain = sum(other.place.size_bytes for other in waiting)
        cpu_s += (time.process_time() - begun) * plain / min(one.place.size_bytes, SAMPLE_BYTES)
        saves += sum(max(0.0, other.place.length - ratio * other.place.size_bytes) for other in waiting)
    return Advice(library_id, total, int(saves), cpu_s, sampled)


def _waits(one: Stored, kept: Kept) -> bool:
    """Whether a compression would try it: not yet tried as it is kept, or kept as another format than is wanted now."""
    return (one.place.codec, one.place.effort) != (kept, SHOWN) if one.kept else one.place.effort != BEST


def _ratio(folder: DataFolder, one: Stored, newer: Stored | None, kept: Kept) -> float | None:
    """Return stored by plain bytes of the best encoding; None when it cannot be read."""
    try:
        plain = Plain(one.place.content_sha256, read_content(folder, one.place)[:SAMPLE_BYTES])
        if one.kept or newer is None or newer.place.size_bytes > MAX_REFERENCE_BYTES:
            return len(encode_alone(plain, kept if one.kept else "zstd").stored) / max(1, len(plain.data))
        base = Plain(newer.place.content_sha256, read_content(folder, newer.place))
        return len(encode_with(plain, base).stored) / max(1, len(plain.data))
    except IntegrityError:
        return None
