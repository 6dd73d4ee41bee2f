"""storage/sweep.py: what nothing names goes, in its time; what anything names stays readable, whatever happens meanwhile."""

from __future__ import annotations

import errno
import os
import shutil
import sqlite3
import subprocess
import tempfile
import threading
from collections.abc import Callable, Iterator
from contextlib import suppress
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any

import pytest
from sqlalchemy import update

from models.tables import Segment, table_of
from models.upkeep_tables import RemovedVersion
from storage import verify
from storage.carry import carry_over
from storage.cleanup import make_plan
from storage.engine import Engine
from storage.events import read_events
from storage.index import VersionRecord, read_index
from storage.policies import parse_policies
from storage.rebuild import rebuild
from storage.removal import Removal
from storage.sweep import ABANDONED, LEAST_GRACE, LONGEST_STORE, Sweep, Swept
from storage.tidy import tidy
from storage.trash import empty_trash, list_trash, throw_away
from strongroom.errors import DiskFull, NotFound, StorageError
from strongroom.result import Err, capture
from tests.support.archive import body, check_promises, document, large_body, revisions, unfinished, view
from tests.support.crash import crash_at, die_at, observed, steps_of
from tests.support.faults import faults
from tests.support.scenarios import OPTIONS
from tests.support.thorough import crash_places, stride

KEEP_ONE = parse_policies({"*": {"keep_last": 1}})
GRACE = timedelta(hours=24)
NOW = datetime.now(UTC)
LATER = NOW + timedelta(hours=30)
MUCH_LATER = NOW + timedelta(days=30)
SLACK = timedelta(hours=6)
"""More than a run of every test takes: files are as old as the test that wrote them, `NOW` is when the run began."""


def _clean(engine: Engine, now: datetime = NOW) -> str:
    plan = make_plan(engine.database, KEEP_ONE, now)
    Removal(engine.folder, engine.database).apply(plan, "schedule", now)
    engine.tree.catch_up()
    return plan.plan_id


def _sweep(engine: Engine, now: datetime, grace: timedelta = GRACE) -> Swept:
    return Sweep(engine.folder, engine.database, grace).run(now)


def _segments(engine: Engine) -> set[str]:
    """Return the segments on disk; each has its index."""
    names = {path.name for path in engine.folder.segments.glob("??/*")}
    segments = {name for name in names if not name.endswith(".index")}
    assert names == segments | {f"{name}.index" for name in segments}
    return segments


def _in_trash(engine: Engine) -> set[str]:
    return {one.segment_sha256 for one in list_trash(engine.folder)}


def _alone(engine: Engine, count: int = 3) -> None:
    """Store versions in a segment each."""
    for number in range(count):
        engine.store([document("/a/b", f"1.{number}", body(number=number))])
    engine.tree.catch_up()


def _together(engine: Engine, count: int = 8) -> None:
    """Store versions in one segment: the bytes of all but the newest are most of it."""
    engine.store([document("/a/b", f"1.{number}", large_body(2000, seed=number)) for number in range(count)])
    engine.tree.catch_up()


def _segment_of(engine: Engine, version: str) -> str:
    return engine.find("/a/b", version).place.segment_sha256


def _the_disk_tells_all(engine: Engine) -> None:
    """Some index or the journal has the record of every revision: without it a rebuild would lose that one."""
    told = {
        (one.library_id, one.version, one.stored_at)
        for name in _segments(engine)
        for one in read_index(engine.folder.index(name)).versions
    }
    told |= {
        (event.library_id, event.version, event.stored_at)
        for event in read_events(engine.folder.journal)
        if isinstance(event, VersionRecord)
    }
    assert {(one.library_id, one.version, one.created_at) for one in revisions(engine)} <= told


# --- the life of bytes ---


def test_bytes_go_to_the_trash_after_one_grace_period_and_for_good_after_another(engine: Engine) -> None:
    _alone(engine)
    keep, gone = _segment_of(engine, "1.2"), {_segment_of(engine, "1.0"), _segment_of(engine, "1.1")}
    _clean(engine)
    assert _sweep(engine, NOW + timedelta(hours=23)) == Swept()
    assert _segments(engine) == gone | {keep}
    swept = _sweep(engine, LATER)
    assert (swept.purged, swept.condemned, swept.deleted) == (2, 2, 0)
    assert (_segments(engine), _in_trash(engine)) == ({keep}, gone)
    assert swept.trashed_bytes == sum(one.path.stat().st_size for one in list_trash(engine.folder) if one.kind == "segment")
    assert _sweep(engine, LATER + timedelta(hours=23)).deleted == 0
    swept = _sweep(engine, LATER + timedelta(hours=25))
    assert swept.deleted == 2
    assert swept.deleted_bytes > 0
    assert _in_trash(engine) == set()
    check_promises(engine)


