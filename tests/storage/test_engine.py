"""storage/engine.py and intake.py: what is found under which name, and what a document is taken to be."""

from __future__ import annotations

import gzip
import io
from collections.abc import Iterator
from functools import partial
from pathlib import Path

import pytest

from storage.documents import Limits
from storage.engine import Engine, Options
from storage.identity import Identity
from storage.intake import check_small, incoming, name_of
from storage.paths import tree_path
from strongroom.contracts import DocumentOptions
from strongroom.errors import ConfigurationError, IntegrityError, InvalidIdentifier, InvalidRequest, MissingIdentifier, NotFound
from tests.conftest import OpenEngine
from tests.support.archive import body, document, large_body


def test_documents_are_found_by_their_version_or_as_the_latest(engine: Engine) -> None:
    engine.store([document("/a/b", version, body(v=version)) for version in ("1.9", "1.10", "2.0rc1")])
    assert engine.read("/a/b", "1.9") == body(v="1.9")
    assert engine.read("/a/b") == engine.read("/a/b", "latest") == body(v="1.10")
    assert [one.version for one in engine.versions("/a/b")] == ["2.0rc1", "1.10", "1.9"], "by number; latest is by rank"


@pytest.mark.parametrize(
    ("library_id", "version"), [("/none", None), ("/a/b", "9"), ("/a/b", "LATEST"), ("", None), ("/a/b", "../1.0")]
)
def test_what_is_not_stored_is_not_found(engine: Engine, library_id: str, version: str | None) -> None:
    engine.store([document("/a/b", "1.0", body(n=1))])
    with pytest.raises((NotFound, InvalidIdentifier)):
        engine.read(library_id, version)
    with pytest.raises((NotFound, InvalidIdentifier)):
        engine.stream(library_id, version)


def test_stored_documents_are_there_after_a_restart(data: Path) -> None:
    with Engine(data).open() as engine:
        engine.store([document("/a/b", "1.0", body(n=1))])
    with Engine(data).open() as engine:
        assert engine.read("/a/b") == body(n=1)
        assert engine.totals().versions == 1


def test_totals_tell_what_is_saved(engine: Engine) -> None:
    assert engine.totals().compression_ratio == 0.0
    plain = b'{"text": "' + b"again " * 5000 + b'"}'
    engine.store([document("/a/b", "1.0", plain), document("/a/c", "1.0", body(n=1))])
    totals = engine.totals()
    assert (totals.libraries, totals.versions, totals.size_bytes) == (2, 2, len(plain) + len(body(n=1)))
    assert totals.stored_bytes == sum(one.place.length for one in engine.versions())
    assert 0.9 < totals.compression_ratio < 1


def test_a_document_that_was_moved_between_two_looks_is_read_from_its_new_place(data: Path) -> None:
    """Its old segment is gone when it is opened, and the catalogue knows a newer place by then."""
    with Engine(data).open() as engine:
        engine.store([document("/a/b", "1.0", body(n=1)), document("/a/c", "1.0", body(n=2))])
        before = engine.find("/a/b")
        engine.folder.segment(before.place.segment_sha256).unlink()
        engine.store([document("/a/b", "1.0", body(n=1))])
        assert engine.find("/a/b").place != before.place
        assert b"".join(engine.reader.stream(before, partial(engine.find, "/a/b"))) == body(n=1)
        with pytest.raises(IntegrityError):
            engine.read("/a/c")


def test_a_stream_of_nothing_stored_fails_before_it_is_read(engine: Engine) -> None:
    with pytest.raises(NotFound):
        engine.stream("/a/b")


def test_an_option_that_cannot_be_is_refused(scratch: Path) -> None:
    with pytest.raises(ConfigurationError):
        Engine(scratch, Options(codec="lzma"))
    with pytest.raises(ConfigurationError):
        Engine(scratch, Options(database_url="oracle://x"))
    assert not list(scratch.iterdir())


@pytest.mark.parametrize("codec", ["gzip-fast", "gzip-best", "zstd", "none"])
def test_documents_of_every_codec_are_read_by_an_engine_of_any_other(open_engine: OpenEngine, codec: str) -> None:
    plains = {"1.0": body(n=1), "2.0": large_body(40_000)}
    limits = Limits(whole_bytes=4096)
    open_engine(codec=codec, limits=limits).store([document("/a/b", version, plain) for version, plain in plains.items()])
    for other in ("gzip-fast", "zstd"):
        engine = open_engine(codec=other)
        for version, plain in plains.items():
            assert engine.read("/a/b", version) == b"".join(engine.stream("/a/b", version)) == plain


def test_the_request_goes_before_the_document_itself() -> None:
    told = Identity("/told/library", "1.0", {})
    assert name_of(DocumentOptions(), told).library_id == "/told/library"
    named = name_of(DocumentOptions(library_id="/a/b", version="2.0"), told)
    assert (named.library_id, named.version) == ("/a/b", "2.0")
    assert named.file_path == tree_path("/a/b", "2.0") == "documentation/+a+b/2.0/documentation.json.gz"


def test_a_document_without_a_name_says_which_part_is_missing() -> None:
    with pytest.raises(MissingIdentifier, match="library"):
        name_of(DocumentOptions(version="1.0"), Identity(None, None, {}))
    with pytest.raises(MissingIdentifier, match="version"):
        name_of(DocumentOptions(library_id="/a/b"), Identity(None, None, {}))


def test_a_version_may_be_sorted_as_another() -> None:
    plain, moved = (
        name_of(DocumentOptions(library_id="/a", version="conceptual", sort_as=as_), Identity(None, None, {}))
        for as_ in (None, "7.4")
    )
    seven = name_of(DocumentOptions(library_id="/a", version="7.4"), Identity(None, None, {}))
    assert (moved.order_rank, moved.order_key) == (seven.order_rank, seven.order_key)
    assert (plain.order_rank, plain.order_key) < (moved.order_rank, moved.order_key)


def test_a_source_with_a_nul_is_refused() -> None:
    with pytest.raises(InvalidRequest, match="source"):
        name_of(DocumentOptions(library_id="/a", version="1", source="a\0b"), Identity(None, None, {}))


@pytest.mark.parametrize("data", [b"", b"\x1f", b"\x1f\x8b", b"{}", gzip.compress(b"{}" * 100)])
def test_what_is_claimed_is_never_less_than_what_was_sent(data: bytes) -> None:
    one = incoming(partial(io.BytesIO, data), len(data))
    assert one.claimed_bytes >= one.sent_bytes == len(data)


def test_a_document_that_claims_too_little_is_left_to_the_stream() -> None:
    members = gzip.compress(b'{"a": "' + b"x" * 5000) + gzip.compress(b'"}')
    one = incoming(partial(io.BytesIO, members), len(members), options=DocumentOptions(library_id="/a", version="1"))
    assert check_small(one, Limits()) is None


def test_engines_of_one_folder_see_each_others_stores(open_engine: OpenEngine) -> None:
    engines = [open_engine() for _ in range(2)]

    def versions() -> Iterator[int]:
        return (len(engine.versions()) for engine in engines)

    assert list(versions()) == [0, 0]
    engines[0].store([document("/a/b", "1.0", body(n=1))])
    assert list(versions()) == [1, 1]
