"""Resume: the packs that a run has kept are noted in the data folder: one that was killed need not copy them again."""

from __future__ import annotations

from collections.abc import Iterator, Sequence, Set
from contextlib import contextmanager, suppress
from datetime import datetime
from pathlib import Path

from storage.backup.doomed import doom, doomed_packs
from storage.backup.manifest import Manifest, manifests
from storage.backup.packs import Pack
from storage.backup.repository import Ref, Repository, pack_path
from storage.journal import append_journal, read_journal
from storage.layout import DataFolder
from strongroom import durable
from strongroom.errors import StorageError, TransientIO
from strongroom.locks import locked_if_free, shared_if_free

LOCK = "backup.lock"
"""Backups share it; who erases has it alone: what a backup has seen is not to be erased before its manifest tells of it."""


class Kept:
    """The packs of this run and of those before it that did not come to their end. ``path`` None: another run has the file.

    ``without`` are packs that this run must not need.
    """

    def __init__(self, path: Path | None, readers: Sequence[str] = (), without: Set[str] = frozenset()) -> None:
        self._path = path
        self._readers, self._without = list(readers), without
        self.packs: dict[str, int] = {}
        self.items: dict[str, Ref] = {}

    def recall(self, repository: Repository) -> None:
        """Take up what an earlier run kept, as far as it is still there and nobody is about to remove it."""
        if self._path is None:
            return
        told = list(_told(self._path))
        avoided = doomed_packs(repository) | self._without if told else set()
        for pack, readers in told:
            if not set(self._readers) <= set(readers or repository.sealed_for):  # it died before a key was added
                continue
            there = [one.size_bytes for one in repository.target.names(pack_path(pack.name))]
            if there == [pack.size_bytes] and pack.name not in avoided:
                self.packs[pack.name] = pack.size_bytes
                self.items.update(pack.items)

    @property
    def lasting(self) -> bool:
        """Whether this run has the file: no other one does the same."""
        return self._path is not None

    def recall_again(self, repository: Repository) -> None:
        """Make sure that what was kept is still there."""
        self.packs, self.items = {}, {}
        self.recall(repository)

    def keep(self, pack: Pack) -> None:
        """Remember a pack. Durable on return."""
        self.packs[pack.name] = pack.size_bytes
        self.items.update(pack.items)
        if self._path is not None:
            items = [[key, ref.offset, ref.size_bytes, ref.sha256] for key, ref in pack.items]
            append_journal(self._path, [{"pack": pack.name, "size": pack.size_bytes, "items": items, "for": self._readers}])

    def names(self) -> set[str]:
        """Return all packs that this run has kept, or one before it whose note it goes on with, taken up or not."""
        return self.packs.keys() | {pack.name for pack, _ in (_told(self._path) if self._path is not None else ())}

    def forget(self) -> None:
        """Forget everything: the backup exists, its manifest tells."""
        if self._path is not None:
            with durable.os_errors("cannot remove how far a backup had come"):
                self._path.unlink(missing_ok=True)


def _told(path: Path) -> Iterator[tuple[Pack, list[str]]]:
    """Yield the packs of which a file tells, and for whom each is sealed."""
    with durable.os_errors("cannot read how far a backup had come"):
        for line in read_journal(path):
            name = line["pack"]
            items = tuple((key, Ref(name, offset, length, sha256)) for key, offset, length, sha256 in line["items"])
            yield Pack(name, line["size"], items), line.get("for", [])


def noted_packs(folder: DataFolder, repository: Repository) -> list[Pack]:
    """Return the packs that runs have kept which are under way, or did not come to their end."""
    path = _home(folder) / f"{repository.repository_id}.progress"
    return [pack for pack, _ in _told(path)] if path.exists() else []


def _home(folder: DataFolder) -> Path:
    return folder.metadata / "backup"


@contextmanager
def kept_packs(folder: DataFolder, repository: Repository, without: Set[str] = frozenset()) -> Iterator[Kept]:
    """Yield what is kept. Of two runs at once one has the file, the other one begins anew and harms nobody.

    Raises:
        TransientIO: an erasure is under way.
    """
    home = _home(folder)
    with durable.os_errors("cannot note how far a backup has come"):
        durable.make_folder(home, "backup")
        path = home / f"{repository.repository_id}.progress"
        with shared_if_free(folder.metadata / LOCK) as free, locked_if_free(path.with_suffix(".lock")) as mine:
            if not free:
                raise TransientIO("An erasure is under way.", "Take the backup when it has ended.")
            kept = Kept(path if mine else None, repository.seal.recipients, without)
            kept.recall(repository)
            yield kept


def doom_spare(repository: Repository, kept: Kept, made: Manifest, now: datetime) -> None:
    """Doom what a run, or one that died before it, has kept and no backup needs: a prune need not guess whose it is.

    There is a new backup already, whatever the target answers here.
    """
    with suppress(StorageError):
        spare = kept.names() - made.packs.keys()
        every = [one for _, one in manifests(repository)] if spare else []
        if all(isinstance(one, Manifest) for one in every):
            spare -= {name for one in every if isinstance(one, Manifest) for name in one.packs}
            if spare:
                doom(repository, spare, now)
