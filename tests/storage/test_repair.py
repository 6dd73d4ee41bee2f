"""storage/repair.py: what has a good source is repaired from it, what has none is told, and nothing damaged is thrown away."""

from __future__ import annotations

import errno
import gzip
import hashlib
import shutil
import time
from collections.abc import Callable, Iterator
from dataclasses import replace
from datetime import UTC, datetime
from pathlib import Path

import pytest
from sqlalchemy import text

from models.curation import list_audit
from storage import reassembly
from storage.compress import Compress
from storage.encodings import Kept
from storage.engine import Engine, Options
from storage.events import LatestHeld, append_events, read_events
from storage.fetches import Fetches, Wanted
from storage.index import read_index
from storage.rollback import rollback
from storage.segments import BLOCK_BYTES
from storage.trail import Actor
from storage.versions import label, pin
from strongroom.contracts import DocumentOptions, VerifyReceipt
from strongroom.errors import IntegrityError
from strongroom.inbox import InboxWriter
from strongroom.result import Err, capture
from tests.storage.test_verify import ALONE, COPY, KINDS, LARGE, SHARED, DamageKind, fill
from tests.support.archive import body, check_promises, document, large_body, shown, unfinished, view
from tests.support.crash import crash_at, steps_of
from tests.support.faults import faults
from tests.support.on_disk import revisions_on_disk
from tests.support.thorough import crash_places, stride

OLD = {ALONE: body(n=0), ("/shared", "1.0"): body(n=1), SHARED: body(n=2), LARGE: large_body(5 << 20)}
CONTENTS = {hashlib.sha256(data).hexdigest(): data for data in [*OLD.values(), body(n=3)]}


def from_producer(wanted: Wanted) -> Iterator[bytes] | None:
    """Know every document that was stored here."""
    data = CONTENTS.get(wanted.content_sha256)
    return None if data is None else iter([data[:7], data[7:]])


def _segment(engine: Engine, version: tuple[str, str]) -> Path:
    return engine.folder.segment(engine.find(*version).place.segment_sha256)


def _flip(path: Path, at: int = -1) -> None:
    data = bytearray(path.read_bytes())
    data[at] ^= 1
    path.write_bytes(bytes(data))


def _damaged(receipt: VerifyReceipt) -> set[tuple[str, str]]:
    return {(one.library_id, one.version) for one in receipt.damaged}


@pytest.fixture(scope="module")
def filled(fresh_folder: Path, memory: Path) -> Path:
    root = Path(shutil.copytree(fresh_folder, memory / "filled-for-repair"))
    with Engine(root).open() as engine:
        fill(engine)
    return root


@pytest.fixture
def root(filled: Path, data: Path) -> Path:
    shutil.rmtree(data)
    return _copy(filled, data)


def _copy(filled: Path, data: Path) -> Path:
    shutil.copytree(filled, data, symlinks=True)
    with Engine(data).open() as engine:
        for version in (ALONE, LARGE):  # copying made files of what are links to segments
            shown_as = (engine.folder.root / engine.find(*version).file_path).resolve()
            shown_as.unlink()
            shown_as.hardlink_to(_segment(engine, version))
    return data


def _options(*, producer: bool = False) -> Options:
    return Options(fetches=Fetches(producer=from_producer if producer else None))


def _pages(engine: Engine) -> dict[str, bytes]:
    return {path: gzip.decompress(data) for path, data in shown(engine).items()}


def _catalogue_is(engine: Engine, before: object) -> None:
    assert view(engine) == before
    check_promises(engine)
    engine.tree.catch_up()
    check_promises(engine)


@pytest.mark.parametrize("kind", KINDS, ids=lambda one: one.name)
def test_every_kind_of_damage_is_repaired_where_a_good_source_exists(root: Path, kind: DamageKind) -> None:
    with Engine(root, _options(producer=True)).open() as engine:
        before, pages, told = view(engine), _pages(engine), revisions_on_disk(engine)
        kind.do(engine)
        receipt = engine.repair.verify()
        assert (receipt.damaged, receipt.findings) == ([], [])
        assert receipt.repaired or receipt.mended
        assert {(one.library_id, one.version) for one in receipt.repaired} >= kind.damaged.keys()
        _catalogue_is(engine, before)
        assert _pages(engine) == pages
        assert unfinished(engine) == []
        assert revisions_on_disk(engine) == told, "the disk alone tells the same"
        again = engine.repair.verify()
        assert (again.repaired, again.mended, again.damaged, again.findings) == ([], [], [], [])


