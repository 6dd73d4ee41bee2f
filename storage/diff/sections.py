"""Sections: a document taken apart into what people would call its parts, whatever its shape.

The items of a list of objects are sections (``chunks``, ``contexts``), and so are the values of an object of objects; everything
else is a field, known by its JSON path. A section's own name is found among what such items usually have: see ``IDENTITIES``.
"""

from __future__ import annotations

import hashlib
import json
import re
from collections.abc import Iterator
from dataclasses import dataclass
from operator import itemgetter
from typing import Any

import orjson

from strongroom.errors import LimitExceeded

MAX_SECTIONS = 200_000
"""Of a document: more would take minutes and gigabytes, and nobody would read it."""

PATHS = ("source_path", "path", "file", "url")


def tail_of(name: str) -> str:
    """Return what the end of a path is called among the names of a section."""
    return f"{name} (end)"


IDENTITIES = (
    "id",
    "source_path",
    "path",
    "file",
    "anchor",
    "slug",
    "url",
    "section_id",
    "chunk_id",
    "source_context",
    "source",
    "title",
    "heading",
    "name",
    *(tail_of(name) for name in PATHS),
)
"""What may name a section, the more lasting first. Which one does is decided by what both documents have in common."""

TITLES = ("title", "heading", "name", "source_context", "source", "source_path", "path", "id", "chunk_id")
TEXTS = ("content", "text", "body", "markdown", "html", "code", "description")

_NAMES_ONLY = frozenset({"chunk_id", "section_id", "entry_id"})
"""Where another field names the section these say nothing: downloaders put the time of the download into them."""

_OF_THE_DOWNLOAD = frozenset(
    {
        *("downloaded_at", "stored_at", "crawled_at", "fetched_at", "retrieved_at", "generated_at"),
        *("download_time", "response_time", "task_id", "proxy_id", "proxy_usage", "attempt_count"),
    }
)
_DERIVED = frozenset(
    {
        *("content_hash", "token_count", "char_count", "word_count", "chunk_count"),
        *("total_tokens", "totalTokens", "total_chunks", "total_content_length", "unique_contexts"),
    }
)
"""Follows from the texts, which are compared themselves."""
_SILENT = _OF_THE_DOWNLOAD | _DERIVED
_OF_THE_DOCUMENT = frozenset(
    {("library_id",), ("version_id",), ("version",)} | {("library_info", name) for name in ("id", "library_id", "version")}
)
_VERSION_IN_URL = re.compile(r"@[^@:/]+:")

Json = Any  # any JSON value: documents have every shape
Step = str | int
Path = tuple[Step, ...]


@dataclass(frozen=True, slots=True)
class Section:
    """A part of a document, without its text. ``container`` is the path of the list or object that it is an item of.

    ``digest`` is of all that counts in it, ``text_digest`` of its text alone (None for a short one, which says little).
    """

    container: Path
    step: Step
    is_field: bool
    names: dict[str, str]
    digest: bytes
    text_digest: bytes | None

    @property
    def path(self) -> Path:
        """Where it stands in its document."""
        return (*self.container, self.step)


def split(document: Json) -> Iterator[tuple[Path, bool, Json]]:
    """Yield path, whether it is a field, and value of every part of a document, in its order. What is empty is no part.

    Raises:
        LimitExceeded: there are more than MAX_SECTIONS.
    """
    count = 0
    stack: list[tuple[Path, Json]] = [((), document)]
    while stack:
        path, value = stack.pop()
        if isinstance(value, dict) and not (path and _all_objects(value.values())):
            stack.extend(((*path, key), value[key]) for key in reversed(value))
            continue
        parts = _parts(path, value)
        count += len(parts)
        if count > MAX_SECTIONS:
            raise LimitExceeded(
                f"The document has more than {MAX_SECTIONS:,} sections.", "Compare its versions with other tools."
            )
        yield from parts


def _parts(path: Path, value: Json) -> list[tuple[Path, bool, Json]]:
    if isinstance(value, dict):
        return [((*path, key), False, item) for key, item in value.items()]
    if isinstance(value, list) and _all_objects(value):
        return [((*path, index), False, item) for index, item in enumerate(value)]
    if _passed_over(path):
        return []
    return [(path, True, value)]


