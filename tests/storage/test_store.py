"""storage/store.py, writing.py and outcome.py: what is stored, what is refused, and what several processes do to each other."""

from __future__ import annotations

import gzip
import hashlib
import json
import resource
import shutil
import threading
import tracemalloc
from collections.abc import Sequence
from datetime import UTC, datetime, tzinfo
from functools import partial
from pathlib import Path
from typing import Any, BinaryIO

import pytest
from sqlalchemy import Connection, event

from models.catalogue import known_places
from storage import store
from storage.documents import Limits
from storage.engine import Engine, Options
from storage.index import read_index
from storage.intake import Incoming, incoming
from storage.journal import read_journal
from storage.layout import DataFolder
from storage.outcome import Outcome
from storage.rebuild import rebuild
from storage.writing import GROUP_BYTES, GROUP_DOCUMENTS, LEAST_DOCUMENTS, grouped
from strongroom.contracts import DocumentReceipt
from strongroom.errors import CatalogueBusy
from tests.conftest import OpenEngine
from tests.support.archive import body, check_promises, document, large_body, open_files, revisions, unfinished, view
from tests.support.crash import observed, start_child, wait_for
from tests.support.scenarios import OPTIONS


def _statuses(receipts: Sequence[DocumentReceipt]) -> list[str]:
    return [one.status if one.error is None else one.error.code for one in receipts]


def _told_on_disk(engine: Engine) -> list[tuple[str, str, str]]:
    """Return every revision that the disk knows of, without the catalogue, by the time it was stored."""
    records = [record.as_json() for path in engine.folder.segments.glob("*/*.index") for record in read_index(path).versions]
    entries = list(read_journal(engine.folder.journal))
    records += [entry["version"] for entry in entries if "version" in entry]
    void = {(*_key(entry["void"]), entry["void"]["content_sha256"]) for entry in entries if "void" in entry}
    told: list[tuple[str, str, str]] = []
    last: dict[tuple[str, str], str] = {}
    for one in sorted(records, key=lambda one: datetime.fromisoformat(str(one["stored_at"]))):
        version, content = (one["library_id"], one["version"]), one["content_sha256"]
        if (*_key(one), content) not in void and last.get(version) != content:
            last[version] = content
            told.append((*version, content))
    return told


def _key(record: dict[str, Any]) -> tuple[str, str, datetime]:
    return record["library_id"], record["version"], datetime.fromisoformat(str(record["stored_at"]))


def test_a_receipt_tells_what_was_stored(engine: Engine) -> None:
    plain = large_body(20_000)
    (receipt,) = engine.store([document("/a/b", "1.0", plain)])
    place = engine.find("/a/b").place
    assert receipt == DocumentReceipt(
        name="/a/b 1.0",
        status="stored",
        library_id="/a/b",
        version="1.0",
        revision=1,
        content_sha256=hashlib.sha256(plain).hexdigest(),
        size_bytes=len(plain),
        stored_bytes=place.length,
    )
    assert engine.store([document("/a/b", "1.0", plain)]) == [receipt.model_copy(update={"status": "unchanged"})]


@pytest.mark.parametrize("size", [100, 50_000])
def test_the_exact_bytes_come_back_packed_or_not_small_or_streamed(open_engine: OpenEngine, size: int) -> None:
    engine = open_engine(limits=OPTIONS.limits)
    plain = b' {"odd" :\t[1.50,\r\n"\\u00e4"],"text":"' + b"ab" * size + b'"}\n'
    receipts = engine.store([document("/plain", "1", plain), document("/packed", "1", gzip.compress(plain))])
    assert _statuses(receipts) == ["stored", "stored"]
    assert engine.read("/plain") == engine.read("/packed") == plain
    assert engine.find("/plain").place == engine.find("/packed").place, "identical content is stored once"


def test_a_bad_document_harms_no_other(open_engine: OpenEngine) -> None:
    engine = open_engine(limits=OPTIONS.limits)
    receipts = engine.store(
        [
            document("/good", "1.0", body(n=1)),
            document("/bad", "1.0", b"{"),
            document("/bad", "1.0", large_body(10_000)[:-1]),
            document("/bad", "1.0", gzip.compress(large_body(10_000))[:-5]),
            document("/bad", "latest", body(n=2)),
            document("../../etc/passwd", "1.0", body(n=3)),
            document("/good", "2.0", large_body(10_000)),
        ]
    )
    codes = ["stored", "not_json", "not_json", "damaged_gzip", "invalid_identifier", "invalid_identifier", "stored"]
    assert _statuses(receipts) == codes
    assert {one.library_id for one in engine.versions()} == {"/good"}
    assert unfinished(engine) == []
    check_promises(engine)