@pytest.mark.parametrize("kind", [one for one in KINDS if one.damaged], ids=lambda one: one.name)
def test_what_no_source_has_remains_and_nothing_of_it_is_thrown_away(root: Path, kind: DamageKind) -> None:
    with Engine(root, _options()).open() as engine:
        kind.do(engine)
        before = view(engine)
        receipt = engine.repair.verify()
        remaining = kind.damaged.keys() - {(one.library_id, one.version) for one in receipt.repaired}
        assert _damaged(receipt) == remaining
        assert view(engine) == before
        steps = steps_of(engine.repair.verify)
        assert not [one for one in steps if "commit" in one or "quarantine: link" in one], "twice changes nothing"
        for version in remaining & {(one.library_id, one.version) for one in engine.versions()}:
            if kind.name != "an old revision":
                with pytest.raises(IntegrityError) as caught:
                    engine.read(*version)
                assert "Store the document again" in caught.value.hint
        sound = {(one.library_id, one.version) for one in engine.versions()} - kind.damaged.keys()
        assert all(engine.read(*one) for one in sound)


def test_a_segment_gets_its_own_bytes_again_from_a_copy_in_the_tree(root: Path) -> None:
    with Engine(root).open() as engine:
        place = engine.find(*SHARED).place
        _flip(_segment(engine, SHARED), place.offset + 12)
        damaged = _segment(engine, SHARED).read_bytes()
        receipt = engine.repair.verify()
        assert [(one.library_id, one.source.split()[0]) for one in receipt.repaired] == [("/copy", "tree"), ("/shared", "tree")]
        assert engine.find(*SHARED).place == place, "no row has changed"
        kept = [path for path in engine.folder.quarantine.iterdir() if path.suffix != ".json"]
        assert [path.read_bytes() for path in kept] == [damaged]
        with engine.database.read() as connection:
            trail = list_audit(connection, "/copy")
        assert [(one.action, one.by, one.details["kept"]) for one in trail] == [("repaired", "person", kept[0].name)]
        check_promises(engine)


def test_a_payload_that_was_kept_is_a_source_plain_or_gzipped(root: Path) -> None:
    for pack in (lambda data: data, gzip.compress):
        with Engine(root).open() as engine:
            with InboxWriter(engine.folder.inbox) as writer:
                writer.add(pack(body(n=0)), "one.json", DocumentOptions(library_id="/alone", version="1.0"))
                path = writer.commit()
            _flip(_segment(engine, ALONE))
            (repaired,) = engine.repair.verify().repaired
            assert repaired.source == f"payload inbox/{path.name}"
            check_promises(engine)
            path.unlink()


def test_the_backup_goes_before_the_producer_and_a_source_that_lies_is_passed_over(root: Path) -> None:
    asked: list[str] = []

    def liar(wanted: Wanted) -> Iterator[bytes]:
        asked.append(wanted.holders[0].library_id)
        return iter([b"{}"])

    def broken(_wanted: Wanted) -> Iterator[bytes]:
        raise ConnectionError("no such host")

    options = Options(fetches=Fetches(backup=liar, producer=from_producer))
    with Engine(root, options).open() as engine:
        _flip(_segment(engine, ALONE))
        assert [one.source for one in engine.repair.verify().repaired] == ["producer"]
        assert asked == ["/alone"]
    with Engine(root, Options(fetches=Fetches(backup=broken))).open() as engine:
        _flip(_segment(engine, ALONE))
        assert _damaged(engine.repair.verify()) == {ALONE}


def test_what_a_sweep_threw_away_and_what_no_row_names_are_sources(root: Path) -> None:
    with Engine(root).open() as engine:
        segment = _segment(engine, ALONE)
        index = engine.folder.index(segment.name)
        (engine.folder.trash / f"swept-20260101T000000000000-{segment.name}.segment").write_bytes(segment.read_bytes())
        (engine.folder.trash / f"swept-20260101T000000000000-{segment.name}.index").write_bytes(index.read_bytes())
        _flip(segment)
        (repaired,) = engine.repair.verify().repaired
        assert repaired.source.startswith("trash swept-")
        check_promises(engine)


@pytest.fixture
def no_encoder(monkeypatch: pytest.MonkeyPatch) -> None:
    """No encoder makes the bytes that were stored: another release wrote them."""
    monkeypatch.setattr(reassembly, "ENCODERS", {})
    monkeypatch.setattr(reassembly, "SMALLEST", {})


