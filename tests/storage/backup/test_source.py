"""storage/backup/source.py: what is damaged beyond every other source comes back from a backup."""

from __future__ import annotations

from dataclasses import replace
from datetime import UTC, datetime
from pathlib import Path

import pytest

from models.rows import StoredVersion
from storage.backup.create import Create
from storage.backup.place import Place
from storage.backup.seal import make_key
from storage.backup.source import BackupSource
from storage.compress import Compress
from storage.engine import Engine, Options
from storage.fetches import Fetches
from strongroom.errors import IntegrityError
from tests.support.alike import store_versions
from tests.support.archive import body, check_promises, document, large_body
from tests.support.backups import SMALL


def engine_with(root: Path, place: Place) -> Engine:
    plain = Engine(root)
    source = BackupSource(plain.folder, plain.database.url, place)
    return Engine(root, replace(Options(tree="none"), fetches=Fetches(backup=source)))


def ruin(engine: Engine, library: str) -> None:
    """Overwrite the segment of the latest version, from its beginning to its end."""
    path = engine.folder.segment(engine.find(library).place.segment_sha256)
    path.write_bytes(bytes(path.stat().st_size))


def damage(engine: Engine, one: StoredVersion) -> None:
    path = engine.folder.segment(one.place.segment_sha256)
    data = bytearray(path.read_bytes())
    data[one.place.offset] ^= 1
    path.write_bytes(data)


@pytest.mark.parametrize("sealed", [False, True], ids=["plain", "sealed"])
def test_a_damaged_document_is_mended_from_a_backup(scratch: Path, sealed: bool) -> None:
    now = datetime.now(UTC)
    if sealed:
        make_key(scratch / "key", now)
    place = Place(str(scratch / "backups"), scratch / "key" if sealed else None)
    with engine_with(scratch / "data", place).create() as engine:
        engine.store([document("/small", "1.0", body(n=1)), document("/beside", "1.0", body(n=2))])
        engine.store([document("/large", "1.0", large_body(20 * SMALL))])
        store_versions(engine, "/referring", 3)
        Compress(engine.folder, engine.database, engine.tree, "none", "gzip").run(now, None, lambda _done, _total: None)
        Create(engine, place.make(now), pack_bytes=SMALL).run()
        engine.store([document("/later", "1.0", body(n=3))])
        Create(engine, place.make(now), pack_bytes=SMALL).run()
        for library in ("/small", "/large", "/later"):
            ruin(engine, library)
        assert engine.read("/large") == large_body(20 * SMALL)
        assert engine.read("/small") == body(n=1)
        repaired = engine.repair.verify()
        assert {one.source for one in repaired.repaired if one.library_id == "/later"} == {"backup"}
        engine.folder.segment(engine.find("/referring", "1.0").place.segment_sha256).unlink()
        assert engine.repair.verify().damaged == []
        check_promises(engine)


def test_without_a_backup_or_a_target_that_answers_the_damage_is_said_as_before(scratch: Path) -> None:
    with engine_with(scratch / "data", Place(str(scratch / "nothing"))).create() as engine:
        engine.store([document("/a", "1.0", body(n=1))])
        ruin(engine, "/a")
        with pytest.raises(IntegrityError):
            engine.read("/a")


@pytest.mark.parametrize("by_reading", [False, True], ids=["verify", "read"])
def test_a_whole_chain_of_references_comes_back_from_a_backup_in_one_go(scratch: Path, by_reading: bool) -> None:
    now = datetime.now(UTC)
    place = Place(str(scratch / "backups"))
    with engine_with(scratch / "data", place).create() as engine:
        libraries = [f"/referring-{number}" for number in range(4)]
        for number, library in enumerate(libraries):
            store_versions(engine, library, 4, seed=number)
        wanted = {(one.library_id, one.version): engine.read(one.library_id, one.version) for one in engine.versions()}
        for _ in range(2):
            Compress(engine.folder, engine.database, engine.tree, "none", "gzip").run(now, None, lambda _done, _total: None)
        assert "zstd-ref" in {one.place.codec for one in engine.versions()}
        Create(engine, place.make(now), pack_bytes=SMALL).run()
        for path in engine.folder.trash.iterdir():
            path.unlink()
        for library in libraries:
            ruin(engine, library)  # what the older ones refer to
            damage(engine, engine.find(library, "1.0"))
        if not by_reading:
            assert engine.repair.verify().damaged == []
        assert {key: engine.read(*key) for key in reversed(wanted)} == wanted
