"""storage/backup/source.py: what is damaged beyond every other source comes back from a backup."""

from __future__ import annotations

from dataclasses import replace
from datetime import UTC, datetime
from pathlib import Path

import pytest

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
