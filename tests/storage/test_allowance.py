"""storage/allowance.py: a quota is hard, and who is over it harms nobody else."""

from __future__ import annotations

import threading
from collections.abc import Sequence
from pathlib import Path
from zlib import crc32

import pytest
from sqlalchemy import Connection

from models.admission import used_bytes
from storage.allowance import FASTEST_BYTES_S, Allowance
from storage.engine import Engine, Options
from storage.quotas import Quotas, parse_quotas
from storage.rebuild import rebuild
from storage.store import Record
from storage.sync_manager import SyncStorageManager
from strongroom.contracts import DocumentReceipt
from strongroom.errors import DiskFull, QuotaExceeded
from tests.support.archive import check_promises, document, large_body, revisions, unfinished
from tests.support.catalogue import START
from tests.support.crash import crash_at, steps_of
from tests.support.desk import failing

SIZE = 20_000
"""Plain bytes of a document, which takes somewhat more than half of that when it is stored."""


@pytest.fixture
def root(scratch: Path) -> Path:
    """A new data folder."""
    path = scratch / "data"
    Engine(path).create().close()
    return path


def _open(root: Path, **limits: object) -> Engine:
    return Engine(root, Options(quotas=parse_quotas({name.replace("__", "/"): limit for name, limit in limits.items()}))).open()


def _store(engine: Engine, *names: str, record: Record | None = None) -> list[str]:
    documents = [document(name.split()[0], name.split()[1], large_body(SIZE, crc32(name.encode()))) for name in names]
    return [one.error.code if one.error else one.status for one in engine.store(documents, record)]


def _used(engine: Engine, library: str | None = None) -> int:
    with engine.database.read() as connection:
        return used_bytes(connection, library)


def _segments(engine: Engine) -> list[str]:
    return sorted(path.name for path in engine.folder.segments.glob("??/*"))


def test_a_library_takes_what_its_quota_allows_and_not_a_byte_more(root: Path) -> None:
    with _open(root) as engine:
        _store(engine, "/a 1")
        size = _used(engine)
    with _open(root, **{"*": 3 * size + 100}) as engine:
        assert _store(engine, "/a 2", "/a 3", "/a 4", "/b 1") == ["stored", "stored", "quota_exceeded", "stored"]
        assert _store(engine, "/a 5") == ["quota_exceeded"]
        assert _store(engine, "/a 3") == ["unchanged"], "what changes nothing needs no room"
        assert 2 * size < _used(engine, "/a") <= 3 * size + 100
        check_promises(engine)


def test_the_error_says_what_is_used_and_what_is_allowed(root: Path) -> None:
    with _open(root, **{"/a": 100, "total": 50}) as engine:
        receipt = engine.store([document("/a", "1", large_body(SIZE))])[0]
        assert receipt.error is not None
        assert receipt.error.message.startswith("/a takes 0 B of 100 B: there is no room for ")
        assert "strongroom quota" in receipt.error.hint
        needed = receipt.error.context["needs_bytes"]
        assert receipt.error.context == {
            "library_id": "/a",
            "needs_bytes": needed,
            "quota_of": "/a",
            "used_bytes": 0,
            "limit_bytes": 100,
        }
        other = engine.store([document("/b", "1", large_body(SIZE))])[0]
        assert other.error is not None
        assert other.error.message.startswith("All libraries together take 0 B of 50 B")


def test_older_revisions_count(root: Path) -> None:
    with _open(root) as engine:
        _store(engine, "/a 1")
        size = _used(engine)
    with _open(root, **{"/a": size + 100}) as engine:
        assert engine.store([document("/a", "1", large_body(SIZE, 77))])[0].status == "failed"


def test_what_is_refused_leaves_no_file_and_the_disk_does_not_tell_of_it(root: Path) -> None:
    with _open(root, **{"*": 100}) as engine:
        assert _store(engine, "/a 1", "/b 1") == ["quota_exceeded", "quota_exceeded"]
        assert (_segments(engine), unfinished(engine)) == ([], [])
        url, folder = engine.database.url, engine.folder
    with _open(root, **{"/a": 100}) as engine:
        assert _store(engine, "/a 1", "/b 1") == ["quota_exceeded", "stored"]
    rebuild(folder, url, START)
    with _open(root) as engine:
        assert [one.library_id for one in revisions(engine)] == ["/b"]


