"""storage/segments.py and batch.py: immutable files, named by their bytes, in place only when they are durable."""

from __future__ import annotations

import gzip
import hashlib
from datetime import UTC, datetime

import pytest

from models.rows import Place
from storage.batch import SegmentBatch
from storage.codecs import encoder_of
from storage.engine import Engine
from storage.index import VersionRecord, read_index
from storage.layout import DataFolder
from storage.segments import BLOCK_BYTES, Encoded, SegmentWriter, block_digests
from tests.support.archive import body, large_body
from tests.support.crash import crash_at, steps_of

AT = datetime(2026, 11, 1, tzinfo=UTC)


def _encoded(plain: bytes, codec: str = "gzip-fast") -> Encoded:
    encoder = encoder_of(codec)
    stored = encoder.whole(plain)
    stored_sha256 = hashlib.sha256(stored).hexdigest()
    return Encoded(hashlib.sha256(plain).hexdigest(), len(plain), encoder.format, stored, stored_sha256, block_digests(stored))


def _record(encoded: Encoded, library_id: str = "/a/b") -> VersionRecord:
    return VersionRecord(library_id, "1.0", encoded.content_sha256, AT)


def _cut(folder: DataFolder, place: Place) -> bytes:
    data = folder.segment(place.segment_sha256).read_bytes()
    return data[place.offset : place.offset + place.length]


def test_a_segment_is_named_by_its_bytes_and_each_object_is_a_stream_of_its_own(engine: Engine) -> None:
    plains = [body(n=number) for number in range(3)]
    writer = SegmentWriter(engine.folder)
    for plain in plains:
        writer.append(_encoded(plain))
    finished = writer.finish([_record(_encoded(plain)) for plain in plains])
    data = engine.folder.segment(finished.segment.segment_sha256).read_bytes()
    assert hashlib.sha256(data).hexdigest() == finished.segment.segment_sha256
    assert finished.segment.size_bytes == len(data)
    assert finished.told
    assert [gzip.decompress(_cut(engine.folder, place)) for place in finished.segment.places] == plains
    assert gzip.decompress(data) == b"".join(plains), "zcat prints all of a segment"
    index = read_index(engine.folder.index(finished.segment.segment_sha256))
    assert index.places == finished.segment.places
    assert [one.content_sha256 for one in index.versions] == [place.content_sha256 for place in finished.segment.places]


@pytest.mark.parametrize("size", [1, BLOCK_BYTES - 1, BLOCK_BYTES, BLOCK_BYTES + 1, 3 * BLOCK_BYTES])
def test_a_streamed_object_has_the_digests_of_its_blocks(engine: Engine, size: int) -> None:
    stored = large_body(2 * size + 10, seed=size)[:size]
    writer = SegmentWriter(engine.folder)
    stream = writer.append_stream(stored[at : at + 70_001] for at in range(0, size, 70_001))
    writer.abort()
    assert (stream.length, stream.stored_sha256) == (size, hashlib.sha256(stored).hexdigest())
    assert stream.blocks == block_digests(stored)
    if size <= BLOCK_BYTES:
        assert stream.blocks is None
    else:
        assert stream.blocks is not None
        assert len(stream.blocks) == 32 * -(-size // BLOCK_BYTES)


def test_nothing_is_in_place_before_both_files_are_durable(engine: Engine) -> None:
    def store() -> None:
        writer = SegmentWriter(engine.folder)
        writer.append(_encoded(body(n=1)))
        writer.finish([])

    steps = steps_of(store)
    order = ["segment: fsync", "index: fsync", "index: link", "segment: rename", "segment: fsync folder"]
    assert [step for step in steps if step in order] == order


def test_an_abort_leaves_nothing_behind(engine: Engine) -> None:
    writer = SegmentWriter(engine.folder)
    writer.append(_encoded(large_body(100_000)))
    writer.abort()
    assert not list(engine.folder.tmp.iterdir())
    assert not list(engine.folder.segments.glob("*/*"))


def test_small_objects_share_a_segment_and_a_large_one_has_its_own(engine: Engine) -> None:
    batch = SegmentBatch(engine.folder)
    small = [_encoded(body(n=number)) for number in range(3)]
    for one in small:
        batch.add(one)
        batch.tell(_record(one))
    large = _encoded(large_body(50_000))
    writer = SegmentWriter(engine.folder)
    writer.append(large)
    batch.add_own(writer, _record(large))
    batch.finish()
    assert sorted(len(segment.places) for segment in batch.segments) == [1, 3]
    assert batch.untold == []
    assert batch.length_of(large.content_sha256) == len(large.stored)
    assert batch.length_of("none") is None


def test_a_version_whose_content_is_in_no_open_segment_is_untold(engine: Engine) -> None:
    batch = SegmentBatch(engine.folder)
    record = _record(_encoded(body(n=1)))
    batch.tell(record)
    batch.finish()
    assert batch.untold == [record]
    assert batch.segments == []


def test_a_full_segment_is_followed_by_another(engine: Engine, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("storage.batch.SEGMENT_BYTES", 1000)
    batch = SegmentBatch(engine.folder)
    encoded = [_encoded(large_body(2000, seed=number)) for number in range(4)]
    for one in encoded:
        batch.add(one)
        batch.tell(_record(one))
        batch.rotate_if_full()
    batch.finish()
    assert len(batch.segments) == 4
    assert batch.untold == []
    batch.tell(_record(encoded[0], "/other"))
    assert len(batch.untold) == 1, "its segment is closed, and so is that index"


def test_the_same_bytes_stored_again_keep_the_first_index_and_leave_the_rest_to_the_journal(engine: Engine) -> None:
    encoded = _encoded(body(n=1))
    for library_id, untold in (("/a/b", 0), ("/c/d", 1)):
        batch = SegmentBatch(engine.folder)
        batch.add(encoded)
        batch.tell(_record(encoded, library_id))
        batch.finish()
        assert len(batch.untold) == untold
    (segment,) = batch.segments
    assert [one.library_id for one in read_index(engine.folder.index(segment.segment_sha256)).versions] == ["/a/b"]


def test_a_segment_without_its_name_is_no_segment(engine: Engine) -> None:
    with crash_at("segment: rename"):
        writer = SegmentWriter(engine.folder)
        writer.append(_encoded(body(n=1)))
        writer.finish([])
    assert [path.suffix for path in engine.folder.segments.glob("*/*")] == [".index"]
