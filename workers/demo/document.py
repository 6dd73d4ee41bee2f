"""A document in the downloader's shape 1.0, made of texts: sorted keys, indented, equal texts give equal bytes."""

from __future__ import annotations

import hashlib
import json
from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path

CHUNK_CHARS = 6000
MADE_AT = "2026-01-01T00:00:00+00:00"
"""Stands for the time of the download, so that the same packages give the same bytes on every machine and day."""


@dataclass(frozen=True, slots=True)
class Entry:
    """A piece of documentation: what it is about, where it stands, and what it says."""

    title: str
    where: str
    text: str


@dataclass(frozen=True, slots=True)
class Made:
    """A document that lies ready as a file, and what must come back. ``renamed``: the file itself names another version."""

    path: Path
    library_id: str
    version: str
    size_bytes: int
    sha256: str
    renamed: bool = False


def write_document(folder: Path, library_id: str, version: str, entries: Sequence[Entry]) -> Made:
    """Write the document below ``folder`` and return what it holds."""
    body = document_bytes(library_id, version, entries)
    path = folder / library_id.strip("/") / f"{version}.json"
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_bytes(body)
    return Made(path, library_id, version, len(body), hashlib.sha256(body).hexdigest())


def document_bytes(library_id: str, version: str, entries: Sequence[Entry]) -> bytes:
    """Return the document as UTF-8."""
    chunks = [_chunk(f"{library_id}_{number:04}", group) for number, group in enumerate(_grouped(entries))]
    document = {
        "library_id": library_id,
        "version_id": version,
        "downloaded_at": MADE_AT,
        "storage_format_version": "1.0",
        "chunks": chunks,
        "summary": {
            "total_chunks": len(chunks),
            "total_entries": len(entries),
            "total_tokens": sum(_tokens(entry.text) for entry in entries),
        },
    }
    text = json.dumps(document, ensure_ascii=False, sort_keys=True, indent=2)
    return text.encode("utf-8", "replace")  # a docstring may hold half of a surrogate pair, which UTF-8 cannot


def _chunk(chunk_id: str, entries: Sequence[Entry]) -> dict[str, object]:
    content = "\n\n".join(f"{entry.title}\n{entry.text}" for entry in entries)
    return {
        "chunk_id": chunk_id,
        "content": content,
        "content_hash": hashlib.sha256(content.encode("utf-8", "replace")).hexdigest(),
        "download_time": MADE_AT,
        "metadata": {"extracted_entries": [{"title": entry.title, "source": entry.where} for entry in entries]},
        "proxy_id": None,
        "source_context": entries[0].where,
        "token_count": _tokens(content),
    }


def _grouped(entries: Iterable[Entry]) -> Iterator[list[Entry]]:
    group: list[Entry] = []
    size = 0
    for entry in entries:
        if group and size + len(entry.text) > CHUNK_CHARS:
            yield group
            group, size = [], 0
        group.append(entry)
        size += len(entry.text)
    if group:
        yield group


def _tokens(text: str) -> int:
    return len(text) // 4  # the usual rule of thumb for English
