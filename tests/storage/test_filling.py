"""storage/filling.py, storage/rebuild.py: what is done faster in a catalogue that nobody has seen yet leaves no trace in it."""

from __future__ import annotations

import errno
import gc
import os
from pathlib import Path
from typing import Any
from unittest import mock

import pytest
from sqlalchemy import text

from models.database import Database
from models.migrate import upgrade
from storage.engine import Engine
from storage.rebuild import rebuild
from strongroom.errors import IntegrityError, StorageError
from tests.storage.test_rebuild import NOW, filled, lose, reopened
from tests.support.archive import view
from tests.support.crash import observed
from tests.support.synced import syncs_seen


def schema(url: str) -> set[tuple[str, str, str]]:
    """Return every table and index, and how it is made."""
    database = Database(url)
    try:
        with database.read() as connection:
            assert connection.scalar(text("PRAGMA integrity_check")) == "ok"
            return {tuple(row) for row in connection.execute(text("SELECT type, name, sql FROM sqlite_master"))}
    finally:
        database.close()


def test_a_new_catalogue_has_the_tables_and_indexes_of_any_other(engine: Engine, scratch: Path) -> None:
    blank = Database(f"sqlite:///{scratch / 'blank.db'}")
    upgrade(blank)
    blank.close()
    filled(engine)
    lose(engine.folder.root)
    rebuild(engine.folder, engine.database.url, NOW)
    found = schema(engine.database.url)
    assert found == schema(blank.url)
    assert ("index", "version_listing") in {one[:2] for one in found}


def test_a_new_catalogue_is_synced_behind_its_last_byte_and_before_it_takes_the_place(engine: Engine) -> None:
    filled(engine)
    engine.close()
    new = engine.folder.metadata / "catalogue.db.new"
    lost: list[list[Path]] = []

    def look(step: str) -> None:
        if step == "catalogue: rename":
            lost.append(seen.lost(new))

    with syncs_seen() as seen, observed(look):
        rebuild(engine.folder, engine.database.url, NOW)
    assert lost == [[]]
    assert not list(engine.folder.metadata.glob("*.new*"))


def test_nobody_but_the_switch_syncs_a_new_catalogue_since_a_failure_is_told_once(engine: Engine) -> None:
    """Who opens it as any other catalogue turns it to WAL, and SQLite syncs all of it for that."""
    filled(engine)
    engine.close()
    modes: list[bytes] = []

    def look(step: str) -> None:
        if step == "catalogue: fsync":
            modes.append((engine.folder.metadata / "catalogue.db.new").read_bytes()[18:20])

    with observed(look):
        rebuild(engine.folder, engine.database.url, NOW)
    assert modes == [b"\1\1"], "not SQLite's numbers of a file without a log"


def test_a_new_catalogue_that_cannot_be_read_does_not_take_the_place_of_one_that_can(engine: Engine) -> None:
    before = view(filled(engine))
    engine.close()
    new = engine.folder.metadata / "catalogue.db.new"

    def spoil(step: str) -> None:
        if step == "rebuild: committed":
            new.write_bytes(new.read_bytes()[:100] + bytes(new.stat().st_size - 100))

    with observed(spoil), pytest.raises(IntegrityError):
        rebuild(engine.folder, engine.database.url, NOW)
    assert not list(engine.folder.metadata.glob("*.new*"))
    with reopened(engine) as again:
        assert view(again) == before


def test_a_tree_that_the_disk_does_not_tell_of_stops_no_rebuild(engine: Engine) -> None:
    before = view(filled(engine))
    engine.close()
    asked: list[str] = []
    real = os.stat

    def stat(path: str | Path, *more: object, **options: Any) -> os.stat_result:
        if str(path).startswith(f"{engine.folder.documentation}/"):
            asked.append(str(path))
            raise OSError(errno.EIO, os.strerror(errno.EIO))
        return real(path, *more, **options)

    with mock.patch.object(os, "stat", stat):
        rebuild(engine.folder, engine.database.url, NOW)
    assert asked
    with reopened(engine) as again:
        assert view(again) == before


def test_the_collector_is_at_work_again_afterwards_whatever_happened(engine: Engine) -> None:
    filled(engine)
    engine.close()
    rebuild(engine.folder, engine.database.url, NOW)
    assert gc.isenabled()
    with pytest.raises(StorageError):
        rebuild(engine.folder, f"sqlite:///{engine.folder.root / 'nowhere' / 'catalogue.db'}", NOW)
    assert gc.isenabled()
    gc.disable()
    try:
        rebuild(engine.folder, engine.database.url, NOW)
        assert not gc.isenabled()
    finally:
        gc.enable()