def test_until_the_grace_period_ends_undo_brings_back_what_was_swept_around(engine: Engine) -> None:
    _alone(engine)
    before = view(engine)
    plan_id = _clean(engine)
    _sweep(engine, NOW + timedelta(hours=23))
    Removal(engine.folder, engine.database).undo(plan_id, "person:bob", NOW)
    engine.tree.catch_up()
    assert view(engine) == before
    check_promises(engine)
    plan_id = _clean(engine)
    _sweep(engine, LATER)
    with pytest.raises(NotFound):
        Removal(engine.folder, engine.database).undo(plan_id, "person:bob", LATER)


def test_a_segment_stays_while_anything_in_it_is_named(engine: Engine) -> None:
    engine.store([document("/a/b", "1.0", body(shared=1)), document("/a/b", "1.1", body(alone=2))])
    engine.store([document("/c/d", "1.0", body(shared=1))])
    _clean(engine)
    swept = _sweep(engine, LATER)
    assert (swept.purged, swept.condemned) == (1, 0)
    assert engine.read("/c/d") == body(shared=1)
    check_promises(engine)


@pytest.mark.parametrize("protection", ["young", "pinned"])
def test_young_and_pinned_segments_stay(engine: Engine, protection: str) -> None:
    _alone(engine)
    _clean(engine)
    table = table_of(Segment)
    values = {"created_at": LATER - LONGEST_STORE + timedelta(minutes=1)} if protection == "young" else {"pins": 1}
    with engine.database.write() as connection:
        connection.execute(update(table).values(values))
    assert _sweep(engine, LATER).condemned == 0
    assert len(_segments(engine)) == 3


def test_the_number_of_a_purged_revision_is_not_given_again(engine: Engine) -> None:
    _alone(engine, 2)
    _clean(engine)
    _sweep(engine, LATER)
    receipt = engine.store([document("/a/b", "1.0", body(anew=1))])[0]
    assert (receipt.status, receipt.revision) == ("stored", 2)
    _clean(engine, MUCH_LATER)
    _sweep(engine, MUCH_LATER + timedelta(days=2))
    with engine.database.read() as connection:
        left = connection.execute(table_of(RemovedVersion).select()).mappings().all()
    assert [(row["version"], row["revision"], row["purged_at"] is not None) for row in left] == [("1.0", 2, True)]


def test_a_grace_period_of_nothing_is_an_hour(engine: Engine) -> None:
    _alone(engine)
    _clean(engine)
    assert _sweep(engine, NOW + LEAST_GRACE - timedelta(minutes=5), timedelta(0)).purged == 0
    assert _sweep(engine, NOW + LEAST_GRACE + SLACK, timedelta(0)).purged == 2


def test_the_tree_has_let_go_before_anything_is_purged(engine: Engine) -> None:
    _alone(engine)
    plan = make_plan(engine.database, KEEP_ONE, NOW)
    Removal(engine.folder, engine.database).apply(plan, "schedule", NOW)
    assert _sweep(engine, LATER).purged == 0
    engine.tree.catch_up()
    assert _sweep(engine, LATER).purged == 2


def test_what_a_crashed_store_left_goes_after_a_day_with_its_index(engine: Engine) -> None:
    _alone(engine, 1)
    with crash_at("catalogue: commit"):
        engine.store([document("/a/b", "2.0", body(lost=1))])
    with crash_at("segment: rename"):
        engine.store([document("/a/b", "3.0", body(lost=2))])
    left = {path.name.removesuffix(".index") for path in engine.folder.segments.glob("??/*")} - {_segment_of(engine, "1.0")}
    assert len(left) == 2
    assert _sweep(engine, NOW + ABANDONED + SLACK).abandoned == 1, "an index alone holds nothing"
    engine.store([document("/a/b", "2.0", body(lost=1)), document("/a/b", "3.0", body(lost=2))])
    assert _sweep(engine, NOW + ABANDONED - timedelta(minutes=5)).abandoned == 0
    assert _sweep(engine, NOW + ABANDONED + SLACK).abandoned == 1
    assert _segments(engine) == {_segment_of(engine, "1.0"), _segment_of(engine, "2.0")}
    assert _in_trash(engine) == left
    check_promises(engine)