@pytest.mark.parametrize(
    "metadata", [{"n": 2**64}, {"n": float("nan")}, {"s": "\ud800"}, {"d": {1: 2}}, {"deep": json.loads("[" * 300 + "]" * 300)}]
)
def test_metadata_that_would_not_come_back_as_it_was_is_refused_alone(engine: Engine, metadata: dict[str, object]) -> None:
    bad = document("/bad", "1.0", body(n=1))
    bad.options.metadata.update(metadata)
    assert _statuses(engine.store([bad, document("/good", "1.0", body(n=2))])) == ["invalid_request", "stored"]


def test_what_changed_after_it_was_sent_is_refused(open_engine: OpenEngine) -> None:
    engine = open_engine(limits=OPTIONS.limits)
    documents = [document("/a/b", str(number), body(text="x" * 3000 * number)) for number in (1, 2)]
    for one in documents:
        object.__setattr__(one, "sent_sha256", "0" * 64)
    assert _statuses(engine.store(documents)) == ["payload_damaged", "payload_damaged"]
    assert not engine.versions()


@pytest.mark.parametrize("size", [10, 10_000])
def test_with_care_other_content_is_refused_before_it_is_written(open_engine: OpenEngine, size: int) -> None:
    engine = open_engine(limits=OPTIONS.limits)
    engine.store([document("/a/b", "1.0", body(n=1))])
    before = sorted(engine.folder.segments.glob("*/*"))
    careful = [
        document("/a/b", "1.0", large_body(size), if_exists="refuse"),
        document("/a/b", "1.0", body(n=1), if_exists="refuse"),
    ]
    assert _statuses(engine.store(careful)) == ["version_exists", "unchanged"]
    assert sorted(engine.folder.segments.glob("*/*")) == before
    check_promises(engine)


def test_one_version_twice_with_care_keeps_the_first(engine: Engine) -> None:
    batch = [document("/a/b", "1.0", body(n=number), if_exists="refuse") for number in (1, 2)]
    assert _statuses(engine.store(batch)) == ["stored", "version_exists"]
    assert _statuses(engine.store(batch)) == ["unchanged", "version_exists"]
    assert engine.read("/a/b") == body(n=1)


def test_a_packed_document_that_unpacks_to_more_than_it_claims_is_streamed(open_engine: OpenEngine) -> None:
    engine = open_engine(limits=OPTIONS.limits)
    plain = large_body(30_000)
    members = gzip.compress(plain[:29_990]) + gzip.compress(plain[29_990:])  # the last member's size is the claim
    assert document("/a/b", "1.0", members).claimed_bytes < len(plain)
    assert _statuses(engine.store([document("/a/b", "1.0", members)])) == ["stored"]
    assert engine.read("/a/b") == plain


