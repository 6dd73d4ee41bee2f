"""A catalogue that was restored from an older copy, beside a newer inbox and newer segments: nothing accepted since is lost."""

from __future__ import annotations

import os
import shutil
import sqlite3
from collections.abc import Callable
from datetime import UTC, datetime, timedelta
from pathlib import Path

import pytest

from storage.rebuild import rebuild
from storage.sweep import ABANDONED, Sweep
from strongroom.errors import NotFound
from tests.support.desk import Desk, document

BEFORE, SINCE, WAITING = (f"job-0000000{number}" for number in (1, 2, 3))


def _restore(catalogue: Path, copy: Path) -> None:
    for path in catalogue.parent.glob("catalogue.db*"):
        path.unlink()
    shutil.copyfile(copy, catalogue)


def test_what_was_accepted_since_is_done_and_what_was_stored_since_comes_back(
    open_desk: Callable[..., Desk], scratch: Path
) -> None:
    desk, copy = open_desk(), scratch / "older.db"
    catalogue, url = desk.engine.folder.metadata / "catalogue.db", desk.engine.database.url
    desk.stage(BEFORE, document(version="1"))
    desk.run(BEFORE)
    with sqlite3.connect(catalogue) as now, sqlite3.connect(copy) as older:
        now.backup(older)
    desk.stage(SINCE, document(version="2"))
    assert desk.run(SINCE).state == "done"
    os.utime(desk.stage(WAITING, document(version="3")), (0, 0))
    desk.close()
    _restore(catalogue, copy)

    restored = open_desk()
    assert restored.reconcile() == 1
    restored.deliver()
    assert restored.job(WAITING).state == "done", "its file in the inbox is the job, whatever the catalogue knew"
    assert restored.engine.read("/a/b", "3")
    with pytest.raises(NotFound):
        restored.engine.read("/a/b", "2")
    later = datetime.now(UTC) + ABANDONED + timedelta(minutes=1)
    swept = Sweep(restored.engine.folder, restored.engine.database).run(later)
    assert (swept.untold, swept.abandoned) == (1, 0), "only that segment holds it"
    restored.close()

    rebuild(restored.engine.folder, url, datetime.now(UTC))
    rebuilt = open_desk()
    assert [rebuilt.engine.read("/a/b", version) for version in "123"] == [document(version=version) for version in "123"]
    assert rebuilt.job(WAITING).state == "done", "the history of jobs is taken along"