def test_what_an_older_catalogue_does_not_know_is_not_swept_and_comes_back_by_a_rebuild(engine: Engine, scratch: Path) -> None:
    _alone(engine, 1)
    older = scratch / "older.db"
    with sqlite3.connect(engine.folder.metadata / "catalogue.db") as now, sqlite3.connect(older) as copy:
        now.backup(copy)
    engine.store([document("/a/b", "2.0", body(later=1))])
    engine.store([document("/a/b", "3.0", body(later=2))])
    newest = _segment_of(engine, "3.0")
    engine.close()
    for path in engine.folder.metadata.glob("catalogue.db*"):
        path.unlink()
    shutil.copyfile(older, engine.folder.metadata / "catalogue.db")
    with Engine(engine.folder.root, OPTIONS).open() as restored:
        with pytest.raises(NotFound):
            restored.read("/a/b", "3.0")
        later = NOW + ABANDONED + SLACK
        assert (_sweep(restored, later).untold, _sweep(restored, later).abandoned) == (2, 0)
        assert newest in _segments(restored)
    assert rebuild(engine.folder, engine.database.url, NOW).versions == 3
    with Engine(engine.folder.root, OPTIONS).open() as rebuilt:
        assert [rebuilt.read("/a/b", f"{number}.0") for number in (2, 3)] == [body(later=1), body(later=2)]
        assert _sweep(rebuilt, later).untold == 0
        check_promises(rebuilt)


def test_the_same_bytes_can_be_stored_again_at_any_time(engine: Engine) -> None:
    """The segment is named by its bytes: the new one must not be taken for the old one that is in the trash."""
    _alone(engine)
    _clean(engine)
    old = _segment_of(engine, "1.2")
    _sweep(engine, LATER)
    assert engine.store([document("/a/b", "1.0", body(number=0))])[0].status == "stored"
    assert engine.read("/a/b", "1.0") == body(number=0)
    _sweep(engine, MUCH_LATER)
    assert engine.read("/a/b", "1.0") == body(number=0)
    assert _segments(engine) == {old, _segment_of(engine, "1.0")}
    check_promises(engine)


def test_a_second_sweep_at_the_same_time_does_nothing(engine: Engine) -> None:
    inner: list[Swept] = []

    def observe(name: str) -> None:
        if name == "sweep: commit":
            inner.append(_sweep(engine, LATER))

    _alone(engine)
    _clean(engine)
    with observed(observe):
        assert _sweep(engine, LATER).condemned == 2
    assert [one.under_way for one in inner] == [True]


def test_what_is_named_again_after_the_sweep_has_looked_is_not_condemned(engine: Engine) -> None:
    _alone(engine)
    _clean(engine)

    def look_then_store(*arguments: object) -> object:
        engine.store([document("/c/d", "1.0", body(number=0))])
        return carry_over(*arguments)  # type: ignore[arg-type]

    with pytest.MonkeyPatch.context() as patch:
        patch.setattr("storage.sweep.carry_over", look_then_store)
        assert _sweep(engine, LATER).condemned == 1
    assert engine.read("/c/d") == body(number=0)
    check_promises(engine)


# --- what only an index tells ---


def test_a_version_that_only_a_dying_index_tells_of_is_told_by_the_journal(engine: Engine) -> None:
    """As after a better encoding was written elsewhere: the content has another place, the record has none."""
    engine.store([document("/a/b", "1.0", body(moved=1))])
    first = _segment_of(engine, "1.0")
    with crash_at("catalogue: commit"):
        engine.store([document("/c/d", "1.0", body(moved=2))])
    engine.store([document("/a/b", "1.1", body(moved=2)), document("/a/b", "1.2", body(moved=1))])
    other = _segment_of(engine, "1.1")
    with engine.database.write() as connection:  # 1.0's content moves to the other segment
        connection.exec_driver_sql(f"UPDATE object SET segment_sha256 = '{other}' WHERE segment_sha256 = '{first}'")
    journal = engine.folder.journal.read_bytes()
    swept = Sweep(engine.folder, engine.database, GRACE).run(LATER)
    assert swept.condemned == 1
    assert first in _in_trash(engine)
    told = engine.folder.journal.read_bytes()[len(journal) :]
    assert b'"version":"1.0"' in told
    assert b'"version":"1.1"' not in told