def _all_objects(values: Any) -> bool:  # a view or a list
    return all(isinstance(value, dict) for value in values)


def _passed_over(path: Path) -> bool:
    return path in _OF_THE_DOCUMENT or path[-1] in _SILENT


def describe(path: Path, value: Json, *, is_field: bool) -> Section:
    """Return what must be known of a part to compare it."""
    *container, step = path
    text = text_of(value)
    text_digest = _digest(text.encode()) if len(text) >= 40 else None
    return Section(tuple(container), step, is_field, {} if is_field else _names(value), _digest(canonical(value)), text_digest)


def _digest(data: bytes) -> bytes:
    return hashlib.sha256(data).digest()


def _names(value: dict[str, Json]) -> dict[str, str]:
    api: Json = value.get("metadata")
    api = api.get("api_metadata") if isinstance(api, dict) else None
    inner = {"source_path": api.get("source_path")} if isinstance(api, dict) else {}
    found = inner | {name: value[name] for name in IDENTITIES if name in value}
    return {name: _normal(name, str(one)) for name, one in found.items() if isinstance(one, str | int) and one != ""}


def _normal(name: str, text: str) -> str:
    return _VERSION_IN_URL.sub("@:", text) if name.endswith("url") else text


def text_of(value: Json) -> str:
    """Return the text that a part consists of for a reader; "" where it has none."""
    if isinstance(value, str):
        return value
    if not isinstance(value, dict):
        return ""
    texts = [value[name] for name in TEXTS if isinstance(value.get(name), str)]
    return max(texts, key=len, default="")


def title_of(value: Json, path: Path) -> str:
    """Return what a part is called."""
    if isinstance(value, dict):
        for name in TITLES:
            if isinstance(value.get(name), str | int) and value[name] != "":
                return str(value[name])
    return json_path(path)


def counted(value: Json, depth: int = 0) -> Json:
    """Return a value without what says nothing of its own. Below _DEPTH levels nothing is left out."""
    if isinstance(value, list):
        return [counted(one, depth + 1) for one in value] if depth < _DEPTH else value
    if not isinstance(value, dict) or depth > _DEPTH:
        return value
    silent = _NAMES_ONLY | _SILENT | ({"id"} if depth == 0 else set())
    return {
        key: _normal(key, one) if isinstance(one, str) else counted(one, depth + 1)
        for key, one in value.items()
        if key not in silent
    }


_DEPTH = 64  # documents nest 512 levels, and two calls a level would be too many for Python


def canonical(value: Json) -> bytes:
    """Return the JSON of what counts in a value, one for equal ones."""
    kept = counted(value)
    try:
        return orjson.dumps(kept, option=orjson.OPT_SORT_KEYS)
    except TypeError:  # integers beyond 64 bits, or more levels than orjson goes
        # Hexadecimal, since Python refuses to write 4,301 decimal digits.
        plain = ((json_path(path), hex(one) if type(one) is int else one) for path, one in leaves(kept))
        return json.dumps(sorted(plain, key=itemgetter(0)), ensure_ascii=False).encode()


def leaves(value: Json) -> Iterator[tuple[Path, Json]]:
    """Yield path and value of all that is in a value and holds nothing else: what is empty, too. In its order, however deep."""
    stack: list[tuple[Path, Json]] = [((), value)]
    while stack:
        path, one = stack.pop()
        if isinstance(one, dict) and one:
            stack.extend(((*path, key), one[key]) for key in reversed(one))
        elif isinstance(one, list) and one:
            stack.extend(((*path, index), one[index]) for index in reversed(range(len(one))))
        else:
            yield path, one


_PLAIN_KEY = re.compile(r"[A-Za-z_][A-Za-z0-9_-]*")


def json_path(path: Path) -> str:
    """Return a path as people write it: chunks[3].metadata, pages["/a b"]."""
    told = ""
    for step in path:
        if isinstance(step, int):
            told += f"[{step}]"
        elif _PLAIN_KEY.fullmatch(step):
            told += f".{step}" if told else step
        else:
            told += f"[{json.dumps(step, ensure_ascii=False)}]"
    return told
