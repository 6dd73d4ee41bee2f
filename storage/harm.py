"""Harm: which versions damaged bytes have hurt. Theirs, or those of a content that theirs refer to."""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass, field

from models.catalogue import known_places, list_places, versions_in_segment, versions_of
from models.circles import circling
from models.database import Database
from models.mending import is_known
from models.recompress import referring_contents, unfounded_contents
from models.rows import Place, StoredVersion
from storage.damage import place_error
from storage.layout import DataFolder
from storage.read import READABLE_DEPTH, is_whole
from strongroom.contracts import Damage
from strongroom.errors import IntegrityError

_CIRCLE = "It refers to a content that refers back to it."
BASE_DAMAGED, BASE_MISSING = "reference_damaged", "reference_missing"


@dataclass(slots=True)
class Harm:
    """What has been found so far, by the id of the version."""

    folder: DataFolder
    database: Database
    damaged: dict[str, Damage] = field(default_factory=dict)

    def of_segment(self, name: str) -> bool:
        """Find out which versions a damaged segment has hurt; return whether any."""
        before = len(self.damaged)
        with self.database.read() as connection:
            versions = versions_in_segment(connection, name)
            places = list_places(connection, name)
            newest = known_places(connection, {one.content_sha256 for one in places})
        self._own(one for one in versions if self._counts(one.place, newest))
        self._dependents(one for one in places if self._counts(one, newest))
        return len(self.damaged) > before

    def of_versions(self, versions: Iterable[StoredVersion]) -> None:
        """Find out which of these versions are hurt."""
        for one in versions:
            if not self._own([one]):
                self._by_base(one, one.place)

    def unfounded(self) -> None:
        """Find the versions that refer to a content which is nowhere, or that refers back."""
        with self.database.read() as connection:
            contents = unfounded_contents(connection)
            versions = versions_of(connection, contents | referring_contents(connection, contents))
            lost = versions_of(connection, circling(connection, READABLE_DEPTH))
        for one in versions:
            self._by_base(one, one.place)
        for one in lost:
            self._note(one, one.place, BASE_DAMAGED, _CIRCLE)

    def _counts(self, place: Place, newest: dict[str, Place]) -> bool:
        """Whether a place is the one that is read, or the only good one: damage is healed by writing the content elsewhere."""
        read = newest.get(place.content_sha256, place)
        return read == place or not is_whole(self.folder, read)

    def _own(self, versions: Iterable[StoredVersion]) -> int:
        """Note those of these versions whose own bytes are damaged; return how many."""
        outcomes: dict[Place, IntegrityError | None] = {}
        found = 0
        for one in versions:
            if one.place not in outcomes:
                outcomes[one.place] = place_error(self.folder, one.place)
            error = outcomes[one.place]
            if error is not None and self._lies_there(one.place):
                self._note(one, one.place, error.context.get("damage", error.code), error.message)
                found += 1
        return found

    def _dependents(self, places: Iterable[Place]) -> None:
        """Note the versions that cannot be read because of these places, if they are damaged."""
        for place in places:
            with self.database.read() as connection:
                referring = referring_contents(connection, {place.content_sha256})
            error = place_error(self.folder, place) if referring else None
            if error is None or not self._lies_there(place):
                continue
            with self.database.read() as connection:
                versions = versions_of(connection, referring)
            for one in versions:
                if self._needs(one.place, place.content_sha256):
                    self._note(one, place, BASE_DAMAGED, _refers(error))

    def _needs(self, place: Place, content_sha256: str) -> bool:
        """Whether a place is read through this content: one that is read no more may have referred to it."""
        for _ in range(READABLE_DEPTH):
            if place.reference_sha256 in {None, content_sha256}:
                return place.reference_sha256 is not None
            base = self.folder.find_place(str(place.reference_sha256))
            if base is None:
                return False
            place = base
        return False

    def _by_base(self, one: StoredVersion, place: Place, depth: int = READABLE_DEPTH) -> None:
        """Note a version if what its bytes refer to is damaged or gone, at any link of the chain."""
        if place.reference_sha256 is None or not depth:
            return
        base = self.folder.find_place(place.reference_sha256)
        if base is None:
            if self._lies_there(place):
                self._note(one, place, BASE_MISSING, f"It refers to the content {place.reference_sha256}, which is nowhere.")
            return
        error = place_error(self.folder, base)
        if error is None:
            self._by_base(one, base, depth - 1)
        elif self._lies_there(base):
            self._note(one, base, BASE_DAMAGED, _refers(error))

    def _lies_there(self, place: Place) -> bool:
        """Whether a content still lies where it was found: a sweep may have moved it meanwhile, or purged it."""
        with self.database.read() as connection:
            return place in list_places(connection, place.segment_sha256) and is_known(connection, place.segment_sha256)

    def _note(self, one: StoredVersion, place: Place, code: str, message: str) -> None:
        if one.version_id in self.damaged and is_by_reference(code):
            return  # what is wrong with its own bytes tells more
        self.damaged[one.version_id] = Damage(
            library_id=one.library_id,
            version=one.version,
            revision=one.revision,
            code=code,
            message=message,
            segment=self.folder.relative(self.folder.segment(place.segment_sha256)),
            offset=place.offset,
            length=place.length,
        )


def is_by_reference(code: str) -> bool:
    """Whether damage of this code is that of another content, which the version's own bytes refer to."""
    return code in {BASE_DAMAGED, BASE_MISSING}


def _refers(error: IntegrityError) -> str:
    return f"It refers to a content that is damaged: {error.message[:1].lower()}{error.message[1:]}"