def test_a_segment_whose_index_cannot_be_read_stays(engine: Engine) -> None:
    _alone(engine)
    damaged = _segment_of(engine, "1.0")
    _clean(engine)
    engine.folder.index(damaged).write_bytes(b"damaged")
    swept = _sweep(engine, LATER)
    assert (swept.condemned, swept.left) == (1, 1)
    assert damaged in _segments(engine)


# --- compaction ---


def test_a_segment_that_is_mostly_dead_is_copied_and_goes(engine: Engine) -> None:
    _together(engine)
    old = _segment_of(engine, "1.0")
    _clean(engine)
    swept = _sweep(engine, LATER)
    assert (swept.compacted, swept.purged) == (1, 7)
    assert _in_trash(engine) == {old}
    assert _segments(engine) == {_segment_of(engine, "1.7")} != {old}
    assert engine.read("/a/b") == large_body(2000, seed=7)
    _the_disk_tells_all(engine)
    engine.tree.catch_up()
    check_promises(engine)
    again = _sweep(engine, LATER + timedelta(days=3))
    assert (again.compacted, again.condemned, again.deleted) == (0, 0, 1)


def test_a_segment_that_is_half_alive_stays(engine: Engine) -> None:
    _together(engine, 2)
    engine.store([document("/c/d", "1.0", large_body(2000, seed=0))])
    _clean(engine)
    assert _sweep(engine, LATER).compacted == 0


def test_what_is_removed_and_can_come_back_is_copied_too(engine: Engine) -> None:
    _together(engine)
    _clean(engine)
    engine.store([document("/a/b", "2.0", large_body(2000, seed=7)), document("/a/b", "0.1", large_body(2000, seed=3))])
    _clean(engine, LATER - timedelta(hours=1))
    swept = _sweep(engine, LATER)
    assert swept.compacted == 1
    assert {one.version for one in revisions(engine)} == {"2.0"}
    with engine.database.read() as connection:
        assert connection.exec_driver_sql("SELECT count(*) FROM object").scalar_one() == 2
    check_promises(engine)


def test_damage_is_not_copied(engine: Engine) -> None:
    _together(engine)
    place = engine.find("/a/b").place
    _clean(engine)
    path = engine.folder.segment(place.segment_sha256)
    data = bytearray(path.read_bytes())
    data[place.offset + 9] ^= 1
    path.write_bytes(data)
    assert _sweep(engine, LATER).compacted == 0
    assert engine.find("/a/b").place == place


def test_a_content_that_comes_to_life_while_it_is_compacted_keeps_its_place(engine: Engine) -> None:
    _together(engine)
    _clean(engine)

    def observe(name: str) -> None:
        if name == "segment: rename" and not found:
            found.append(name)
            engine.store([document("/c/d", "1.0", large_body(2000, seed=2))])

    found: list[str] = []
    with observed(observe):
        swept = _sweep(engine, LATER)
    assert (found, swept.compacted) == (["segment: rename"], 0)
    assert engine.read("/c/d") == large_body(2000, seed=2)
    check_promises(engine)
    assert _sweep(engine, LATER).compacted == 1
    check_promises(engine)


# --- accidents ---


class Rehearsal:
    """A folder where there is something of everything to be swept."""

    def __init__(self, fresh: Path, scratch: Path) -> None:
        self._scratch = scratch
        self.prepared = Path(shutil.copytree(fresh, scratch / "prepared"))
        with Engine(self.prepared, OPTIONS).open() as engine:
            _together(engine, 3)
            _alone(engine, 2)
            with crash_at("catalogue: commit"):
                engine.store([document("/c/d", "1.0", body(lost=1))])
            _clean(engine)
            self.before = view(engine)
        with Engine(self.copy(), OPTIONS).open() as engine:
            self.steps = steps_of(lambda: self.run(engine))
            self.files = _segments(engine)
            assert len(_in_trash(engine)) >= 3
            check_promises(engine)

    def run(self, engine: Engine) -> None:
        _sweep(engine, LATER)

    def copy(self) -> Path:
        shutil.rmtree(self._scratch / "data", ignore_errors=True)
        return Path(shutil.copytree(self.prepared, self._scratch / "data", symlinks=True, copy_function=shutil.copy2))

    def check(self, root: Path, step: str, *, twice: bool = False) -> None:
        with Engine(root, OPTIONS).open() as engine:
            assert view(engine) == self.before, step
            for one in engine.versions():
                assert engine.read(one.library_id, one.version), step
            engine.store([document("/c/d", "1.0", body(lost=1)), document("/a/b", "1.0", body(number=0))])
            self.run(engine)
            if twice:
                _sweep(engine, MUCH_LATER)
            engine.tree.catch_up()
            left = _segments(engine)
            assert left >= {one.place.segment_sha256 for one in revisions(engine)}, step
            # What a crash left behind, such as a segment that was written and not committed, is garbage by then.
            assert not twice or len(left) <= len(self.files) + 2, step
            _the_disk_tells_all(engine)
            check_promises(engine)


