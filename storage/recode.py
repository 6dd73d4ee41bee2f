"""Which encoding each content of a library gets: the kept ones stand alone, the older ones refer to newer ones."""

from __future__ import annotations

import hashlib
from collections import OrderedDict
from collections.abc import Sequence
from dataclasses import dataclass, field

from models.database import Database
from models.recompress import Stored, dependents
from models.rows import Place
from storage.chains import Link, bears, descendants, is_fit, link_alone, link_behind, link_of, may_be_base
from storage.codecs import REFERRING
from storage.encodings import BEST, SHOWN, WHOLE_GZIP_BYTES, Kept, Plain, encode_alone, encode_with, quick_bytes
from storage.layout import DataFolder
from storage.read import MAX_REFERENCE_BYTES, read_content
from storage.rewrite import Rewrite
from storage.segments import Encoded
from strongroom.errors import IntegrityError

CANDIDATES = 8
"""How many of the newer contents are tried as a reference: the newest, and those just before."""
ATTEMPTS = 3
"""How many of them are tried at the best level, until one can be read fast enough."""
CACHE_BYTES = 96 << 20
WORTH = 0.95
"""A reference that saves less than a twentieth is not worth what it costs to read."""


@dataclass(slots=True)
class Recoding:
    """Goes through the contents of one library, newest first, and adds what is worth it to a batch."""

    folder: DataFolder
    database: Database
    kept: Kept
    batch: Rewrite
    _links: list[Link] = field(default_factory=list)
    _added: dict[str, Place] = field(default_factory=dict)
    _cache: OrderedDict[str, bytes] = field(default_factory=OrderedDict)

    def take(self, one: Stored) -> None:
        """Decide about the next content.

        Raises:
            IntegrityError: its bytes, or those of what it refers to, are damaged.
        """
        link = self._settled(one) or (self._large(one) if one.place.size_bytes > MAX_REFERENCE_BYTES else self._small(one))
        if link is not None:
            self._links.append(link)

    def committed(self, *, done: bool) -> None:
        """Go on after the batch was committed, or given up: then all is as it was before it."""
        self._added.clear()
        if not done:
            self._look_again()

    def _settled(self, one: Stored) -> Link | None:
        """Return the link of a content that has the encoding that it is to have."""
        place = one.place
        shown = place.codec == self.kept and one.alone and place.effort == SHOWN
        right = shown if one.kept else place.effort == BEST
        return link_of(place, self._find) if right and not one.extra else None

    def _large(self, one: Stored) -> Link | None:
        if one.kept and self.kept == "gzip" and one.place.size_bytes <= WHOLE_GZIP_BYTES:
            self._small(one)  # nothing may refer to it all the same
        else:
            self.batch.add_stream(one.place, self.kept if one.kept else "zstd", _effort(one), alone=one.alone)
        return None

    def _small(self, one: Stored) -> Link | None:
        plain = Plain(one.place.content_sha256, self._read(one.place))
        encoded, link = self._kept(plain) if one.kept else self._referring(plain)
        place = one.place
        if self._is_better(encoded, one):
            self._add(place, encoded, own=one.kept)
            return link
        if one.extra or (not one.alone and (place.codec == encoded.codec or not one.kept)):
            self.batch.add_copy(place, _effort(one), own=one.kept)
        return link_of(place, self._find)

    def _add(self, old: Place, encoded: Encoded, *, own: bool) -> None:
        """Add an encoding to the batch; from now on it counts, though the catalogue knows it only when the batch is committed."""
        self.batch.add(old, encoded, own=own)
        reference = (encoded.reference_sha256, encoded.reference_offset, encoded.reference_length)
        self._added[old.content_sha256] = Place(
            old.content_sha256, old.size_bytes, encoded.codec, "", 0, len(encoded.stored), encoded.stored_sha256, None, *reference
        )
        if self._dependents(old.content_sha256):
            self._look_again()

    def _look_again(self) -> None:
        """Have every link be as it is now: one was made longer, or shorter, in the middle of a chain."""
        places = (self._find(link.content_sha256) for link in self._links)
        links = [None if place is None else link_of(place, self._find) for place in places]
        self._links = [link for link in links if link is not None]

    def _find(self, content_sha256: str) -> Place | None:
        return self._added.get(content_sha256) or self.folder.find_place(content_sha256)

    def _dependents(self, content_sha256: str) -> list[Place]:
        """Return what refers to a content: what is stored, even if it will not stay, and what this batch has added."""
        with self.database.read() as connection:
            stored = dependents(connection, content_sha256)
        return stored + [one for one in self._added.values() if one.reference_sha256 == content_sha256]

    def _is_better(self, encoded: Encoded, one: Stored) -> bool:
        if len(encoded.stored) < one.place.length or link_of(one.place, self._find) is None:
            return True
        # What other programs read as gzip is linked into the tree, where it was a copy beside these bytes.
        shown = self.kept == "gzip" and one.place.codec != "gzip" and self.batch.shown != "none"
        return one.kept and (shown or one.place.codec == REFERRING)

    def _kept(self, plain: Plain) -> tuple[Encoded, Link]:
        return encode_alone(plain, self.kept, SHOWN), link_alone(plain.content_sha256, len(plain.data), self.kept)

    def _referring(self, plain: Plain) -> tuple[Encoded, Link]:
        """Return the smallest encoding; what refers to this content already must stay readable and cheap."""
        for base in self._bases(plain, quick_bytes(plain, None) * WORTH)[:ATTEMPTS]:
            encoded = encode_with(plain, Plain(base.content_sha256, self._plain(base.content_sha256)))
            link = link_behind(base, plain.content_sha256, len(plain.data), len(encoded.stored))
            if is_fit(link) and bears(link, self._dependents):
                return encoded, link
        return encode_alone(plain, "zstd"), link_alone(plain.content_sha256, len(plain.data), "zstd")

    def _bases(self, plain: Plain, worth: float) -> list[Link]:
        """Return what a content may refer to, the best first."""
        mine = descendants(plain.content_sha256, self._dependents)
        found: list[tuple[int, Link]] = []
        for base in self._candidates():
            if may_be_base(base, len(plain.data)) and base.content_sha256 not in mine:
                size = quick_bytes(plain, Plain(base.content_sha256, self._plain(base.content_sha256)))
                # The best level takes some three quarters of the low one.
                if size < worth and is_fit(link_behind(base, "", len(plain.data), size * 3 // 4)):
                    found.append((size, base))
        return [base for _, base in sorted(found, key=lambda pair: pair[0])]

    def _candidates(self) -> Sequence[Link]:
        return self._links[:1] + self._links[1:][-(CANDIDATES - 1) :]

    def _read(self, place: Place) -> bytes:
        data = read_content(self.folder, place)
        if hashlib.sha256(data).hexdigest() != place.content_sha256:
            raise IntegrityError(f"The stored bytes in segment {place.segment_sha256} are not what was recorded.")
        self._remember(place.content_sha256, data)
        return data

    def _plain(self, content_sha256: str) -> bytes:
        found = self._cache.get(content_sha256)
        if found is None:
            place = self.folder.find_place(content_sha256)
            if place is None:
                raise IntegrityError(f"The content {content_sha256} is nowhere.")
            return self._read(place)
        self._cache.move_to_end(content_sha256)
        return found

    def _remember(self, content_sha256: str, data: bytes) -> None:
        self._cache[content_sha256] = data
        while len(self._cache) > 1 and sum(map(len, self._cache.values())) > CACHE_BYTES:
            self._cache.popitem(last=False)


def _effort(one: Stored) -> int:
    return SHOWN if one.kept else BEST
