"""The best encodings of a content: they take time, so compress makes them later. What they need to be read says ``codec``."""

from __future__ import annotations

import hashlib
import zlib
from collections.abc import Iterable, Iterator, Mapping
from dataclasses import dataclass
from types import MappingProxyType
from typing import Any, Literal

from backports import zstd

from storage.codecs import REFERRING, Compressor, Encoder, smallest_gzip
from storage.segments import Encoded, block_digests

_P = zstd.CompressionParameter
BEST_LEVEL, QUICK_LEVEL = 19, 3
"""Of zstd's levels, on the older versions of 215 real documents: 19 took 91 s and 3 took 2 s; 22 saved under 1 % more."""
_LONGEST_WINDOW = 26
"""64 MiB: a document and its reference. What reads it needs as much; ``zstd -d`` takes up to 27 without being told."""
_STREAM_WINDOW = 25
BEST, SHOWN = 1, 2
"""The ``effort`` of what is written here; the higher one is for what stands alone, so that the tree can show it as it is."""


@dataclass(frozen=True, slots=True)
class Plain:
    """A content in memory."""

    content_sha256: str
    data: bytes


Kept = Literal["gzip", "zstd"]
"""How a content is encoded that is to be read without any other."""


WHOLE_GZIP_BYTES = 96 << 20
"""Longer contents are encoded by zlib as streams: libdeflate takes a content whole or not at all."""


def encode_alone(plain: Plain, kept: Kept, effort: int = BEST) -> Encoded:
    """Return the best encoding that needs no other content."""
    return _encoded(plain, kept, SMALLEST[kept].whole(plain.data), None, effort)


def encode_with(plain: Plain, reference: Plain) -> Encoded:
    """Return the best encoding that refers to another content, which is at most 32 MiB long."""
    return _encoded(plain, REFERRING, _zstd(plain.data, reference.data, BEST_LEVEL), reference)


def quick_bytes(plain: Plain, reference: Plain | None) -> int:
    """Return about how many bytes an encoding would take, relative to others: enough to choose a reference by."""
    return len(_zstd(plain.data, None if reference is None else reference.data, QUICK_LEVEL))


def packed(compressor: Compressor, pieces: Iterable[bytes]) -> Iterator[bytes]:
    """Yield what a compressor makes of pieces."""
    for piece in pieces:
        yield compressor.compress(piece)
    yield compressor.flush()


def _zstd(data: bytes, reference: bytes | None, level: int) -> bytes:
    together = len(data) + (0 if reference is None else len(reference))
    window = min(_LONGEST_WINDOW, max(10, (together - 1).bit_length()))
    options: dict[int, Any] = {_P.compression_level: level, _P.window_log: window, _P.checksum_flag: 1}
    if level == QUICK_LEVEL:
        options[_P.enable_long_distance_matching] = 1  # else it would not see far enough back
    prefix = None if reference is None else zstd.ZstdDict(reference, is_raw=True).as_prefix
    compressor = zstd.ZstdCompressor(options=options, zstd_dict=prefix)
    compressor.set_pledged_input_size(len(data))
    return compressor.compress(data, zstd.ZstdCompressor.FLUSH_FRAME)


def _encoded(plain: Plain, codec: str, stored: bytes, reference: Plain | None, effort: int = BEST) -> Encoded:
    digest = hashlib.sha256(stored).hexdigest()
    known = (plain.content_sha256, len(plain.data), codec, stored, digest, block_digests(stored))
    if reference is None:
        return Encoded(*known, effort=effort)
    return Encoded(*known, reference.content_sha256, 0, len(reference.data), effort)


def _zstd_stream() -> Compressor:
    options: dict[int, Any] = {_P.compression_level: BEST_LEVEL, _P.window_log: _STREAM_WINDOW, _P.checksum_flag: 1}
    return zstd.ZstdCompressor(options=options)


SMALLEST: Mapping[Kept, Encoder] = MappingProxyType(
    {
        "gzip": Encoder("gzip", smallest_gzip, lambda: zlib.compressobj(9, zlib.DEFLATED, 31)),
        "zstd": Encoder("zstd", lambda data: _zstd(data, None, BEST_LEVEL), _zstd_stream),
    }
)
"""How compress encodes what needs no other content. Beside the codecs on arrival, since nobody should wait for these."""