def test_a_batch_of_many_groups_is_one_commit(engine: Engine) -> None:
    documents = [document(f"/a/{number}", "1.0", body(n=number)) for number in range(2 * GROUP_DOCUMENTS + 3)]
    documents += [document("/large", str(number), large_body(GROUP_BYTES // 6, seed=number)) for number in range(8)]
    commits: list[int] = []

    def record(_connection: Connection, receipts: Sequence[DocumentReceipt]) -> None:
        commits.append(len(receipts))

    assert set(_statuses(engine.store(documents, record))) == {"stored"}
    assert commits == [len(documents)]
    check_promises(engine)


def test_the_callers_rows_and_the_documents_are_both_there_or_neither(engine: Engine) -> None:
    def fail(_connection: Connection, _receipts: Sequence[DocumentReceipt]) -> None:
        raise RuntimeError

    with pytest.raises(RuntimeError):
        engine.store([document("/a/b", "1.0", body(n=1))], fail)
    assert not engine.versions()


def test_an_empty_batch_is_stored_at_once(engine: Engine) -> None:
    assert engine.store([]) == []


def test_the_disk_alone_tells_every_version_in_the_order_of_its_revisions(open_engine: OpenEngine) -> None:
    engine = open_engine(limits=OPTIONS.limits)
    engine.store([document("/a/b", "1.0", body(n=1)), document("/a/b", "1.0", body(n=2)), document("/copy", "1.0", body(n=1))])
    engine.store([document("/a/b", "1.0", body(n=1)), document("/large", "1.0", large_body(9000))])
    engine.store([document("/large", "2.0", large_body(9000)), document("/a/b", "1.0", body(n=1))])
    found = [
        (one.library_id, one.version, one.place.content_sha256)
        for one in sorted(revisions(engine), key=lambda one: one.created_at)
    ]
    assert _told_on_disk(engine) == found
    assert len(found) == 6


def test_two_stores_of_the_same_bytes_under_other_names_are_both_told_on_disk(data: Path) -> None:
    """The second looked before the first committed, and both write the same segment."""
    with Engine(data).open() as first, Engine(data).open() as second:
        stored: list[str] = []

        def store_in_between(step: str) -> None:
            if step == "segment: flush" and not stored:
                stored.append("first")
                first.store([document("/first", "1.0", body(n=1))])

        with observed(store_in_between):
            second.store([document("/second", "1.0", body(n=1))])
        assert sorted(library for library, _, _ in _told_on_disk(second)) == ["/first", "/second"]
        assert len(list(second.folder.segments.glob("*/*.index"))) == 1
        check_promises(second)


@pytest.mark.parametrize("content", [1, 2])
def test_a_version_that_changes_between_look_and_commit_becomes_the_next_revision(data: Path, content: int) -> None:
    with Engine(data).open() as first, Engine(data).open() as second:
        first.store([document("/a/b", "1.0", body(n=1)), document("/keep", "1.0", body(n=2))])
        reads: list[object] = []

        def change_after_the_last_look(*connection: object) -> None:
            reads.append(connection)
            if len(reads) == 2:  # where the content lies, and whether the version has it
                first.store([document("/a/b", "1.0", body(n=3))])

        event.listen(second.database.engine, "checkin", change_after_the_last_look)
        (receipt,) = second.store([document("/a/b", "1.0", body(n=content))])
        assert (receipt.status, receipt.revision) == ("stored", 3)
        assert second.read("/a/b") == body(n=content)
        assert _told_on_disk(second)[-1] == ("/a/b", "1.0", receipt.content_sha256)
        check_promises(second)


def test_a_store_that_began_earlier_and_commits_in_between_makes_the_later_one_tell_the_disk(data: Path) -> None:
    """The later one saw its content unchanged, and left the journal alone: then it is a revision after all."""
    with Engine(data).open() as first, Engine(data).open() as second:
        first.store([document("/a/b", "1.0", body(n=1))])
        looked, committed, reads = threading.Event(), threading.Event(), list[object]()
        receipts: list[DocumentReceipt] = []
        later = threading.Thread(target=lambda: receipts.extend(second.store([document("/a/b", "1.0", body(n=1))])))

        def wait_after_the_last_look(*connection: object) -> None:
            reads.append(connection)
            if len(reads) == 2:
                looked.set()
                assert committed.wait(10)

        def start_the_later(step: str) -> None:
            if step == "segment: flush" and not later.is_alive() and not receipts:
                later.start()
                assert looked.wait(10)

        event.listen(second.database.engine, "checkin", wait_after_the_last_look)
        with observed(start_the_later):
            first.store([document("/a/b", "1.0", body(n=3))])
            committed.set()
            later.join()
        assert [(one.status, one.revision) for one in receipts] == [("stored", 3)]
        assert _told_on_disk(second)[-1] == ("/a/b", "1.0", receipts[0].content_sha256)
        check_promises(second)


class Hours(datetime):
    """A clock that shows whole hours: every store of a test begins at the same time."""

    @classmethod
    def now(cls, tz: tzinfo | None = None) -> datetime:
        return datetime.now(tz).replace(minute=0, second=0, microsecond=0)


@pytest.mark.parametrize("same", [False, True], ids=["other content", "the same content"])
def test_stores_that_begin_at_the_very_same_time_are_all_told_on_the_disk(
    data: Path, monkeypatch: pytest.MonkeyPatch, same: bool
) -> None:
    monkeypatch.setattr(store, "datetime", Hours)
    with Engine(data).open() as engine:
        engine.store([document("/a/b", "1.0", body(n=1))])
        engine.store([document("/a/b", "1.0", body(n=2))])
        engine.store([document("/a/b", "1.0", body(n=1 if same else 3))])
        stored = [(one.library_id, one.version, one.place.content_sha256) for one in revisions(engine)]
        assert len(stored) == 3
        assert sorted(_told_on_disk(engine)) == sorted(stored)
        check_promises(engine)
        before = view(engine)
    rebuild(DataFolder(data), f"sqlite:///{data / 'metadata' / 'catalogue.db'}", datetime.now(UTC))
    with Engine(data).open() as engine:
        assert view(engine) == before


def test_what_is_held_in_memory_at_once_is_bounded() -> None:
    sizes = [1000] * (2 * GROUP_DOCUMENTS + 44) + [GROUP_BYTES // 3] * 7 + [5 * GROUP_BYTES] + [1000] * 3
    outcomes = [Outcome(document("/a", "1", b"{}"), datetime.now(UTC)) for _ in sizes]
    for one, size in zip(outcomes, sizes, strict=True):
        object.__setattr__(one.incoming, "claimed_bytes", size)
    groups = list(grouped(outcomes))
    assert [one for group in groups for one in group] == outcomes
    for group in groups:
        assert len(group) <= GROUP_DOCUMENTS
        assert len(group) == 1 or sum(one.incoming.claimed_bytes for one in group) <= GROUP_BYTES
    assert len(groups) == 9


@pytest.mark.parametrize("count", [1, LEAST_DOCUMENTS, LEAST_DOCUMENTS + 1, GROUP_DOCUMENTS, 500])
def test_the_last_groups_of_a_batch_are_ever_smaller_and_none_but_the_last_is_tiny(count: int) -> None:
    outcomes = [Outcome(document("/a", "1", b"{}"), datetime.now(UTC)) for _ in range(count)]
    sizes = [len(group) for group in grouped(outcomes)]
    assert sum(sizes) == count
    assert sizes == sorted(sizes, reverse=True)
    assert sizes[-1] <= LEAST_DOCUMENTS
    assert all(size >= LEAST_DOCUMENTS for size in sizes[:-1])


def test_a_clock_that_was_set_back_does_not_turn_revisions_round(engine: Engine) -> None:
    engine.store([document("/a/b", "1.0", body(n=1))])
    with engine.database.write() as connection:
        connection.exec_driver_sql("UPDATE version SET created_at = '2999-01-01 00:00:00.000000'")
    (receipt,) = engine.store([document("/a/b", "1.0", body(n=2))])
    assert receipt.revision == 2
    one, two = sorted(revisions(engine), key=lambda one: one.revision)
    assert one.created_at < two.created_at
    check_promises(engine)


def test_a_segment_about_to_be_swept_is_told_as_passing_trouble(engine: Engine) -> None:
    engine.store([document("/a/b", "1.0", body(n=1))])
    with engine.database.write() as connection:
        connection.exec_driver_sql("UPDATE segment SET condemned = 1")
    with pytest.raises(CatalogueBusy):
        engine.store([document("/a/c", "1.0", body(n=1))])
    together = [document("/a/c", "1.0", body(n=1)), document("/a/c", "2.0", body(n=2))]
    assert _statuses(engine.store(together)) == ["stored", "stored"], "beside others it is written afresh"
    with engine.database.read() as connection:
        assert len(known_places(connection, {one.content_sha256 or "" for one in engine.store(together)})) == 2


def test_a_library_says_what_its_latest_version_told(engine: Engine) -> None:
    def told(version: str, **info: object) -> Incoming:
        return document("/a/b", version, body(version=version, library_info=info))

    engine.store([told("2.0", name="Two", description="kept", stars=5)])
    engine.store([told("1.0", name="One"), told("3.0", name="Three")])
    (library,) = engine.libraries()
    assert (library.facts["name"], library.facts["description"], library.facts["star_count"]) == ("Three", "kept", 5)


def _run(root: Path, batches: Sequence[Sequence[Incoming]]) -> int:
    def work() -> None:
        with Engine(root, OPTIONS).open() as engine:
            for batch in batches:
                receipts = engine.store(batch)
                assert all(one.status != "failed" for one in receipts)

    return start_child(work)


def test_processes_that_store_at_once_lose_nothing_and_store_nothing_twice(data: Path) -> None:
    def batches(number: int) -> list[list[Incoming]]:
        return [
            [
                document(f"/own/{number}", str(turn), body(by=number, turn=turn)),
                document("/same", str(turn), body(turn=turn)),
                document("/contested", "1.0", body(by=number, contested=turn)),
                document(f"/copies/{number}", str(turn), large_body(6000, seed=turn)),
            ]
            for turn in range(6)
        ]

    children = [_run(data, batches(number)) for number in range(3)]
    assert [wait_for(child) for child in children] == [0] * 3
    with Engine(data, OPTIONS).open() as engine:
        check_promises(engine)
        found = view(engine)["versions"]
        contested = sorted(revision for library, _, revision in found if library == "/contested")
        assert contested == list(range(1, len(contested) + 1))
        assert len(contested) == 18, "each process's contents differ, so each store is a revision"
        assert {revision for library, _, revision in found if library == "/same"} == {1}
        stored = [(one.library_id, one.version, one.place.content_sha256) for one in revisions(engine)]
        assert sorted(_told_on_disk(engine)) == sorted(stored), "a rebuild from the disk would find other revisions"
        times = [
            one.created_at for one in sorted(revisions(engine), key=lambda one: one.revision) if one.library_id == "/contested"
        ]
        assert times == sorted(times)


def test_no_descriptor_and_no_file_is_left_behind(open_engine: OpenEngine) -> None:
    engine = open_engine(limits=OPTIONS.limits)
    engine.store([document("/a/b", "1.0", body(n=1)), document("/a/b", "2.0", large_body(9000)), document("/a/b", "3.0", b"x")])
    engine.tree.catch_up()
    assert open_files() == []
    assert unfinished(engine) == []


@pytest.mark.slow
def test_a_large_document_needs_little_memory(tmp_path: Path) -> None:
    """60 MB through every pass: far more than may be held at once."""
    source = tmp_path / "large.json"
    with source.open("wb") as file:
        file.write(b'{"chunks": [')
        file.writelines(b'{"n": %d, "text": "%s"},' % (n, (b"%d" % n) * 20_000) for n in range(1000))
        file.write(b"0]}")
    size = source.stat().st_size
    assert size > 50 << 20

    def work() -> None:
        with Engine(tmp_path / "data", Options(limits=Limits())).create() as engine:
            engine.store([document("/warm", "1.0", large_body(5 << 20))])
            before = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss
            one = document("/large", "1.0", b"")
            object.__setattr__(one, "open", lambda: source.open("rb"))
            object.__setattr__(one, "sent_bytes", size)
            object.__setattr__(one, "claimed_bytes", size)
            engine.store([one])
            engine.tree.catch_up()
            assert sum(map(len, engine.stream("/large"))) == size
            assert not engine.verify().damaged
            grown_mb = (resource.getrusage(resource.RUSAGE_SELF).ru_maxrss - before) / 1024
            assert grown_mb < 25, f"{grown_mb:.0f} MB more for {size >> 20} MB"

    assert wait_for(start_child(work)) == 0
    shutil.rmtree(tmp_path / "data")


def _opened(path: Path) -> BinaryIO:
    return path.open("rb")


def test_documents_that_are_refused_are_let_go_one_by_one(engine: Engine, tmp_path: Path) -> None:
    size, count = 1 << 20, 24
    refused: list[Incoming] = []
    for number in range(count):
        path = tmp_path / f"{number}.json"
        beginning = b'{"a": 1, "a": ' if number % 2 else b'{"a": nothing, "b": '  # a refusal of our own, and one that has a cause
        path.write_bytes(beginning + b'"' + bytes([120]) * size + b'"}')
        refused.append(incoming(partial(_opened, path), path.stat().st_size, path.name))
    tracemalloc.start()
    try:
        receipts = engine.store(refused)
        _, most = tracemalloc.get_traced_memory()
    finally:
        tracemalloc.stop()
    assert {one.error.code for one in receipts if one.error} == {"duplicate_key", "not_json"}
    assert most < 20 * size, "an error holds the frames that led to it, and they hold the document"
