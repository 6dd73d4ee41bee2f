"""storage/rollback.py: back to an older state in one step, and back again."""

from __future__ import annotations

import errno
import gzip
import json
import shutil
from collections.abc import Callable
from datetime import UTC, datetime, timedelta
from threading import Event, Thread

import pytest

from models.curation import list_audit
from storage.compress import Compress
from storage.engine import Engine, Options
from storage.events import LatestHeld, RolledBack, read_events
from storage.index import VersionRecord
from storage.rollback import Rollback, rollback
from storage.trail import Actor, Archive
from strongroom.errors import IntegrityError, InvalidRequest, NotFound, StorageError
from tests.support.alike import store_versions
from tests.support.archive import body, check_promises, document, revisions, shown, unfinished, view
from tests.support.crash import crash_at, steps_of
from tests.support.faults import faults
from tests.support.on_disk import revisions_on_disk
from tests.support.thorough import crash_places, stride

ADA = Actor("person:ada", "2.0 is broken")
LIBRARY = "/a/b"


def store(engine: Engine, version: str, n: int, **options: object) -> None:
    engine.store([document(LIBRARY, version, body(n=n), **options)])
    engine.tree.catch_up()


def content(engine: Engine, version: str = "latest") -> int:
    """What a reader gets, from the engine and from the tree, which must agree."""
    (found,) = {engine.read(LIBRARY, version), _in_tree(engine, version)}
    return int(json.loads(found)["n"])


def catalogued(engine: Engine) -> dict[tuple[str, str, int], str]:
    """What the disk alone should say."""
    return {(one.library_id, one.version, one.revision): one.place.content_sha256 for one in revisions(engine)}


def _in_tree(engine: Engine, version: str) -> bytes:
    return gzip.decompress((engine.folder.documentation / "+a+b" / version / "documentation.json.gz").read_bytes())


@pytest.fixture
def two(engine: Engine) -> Engine:
    """Two versions; the newer one has two revisions."""
    for version, n in (("1.0", 1), ("2.0", 2), ("2.0", 3)):
        store(engine, version, n)
    return engine


def test_latest_means_an_older_version_again_and_back(two: Engine) -> None:
    done = two.rollback(LIBRARY, "1.0", ADA)
    assert done == Rollback("latest", LIBRARY, "1.0", 1, 1, 1, "2.0")
    assert (content(two), content(two, "2.0")) == (1, 3)
    check_promises(two)
    assert two.rollback(LIBRARY, "2.0", ADA).latest_before == "1.0"
    assert content(two) == 3
    check_promises(two)


def test_moving_latest_twice_changes_nothing_the_second_time(two: Engine) -> None:
    two.rollback(LIBRARY, "1.0", ADA)
    before = view(two), two.folder.journal.read_bytes()
    assert two.rollback(LIBRARY, "1.0", ADA).kind == "unchanged"
    assert (view(two), two.folder.journal.read_bytes()) == before


def test_the_content_of_the_newest_version_goes_back_one_revision_and_back_again(two: Engine) -> None:
    assert two.rollback(LIBRARY, "2.0", ADA) == Rollback("content", LIBRARY, "2.0", 3, 2, 1, "2.0")
    assert content(two) == content(two, "2.0") == 2
    assert two.rollback(LIBRARY, "latest", ADA) == Rollback("content", LIBRARY, "2.0", 4, 3, 2, "2.0")
    assert content(two) == 3
    check_promises(two)


def test_a_named_revision_comes_back_once(two: Engine) -> None:
    store(two, "2.0", 4)
    assert two.rollback(LIBRARY, "2.0", ADA, to=1).kind == "content"
    assert two.rollback(LIBRARY, "2.0", ADA, to=1).kind == "unchanged"
    assert [one.revision for one in revisions(two) if one.version == "2.0"] == [4, 3, 2, 1]
    assert content(two) == 2


def test_a_revision_of_a_version_that_is_not_the_latest_comes_back_and_latest_stays(two: Engine) -> None:
    store(two, "1.0", 5)
    two.rollback(LIBRARY, "1.0", ADA, to=1)
    assert (content(two), content(two, "1.0")) == (3, 1)