def _odd(engine: Engine) -> Path:
    """Store two documents together that only the producer has besides; damage the first."""
    engine.store([document("/odd", "1.0", body(odd=1)), document("/odd", "2.0", body(odd=2))])
    segment = _segment(engine, ("/odd", "1.0"))
    _flip(segment, engine.find("/odd", "1.0").place.offset + 14)
    return segment


CONTENTS[hashlib.sha256(body(odd=1)).hexdigest()] = body(odd=1)


@pytest.mark.parametrize("kept", ["gzip", "zstd"])
def test_what_compress_wrote_is_put_together_again_byte_for_byte(root: Path, kept: Kept) -> None:
    with Engine(root, replace(_options(producer=True), tree="none")).open() as engine:
        Compress(engine.folder, engine.database, engine.tree, "none", kept).run(datetime.now(UTC))
        segment = _segment(engine, ALONE)
        assert engine.find(*ALONE).place.codec == kept
        whole = segment.read_bytes()
        _flip(segment)
        receipt = engine.repair.verify()
        assert [(one.library_id, one.version) for one in receipt.repaired] == [ALONE]
        assert segment.read_bytes() == whole


@pytest.mark.usefixtures("no_encoder")
def test_what_cannot_be_had_byte_for_byte_is_written_anew_and_its_neighbours_with_it(root: Path) -> None:
    with Engine(root, _options(producer=True)).open() as engine:
        segment = _odd(engine)
        before = view(engine)
        receipt = engine.repair.verify()
        assert [(one.library_id, one.version, one.source) for one in receipt.repaired] == [("/odd", "1.0", "producer")]
        assert _segment(engine, ("/odd", "1.0")) == _segment(engine, ("/odd", "2.0")) != segment
        assert not segment.exists()
        assert {path.name.partition(".2")[0] for path in engine.folder.quarantine.iterdir()} == {
            segment.name,
            f"{segment.name}.index",
        }
        assert {("/odd", "1.0", 1), ("/odd", "2.0", 1)} <= revisions_on_disk(engine).keys()
        _catalogue_is(engine, before)


@pytest.mark.usefixtures("no_encoder")
def test_what_is_lost_keeps_its_segment_and_what_can_be_had_leaves_it(root: Path) -> None:
    with Engine(root, _options(producer=True)).open() as engine:
        segment = _odd(engine)
        _flip(segment, engine.find("/odd", "2.0").place.offset + 14)
        receipt = engine.repair.verify()
        assert [(one.version, one.code) for one in receipt.damaged] == [("2.0", "damaged")]
        assert [one.version for one in receipt.repaired] == ["1.0"]
        assert segment.exists()
        assert engine.read("/odd", "1.0") == body(odd=1)
        again = engine.repair.verify()
        assert (again.damaged, again.repaired) == (receipt.damaged, [])
        engine.store([document("/odd", "2.0", body(odd=2))])
        engine.tree.catch_up()
        assert engine.repair.verify().findings == []
        check_promises(engine)


