"""The segments that hold what is erased, and the indexes that tell of it: written anew without it, the old ones deleted."""

from __future__ import annotations

import os
import secrets
from collections.abc import Collection, Iterator, Sequence
from contextlib import suppress
from dataclasses import replace
from datetime import UTC, datetime
from pathlib import Path

import orjson

from models.changes import note_change
from models.erasing import Doomed
from models.parts import in_parts
from models.sweeping import condemn_dead, condemned_segments, forget_segments, known_segments, look_at
from storage.carry import carry_over
from storage.compact import Compaction
from storage.erase.needles import Gone
from storage.erase.scope import Scope
from storage.erase.words import wipe_told
from storage.events import Removed, read_events
from storage.index import Index, VersionRecord, read_index
from storage.index_files import replace_index
from storage.layout import DataFolder
from storage.trail import Archive
from strongroom import durable
from strongroom.errors import IntegrityError, TransientIO

_EVER = datetime.max.replace(tzinfo=UTC)
"""Segments of any age: what a store with a clock that was ahead has written, too."""
_ROUNDS = 3
_MANY = 1_000_000


def survey(folder: DataFolder, contents: Collection[str]) -> set[str]:
    """Return the segments whose index says that they hold one of the contents, or what refers to one.

    Raises:
        IntegrityError: one cannot be read: nobody knows what its segment holds.
    """
    found: set[str] = set()
    for path in _indexes(folder):
        index = _read(path)
        if index is not None and any(one.content_sha256 in contents or one.reference_sha256 in contents for one in index.places):
            found.add(index.segment_sha256)
    return found


def told_contents(folder: DataFolder, scope: Scope, rows: Sequence[Doomed]) -> tuple[set[str], datetime | None]:
    """Return the contents that rows, indexes, those in the trash too, and the journal tell of what is to be erased.

    Of revisions that were given up before no row may be left, and their bytes may be there still. Also return when one of these
    contents was first stored, by whatever library; None: nothing tells.
    """
    events = list(read_events(folder.journal))
    records = [one for one in events if isinstance(one, VersionRecord)]
    for path in [*_indexes(folder), *folder.trash.glob("swept-*.index")]:
        with suppress(IntegrityError):  # of one that is in place ``survey`` tells
            records += read_index(path, path.stem[-64:]).versions
    contents = {one.content_sha256 for one in rows} | {one.content_sha256 for one in records if _is_doomed(one, scope)}
    maybe = contents | {""}  # a removal of which an older release told may be of any content
    told: list[VersionRecord | Removed] = [*records, *(one for one in events if isinstance(one, Removed))]
    times = [*(one.stored_at for one in rows), *(one.stored_at for one in told if one.content_sha256 in maybe)]
    return contents - {""}, min(times, default=None)


def forget_records(archive: Archive, scope: Scope, gone: Gone) -> None:
    """Have no index tell of the versions any more: each that does is replaced by one that says the rest. Durable on return.

    Raises:
        DiskFull, TransientIO, PermissionRefused: the operating system refused; calling again goes on.
    """
    folder = archive.folder
    words = [orjson.dumps(name) for name in scope.ids()]
    for path in _indexes(folder):
        data = path.read_bytes() if path.exists() else b""
        if not any(word in data for word in words) and not gone.told_in(data):
            continue
        index = _read(path)
        records = index.versions if index is not None else ()
        kept = [one for one in records if one.content_sha256 not in gone.contents and not _is_doomed(one, scope)]
        if index is not None and len(kept) < len(index.versions):
            told = replace(index, versions=tuple(kept))
            with durable.os_errors("cannot replace an index"):
                replace_index(folder.tmp / f"{secrets.token_hex(16)}.index", path, told)
            with archive.database.write("erase") as connection:
                note_change(connection, [index.segment_sha256], "changed")


def forget_overtaken(archive: Archive, scope: Scope) -> None:
    """Have journal and indexes not tell what a store told that the erasure overtook: it has told that anew, with a later time.

    Raises:
        DiskFull, TransientIO, PermissionRefused: as ``forget_records``.
    """
    wipe_told(archive.folder.journal, scope)
    forget_records(archive, scope, Gone(frozenset(), frozenset()))


def _is_doomed(record: VersionRecord, scope: Scope) -> bool:
    return scope.target_of(record.library_id, record.version, record.stored_at) is not None


def empty_segments(archive: Archive, names: Sequence[str]) -> None:
    """Have what lives in these segments lie elsewhere, and delete them with their indexes: not to the trash, for good.

    Raises:
        TransientIO: some are in use, such as by a backup that is running; calling again goes on.
        DiskFull, PermissionRefused: the operating system refused; likewise.
    """
    for _ in range(_ROUNDS):
        left: list[str] = []
        for part in in_parts(sorted(names)):
            _empty(archive, part)
            _delete(archive, part)
            with archive.database.read() as connection:
                left += known_segments(connection, part)
        names = left
        if not names:
            return
    raise TransientIO(
        f"{len(names)} segments cannot be written anew now: they are in use, or something in them is damaged.",
        "Let a running backup end; `strongroom verify --all --repair` mends damage. Then run `strongroom erase --resume`.",
    )


def _empty(archive: Archive, names: Sequence[str]) -> None:
    folder, database, now = archive.folder, archive.database, archive.clock()
    compaction = Compaction(folder, database, _EVER)
    with database.read() as connection:
        looked = look_at(connection, names, _EVER)
    dead = carry_over(folder, database, [one.segment_sha256 for one in looked if not one.live_bytes])
    if dead.free:
        with database.write("erase") as connection:
            condemn_dead(connection, dead.free, _EVER)
    compaction.take_all(looked)
    compaction.finish(now)


def _delete(archive: Archive, names: Sequence[str]) -> None:
    """Delete the files of those that are condemned or that no row names, in a transaction: who commits looks for his files."""
    folder = archive.folder
    with archive.database.write("erase") as connection:
        condemned = set(condemned_segments(connection, _MANY)) & set(names)
        strange = set(names) - known_segments(connection, names)
        for name in sorted(condemned | strange):
            for path in (folder.segment(name), folder.index(name)):
                durable.step("erase: unlink")
                path.unlink(missing_ok=True)
        forget_segments(connection, sorted(condemned))


def _indexes(folder: DataFolder) -> Iterator[Path]:
    for place in sorted(os.listdir(folder.segments)):
        yield from sorted((folder.segments / place).glob("*.index"))


def _read(path: Path) -> Index | None:
    try:
        return read_index(path)
    except IntegrityError:
        if not path.exists():  # gone meanwhile
            return None
        raise
