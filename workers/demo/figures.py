"""What the demo has measured, and the table that it ends with."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, field

from models.rows import StoredVersion
from workers.cli.output import size

Row = tuple[str, str, str]
"""What, how much, and a remark."""


@dataclass(slots=True)
class Figures:
    """Seconds and bytes, filled in as the story goes. ``stored_bytes`` counts each content once, as the disk does."""

    start_s: float = 0.0
    store_s: float = 0.0
    again_s: float = 0.0
    read_s: float = 0.0
    verify_s: float = 0.0
    verified_bytes: int = 0
    tree_bytes: int = 0
    versions: Sequence[StoredVersion] = field(default_factory=list)

    @property
    def plain_bytes(self) -> int:
        """What the versions hold, unpacked."""
        return sum(one.place.size_bytes for one in self.versions)

    @property
    def stored_bytes(self) -> int:
        """What their copies take on the disk."""
        return sum({one.place.content_sha256: one.place.length for one in self.versions}.values())

    @property
    def libraries(self) -> int:
        """How many libraries there are."""
        return len({one.library_id for one in self.versions})

    @property
    def saved(self) -> float:
        """The share of the plain bytes that the disk does not hold."""
        return 1 - self.stored_bytes / self.plain_bytes

    def rows(self) -> list[Row]:
        """Return the table."""
        count, plain = len(self.versions), self.plain_bytes
        contents = len({one.place.content_sha256 for one in self.versions})
        return [
            ("stored", f"{count} documents", f"{size(plain)} of {self.libraries} libraries"),
            ("on disk", size(self.stored_bytes), f"{contents} different contents"),
            ("saved", f"{self.saved:.1%}", "fast gzip, equal content once"),
            ("plain files", size(self.tree_bytes), "for other programs, besides"),
            ("through the queue", f"{count / self.store_s:.0f} a second", f"{_rate(plain, self.store_s)}, sent to durable"),
            ("once more", f"{count / self.again_s:.0f} a second", "all unchanged"),
            ("read back", f"{count / self.read_s:.0f} a second", f"{_rate(plain, self.read_s)}, all digests equal"),
            ("verify", f"{self.verify_s:.1f} s", f"{size(self.verified_bytes)} read, command start included"),
            ("damage", "1 of 1 found", "named exactly, not handed out"),
        ]


def _rate(count: int, seconds: float) -> str:
    return f"{size(count / seconds)}/s"
