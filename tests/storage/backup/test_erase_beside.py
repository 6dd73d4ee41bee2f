"""storage/erase beside other processes: backups and prunes that run meanwhile keep nothing false, and bring nothing back."""

from __future__ import annotations

import threading
from collections.abc import Callable, Iterable, Iterator
from contextlib import suppress
from dataclasses import replace
from pathlib import Path

import pytest

from models.backups import remembered_backups
from storage.backup.local import LocalTarget
from storage.backup.manifest import Manifest, backup_ids, manifests
from storage.backup.place import Place
from storage.backup.prune import Prune
from storage.backup.repository import Repository
from storage.backup.target import Stored
from storage.backup.verify import verify_backup
from storage.engine import Engine
from storage.erase.from_backups import FromBackups, GoneFromBackups
from storage.erase.plan import find_targets
from storage.erase.run import Erasure
from storage.trail import Actor
from strongroom.errors import TransientIO
from tests.support.archive import body, document
from tests.support.backups import SMALL, back_up
from tests.support.crash import observed

ADA = Actor("person:ada", "request 4711")
SECRET, OTHER = "/secret/lib", "/other/lib"


class AtTheManifest(LocalTarget):
    """Has something done once, just before a manifest is kept."""

    def __init__(self, root: Path, work: Callable[[], object]) -> None:
        super().__init__(root)
        self._works = [work]

    def create(self, name: str, pieces: Iterable[bytes]) -> None:
        if name.startswith("backups/") and self._works:
            self._works.pop()()
        super().create(name, pieces)


def root_of(repository: Repository) -> Path:
    assert isinstance(repository.target, LocalTarget)
    return repository.target.root


def erase(engine: Engine) -> None:
    work = Erasure(engine.archive, engine.tree, "all", engine.options.limits)
    work.apply(work.plan(find_targets(engine.database, SECRET)), ADA)


def erase_from_backups(engine: Engine, repository: Repository) -> GoneFromBackups:
    work = FromBackups(engine, Place(str(root_of(repository))), pack_bytes=SMALL)
    return work.apply(work.plan(), ADA)


@pytest.fixture
def stored(engine: Engine) -> Engine:
    engine.store([document(SECRET, "1.0", body(n=10)), document(OTHER, "1.0", body(n=1))])
    return engine


def test_what_a_backup_has_seen_is_not_erased_before_it_has_ended(stored: Engine, repository: Repository) -> None:
    refused = []

    def beside() -> None:
        with Engine(stored.folder.root).open() as other, suppress(TransientIO):
            refused.append(True)
            erase(other)
            refused.clear()

    target = AtTheManifest(root_of(repository), beside)
    made = back_up(stored, replace(repository, target=target))
    assert refused, "then its manifest would bring back what is gone"
    erase(stored)
    assert erase_from_backups(stored, repository).removed == (made.backup_id,)


def test_a_prune_that_removes_a_backup_meanwhile_hides_no_other_one(stored: Engine, repository: Repository) -> None:
    """It is listed and gone when its manifest is read."""
    made = back_up(stored, repository)

    class Late(LocalTarget):
        def names(self, prefix: str = "") -> Iterator[Stored]:
            yield from super().names(prefix)
            if prefix == "backups/":
                yield Stored("backups/20990101T000000Z-00000000.json", 9, made.as_of)

    late = replace(repository, target=Late(root_of(repository)))
    assert [backup_id for backup_id, _ in manifests(late)] == [made.backup_id]


def test_no_backup_begins_while_something_is_erased(stored: Engine, repository: Repository) -> None:
    refused: list[str] = []

    def beside(step: str) -> None:
        if step == "erase: unlink" and not refused:
            with Engine(stored.folder.root).open() as other, pytest.raises(TransientIO, match="erasure is under way") as error:
                back_up(other, repository)
            refused.append(error.value.message)

    with observed(beside):
        erase(stored)
    assert refused
    with stored.database.read() as connection:
        assert remembered_backups(connection) == []
    back_up(stored, repository)


def test_a_prune_that_finds_packs_needed_still_does_not_save_a_backup_that_lacks_them(
    stored: Engine, repository: Repository
) -> None:
    """A backup ends between two steps of the erasure, behind one that goes, and a prune says meanwhile that this is needed."""
    back_up(stored, repository)
    erase(stored)
    stored.store([document(OTHER, "2.0", body(n=2))])
    doomed, ended = threading.Event(), threading.Event()

    def erase_beside() -> None:
        with Engine(stored.folder.root).open() as other:
            erase_from_backups(other, repository)

    eraser = threading.Thread(target=erase_beside)

    def pause(step: str) -> None:
        if threading.current_thread() is eraser and step == "backup: remove" and not doomed.is_set():
            doomed.set()
            assert ended.wait(20)

    def meanwhile() -> None:
        eraser.start()
        assert doomed.wait(20)
        Prune(repository, stored.database, None).apply(stored.archive.clock())

    with observed(pause):
        back_up(stored, replace(repository, target=AtTheManifest(root_of(repository), meanwhile)))
        ended.set()
        eraser.join()
    for backup_id, one in manifests(repository):
        assert isinstance(one, Manifest)
        assert verify_backup(repository, one).problems == (), backup_id
    assert backup_ids(repository)
