"""Where a content that is damaged may still be had: other places, the tree, payloads, the trash, a backup, its producer."""

from __future__ import annotations

import hashlib
import os
import secrets
from collections.abc import Callable, Collection, Iterator
from contextlib import suppress
from dataclasses import dataclass, field
from functools import partial
from io import BufferedReader, FileIO
from pathlib import Path

from models.catalogue import places_of
from models.database import Database
from models.rows import Place
from storage.codecs import decode
from storage.damage import plain_of
from storage.documents import Limits, unpack
from storage.fetches import Fetch, Fetches, Wanted
from storage.found import Found, found_elsewhere
from storage.generation import DOCUMENT
from storage.layout import DataFolder
from storage.payloads import staged_contents
from storage.read import stream_content
from storage.treesync import GENERATIONS
from strongroom import durable
from strongroom.errors import StorageError

PIECE_BYTES = 1 << 20


@dataclass(frozen=True, slots=True)
class Candidate:
    """Something that may hold a content. ``told`` says what it is, for people and for the audit trail."""

    told: str
    pieces: Callable[[], Iterator[bytes]]


@dataclass(frozen=True, slots=True)
class Recovered:
    """A content that was found again: its plain bytes, proven by their digest, in a file in ``tmp/``."""

    path: Path
    told: str

    def pieces(self) -> Iterator[bytes]:
        """Yield its plain bytes."""
        with self.path.open("rb") as file:
            while piece := file.read(PIECE_BYTES):
                yield piece


@dataclass(slots=True)
class Sources:
    """Looks for contents on behalf of one repair; what takes long to look through is looked through once."""

    folder: DataFolder
    database: Database
    limits: Limits
    fetches: Fetches
    _elsewhere: dict[str, list[Found]] | None = field(default=None)

    def recover(self, wanted: Wanted, bad: Collection[Place] = ()) -> Recovered | None:
        """Return a content from the best source that has it whole; None when none has. The caller removes the file.

        Raises:
            DiskFull, TransientIO, PermissionRefused: what was found cannot be written to ``tmp/``.
        """
        for candidate in self._candidates(wanted, bad):
            part = self.folder.tmp / f"{secrets.token_hex(8)}.recovered"
            fits = False
            try:
                fits = _copy(candidate, part, wanted.content_sha256, wanted.size_bytes or self.limits.document_bytes)
            finally:
                if not fits:
                    part.unlink(missing_ok=True)
            if fits:
                return Recovered(part, candidate.told)
        return None

    def _candidates(self, wanted: Wanted, bad: Collection[Place]) -> Iterator[Candidate]:
        with self.database.read() as connection:
            places = places_of(connection, wanted.content_sha256)
        for place in places:
            if place not in bad:
                yield Candidate(f"segment {place.segment_sha256}", partial(stream_content, self.folder, place))
        yield from self._in_tree(wanted)
        for told, pieces in staged_contents(self.folder, self.limits, wanted.content_sha256):
            yield Candidate(told, pieces)
        for found in self._lying_elsewhere().get(wanted.content_sha256, []):
            yield Candidate(found.told, partial(_cut_out, found.path, found.place, self))
        for told, fetch in (("backup", self.fetches.backup), ("producer", self.fetches.producer)):
            if fetch is not None:
                yield Candidate(told, partial(self._fetched, fetch, wanted))

    def _in_tree(self, wanted: Wanted) -> Iterator[Candidate]:
        """Yield the versions' files in the tree, old generations included: which content they hold their digest must tell."""
        for version in sorted({self.folder.root / one.file_path for one in wanted.holders}):
            link = version.parent
            generations = link.parent / GENERATIONS
            older = sorted(generations.glob(f"{_escaped(link.name)}.*/{DOCUMENT}"), reverse=True)
            for path in dict.fromkeys([version, *older]):
                yield Candidate(f"tree {self.folder.relative(path)}", partial(_gunzip, path))

    def _lying_elsewhere(self) -> dict[str, list[Found]]:
        if self._elsewhere is None:
            self._elsewhere = found_elsewhere(self.folder, self.database)
        return self._elsewhere

    def _fetched(self, fetch: Fetch, wanted: Wanted) -> Iterator[bytes]:
        pieces = fetch(wanted)
        if pieces is not None:
            yield from unpack(_Joined(pieces), self.limits)  # type: ignore[arg-type] # it reads, which is all unpack does


class _Joined:
    """Reads pieces as if they were a file."""

    def __init__(self, pieces: Iterator[bytes]) -> None:
        self._pieces, self._rest = pieces, b""

    def read(self, size: int) -> bytes:
        while len(self._rest) < size and (piece := next(self._pieces, b"")):
            self._rest += piece
        data, self._rest = self._rest[:size], self._rest[size:]
        return data


def _copy(candidate: Candidate, part: Path, content_sha256: str, most_bytes: int) -> bool:
    """Write a candidate's plain bytes to a file; return whether they are the content that is wanted."""
    digest, size = hashlib.sha256(), 0
    pieces = candidate.pieces()
    with durable.os_errors("cannot write what a repair found"), part.open("xb") as file:
        while True:
            try:
                piece = next(pieces, None)
            except (StorageError, OSError, ValueError):  # a source that fails is none: the next one may do
                return False
            if piece is None:
                break
            size += len(piece)
            if size > most_bytes:
                return False
            digest.update(piece)
            file.write(piece)
    return digest.hexdigest() == content_sha256


def _gunzip(path: Path) -> Iterator[bytes]:
    return decode(_read(path, 0, None), "gzip")


def _cut_out(path: Path, place: Place, sources: Sources) -> Iterator[bytes]:
    reference = None
    if place.reference_sha256 is not None:
        base = b"".join(plain_of(sources.folder, sources.database, place.reference_sha256) or ())
        reference = base[place.reference_offset : place.reference_offset + place.reference_length]
    return decode(_read(path, place.offset, place.length), place.codec, reference)


def _read(path: Path, offset: int, length: int | None) -> Iterator[bytes]:
    descriptor = os.open(path, os.O_RDONLY | os.O_CLOEXEC | os.O_NONBLOCK)
    with BufferedReader(FileIO(descriptor)) as file:
        file.seek(offset)
        left = length
        while piece := file.read(PIECE_BYTES if left is None else min(PIECE_BYTES, left)):
            left = None if left is None else left - len(piece)
            yield piece


def _escaped(name: str) -> str:
    return "".join(f"[{char}]" if char in "[*?" else char for char in name)


def forget(recovered: Recovered | None) -> None:
    """Remove the file of what was found again."""
    if recovered is not None:
        with suppress(OSError):
            recovered.path.unlink()