def test_a_read_repairs_what_it_finds_damaged_in_less_than_a_second(root: Path, capsys: pytest.CaptureFixture[str]) -> None:
    for version in (SHARED, LARGE):
        with Engine(root, _options(producer=True)).open() as engine:
            place = engine.find(*version).place
            _flip(_segment(engine, version), place.offset + place.length // 2)
            began = time.perf_counter()
            assert engine.read(*version) == OLD[version]
            took = time.perf_counter() - began
            with capsys.disabled():
                print(f"\nrecovery of a damaged document of {place.size_bytes:,} bytes on read: {took:.3f} s")
            assert took < 1
            assert not engine.verify().damaged


def test_a_stream_that_meets_damage_in_its_middle_goes_on_as_if_there_were_none(root: Path) -> None:
    with Engine(root, _options(producer=True)).open() as engine:
        _flip(_segment(engine, LARGE), 2 * BLOCK_BYTES + 7)
        pieces = engine.stream(*LARGE)
        first = next(pieces)
        assert first + b"".join(pieces) == OLD[LARGE]


def test_a_read_that_may_not_repair_serves_another_copy_or_says_what_to_do(root: Path) -> None:
    with Engine(root, replace(_options(producer=True), mend_reads=False)).open() as engine:
        _flip(_segment(engine, ALONE))
        with pytest.raises(IntegrityError) as caught:
            engine.read(*ALONE)
        assert "Store the document again from its source" in caught.value.hint
        assert not engine.folder.quarantine.exists() or not list(engine.folder.quarantine.iterdir())
        with engine.database.read() as connection:
            suspects = connection.execute(text("SELECT segment_sha256 FROM segment WHERE suspect")).scalars().all()
        assert suspects == [_segment(engine, ALONE).name]


def test_an_index_made_again_tells_of_all_that_the_old_one_told(root: Path) -> None:
    with Engine(root).open() as engine:
        engine.store([document("/sorted", "nightly", body(library_info={"name": "Sorted"}), sort_as="2.5", metadata={"a": [1]})])
        index = engine.folder.index(_segment(engine, ("/sorted", "nightly")).name)
        told = read_index(index)
        _flip(index, 20)
        assert [(one.code, one.source) for one in engine.repair.verify().mended] == [
            ("index_damaged", "the catalogue and the segment")
        ]
        assert read_index(index) == told


def test_what_a_damaged_line_of_the_journal_told_is_told_again(root: Path) -> None:
    with Engine(root).open() as engine:
        pin(engine.archive, "/alone", "1.0", Actor("person:ada", "ours"))
        label(engine.archive, "/alone", "stable", "1.0", Actor("person:ada"))
        told = sorted(map(repr, read_events(engine.folder.journal)))
        lines = engine.folder.journal.read_bytes().splitlines(keepends=True)
        for number in range(len(lines)):
            engine.folder.journal.write_bytes(b"".join(lines))
            _flip(engine.folder.journal, sum(map(len, lines[:number])) + 20)
            receipt = engine.repair.verify()
            assert [one.code for one in receipt.mended] == ["journal_damaged"]
            assert sorted(map(repr, read_events(engine.folder.journal))) == told
            assert engine.folder.journal.stat().st_size > sum(map(len, lines))


def test_a_lost_journal_is_written_anew_from_what_the_catalogue_knows(root: Path) -> None:
    with Engine(root).open() as engine:
        pin(engine.archive, "/alone", "1.0", Actor("person:ada", "ours"))
        told, entries = revisions_on_disk(engine), sorted(map(repr, read_events(engine.folder.journal)))
        engine.folder.journal.unlink()
        assert [one.code for one in engine.repair.verify().mended] == ["untold"]
        assert (revisions_on_disk(engine), sorted(map(repr, read_events(engine.folder.journal)))) == (told, entries)
        assert engine.repair.verify().mended == []


def test_a_latest_by_hand_that_a_newer_version_has_ended_is_not_taken_for_a_lost_line(root: Path) -> None:
    with Engine(root).open() as engine:
        rollback(engine.archive, "/shared", "1.0", Actor("person:ada"))
        engine.store([document("/shared", "9.0", body(n=9))])
        engine.tree.catch_up()
        told = engine.folder.journal.read_bytes()
        assert engine.repair.verify().mended == []
        assert engine.folder.journal.read_bytes() == told
        append_events(engine.folder.journal, [LatestHeld("/shared", "1.0", datetime.now(UTC), "person:eve")])
        assert [one.code for one in engine.repair.verify().mended] == ["untold"]
        assert engine.repair.verify().mended == []


@pytest.mark.parametrize("harm", [lambda path: path.unlink(), lambda path: path.write_text("{")], ids=["gone", "damaged"])
def test_the_metadata_of_a_library_in_the_tree_is_made_again(root: Path, harm: Callable[[Path], object]) -> None:
    with Engine(root).open() as engine:
        path = engine.folder.documentation / "+shared" / "metadata.json"
        before = path.read_bytes()
        harm(path)
        assert [one.code for one in engine.repair.verify().mended] == ["tree_out_of_step"]
        assert path.read_bytes() == before
        assert engine.repair.verify().mended == []


def test_an_index_on_a_bad_sector_is_made_again_and_the_rest_is_looked_at(root: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    read_bytes, fired = Path.read_bytes, list[Path]()
    with Engine(root, _options(producer=True)).open() as engine:
        bad = engine.folder.index(_segment(engine, ALONE).name)
        inode = bad.stat().st_ino

        def read(path: Path) -> bytes:
            if path == bad and path.stat().st_ino == inode:
                fired.append(path)
                raise OSError(errno.EIO, "Input/output error", str(path))
            return read_bytes(path)

        monkeypatch.setattr(Path, "read_bytes", read)
        _flip(_segment(engine, LARGE))
        receipt = engine.verify()
        assert ([one.code for one in receipt.findings], _damaged(receipt)) == (["index_damaged"], {LARGE})
        receipt = engine.repair.verify()
        assert (receipt.findings, receipt.damaged, [one.code for one in receipt.mended]) == ([], [], ["index_damaged"])
        assert fired
        check_promises(engine)


def test_a_latest_that_points_elsewhere_is_put_right(root: Path) -> None:
    with Engine(root).open() as engine:
        latest = engine.folder.documentation / "+shared" / "latest"
        latest.unlink()
        latest.symlink_to("1.0")
        assert [one.code for one in engine.repair.verify().mended] == ["tree_out_of_step"]
        assert str(latest.readlink()) == "2.0"


WAYS: dict[str, Callable[[Engine], object]] = {
    "its own bytes": lambda engine: _flip(_segment(engine, SHARED), engine.find(*SHARED).place.offset + 12),
    "written anew": lambda engine: _flip(_segment(engine, ALONE)),
    "an index": lambda engine: _flip(engine.folder.index(_segment(engine, ALONE).name), 30),
    "the journal": lambda engine: _flip(engine.folder.journal, 40),
    "the tree": lambda engine: shutil.rmtree(engine.folder.documentation / "+copy"),
}


@pytest.fixture(scope="module")
def small(fresh_folder: Path, memory: Path) -> Path:
    root = Path(shutil.copytree(fresh_folder, memory / "small-for-repair"))
    with Engine(root).open() as engine:
        engine.store([document(*ALONE, body(n=0))])
        engine.store([document("/shared", "1.0", body(n=1)), document(*SHARED, body(n=2))])
        engine.store([document(*COPY, body(n=2))])
        engine.tree.catch_up()
        for folder in engine.folder.segments.iterdir():  # each is copied for each step
            if not any(folder.iterdir()):
                folder.rmdir()
    return root


@pytest.fixture
def prepared(small: Path, scratch: Path, monkeypatch: pytest.MonkeyPatch, way: str) -> Path:
    """A folder that is damaged in this way."""
    if way == "written anew":
        monkeypatch.setattr(reassembly, "ENCODERS", {})
    monkeypatch.setattr(reassembly, "SMALLEST", {})
    root = scratch / "prepared"
    shutil.copytree(small, root, symlinks=True)
    with Engine(root).open() as engine:
        shown_as = (engine.folder.root / engine.find(*ALONE).file_path).resolve()
        WAYS[way](engine)
        shown_as.write_bytes(_segment(engine, ALONE).read_bytes())  # the tree links to it
    return root


def _again(prepared: Path, data: Path) -> Path:
    shutil.rmtree(data)
    return Path(shutil.copytree(prepared, data, symlinks=True))


def _repairing(way: str) -> Options:
    return replace(_options(producer=True), codec="gzip-best" if way == "written anew" else "gzip-fast")


def _heals(way: str, data: Path, before: object) -> None:
    with Engine(data, _repairing(way)).open() as engine:
        receipt = engine.repair.verify()
        assert (receipt.damaged, receipt.findings) == ([], [])
        assert view(engine) == before
        assert all(engine.read(one.library_id, one.version) for one in engine.versions())


@pytest.mark.parametrize("way", WAYS)
def test_a_crash_at_any_step_of_a_repair_loses_nothing_and_the_next_one_goes_on(way: str, prepared: Path, data: Path) -> None:
    with Engine(_again(prepared, data), _repairing(way)).open() as engine:
        before = view(engine)
        steps = steps_of(engine.repair.verify)
        check_promises(engine)
    assert len(steps) > 3
    for number in crash_places(steps):
        engine = Engine(_again(prepared, data), _repairing(way)).open()
        with crash_at(number):
            engine.repair.verify()
        engine.close()
        _heals(way, data, before)


@pytest.mark.parametrize(
    ("way", "code"), [("written anew", errno.ENOSPC), ("its own bytes", errno.EIO), ("the journal", errno.ENOSPC)]
)
def test_a_call_that_fails_in_a_repair_is_told_and_loses_nothing(way: str, code: int, prepared: Path, data: Path) -> None:
    number, fired = 0, True
    while fired:
        number += stride(7)
        with Engine(_again(prepared, data), _repairing(way)).open() as engine:
            before = view(engine)
            with faults(number, code) as injected:
                outcome = capture(engine.repair.verify)
            fired = injected.fired
            if isinstance(outcome, Err):
                assert outcome.problem.retryable, (outcome, injected.calls)
            assert unfinished(engine) == [], injected.calls
        _heals(way, data, before)
    assert number > 3
