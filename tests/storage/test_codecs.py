"""storage/codecs.py: what goes in comes out, and what is not a whole stream is refused."""

from __future__ import annotations

import gzip
import shutil
import subprocess
from collections.abc import Iterator

import pytest
from hypothesis import given
from hypothesis import strategies as st

from storage.codecs import ENCODERS, PIECE_BYTES, Encoder, decode, encoder_of
from strongroom.errors import ConfigurationError, IntegrityError
from tests.support.archive import large_body

Every = pytest.mark.parametrize("name", ENCODERS)
COMPRESSING = [name for name in ENCODERS if name != "none"]


def _pieces(data: bytes, size: int) -> Iterator[bytes]:
    return (data[at : at + size] for at in range(0, len(data), size))


def _streamed(encoder: Encoder, pieces: Iterator[bytes]) -> bytes:
    compressor = encoder.stream()
    return b"".join([*(compressor.compress(piece) for piece in pieces), compressor.flush()])


@Every
@given(plain=st.binary(max_size=5000) | st.text("ab", max_size=50_000).map(str.encode), size=st.integers(1, 700))
def test_what_went_in_comes_out_whole_and_in_pieces_of_any_size(name: str, plain: bytes, size: int) -> None:
    encoder = encoder_of(name)
    for stored in (encoder.whole(plain), _streamed(encoder, _pieces(plain, size))):
        assert b"".join(decode(iter((stored,)), encoder.format)) == plain
        assert b"".join(decode(_pieces(stored, size), encoder.format)) == plain


@Every
def test_equal_content_gives_equal_bytes(name: str) -> None:
    plain = large_body(300_000)
    encoder = encoder_of(name)
    assert encoder.whole(plain) == encoder.whole(plain)
    assert _streamed(encoder, _pieces(plain, 1000)) == _streamed(encoder, _pieces(plain, 1000))


@Every
def test_pieces_are_bounded_however_well_they_are_compressed(name: str) -> None:
    plain = b"\0" * (5 * PIECE_BYTES + 17)
    encoder = encoder_of(name)
    found = 0
    for piece in decode(_pieces(encoder.whole(plain), PIECE_BYTES), encoder.format):
        assert 0 < len(piece) <= PIECE_BYTES
        found += len(piece)
    assert found == len(plain)


@pytest.mark.parametrize("name", COMPRESSING)
@pytest.mark.parametrize("size", [7, 1000, 1 << 20])
def test_a_stream_that_ends_early_or_goes_on_is_refused(name: str, size: int) -> None:
    encoder = encoder_of(name)
    stored = encoder.whole(large_body(20_000))
    wrong = [stored[:cut] for cut in (0, 1, len(stored) // 2, len(stored) - 8, len(stored) - 1)]
    wrong += [stored + more for more in (b"x", b"\0" * 9, stored)]
    for data in wrong:
        with pytest.raises(IntegrityError):
            b"".join(decode(_pieces(data, size), encoder.format))


@pytest.mark.parametrize("name", ["gzip-fast", "gzip-best"])
def test_a_flipped_byte_of_a_gzip_member_is_refused_or_changes_nothing(name: str) -> None:
    plain = b'{"text": "one short document, to be flipped at every byte"}'
    stored = encoder_of(name).whole(plain)
    refused = 0
    for at in range(len(stored)):
        damaged = stored[:at] + bytes([stored[at] ^ 0x20]) + stored[at + 1 :]
        try:
            found = b"".join(decode(iter((damaged,)), "gzip"))
        except IntegrityError:
            refused += 1
        else:
            assert found == plain, "in the header's time or the padding a flip is harmless"
    assert refused >= len(stored) - 10


def test_plain_tools_unpack_what_is_stored() -> None:
    plain = large_body(100_000)
    for name in ("gzip-fast", "gzip-best"):
        stored = encoder_of(name).whole(plain)
        assert gzip.decompress(stored) == plain
        assert stored[4:8] == b"\0\0\0\0", "no time: equal content gives equal bytes"
        assert subprocess.run(["gzip", "-dc"], input=stored, capture_output=True, check=True).stdout == plain
    if shutil.which("zstd"):
        stored = encoder_of("zstd").whole(plain)
        assert subprocess.run(["zstd", "-dc"], input=stored, capture_output=True, check=True).stdout == plain


def test_every_format_that_is_written_can_be_read() -> None:
    for encoder in ENCODERS.values():
        assert b"".join(decode(iter((encoder.whole(b"{}"),)), encoder.format)) == b"{}"


def test_an_unknown_format_says_who_can_read_it() -> None:
    with pytest.raises(IntegrityError, match="brotli") as caught:
        list(decode(iter((b"x",)), "brotli"))
    assert "release" in caught.value.hint


def test_an_unknown_codec_is_refused_with_those_that_exist() -> None:
    with pytest.raises(ConfigurationError, match="gzip-fast, gzip-best, zstd, none"):
        encoder_of("lzma")
