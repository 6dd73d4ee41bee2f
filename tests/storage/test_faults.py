"""A failing system call at every place of every kind of store: a full disk and a bad one."""

from __future__ import annotations

import errno
import resource
import shutil
import sqlite3
from collections.abc import Callable
from pathlib import Path

import pytest

from storage.engine import Engine
from strongroom.errors import DiskFull, StorageError, TransientIO
from strongroom.result import Err, capture
from tests.support.archive import body, check_promises, document, large_body, open_files, shown, unfinished, view
from tests.support.crash import in_child
from tests.support.faults import Faults, faults
from tests.support.scenarios import OPTIONS, SCENARIOS, Scenario
from tests.support.thorough import stride

KINDS: dict[int, type[StorageError]] = {errno.ENOSPC: DiskFull, errno.EIO: TransientIO}


def _prepared(scenario: Scenario, fresh: Path, root: Path) -> None:
    shutil.copytree(fresh, root)
    with Engine(root, OPTIONS).open() as engine:
        scenario.prepare(engine)


CASES = [(one, errno.ENOSPC) for one in SCENARIOS] + [(one, errno.EIO) for one in SCENARIOS if one is not SCENARIOS[4]]
"""The widest scenario takes the ways of all others: there one kind of error is enough."""


@pytest.mark.parametrize(("scenario", "code"), CASES, ids=[f"{one.name}, {errno.errorcode[code]}" for one, code in CASES])
def test_a_call_that_fails_anywhere_is_told_clearly_and_loses_nothing(
    scenario: Scenario, code: int, fresh_folder: Path, scratch: Path
) -> None:
    _prepared(scenario, fresh_folder, scratch / "prepared")
    number, whole, expected = 0, False, None
    while not whole:
        number += stride(5)
        root = shutil.copytree(scratch / "prepared", scratch / "data", symlinks=True)
        with Engine(root, OPTIONS).open() as engine:
            before = view(engine)
            if not _fails(scenario, engine, number, code, before).fired:
                whole = True
            elif not scenario.damage:
                check_promises(engine)
            scenario.run(engine)
            engine.tree.catch_up()
            check_promises(engine)
            reached = view(engine), shown(engine)
            expected = expected or reached
            assert reached == expected
        shutil.rmtree(root)
    assert number > 4, "hardly anything was made to fail"


def _fails(scenario: Scenario, engine: Engine, number: int, code: int, before: dict[str, object]) -> Faults:
    """Run the scenario with one failing call; check that it says so and leaves nothing behind."""
    opened = open_files()
    with faults(number, code) as injected:
        outcome = capture(lambda: scenario.run(engine))
    if isinstance(outcome, Err):
        assert (outcome.problem.code, outcome.problem.retryable) == (KINDS[code].code, True), (outcome, injected.calls)
        assert scenario.tree or view(engine) == before
    assert open_files() == opened, injected.calls[-1]
    assert unfinished(engine) == [], injected.calls[-1]
    return injected


def test_a_full_catalogue_is_a_full_disk(engine: Engine) -> None:
    engine.store([document("/a/b", "1.0", body(n=1))])
    with engine.database.read() as connection:
        pages = connection.exec_driver_sql("PRAGMA page_count").scalar_one()
        connection.exec_driver_sql(f"PRAGMA max_page_count = {pages + 1}")
    many = [document(f"/a/{number}", "1.0", body(n=number)) for number in range(500)]
    with pytest.raises(DiskFull):
        engine.store(many)
    assert len(engine.versions()) == 1
    check_promises(engine)
    with engine.database.read() as connection:
        connection.exec_driver_sql("PRAGMA max_page_count = 1000000")
    assert {one.status for one in engine.store(many)} == {"stored"}


def test_the_systems_own_refusal_of_a_large_file_is_a_full_disk_and_nothing_is_lost(data: Path) -> None:
    def store_with_little_room() -> None:
        with Engine(data, OPTIONS).open() as engine:
            engine.store([document("/a/b", "1.0", body(n=1))])
            _, hard = resource.getrlimit(resource.RLIMIT_FSIZE)
            resource.setrlimit(resource.RLIMIT_FSIZE, (1 << 20, hard))
            with pytest.raises(DiskFull):
                engine.store([document("/a/b", "2.0", large_body(6 << 20))])
            assert unfinished(engine) == []
            check_promises(engine)
            resource.setrlimit(resource.RLIMIT_FSIZE, (hard, hard))
            engine.store([document("/a/b", "2.0", large_body(6 << 20))])
            check_promises(engine)

    assert in_child(store_with_little_room) == 0


def test_a_source_that_cannot_be_read_says_which_and_nothing_is_stored(engine: Engine, scratch: Path) -> None:
    def broken() -> Callable[[], object]:
        raise OSError(errno.EIO, "Input/output error")

    good = document("/a/b", "1.0", body(n=1))
    bad = document("/a/b", "2.0", body(n=2))
    object.__setattr__(bad, "open", broken)
    with pytest.raises(TransientIO, match=r"/a/b 2\.0"):
        engine.store([good, bad])
    assert not engine.versions()


def test_a_busy_catalogue_is_told_as_such_and_the_store_can_be_repeated(engine: Engine, monkeypatch: pytest.MonkeyPatch) -> None:
    engine.store([document("/a/b", "1.0", body(n=1))])
    with engine.database.read() as connection:
        connection.exec_driver_sql("PRAGMA busy_timeout = 50")
    other = sqlite3.connect(engine.folder.metadata / "catalogue.db", isolation_level=None)
    try:
        other.execute("BEGIN IMMEDIATE")
        with pytest.raises(StorageError) as caught:
            engine.store([document("/a/b", "2.0", body(n=2))])
        assert caught.value.code == "catalogue_busy"
        assert caught.value.retryable
    finally:
        other.close()
    engine.store([document("/a/b", "2.0", body(n=2))])
    check_promises(engine)
