"""What lives in a damaged segment, written anew into another one; the old one goes to the quarantine when nothing needs it."""

from __future__ import annotations

from collections.abc import Iterator, Sequence

from models import mending
from models.commit import Outdated, add_segment
from models.replaced import not_before
from models.rows import Place
from storage.carry import with_replaced
from storage.casework import Case, details
from storage.codecs import Encoder
from storage.events import append_events
from storage.index import VersionRecord
from storage.quarantine import keep_damaged, remove_kept
from storage.read import stored_blocks, stream_content
from storage.segments import Finished, SegmentWriter, in_place
from storage.sources import Recovered
from strongroom import durable
from strongroom.contracts import Repaired
from strongroom.errors import CatalogueBusy

WHY = "The segment does not hash to its name."


def rewrite(case: Case) -> list[Repaired]:
    """Write what was recovered into a new segment; with it what is whole, unless something of the old one is lost.

    On return it is durable, committed, and reads back. Returns the revisions that are whole again.

    Raises:
        CatalogueBusy: a sweep came in between.
        DiskFull, TransientIO, PermissionRefused: the operating system refused; nothing is worse than before.
    """
    carried = [] if case.lost else [one for one in case.needed if one.content_sha256 not in case.damage]
    free = bool(case.name) and not case.lost
    if not (case.fresh or case.elsewhere or free):
        return []
    new = {*case.fresh, *(place.content_sha256 for place in carried)}
    records = case.records(new)
    folder = case.means.folder
    # Before anything is written: what comes out may be the very segment, byte for byte.
    kept = keep_damaged(folder, folder.segment(case.name), WHY, case.means.now) if case.name else None
    finished = _write(case, carried, records) if new else None
    left = [] if not free else case.records({one.content_sha256 for one in case.needed} - new)
    untold = [*(records if finished is not None and not finished.told else ()), *left]
    if untold:
        append_events(folder.journal, untold)
    done = case.told({*case.fresh, *case.elsewhere})
    with case.means.database.write("repair") as connection:
        if finished is not None:
            if not in_place(folder, [finished.segment]):
                raise CatalogueBusy("What a repair wrote was swept away meanwhile.")
            try:
                add_segment(connection, finished.segment, case.means.now)
            except Outdated:
                raise CatalogueBusy("What a repair wrote is being swept.") from None
        same = finished is not None and finished.segment.segment_sha256 == case.name
        gone = free and not same and mending.forget_segment(connection, case.name, new | case.elsewhere)
        if not gone and not same:
            mending.forget_places(connection, case.name, case.fresh.keys() | case.elsewhere)
        mending.show_again(connection, new | case.elsewhere)
        mending.audit_repair(connection, case.means.now, case.means.by, details(done, case.name, kept))
    if gone:
        _set_aside(case)
    return done


def _write(case: Case, carried: Sequence[Place], records: Sequence[VersionRecord]) -> Finished:
    writer = SegmentWriter(case.means.folder)
    try:
        for place in carried:
            writer.append_copy(place, stored_blocks(case.means.folder, place))
        for content, recovered in case.fresh.items():
            stream = writer.append_stream(_encoded(case.means.encoder, recovered))
            writer.describe(stream, content, recovered.path.stat().st_size, case.means.encoder.format)
        names = [case.name] if case.name else []
        with case.means.database.read() as connection:
            when = not_before(connection, case.means.now, names)
        finished = writer.finish(records, when, with_replaced(case.means.folder, names))
    finally:
        writer.abort()
    for place in finished.segment.places:
        if place.content_sha256 not in case.fresh:  # a copy of what may refer to something that waits for its own repair
            _read_through(stored_blocks(case.means.folder, place))
        else:
            _read_through(stream_content(case.means.folder, place))
    return finished


def _read_through(pieces: Iterator[bytes]) -> None:
    """Read to the end. Raises what the pieces raise when they are not whole."""
    for _ in pieces:
        pass


def _encoded(encoder: Encoder, recovered: Recovered) -> Iterator[bytes]:
    compressor = encoder.stream()
    for piece in recovered.pieces():
        yield compressor.compress(piece)
    yield compressor.flush()


def _set_aside(case: Case) -> None:
    """Take a segment that is forgotten out of ``segments/``, with its index: both are in the quarantine then."""
    folder = case.means.folder
    with durable.os_errors("cannot set a damaged segment aside"):
        for path in (folder.segment(case.name), folder.index(case.name)):
            if keep_damaged(folder, path, "What lived in this segment lies elsewhere now.", case.means.now):
                remove_kept(path)
