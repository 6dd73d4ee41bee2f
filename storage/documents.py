"""What a document may be: one JSON object in UTF-8, plain or gzipped, checked whole or as a stream by the same rules."""

from __future__ import annotations

import re
import zlib
from collections.abc import Generator, Iterable, Iterator
from typing import Any, BinaryIO

import orjson
from isal import isal_zlib

from storage.identity import FACT_NUMBER_BYTES, INFO_KEY, Identity, identify
from storage.limits import MIB, Limits
from storage.scanner import DocumentScanner
from strongroom.errors import DamagedGzip, DocumentTooLarge, EmptyDocument

__all__ = ["DocumentScanner", "Identity", "Limits", "check_document", "unpack"]

_GZIP_MAGIC = b"\x1f\x8b"
_GZIP_WINDOW_BITS = 31  # zlib's number for: a gzip header and trailer, both checked
_GZIP_HEAD_BYTES = 4  # the magic, the method, the flags (RFC 1952)
_ISAL_FLAGS = (0, 4, 8, 16)  # none, or one of: extra field, name, comment
_GZIP_ERRORS: Any = (isal_zlib.error, zlib.error)  # isal's stub does not know that its error is one
_PIECE_BYTES = MIB // 4
_READ_BYTES = 16 * 1024  # see _inflate_member

# What ends a key: a quote, a colon, and what a value begins with. Not a quote behind one single backslash.
_KEY_END = re.compile(rb'"(?<![^\\]\\")[ \t\r\n]*+:[ \t\r\n]*+(?=["\[{0-9-]|true|false|null)')
_STRING = re.compile(rb'"[^"\\]*+(?:\\.[^"\\]*+)*+"[ \t\r\n]*+(:?)')
_LONG_NUMBER = re.compile(rb"[0-9.eE+-]{%d}" % (FACT_NUMBER_BYTES + 1))


def check_document(data: bytes, limits: Limits) -> Identity:
    """Check a document that is in memory and return what it says about itself.

    Accepts and refuses exactly what ``DocumentScanner`` does, with the same errors: what is not proven to be in order here in
    the fast way, is scanned.

    Raises:
        InvalidDocument: one of its kinds says which rule is broken, the message says where.
    """
    identity = _prove(data, limits)
    if identity is not None:
        return identity
    scanner = DocumentScanner(limits)
    scanner.feed(data)
    return scanner.finish()


def _prove(data: bytes, limits: Limits) -> Identity | None:
    """Return the identity of a document that certainly keeps the rules, or None when that takes a closer look.

    orjson proves the grammar, UTF-8, paired surrogates and that nothing follows (it refuses more: numbers past the range of a
    float). The walk proves depth and number of keys, the size of the whole bounds every scalar. Left are duplicate keys.
    """
    if len(data) > min(limits.whole_bytes, limits.document_bytes, limits.scalar_bytes):
        return None
    try:
        document = orjson.loads(data)
    except orjson.JSONDecodeError:
        return None
    keys = _count_keys(document, limits) if type(document) is dict else None
    if keys is None or not _has_only(keys, data):
        return None
    info = document.get(INFO_KEY)
    facts = info if isinstance(info, dict) else {}
    # A number that is spelled too long is no fact, and a float does not tell how it was spelled.
    if any(type(fact) is float for fact in facts.values()) and _LONG_NUMBER.search(data):
        return None
    return identify(document, facts)


def _has_only(keys: int, data: bytes) -> bool:
    """Prove by counting that a valid text, whose parsed dicts hold so many keys together, names no key of an object twice.

    1. In valid JSON a key's last quote is followed by white space, a colon, white space and the beginning of a value. It ends a
       string, so an even number of backslashes stands before it: none, or two at least, never a single one. So _KEY_END matches
       there. A match holds no quote but its first byte, hence none hides another: there are at least as many matches as keys.
    2. A dict holds each different key of its object once: there are at least as many keys as dicts hold, and exactly as many
       only when no object names one twice.
    3. So when there are as many matches as dicts hold keys, there are as many keys, too: none is there twice.

    More matches come from a duplicate or from a string that begins like the end of a key (``": [x]"``): then every string of
    the text is looked at, which in valid JSON finds the keys themselves, at a third of the speed.
    """
    return len(_KEY_END.findall(data)) == keys or _STRING.findall(data).count(b":") == keys