def test_a_job_that_is_given_up_for_a_quota_leaves_nothing_of_its_other_documents(root: Path) -> None:
    def give_up(_connection: Connection, _receipts: Sequence[DocumentReceipt]) -> None:
        raise QuotaExceeded("no room")

    with _open(root) as engine:
        with pytest.raises(QuotaExceeded):
            _store(engine, "/a 1", record=give_up)
        assert (_segments(engine), revisions(engine)) == ([], [])
        assert _store(engine, "/a 1") == ["stored"]
        check_promises(engine)
        url, folder = engine.database.url, engine.folder
    rebuild(folder, url, START)
    with _open(root) as engine:
        assert [one.revision for one in revisions(engine)] == [1]


def test_a_segment_that_somebody_else_relies_on_is_not_discarded(root: Path) -> None:
    def give_up(_connection: Connection, _receipts: Sequence[DocumentReceipt]) -> None:
        raise QuotaExceeded("no room")

    with _open(root) as engine:
        _store(engine, "/a 1")
        before = _segments(engine)
        with pytest.raises(QuotaExceeded):
            _store(engine, "/a 1", record=give_up)
        assert _segments(engine) == before
        check_promises(engine)


def test_stores_at_the_same_time_never_pass_a_quota_together(root: Path) -> None:
    with _open(root) as engine:
        _store(engine, "/a 0")
        size = _used(engine)
    engines = [_open(root, **{"/a": 5 * size + 100}) for _ in range(3)]
    said: list[str] = []

    def work(number: int) -> None:
        for turn in range(4):
            said.extend(_store(engines[number], f"/a {number}.{turn}"))

    threads = [threading.Thread(target=work, args=(number,)) for number in range(3)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert sorted(said) == ["quota_exceeded"] * 8 + ["stored"] * 4
    assert _used(engines[0], "/a") <= 5 * size + 100
    check_promises(engines[0])
    for engine in engines:
        engine.close()


def test_far_below_a_limit_the_sum_is_not_taken_again(root: Path) -> None:
    now_s = 100.0
    quotas = Quotas({"/a": 10 * FASTEST_BYTES_S})
    allowance = Allowance(quotas, lambda: now_s)
    with _open(root) as engine:
        engine._storing._allowance = allowance
        _store(engine, "/a 1")
        first = allowance._looks["/a"]
        now_s = 105.0
        _store(engine, "/a 2")
        assert allowance._looks["/a"] is first
        now_s = 111.0
        _store(engine, "/a 3")
        assert allowance._looks["/a"].used_bytes > first.used_bytes


def test_a_full_disk_at_any_step_of_a_refusal_is_a_clear_error_and_the_next_try_says_the_same(root: Path) -> None:
    with _open(root, **{"*": 100}) as engine:
        for step in ("journal: fsync", "segment: rename"):
            with failing(step, OSError(28, "No space left on device")), pytest.raises(DiskFull):
                _store(engine, "/a 1")
            assert revisions(engine) == []
        assert _store(engine, "/a 1") == ["quota_exceeded"]


def test_a_crash_anywhere_in_a_refusal_stores_nothing_and_the_rerun_leaves_nothing_behind(root: Path) -> None:
    with _open(root, **{"*": 100}) as engine:
        steps = steps_of(lambda: _store(engine, "/a 1"))
        assert "journal: fsync" in steps, steps
        for number in range(1, len(steps) + 1):
            with crash_at(number):
                _store(engine, "/a 1")
            assert revisions(engine) == []
            assert _store(engine, "/a 1") == ["quota_exceeded"]
            assert _segments(engine) == []


def test_a_program_that_embeds_the_engine_gets_the_error_and_its_other_documents_are_stored(scratch: Path) -> None:
    manager = SyncStorageManager(scratch / "data", Options(quotas=parse_quotas({"/full": 100})))
    manager.initialize()
    with pytest.raises(QuotaExceeded, match="/full takes 0 B of 100 B"):
        manager.store_documentation("/full", "1.0", {"text": large_body(SIZE).decode()})
    manager.store_documentation("/other", "1.0", {"text": large_body(SIZE).decode()})
    manager.close()
