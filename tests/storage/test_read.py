"""storage/read.py: nothing is handed out before it has been verified."""

from __future__ import annotations

import errno
import os
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from models.rows import Place
from storage.engine import Engine
from storage.read import file_sha256, is_whole, read_content, stored_blocks, stream_content
from storage.segments import BLOCK_BYTES
from strongroom.errors import IntegrityError, PermissionRefused, TransientIO
from tests.conftest import OpenEngine
from tests.support.archive import body, document, large_body

LARGE = large_body(10 << 20)


@pytest.fixture
def many_blocks(open_engine: OpenEngine) -> tuple[Engine, Place, Path]:
    """A document whose stored bytes fill more than four blocks."""
    engine = open_engine()
    engine.store([document("/large", "1.0", LARGE)])
    place = engine.find("/large").place
    assert place.length > 4 * BLOCK_BYTES
    return engine, place, engine.folder.segment(place.segment_sha256)


def _flip(path: Path, at: int) -> None:
    with path.open("r+b") as file:
        file.seek(at)
        byte = file.read(1)
        file.seek(at)
        file.write(bytes([byte[0] ^ 1]))


def _until_damage(pieces: Iterator[bytes]) -> tuple[bytes, IntegrityError]:
    found = bytearray()
    try:
        for piece in pieces:
            found += piece
    except IntegrityError as error:
        return bytes(found), error
    pytest.fail("no damage was found")


def test_a_document_comes_back_whole_and_as_a_stream(many_blocks: tuple[Engine, Place, Path]) -> None:
    engine, place, _ = many_blocks
    assert read_content(engine.folder, place) == LARGE
    assert b"".join(stream_content(engine.folder, place)) == LARGE
    assert max(map(len, stream_content(engine.folder, place))) <= BLOCK_BYTES


@pytest.mark.parametrize("block", [0, 1, 2, 4])
def test_blocks_before_the_damaged_one_are_handed_out_and_nothing_of_it(
    many_blocks: tuple[Engine, Place, Path], block: int
) -> None:
    engine, place, path = many_blocks
    _flip(path, block * BLOCK_BYTES + 12345)
    stored, error = _until_damage(stored_blocks(engine.folder, place))
    assert error.context["damage"] == "damaged"
    assert stored == path.read_bytes()[: block * BLOCK_BYTES]
    plain, _ = _until_damage(stream_content(engine.folder, place))
    assert LARGE.startswith(plain)
    assert (len(plain) > 0) == (block > 0)
    with pytest.raises(IntegrityError):
        read_content(engine.folder, place)


def test_a_segment_cut_short_or_gone_is_told_apart(many_blocks: tuple[Engine, Place, Path]) -> None:
    engine, place, path = many_blocks
    os.truncate(path, 3 * BLOCK_BYTES + 5)
    _, error = _until_damage(stream_content(engine.folder, place))
    assert error.context["damage"] == "truncated"
    path.unlink()
    plain, error = _until_damage(stream_content(engine.folder, place))
    assert (plain, error.context["damage"]) == (b"", "missing")


def test_every_flipped_bit_of_a_small_document_is_found(engine: Engine) -> None:
    engine.store([document("/a/b", "1.0", body(text="a sample"))])
    place = engine.find("/a/b").place
    path = engine.folder.segment(place.segment_sha256)
    whole = path.read_bytes()
    for at in range(len(whole)):
        for bit in (0x01, 0x80):
            path.write_bytes(whole[:at] + bytes([whole[at] ^ bit]) + whole[at + 1 :])
            assert not is_whole(engine.folder, place)
            with pytest.raises(IntegrityError):
                engine.read("/a/b")
            with pytest.raises(IntegrityError):
                b"".join(engine.stream("/a/b"))
    path.write_bytes(whole)
    assert is_whole(engine.folder, place)


def test_a_link_in_place_of_a_segment_is_not_followed(engine: Engine, scratch: Path) -> None:
    engine.store([document("/a/b", "1.0", body(n=1))])
    path = engine.folder.segment(engine.find("/a/b").place.segment_sha256)
    path.rename(scratch / "elsewhere")
    path.symlink_to(scratch / "elsewhere")
    with pytest.raises(IntegrityError) as caught:
        engine.read("/a/b")
    assert caught.value.context["damage"] == "unreadable"


@pytest.mark.parametrize(
    ("code", "kind"), [(errno.EMFILE, TransientIO), (errno.EACCES, PermissionRefused), (errno.EIO, IntegrityError)]
)
@pytest.mark.parametrize("call", ["open", "pread"])
def test_what_waiting_or_rights_can_heal_is_not_called_damage(
    engine: Engine, monkeypatch: pytest.MonkeyPatch, call: str, code: int, kind: type[Exception]
) -> None:
    engine.store([document("/a/b", "1.0", body(n=1))])
    place = engine.find("/a/b").place

    def refuse(*_arguments: Any) -> int:
        raise OSError(code, os.strerror(code))

    with monkeypatch.context() as patched:
        patched.setattr(os, call, refuse)
        with pytest.raises(kind):
            read_content(engine.folder, place)
    assert read_content(engine.folder, place) == body(n=1)


def test_what_unpacks_to_another_content_is_never_called_whole(engine: Engine) -> None:
    engine.store([document("/a/b", "1.0", body(n=1)), document("/a/b", "2.0", body(n=2))])
    with engine.database.read() as connection:
        one, two = (engine.find("/a/b", version).place for version in ("1.0", "2.0"))
        assert connection is not None
    swapped = Place(one.content_sha256, one.size_bytes + 1, *[getattr(two, name) for name in Place.__slots__[2:]])
    with pytest.raises(IntegrityError, match="unpack to"):
        read_content(engine.folder, swapped)
    with pytest.raises(IntegrityError, match="another content"):
        list(stream_content(engine.folder, swapped))


def test_no_descriptor_stays_open_when_a_stream_is_given_up(many_blocks: tuple[Engine, Place, Path]) -> None:
    engine, place, path = many_blocks
    before = len(os.listdir("/proc/self/fd"))
    pieces = stream_content(engine.folder, place)
    next(pieces)
    pieces.close()  # type: ignore[attr-defined] # a generator
    assert len(os.listdir("/proc/self/fd")) == before
    assert file_sha256(path) == place.segment_sha256