def _count_keys(document: dict[str, object], limits: Limits) -> int | None:
    """Return the number of keys of all objects, or None when the containers nest too deep or one has too many keys."""
    keys = 0
    level: list[dict[str, object] | list[object]] = [document]
    for _ in range(limits.depth):
        below: list[dict[str, object] | list[object]] = []
        for container in level:
            values: Iterable[object] = container
            if type(container) is dict:
                if len(container) > limits.object_keys:
                    return None
                keys += len(container)
                values = container.values()
            for value in values:
                if type(value) is dict or type(value) is list:
                    below.append(value)  # noqa: PERF401 - a comprehension is a call, for the few values most containers have
        if not below:
            return keys if keys <= limits.open_keys else None
        level = below
    return None


def unpack(source: BinaryIO, limits: Limits) -> Iterator[bytes]:
    """Yield the plain bytes of a stream that is gzip (known by its first two bytes, of one member or several) or plain.

    A piece is not empty and has at most 1 MiB; no more than one is in memory. ``source`` is read, not closed.

    Raises:
        EmptyDocument: there is not one plain byte.
        DocumentTooLarge: more plain bytes than the limit, of which at most the limit was yielded.
        DamagedGzip: the stream is cut short, fails its checksum, or goes on with something else.
    """
    magic = _read_exactly(source, len(_GZIP_MAGIC))
    pieces = _gunzip(source, magic) if magic == _GZIP_MAGIC else _plain(source, magic)
    total = 0
    for piece in pieces:
        total += len(piece)
        if total > limits.document_bytes:
            raise DocumentTooLarge(f"The document has more than {limits.document_bytes} bytes.")
        yield piece
    if not total:
        raise EmptyDocument("The document holds no bytes at all.")


def _plain(source: BinaryIO, head: bytes) -> Iterator[bytes]:
    piece = head
    while piece:
        yield piece
        piece = source.read(_PIECE_BYTES)


def _gunzip(source: BinaryIO, head: bytes) -> Iterator[bytes]:
    rest = head
    while rest:
        rest += _read_exactly(source, _GZIP_HEAD_BYTES - len(rest))
        if not rest.startswith(_GZIP_MAGIC):
            raise DamagedGzip("Behind the end of the gzip stream stands something that is no gzip.")
        rest = yield from _inflate_member(source, rest)
        rest += _read_exactly(source, 1 - len(rest))


def _inflate_member(source: BinaryIO, rest: bytes) -> Generator[bytes, None, bytes]:
    """Yield what one member unpacks to; return what was read behind it."""
    # What is read behind a member's end is copied: with larger reads, a file of a million empty members would be copied for ever.
    # isal 1.9 loses its way in a header of several parts, or with a checksum of its own, that two reads cut. Few files have one.
    flags = rest[_GZIP_HEAD_BYTES - 1 : _GZIP_HEAD_BYTES]
    library = isal_zlib if flags and flags[0] in _ISAL_FLAGS else zlib
    inflate = library.decompressobj(_GZIP_WINDOW_BITS)
    while not inflate.eof:
        # While unpacked bytes are held back, some of the trailer is unread: an empty rest means that the member goes on.
        rest = rest or source.read(_READ_BYTES)
        if not rest:
            raise DamagedGzip("The gzip stream is cut short.")
        try:
            piece = inflate.decompress(rest, _PIECE_BYTES)
        except _GZIP_ERRORS as error:
            raise DamagedGzip(f"The gzip stream is damaged: {error}.") from error
        rest = inflate.unused_data if inflate.eof else inflate.unconsumed_tail
        if piece:
            yield piece
    return rest


def _read_exactly(source: BinaryIO, size: int) -> bytes:
    """Return that many bytes, or fewer at the end of the stream."""
    data = b""
    while len(data) < size and (more := source.read(size - len(data))):
        data += more
    return data