def test_who_and_why_are_in_the_journal_and_in_the_trail(two: Engine) -> None:
    two.rollback(LIBRARY, "2.0", ADA)
    *_, told, record = read_events(two.folder.journal)
    assert isinstance(told, RolledBack)
    assert isinstance(record, VersionRecord)
    assert (told.by, told.why, told.stored_at) == ("person:ada", "2.0 is broken", record.stored_at)
    with two.database.read() as connection:
        (row,) = list_audit(connection, LIBRARY)
    assert (row.action, row.by, row.why, row.at) == ("rolled_back", "person:ada", "2.0 is broken", told.at)


def test_what_a_version_was_told_at_its_store_comes_back_with_its_content(engine: Engine) -> None:
    store(engine, "1.0", 1, source="https://example.org/1", metadata={"crawl": 1}, sort_as="9")
    store(engine, "1.0", 2, source="https://example.org/2", metadata={"crawl": 2}, sort_as="9")
    store(engine, "2.0", 3)
    engine.rollback(LIBRARY, "1.0", ADA, to=1)
    found = engine.find(LIBRARY, "1.0")
    assert (found.source, found.details, found.latest) == ("https://example.org/1", {"crawl": 1}, True)


def test_a_new_version_that_orders_newest_ends_a_latest_by_hand_and_nothing_else_does(two: Engine) -> None:
    two.rollback(LIBRARY, "1.0", ADA)
    store(two, "2.0", 6)
    assert content(two) == 1, "a new revision of the newest version, such as a second download"
    store(two, "1.5", 7)
    assert content(two) == 1, "an older version that was not there"
    store(two, "1.0", 8)
    assert content(two) == 8, "the version itself"
    store(two, "2.1", 9)
    assert content(two) == 9
    check_promises(two)


def test_latest_follows_the_newest_again_when_told_to(two: Engine) -> None:
    two.rollback(LIBRARY, "1.0", ADA)
    assert two.follow_newest(LIBRARY, ADA).changed
    assert not two.follow_newest(LIBRARY, ADA).changed
    assert content(two) == 3
    store(two, "3.0", 4)
    assert content(two) == 4


def test_latest_by_hand_survives_the_newest_version_sinking(two: Engine) -> None:
    two.rollback(LIBRARY, "1.0", ADA)
    store(two, "2.0", 6, sort_as="0.5")
    assert content(two) == 1
    two.follow_newest(LIBRARY, ADA)
    assert content(two) == 1, "1.0 orders newest now"
    check_promises(two)


def test_a_tree_of_the_latest_versions_alone_follows(open_engine: Callable[..., Engine]) -> None:
    engine = open_engine(tree="latest")
    for version, n in (("1.0", 1), ("2.0", 2)):
        store(engine, version, n)
    engine.rollback(LIBRARY, "1.0", ADA)
    assert sorted(path.split("/")[1] for path in shown(engine)) == ["1.0", "latest"]
    assert content(engine) == 1


@pytest.mark.parametrize(
    ("version", "to", "error"),
    [("3.0", None, NotFound), ("2.0", 7, NotFound), ("1.0", 2, NotFound), ("latest", None, InvalidRequest)],
)
def test_what_cannot_be_gone_back_to_is_told_and_nothing_is_written(
    engine: Engine, version: str, to: int | None, error: type[StorageError]
) -> None:
    store(engine, "1.0", 1)
    store(engine, "2.0", 2)
    with pytest.raises(error):
        engine.rollback(LIBRARY, version, ADA, to)
    with pytest.raises(NotFound):
        engine.rollback("/no/such", "1.0", ADA)
    assert not engine.folder.journal.exists()


def test_what_is_gone_back_to_is_mended_first_where_a_good_copy_is(two: Engine) -> None:
    two.tree.catch_up()
    segment = two.folder.segment(two.find(LIBRARY, "1.0").place.segment_sha256)
    segment.unlink()  # the tree's name for it stays
    two.rollback(LIBRARY, "1.0", ADA)
    assert content(two) == 1
    with two.database.read() as connection:
        assert ("repaired", ADA.by) in {(one.action, one.by) for one in list_audit(connection, LIBRARY)}
    check_promises(two)


