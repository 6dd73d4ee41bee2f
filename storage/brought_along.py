"""What comes along with an import's documents, by the same commit: pins, labels, and other names of the library."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, field
from datetime import datetime

from sqlalchemy import Connection

from models.curation import LabelRow, PinRow, list_labels, list_pins, put_label, put_pin
from models.leases import LeaseLost
from models.names import AliasRow, is_library, last_change, put_alias, real_names
from storage.allowance import BY_HAND
from storage.engine import Engine
from storage.events import Event, Labelled, Pinned
from storage.library_events import Imported
from storage.name_events import Aliased
from storage.paths import LATEST, check_identifier
from storage.portable import Alias, Manifest
from storage.trail import Actor, behind, record_events
from strongroom.contracts import DocumentReceipt
from strongroom.errors import QuotaExceeded


class Refused(LeaseLost):
    """A document cannot be stored: then nothing of the file is, and the disk does not say that it was."""


@dataclass(slots=True)
class Along:
    """Adds what the manifest says to the open transaction. ``aliases`` are left out where they mean something here."""

    engine: Engine
    manifest: Manifest
    library_id: str
    actor: Actor
    aliases: Sequence[Alias] = ()
    counts: tuple[int, int, int] = field(default=(0, 0, 0), init=False)
    """Pins, labels and aliases that were added."""

    def add(self, connection: Connection, receipts: Sequence[DocumentReceipt]) -> None:
        """Add what is not there; refuse all when one of the documents cannot be stored."""
        _refuse_failed(receipts)
        library_id, actor, at = self.library_id, self.actor, self.engine.archive.clock()
        pinned = {one.version for one in list_pins(connection, library_id)}
        labelled = {one.label for one in list_labels(connection, library_id)}
        pins = [one for one in self.manifest.pins if one.version not in pinned]
        labels = [one for one in self.manifest.labels if one.label not in {*labelled, LATEST}]  # nobody could read that one
        aliases = self._free(connection, behind(at, last_change(connection, library_id)))
        events: list[Event] = [Pinned(library_id, one.version, at, actor.by, one.why) for one in pins]
        events += [
            Labelled(library_id, check_identifier(one.label, "label"), one.version, at, actor.by, one.why) for one in labels
        ]
        events += [Aliased(one.library_id, one.alias, one.at, one.by, one.why) for one in aliases]
        stored = sum(one.status == "stored" for one in receipts)
        if events or stored:
            events.append(Imported(library_id, stored, at, actor.by, actor.why))
            record_events(self.engine.folder.journal, connection, events)
        for pin in pins:
            put_pin(connection, PinRow(library_id, pin.version, at, actor.by, pin.why))
        for label in labels:
            put_label(connection, LabelRow(library_id, label.label, label.version, at, actor.by, label.why))
        for alias in aliases:
            put_alias(connection, alias)
        self.counts = (len(pins), len(labels), len(aliases))

    def _free(self, connection: Connection, at: datetime) -> list[AliasRow]:
        """Return the aliases that mean nothing here: neither a library's own id nor another one's alias is ever taken."""
        told = {one.alias: one for one in self.aliases if one.alias != self.library_id}
        taken = {*real_names(connection, told), *(name for name in told if is_library(connection, name))}
        left = (one for name, one in told.items() if name not in taken)
        return [AliasRow(one.alias, self.library_id, at, self.actor.by, one.why) for one in left]


def _refuse_failed(receipts: Sequence[DocumentReceipt]) -> None:
    for one in receipts:
        if one.error is not None and one.error.code == QuotaExceeded.code:
            raise QuotaExceeded(f"{one.error.message} Nothing was imported.", BY_HAND, one.error.context)
        if one.error is not None:
            raise Refused(one.error.message, one.error.hint)