def test_a_crash_anywhere_loses_nothing_and_the_rerun_goes_on(fresh_folder: Path, scratch: Path) -> None:
    rehearsal = Rehearsal(fresh_folder, scratch)
    assert {"purge: commit", "sweep: commit", "trash: rename", "trash: commit", "compaction: commit"} <= set(rehearsal.steps)
    for number in crash_places(rehearsal.steps):
        root = rehearsal.copy()
        with Engine(root, OPTIONS).open() as engine, crash_at(number):
            rehearsal.run(engine)
        rehearsal.check(root, rehearsal.steps[number - 1], twice=number % 4 == 0)


def test_the_end_of_the_process_loses_nothing(fresh_folder: Path, scratch: Path) -> None:
    rehearsal = Rehearsal(fresh_folder, scratch)
    for number in range(2, len(rehearsal.steps) + 1, stride(8)):
        root = rehearsal.copy()
        die_at(number, lambda root=root: rehearsal.run(Engine(root, OPTIONS).open()))  # type: ignore[misc]
        rehearsal.check(root, rehearsal.steps[number - 1])


def test_a_call_that_fails_anywhere_loses_nothing(fresh_folder: Path, scratch: Path) -> None:
    rehearsal = Rehearsal(fresh_folder, scratch)
    number, whole = 0, False
    while not whole:
        number += stride(5)
        code = (errno.ENOSPC, errno.EIO)[number % 2]
        root = rehearsal.copy()
        with Engine(root, OPTIONS).open() as engine:
            with faults(number, code) as injected:
                outcome = capture(lambda engine=engine: rehearsal.run(engine))  # type: ignore[misc]
            whole = not injected.fired
            assert not isinstance(outcome, Err) or outcome.problem.retryable, (outcome, injected.calls)
            assert unfinished(engine) == []
        rehearsal.check(root, f"call {number}")
    assert number > 5


def test_a_full_disk_does_not_keep_the_trash_from_being_emptied(engine: Engine) -> None:
    _alone(engine)
    _clean(engine)
    _sweep(engine, LATER)
    assert len(_in_trash(engine)) == 2
    with engine.database.read() as connection:
        pages = connection.exec_driver_sql("PRAGMA page_count").scalar_one()
        connection.exec_driver_sql(f"PRAGMA max_page_count = {pages}")
    with faults(1, errno.ENOSPC):  # the first call that writes anything
        assert empty_trash(engine.folder, MUCH_LATER, GRACE)[0] == 2


@pytest.fixture
def small_disk() -> Iterator[Path]:
    """A file system of its own with little space."""
    folder = Path(tempfile.mkdtemp(prefix="sr-"))
    made = subprocess.run(["mount", "-t", "tmpfs", "-o", "size=32m", "none", folder], capture_output=True, check=False)
    if made.returncode != 0:
        folder.rmdir()
        pytest.skip("no small disk can be mounted here")
    yield folder
    subprocess.run(["umount", "--lazy", folder], check=True)
    folder.rmdir()


def _fill(path: Path) -> None:
    """Write until nothing fits any more, not even a byte."""
    with path.open("ab", buffering=0) as file:
        for size in (1 << 20, 4096, 1):
            with suppress(OSError):
                while True:
                    file.write(b"x" * size)


