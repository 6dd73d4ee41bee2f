"""storage/peaks.py: what is predicted is never less than what is added."""

from __future__ import annotations

from datetime import UTC, datetime
from functools import partial
from pathlib import Path

from storage.backup.create import Create
from storage.backup.place import Place
from storage.compress import Compress
from storage.engine import Engine
from storage.footprint import footprint
from storage.peaks import backup_peak, compress_peak, rebuild_peak
from storage.rebuild import rebuild
from tests.support.alike import store_versions


def _segment_bytes(engine: Engine) -> int:
    return sum(path.stat().st_size for path in engine.folder.segments.glob("??/*") if path.suffix != ".index")


def test_compressing_adds_no_more_than_predicted_and_nothing_the_second_time(scratch: Path) -> None:
    with Engine(scratch / "data").create() as engine:
        store_versions(engine, "/a", 6)
        store_versions(engine, "/b", 2, seed=2)
        before = _segment_bytes(engine)
        assert 0 < compress_peak(engine.database, "/b") < compress_peak(engine.database) == before
        Compress(engine.folder, engine.database, engine.tree, "all", "gzip").run(datetime.now(UTC))
        assert _segment_bytes(engine) <= before, "old and new ones together are at most twice as much: the old are in the trash"
        assert compress_peak(engine.database) == 0
        assert compress_peak(engine.database, "/nowhere") == 0


def test_a_backup_adds_no_more_than_predicted_and_nothing_here_when_it_goes_elsewhere(scratch: Path) -> None:
    with Engine(scratch / "data").create() as engine:
        store_versions(engine, "/a", 4)
        place = Place(str(scratch / "data" / "backups"))
        asked = partial(backup_peak, engine.database, engine.folder, place)
        predicted = asked()
        Create(engine, place.make(datetime.now(UTC))).run()
        assert predicted >= footprint(scratch / "data" / "backups") > 0
        assert predicted == asked(full=True) > asked()
        assert backup_peak(engine.database, engine.folder, Place("s3://bucket/prefix")) == 0
        assert backup_peak(engine.database, engine.folder, Place("/proc/elsewhere")) == 0


def test_a_rebuilt_catalogue_is_no_larger_than_predicted(scratch: Path) -> None:
    with Engine(scratch / "data").create() as engine:
        for number in range(40):
            store_versions(engine, f"/library/{number}", 5, seed=number)
        folder, url = engine.folder, engine.database.url
    predicted = rebuild_peak(folder, url)
    file = folder.metadata / "catalogue.db"
    for one in folder.metadata.glob("catalogue.db*"):
        one.unlink()
    rebuild(folder, url, datetime.now(UTC))
    assert predicted >= file.stat().st_size > 0
    assert rebuild_peak(folder, "postgresql+psycopg://somewhere/else") == 0
