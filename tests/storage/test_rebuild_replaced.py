"""models/replaced.py: what compress has replaced does not come back with a rebuild, unless it is the only good copy."""

from __future__ import annotations

import gzip
from datetime import UTC, datetime

import pytest
from sqlalchemy import text

from models.commit import add_segment
from storage.compress import Compress
from storage.engine import Engine
from storage.read import stored_blocks
from storage.segments import SegmentWriter
from tests.conftest import OpenEngine
from tests.storage.test_rebuild import differences, rebuilt, tables
from tests.support.alike import text as text_of
from tests.support.archive import check_promises, document
from tests.support.crash import crash_at, observed

OLD, NEW, OTHER = text_of(1), text_of(1, [3]), text_of(7)


@pytest.fixture
def engine(open_engine: OpenEngine) -> Engine:
    """One version that compress will encode anew shares its segment with another library's, which stays."""
    engine = open_engine(tree="none").create()
    engine.store([document("/a", "1", OLD), document("/b", "1", OTHER), document("/b", "2", text_of(8))])
    engine.store([document("/a", "2", NEW)])
    return engine


def compress(engine: Engine) -> None:
    Compress(engine.folder, engine.database, engine.tree, "none", "gzip").run(datetime.now(UTC), "/a")


def places(engine: Engine, version: str) -> list[str]:
    """Return the segments in which a version's content lies, the newest last."""
    content = engine.find("/a", version).place.content_sha256
    with engine.database.read() as connection:
        query = text("SELECT segment_sha256 FROM object WHERE content_sha256 = :content ORDER BY object_id")
        return list(connection.execute(query, {"content": content}).scalars())


def again(engine: Engine) -> Engine:
    rebuilt(engine)
    return Engine(engine.folder.root, engine.options).open()


def test_what_compress_has_replaced_does_not_come_back(engine: Engine) -> None:
    shared = engine.find("/a", "1").place.segment_sha256
    compress(engine)
    assert engine.folder.segment(shared).exists(), "the other library's version needs it"
    assert engine.find("/a", "1").place.codec == "zstd-ref"
    before = tables(engine)
    with again(engine) as later:
        assert differences(before, tables(later)) == []
        assert len(places(later, "1")) == 1
        check_promises(later)


def test_an_encoding_that_is_made_once_more_is_not_taken_for_the_one_that_was_replaced(engine: Engine) -> None:
    """The same bytes are the same segment: it replaces what has replaced it."""
    compress(engine)
    engine.store([document("/a", "3", OLD)])  # the newest is gzip, in a segment of its own
    compress(engine)
    first = engine.find("/a", "3").place
    engine.store([document("/a", "4", text_of(1, [5])), document("/a", "5", text_of(1, [6]))])
    compress(engine)  # it refers to a newer one, and shares its segment with another one that does
    engine.store([document("/a", "6", OLD)])
    compress(engine)
    assert engine.find("/a", "6").place.segment_sha256 == first.segment_sha256
    before = tables(engine)
    with again(engine) as later:
        assert differences(before, tables(later)) == []
        assert later.find("/a", "6").place == first


def flipped(engine: Engine, version: str) -> None:
    place = engine.find("/a", version).place
    path = engine.folder.segment(place.segment_sha256)
    data = bytearray(path.read_bytes())
    data[place.offset + place.length // 2] ^= 1
    path.unlink()  # the tree may link to it
    path.write_bytes(data)


@pytest.mark.parametrize("damaged", ["1", "2"], ids=["itself", "what it refers to"])
def test_the_old_place_comes_back_when_the_new_one_is_damaged(engine: Engine, damaged: str) -> None:
    old = engine.find("/a", "1").place.segment_sha256
    compress(engine)
    flipped(engine, damaged)
    with again(engine) as later:
        assert places(later, "1")[0] == old
        assert len(places(later, "1")) == 2


def test_the_old_place_comes_back_when_the_new_one_unpacks_to_something_else(engine: Engine) -> None:
    """Compress reads back what it wrote, and leaves what is wrong for the sweep: a rebuild may come before that."""
    old = engine.find("/a", "1").place
    writer = SegmentWriter(engine.folder)
    writer.describe(writer.append_stream([gzip.compress(OTHER)]), old.content_sha256, old.size_bytes, "gzip")
    writer.finish([], datetime.now(UTC), [old.segment_sha256])
    with again(engine) as later:
        assert places(later, "1")[0] == old.segment_sha256
        assert len(places(later, "1")) == 2


def test_what_does_not_read_back_is_gone_at_once(engine: Engine) -> None:
    before, there = tables(engine), set(engine.folder.segments.glob("??/*"))

    def damage(step: str) -> None:
        if step == "segment: fsync folder":
            for path in set(engine.folder.segments.glob("??/*")) - there:
                if not path.suffix:
                    path.write_bytes(bytes(path.stat().st_size))

    with observed(damage):
        compress(engine)
    assert set(engine.folder.segments.glob("??/*")) == there
    assert differences(before, tables(engine)) == []


@pytest.mark.parametrize("step", ["compress: commit", "segment: rename"])
def test_what_a_compress_that_died_has_written_makes_nothing_unreadable(engine: Engine, step: str) -> None:
    with crash_at(step):
        compress(engine)
    with again(engine) as later:
        assert [later.read("/a", version) for version in "12"] == [OLD, NEW]
        check_promises(later)
        compress(later)
        check_promises(later)
        assert [later.read("/a", version) for version in "12"] == [OLD, NEW]


def test_a_batch_is_given_up_when_a_place_comes_to_be_that_its_index_does_not_name(engine: Engine) -> None:
    place, came = engine.find("/a", "1").place, list[str]()

    def store_once_more(step: str) -> None:
        if step == "segment: rename" and not came:
            came.append(step)
            writer = SegmentWriter(engine.folder)
            writer.append_copy(place, stored_blocks(engine.folder, place))
            with engine.database.write("meanwhile") as connection:
                add_segment(connection, writer.finish([]).segment, datetime.now(UTC))

    with observed(store_once_more):
        compress(engine)
    assert len(places(engine, "1")) == 2, "both are there, and compress has dropped none"
    compress(engine)
    assert len(places(engine, "1")) == 1
    before = tables(engine)
    with again(engine) as later:
        assert differences(before, tables(later)) == []