def test_a_disk_that_is_really_full_becomes_free_by_sweeps(small_disk: Path) -> None:
    with Engine(small_disk / "data", OPTIONS).create() as engine:
        engine.store([document("/a/b", f"1.{number}", large_body(600_000, seed=number)) for number in range(5)])
        _sweep(engine, NOW)  # sets the spare room aside
        _fill(small_disk / "filler")
        plan = make_plan(engine.database, KEEP_ONE, NOW)
        assert Removal(engine.folder, engine.database).apply(plan, "person:ann", NOW).versions == 4
        engine.tree.catch_up()
        swept = _sweep(engine, LATER)
        assert (swept.purged, swept.condemned) == (4, 4)
        assert os.statvfs(small_disk).f_bavail * 4096 < 8 << 20
        assert _sweep(engine, LATER + timedelta(days=2)).deleted == 4
        tidy(engine.folder, LATER)  # the tree's files share their bytes with the segments
        assert engine.store([document("/a/b", "2.0", large_body(600_000, seed=9))])[0].status == "stored"
        check_promises(engine)


def test_a_reader_and_a_store_beside_sweeps_never_miss_a_thing(engine: Engine, open_engine: Callable[..., Engine]) -> None:
    other = open_engine()
    stop = threading.Event()
    problems: list[str] = []

    def store() -> None:
        for number in range(14):
            other.store([document("/a/b", f"{number}.{part}", large_body(1500, seed=part)) for part in range(4)])
            other.store([document("/a/b", "same", body(of=number % 2))])

    def read() -> None:
        while not stop.is_set():
            for one in engine.versions():
                try:
                    engine.read(one.library_id, one.version)
                except NotFound:
                    continue
                except StorageError as error:
                    problems.append(f"{one.version}: {error}")

    threads = [threading.Thread(target=work) for work in (store, read)]
    for thread in threads:
        thread.start()
    turn = 0
    while threads[0].is_alive():
        turn += 1
        now = NOW + timedelta(days=turn * 3)
        try:
            _clean(engine, now)
        except StorageError:
            continue
        _sweep(engine, now + timedelta(days=2))
    stop.set()
    for thread in threads:
        thread.join()
    assert not problems
    engine.tree.catch_up()
    check_promises(engine)
    _sweep(engine, NOW + timedelta(days=9999))
    check_promises(engine)


def test_verify_beside_a_sweep_raises_no_alarm(engine: Engine, monkeypatch: pytest.MonkeyPatch) -> None:
    _together(engine)
    _alone(engine)
    _clean(engine)
    listed = verify.list_segments  # type: ignore[attr-defined]  # between the list and the look at what is on it
    swept: list[Swept] = []

    def look_then_sweep(*arguments: Any) -> Any:
        found = listed(*arguments)
        swept.append(_sweep(engine, LATER + timedelta(days=2 * len(swept))))
        return found

    monkeypatch.setattr(verify, "list_segments", look_then_sweep)
    receipt = engine.verify()
    assert (swept[0].compacted, swept[0].condemned) == (1, 3)
    assert (receipt.damaged, receipt.findings) == ([], [])


def test_a_store_that_is_overtaken_between_its_files_and_its_commit_writes_them_again(
    engine: Engine, open_engine: Callable[..., Engine]
) -> None:
    """The narrowest place: its files stand where garbage of the same bytes stood, and go with it."""
    _alone(engine, 2)
    _clean(engine)
    other = open_engine()
    before = _segments(engine)
    written = threading.Event()
    go_on = threading.Event()

    def pause(name: str) -> None:
        if name == "segment: fsync folder" and threading.current_thread() is storing:
            written.set()
            go_on.wait(10)

    receipts: list[object] = []
    storing = threading.Thread(
        target=lambda: receipts.extend(other.store([document("/a/b", "9.9", body(number=0)), document("/a/b", "9.8", body(x=1))]))
    )
    with observed(pause):
        storing.start()
        assert written.wait(10)
        for path in engine.folder.segments.glob("??/*"):
            os.utime(path, (0, 0))  # as if they had been left by a store that died long ago
        assert _sweep(engine, NOW).untold == 1
        with engine.database.write():  # as the sweep of an earlier release does
            throw_away(engine.folder, (_segments(engine) - before).pop(), NOW)
        go_on.set()
        storing.join()
    assert [one.status for one in receipts] == ["stored", "stored"]  # type: ignore[attr-defined]
    assert engine.read("/a/b", "9.9") == body(number=0)
    assert engine.read("/a/b", "9.8") == body(x=1)
    check_promises(engine)


def test_the_systems_refusal_is_told(engine: Engine, monkeypatch: pytest.MonkeyPatch) -> None:
    _together(engine)
    _clean(engine)
    with faults(1, errno.ENOSPC), pytest.raises(DiskFull):
        _sweep(engine, LATER)
    check_promises(engine)