def test_nobody_goes_back_to_what_refers_to_damaged_bytes(open_engine: Callable[..., Engine]) -> None:
    engine = open_engine(tree="none")
    store_versions(engine, LIBRARY, 3)
    Compress(engine.folder, engine.database, engine.tree, "none", "gzip").run(datetime.now(UTC), None, lambda _done, _total: None)
    assert engine.find(LIBRARY, "1.0").place.reference_sha256 is not None
    engine.folder.segment(engine.find(LIBRARY).place.segment_sha256).unlink()
    shutil.rmtree(engine.folder.trash)
    with pytest.raises(IntegrityError, match="nothing was changed"):
        engine.rollback(LIBRARY, "1.0", ADA)
    assert engine.find(LIBRARY).version == "3.0"


def test_nobody_goes_back_to_damaged_bytes(two: Engine) -> None:
    place = next(one.place for one in revisions(two) if (one.version, one.revision) == ("2.0", 1))
    segment = two.folder.segment(place.segment_sha256)
    segment.write_bytes(b"\0" + segment.read_bytes()[1:])
    before = view(two)
    with pytest.raises(IntegrityError, match="nothing was changed"):
        two.rollback(LIBRARY, "2.0", ADA)
    assert view(two) == before


def test_a_clock_that_went_back_does_not_reorder_what_was_done(two: Engine) -> None:
    late = Archive(two.folder, two.database, lambda: datetime.now(UTC) - timedelta(days=400))
    rollback(late, LIBRARY, "2.0", ADA, to=1)
    assert revisions_on_disk(two) == catalogued(two)
    rollback(late, LIBRARY, "1.0", ADA)
    held = next(one for one in read_events(two.folder.journal) if isinstance(one, LatestHeld))
    assert held.at > max(one.created_at for one in revisions(two)), "a rebuild would have a store end it"
    store(two, "3.0", 4)
    assert content(two) == 4


ROLLBACKS: list[Callable[[Engine], Rollback]] = [
    lambda engine: engine.rollback(LIBRARY, "1.0", ADA),
    lambda engine: engine.rollback(LIBRARY, "2.0", ADA, to=1),
]


@pytest.fixture
def prepared(two: Engine) -> Engine:
    """What ``copy`` copies."""
    return two


@pytest.mark.parametrize("go_back", ROLLBACKS)
def test_a_crash_anywhere_leaves_the_old_or_the_new_and_the_rerun_heals(
    copy: Callable[[], Engine], go_back: Callable[[Engine], Rollback]
) -> None:
    engine = copy()
    before = view(engine)
    steps = steps_of(lambda: go_back(engine))
    after, tree = view(engine), shown(engine)
    assert {"journal: fsync", "catalogue: commit", "tree link: rename"} <= set(steps)
    for number in crash_places(steps):
        engine = copy()
        with crash_at(number):
            go_back(engine)
        assert view(engine) == (after if "catalogue: committed" in steps[:number] else before), steps[number - 1]
        check_promises(engine)
        go_back(engine)
        engine.tree.catch_up()
        assert (view(engine), shown(engine)) == (after, tree)
        assert not unfinished(engine)
        assert revisions_on_disk(engine) == catalogued(engine)


@pytest.mark.parametrize("go_back", ROLLBACKS)
def test_a_disk_that_refuses_a_write_is_told_and_the_next_run_succeeds(
    copy: Callable[[], Engine], go_back: Callable[[Engine], Rollback]
) -> None:
    engine = copy()
    with faults() as counted:
        go_back(engine)
    after, tree = view(engine), shown(engine)
    assert len(counted.calls) > 5
    for number in range(1, len(counted.calls) + 1, stride(3)):
        engine = copy()
        with faults(number, errno.ENOSPC if number % 2 else errno.EIO) as injected:
            try:
                go_back(engine)
            except StorageError:
                check_promises(engine)
        assert injected.fired
        go_back(engine)
        engine.tree.catch_up()
        assert (view(engine), shown(engine)) == (after, tree)


def test_a_reader_sees_the_old_or_the_new_while_it_goes_back_and_forth(two: Engine) -> None:
    seen: list[bytes] = []
    stop = Event()

    def look() -> None:
        with Engine(two.folder.root, Options()).open() as engine:
            while not stop.is_set():
                seen.append(engine.read(LIBRARY))
                assert (two.folder.documentation / "+a+b" / "latest" / "metadata.json").read_bytes()

    reader = Thread(target=look)
    reader.start()
    for version in ("1.0", "2.0") * 4:
        two.rollback(LIBRARY, version, ADA)
    stop.set()
    reader.join()
    assert set(seen) <= {body(n=1), body(n=3)}
    assert seen
