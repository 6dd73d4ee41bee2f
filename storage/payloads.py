"""Contents in payloads of the inbox: accepted, failed and kept, or done and not removed yet."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from functools import partial
from pathlib import Path

from storage.documents import Limits, unpack
from storage.layout import DataFolder
from strongroom.contracts import StagedDocument
from strongroom.disposal import DONE
from strongroom.errors import StorageError
from strongroom.inbox import InboxFile

_PLACES = (".", "failed", DONE)
_GZIP_MAGIC = b"\x1f\x8b"
LOOKED_AT = 10_000
"""Payloads that are opened for one content: of a longer backlog the newest."""


def staged_contents(
    folder: DataFolder, limits: Limits, content_sha256: str
) -> Iterator[tuple[str, Callable[[], Iterator[bytes]]]]:
    """Yield the documents of payloads that may hold a content: plain ones by their digest, gzipped ones each.

    With each: what it is, and a function that yields its plain bytes.
    """
    for path in _payloads(folder):
        try:
            with InboxFile(path) as payload:
                fitting = [one for one in payload.manifest.documents if _may_be(payload, one, content_sha256)]
        except (StorageError, OSError):
            continue
        for one in fitting:
            yield f"payload {folder.relative(path)}", partial(_plain, path, one, limits)


def _payloads(folder: DataFolder) -> list[Path]:
    found = [path for place in _PLACES for path in (folder.inbox / place).glob("*.inbox")]
    return sorted(found, key=lambda path: path.name, reverse=True)[:LOOKED_AT]


def _may_be(payload: InboxFile, one: StagedDocument, content_sha256: str) -> bool:
    if one.sha256 == content_sha256:
        return True
    with payload.open(one) as file:
        return file.read(len(_GZIP_MAGIC)) == _GZIP_MAGIC


def _plain(path: Path, one: StagedDocument, limits: Limits) -> Iterator[bytes]:
    with InboxFile(path) as payload, payload.open(one) as source:
        yield from unpack(source, limits)
