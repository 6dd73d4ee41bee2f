"""Tales: what the parts of a backup tell of what is erased. Indexes, parts of the journal and dumps all are lines of JSON."""

from __future__ import annotations

import re
from collections.abc import Iterable, Iterator, Mapping, Set
from dataclasses import dataclass, field
from datetime import datetime
from typing import Any

import orjson

from models.erasing import is_kept_in_trail
from storage.erase.needles import DIGEST
from storage.erase.note import Target
from storage.erase.scope import Scope
from storage.erase.words import told_target
from storage.events import REDACTED
from storage.journal import entry_of

_ID = re.compile(rb'"library_id":("(?:[^"\\]|\\.)*")')
_BYTES = 32


@dataclass(frozen=True, slots=True)
class Tale:
    """What some bytes tell: which of what is erased, what contents that had, and every digest that stands there.

    ``digests``: 32 bytes each, one behind the other: there may be millions.
    """

    targets: frozenset[Target] = frozenset()
    contents: frozenset[bytes] = frozenset()
    digests: bytes = field(default=b"", repr=False)

    def tells(self, contents: Set[bytes]) -> bool:
        """Whether this tells of what is erased, or names one of these contents."""
        return bool(self.targets) or self.names_any(contents)

    def names_any(self, contents: Set[bytes]) -> bool:
        """Whether the digest of one of these contents stands there."""
        return any(self.digests[at : at + _BYTES] in contents for at in range(0, len(self.digests), _BYTES))


@dataclass(slots=True)
class Telling:
    """Reads tales. Lines are parsed only where an id stands that matters."""

    scope: Scope
    _ids: frozenset[bytes] = field(init=False)

    def __post_init__(self) -> None:
        self._ids = frozenset(orjson.dumps(one) for one in self.scope.ids())

    def of_index(self, data: bytes) -> Tale:
        """Return what the index of a segment tells."""
        return self._tale(data, map(_json, data.splitlines()))

    def of_journal(self, data: bytes) -> Tale:
        """Return what a part of the journal tells."""
        return self._tale(data, map(entry_of, data.splitlines(keepends=True)))

    def of_rows(self, table: str, data: bytes) -> Tale:
        """Return what the dump of a table tells: of the audit trail its entries, of any other one the digests alone."""
        found = set(map(self._audited, map(_json, data.splitlines()))) if table == "audit" and self._matters(data) else set()
        return Tale(frozenset(one for one in found if one is not None), frozenset(), _digests(data))

    def _tale(self, data: bytes, entries: Iterable[Mapping[str, Any] | None]) -> Tale:
        targets: set[Target] = set()
        contents: set[bytes] = set()
        for entry in entries if self._matters(data) else ():
            target = told_target(entry, self.scope) if entry and len(entry) == 1 else None
            if entry and target is not None:
                targets.add(target)
                contents.update(_contents(entry))
        return Tale(frozenset(targets), frozenset(contents), _digests(data))

    def _matters(self, data: bytes) -> bool:
        return not self._ids.isdisjoint(_ID.findall(data))

    def _audited(self, row: Mapping[str, Any] | None) -> Target | None:
        if row is None or is_kept_in_trail(row["action"]):
            return None
        return self.scope.target_of(row["library_id"], row["version"] or None, datetime.fromisoformat(row["at"]))


def _json(line: bytes) -> dict[str, Any] | None:
    try:
        told = orjson.loads(line)
    except ValueError:
        return None
    return told if isinstance(told, dict) else None


def _contents(entry: Mapping[str, Any]) -> Iterator[bytes]:
    (told,) = entry.values()
    content = told.get("content_sha256")
    if content and content != REDACTED:
        yield bytes.fromhex(content)


def _digests(data: bytes) -> bytes:
    return b"".join(bytes.fromhex(one.decode()) for one in {found[0] for found in DIGEST.finditer(data)})
