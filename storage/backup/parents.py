"""Parents: which backup an incremental one builds on. None that is known not to be whole: the new one would not be either."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from dataclasses import dataclass, field
from datetime import UTC, datetime

from models.backups import BackupRow, remembered_backups
from models.changes import epoch
from models.database import Database
from storage.backup.doomed import doomed_packs
from storage.backup.manifest import Manifest, manifests, read_manifest
from storage.backup.readers import is_for_all
from storage.backup.repository import PACKS, Repository
from storage.backup.snapshot import EPOCH
from strongroom.errors import BackupDamaged, BackupKeyError, NotFound

_NEVER = datetime.min.replace(tzinfo=UTC)


@dataclass(frozen=True, slots=True)
class Parents:
    """The backups of one place, as the catalogue and the place itself tell of them."""

    repository: Repository
    database: Database
    passed_over: dict[str, str] = field(default_factory=dict)
    """What was looked at on the way and has a manifest that nobody can use: its ids, and why."""
    strangers: list[str] = field(default_factory=list)
    """What is newer than the newest of this catalogue: another data folder takes its backups to the same place."""

    def newest(self) -> Manifest | None:
        """Return the newest backup of this catalogue that can be built on, else the newest of any; None: take a full one.

        What has a manifest that cannot be used is passed over, and told. What is not sealed for all who are to open the new one
        is not built on. A target that does not answer is an error: a backup that builds on nothing must not begin since a
        network is down.

        Its packs have to be at the target in their sizes, which costs a listing, and no prune may be about to remove one. That
        bytes have rotted is known of a backup once it was read back: until a full backup has been taken since, which writes them
        anew, no backup that shares a pack with that one is built on.

        Raises:
            StorageError: the target does not answer.
        """
        with self.database.read() as connection:
            mine, rows = epoch(connection), remembered_backups(connection)
        rows = [one for one in rows if one.target == self.repository.target.url]
        first, others = None, list[str]()
        for found in self._whole():
            if found.marks[EPOCH] != mine:
                others.append(found.backup_id)
            elif not self.strangers:
                self.strangers.extend(others)
            if not self._is_suspect(found, rows):
                if found.marks[EPOCH] == mine:
                    return found
                first = first or found
        return first

    def _whole(self) -> Iterator[Manifest]:
        doomed = doomed_packs(self.repository)
        there: Mapping[str, int] | None = None
        for backup_id, found in manifests(self.repository):
            if not isinstance(found, Manifest):
                self.passed_over[backup_id] = found.message
            elif is_for_all(self.repository, found) and not doomed & found.packs.keys():
                if there is None:  # behind the first manifest: what that one needs was there before it
                    there = {one.name.rpartition("/")[2]: one.size_bytes for one in self.repository.target.names(PACKS)}
                if all(there.get(name) == size for name, size in found.packs.items()):
                    yield found

    def _is_suspect(self, found: Manifest, rows: list[BackupRow]) -> bool:
        """Tell whether something was found damaged that this backup may need, and that no full backup has written anew since."""
        anew = (one.started_at for one in rows if one.kind == "full" and one.state in {"done", "removed"})
        written = max((at for at in anew if at <= found.as_of), default=_NEVER)
        damaged = (one for one in rows if one.verdict == "damaged" and one.verified_at is not None and one.verified_at > written)
        return any(self._shares(found, one.backup_id) for one in damaged)

    def _shares(self, found: Manifest, backup_id: str) -> bool:
        try:
            return not found.packs.keys().isdisjoint(read_manifest(self.repository, backup_id).packs)
        except BackupDamaged:  # that is what is damaged of it; whoever builds on another one does not need it
            return False
        except (NotFound, BackupKeyError):  # nobody can tell any more
            return True
