"""Resume: the packs that a run has kept are noted in the data folder: one that was killed need not copy them again."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path

from storage.backup.packs import Pack
from storage.backup.repository import Ref, Repository, doomed_packs, pack_path
from storage.journal import append_journal, read_journal
from storage.layout import DataFolder
from strongroom import durable
from strongroom.locks import locked_if_free


class Kept:
    """The packs of this run and of those before it that did not come to their end. ``path`` None: another run has the file."""

    def __init__(self, path: Path | None, readers: Sequence[str] = ()) -> None:
        self._path = path
        self._readers = list(readers)
        self.packs: dict[str, int] = {}
        self.items: dict[str, Ref] = {}

    def recall(self, repository: Repository) -> None:
        """Take up what an earlier run kept, as far as it is still there and nobody is about to remove it."""
        if self._path is None:
            return
        with durable.os_errors("cannot read how far a backup had come"):
            told = list(read_journal(self._path))
        doomed = doomed_packs(repository) if told else set()
        for line in told:
            if not set(self._readers) <= set(line.get("for", repository.sealed_for)):  # it died before a key was added
                continue
            name, size = line["pack"], line["size"]
            there = [one.size_bytes for one in repository.target.names(pack_path(name))]
            if there == [size] and name not in doomed:
                self.packs[name] = size
                self.items.update((key, Ref(name, offset, length, sha256)) for key, offset, length, sha256 in line["items"])

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

    def forget(self) -> None:
        """Forget everything: the backup exists, its manifest tells."""
        if self._path is not None:
            with durable.os_errors("cannot remove how far a backup had come"):
                self._path.unlink(missing_ok=True)


@contextmanager
def kept_packs(folder: DataFolder, repository: Repository) -> Iterator[Kept]:
    """Yield what is kept. Of two runs at once one has the file, the other one begins anew and harms nobody."""
    home = folder.metadata / "backup"
    with durable.os_errors("cannot note how far a backup has come"):
        durable.make_folder(home, "backup")
        path = home / f"{repository.repository_id}.progress"
        with locked_if_free(path.with_suffix(".lock")) as mine:
            kept = Kept(path if mine else None, repository.seal.recipients)
            kept.recall(repository)
            yield kept
