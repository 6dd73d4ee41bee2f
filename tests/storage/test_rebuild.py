"""storage/rebuild.py: the catalogue is lost, and what the disk alone tells is equal to it, table by table."""

from __future__ import annotations

import errno
import hashlib
import re
import shutil
import sqlite3
from collections.abc import Sequence
from contextlib import suppress
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

import hypothesis
import pytest
from hypothesis import strategies
from hypothesis.stateful import invariant, precondition, rule
from sqlalchemy import text

from storage.cleanup import make_plan
from storage.compress import Compress
from storage.engine import Engine
from storage.intake import Incoming
from storage.policies import parse_policies
from storage.rebuild import Rebuilt, rebuild
from storage.removal import Removal
from storage.rollback import follow_newest, rollback
from storage.trail import Actor, Archive
from storage.versions import label, pin, unpin
from strongroom.errors import CatalogueBusy, DataFolderError, DiskFull, InvalidRequest, NotFound, TransientIO
from strongroom.inbox import InboxWriter
from tests.conftest import OpenEngine
from tests.storage.test_engine_states import CONTENTS, EngineStates, Wanted, batches
from tests.support.alike import text as text_of
from tests.support.archive import body, check_promises, document, large_body, revisions, view
from tests.support.crash import crash_at, die_at, steps_of
from tests.support.faults import faults
from tests.support.scenarios import OPTIONS
from tests.support.thorough import crash_places, stride, walk
from workers.accepted_files import unentered

NOW = datetime(2030, 1, 1, tzinfo=UTC)
TABLES = {
    "library": "*",
    "version": "library_id, version, revision, current, order_rank, order_key, file_path, file_size_bytes, compressed_size_bytes,"
    " content_sha256, created_at, download_source, details",
    "removed_version": "library_id, version, revision, current, order_rank, order_key, file_path, file_size_bytes,"
    " compressed_size_bytes, content_sha256, created_at, details, removed_at, removed_by, why, plan_id, purged_at IS NULL",
    "segment": "segment_sha256, size_bytes, object_count, condemned",
    "object": 'content_sha256, size_bytes, codec, segment_sha256, "offset", length, stored_sha256, blocks,'
    " reference_sha256, reference_offset, reference_length, effort",
    "pin": "*",
    "label": "*",
    "alias": "alias, library_id, at, by, why, in_tree",
    "audit": "at, by, action, library_id, version, why, details",
}
"""The columns that the disk tells. Ids are random; when a segment was written, and what the tree shows, is found anew."""


def tables(engine: Engine) -> dict[str, list[Any]]:
    """Return everything that the disk must tell, sorted."""
    with engine.database.read() as connection:
        rows = {name: connection.execute(text(f"SELECT {columns} FROM {name}")).all() for name, columns in TABLES.items()}
    return {name: sorted(map(repr, found)) for name, found in rows.items()}


def told(found: dict[str, list[Any]], *, times: bool) -> dict[str, list[Any]]:
    """Without ``times``: a store that crashed is found at the time of its first attempt, not of the one that was committed."""
    return found if times else {name: [_TIME.sub("then", row) for row in rows] for name, rows in found.items()}


def differences(before: dict[str, list[Any]], after: dict[str, list[Any]]) -> list[str]:
    """Return what only one of them has."""
    found = []
    for name, rows in before.items():
        found += [f"{name} lost: {row}" for row in rows if row not in after[name]]
        found += [f"{name} new: {row}" for row in after[name] if row not in rows]
    return found


_TIME = re.compile(r"[0-9-]{10} [0-9:.]{15}")


def lose(root: Path) -> None:
    for path in root.glob("metadata/catalogue.db*"):
        path.unlink()


def rebuilt(engine: Engine) -> Rebuilt:
    """Lose the catalogue and make it anew."""
    engine.close()
    lose(engine.folder.root)
    return rebuild(engine.folder, engine.database.url, NOW)


class RebuildStates(EngineStates):
    """Whatever happens, a rebuild at the end tells the same. A store that crashed runs again at once, as its job would."""

    actor = Actor("person:ada", "for a reason")

    crashed = False

    @rule(batch=batches, at=strategies.integers(1, 40))
    def crash_while_storing(self, batch: list[Wanted], at: int) -> None:
        self.crashed = True
        super().crash_while_storing(batch=batch, at=at, again=True)

    @precondition(lambda self: self.model)
    @rule(data=strategies.data())
    def curate(self, data: strategies.DataObject) -> None:
        stored = sorted(key for key, history in self.model.items() if history)
        hypothesis.assume(stored)
        library, version = data.draw(strategies.sampled_from(stored))
        archive = Archive(self.engine.folder, self.engine.database)
        what = data.draw(strategies.sampled_from(("pin", "unpin", "label", "unlabel", "roll back", "follow")))
        if what == "pin":
            pin(archive, library, version, self.actor)
        elif what == "roll back":
            with suppress(InvalidRequest, NotFound):
                rollback(archive, library, version, self.actor)
            self._look_again()
        elif what == "follow":
            follow_newest(archive, library, self.actor)
        elif what == "unpin":
            unpin(archive, library, version, self.actor)
        else:
            label(archive, library, "stable", version, self.actor)
            if what == "unlabel":
                label(archive, library, "stable", None, self.actor)

    @rule(keep=strategies.integers(1, 2), undo=strategies.booleans())
    def clean_up(self, keep: int, undo: bool) -> None:
        removal = Removal(self.engine.folder, self.engine.database)
        plan = make_plan(self.engine.database, parse_policies({"*": {"keep_last": keep}}), datetime.now(UTC))
        removal.apply(plan, "schedule", datetime.now(UTC))
        if undo and plan.going:
            removal.undo(plan.plan_id, "person:ada", datetime.now(UTC))
        self._look_again()

    def _look_again(self) -> None:
        """Have the model follow what others test: it is here to tell what is stored, not to judge it."""
        digests = {hashlib.sha256(content).hexdigest(): number for number, content in enumerate(CONTENTS)}
        self.model = {}
        for one in sorted(revisions(self.engine), key=lambda one: one.revision):
            self.model.setdefault((one.library_id, one.version), []).append(digests[one.place.content_sha256])

    @invariant()
    def what_is_read_is_what_the_model_holds(self) -> None:
        """Tested elsewhere, and for removals with other words."""

    @invariant()
    def the_latest_is_the_newest_release(self) -> None:
        """As above."""

    def _expect(self, batch: Sequence[Wanted]) -> list[tuple[str, int | None]]:
        """Revisions count on where some were removed: nothing is said of their numbers."""
        return [(status, None) for status, _ in super()._expect(batch)]

    @rule()
    def lose_the_catalogue(self) -> None:
        before = tables(self.engine)
        result = rebuilt(self.engine)
        self.engine = Engine(self.root, OPTIONS).open()
        assert result.findings == ()
        assert told(tables(self.engine), times=not self.crashed) == told(before, times=not self.crashed), differences(
            told(before, times=not self.crashed), told(tables(self.engine), times=not self.crashed)
        )
        assert (result.libraries, result.segments) == (len(before["library"]), len(before["segment"]))


@pytest.fixture
def machine(fresh_folder: Path, scratch: Path) -> type[RebuildStates]:
    return type("RebuildStates", (RebuildStates,), {"fresh": fresh_folder, "scratch": scratch})


def test_a_catalogue_that_is_lost_at_any_moment_comes_back_as_it_was(machine: type[RebuildStates]) -> None:
    walk(machine, 8, 10)


def filled(engine: Engine) -> Engine:
    """A few libraries, revisions, a copy that only the journal tells of, a large document, a pin, a job."""
    engine.store([document("/a/b", "1.0", body(n=1)), document("/a/b", "2.0", body(n=2)), document("/c", "1", body(n=3))])
    engine.store([document("/a/b", "1.0", body(n=4)), document("/copy", "1.0", body(n=2))])
    engine.store([document("/large", "1.0", large_body(3 << 20))])
    pin(Archive(engine.folder, engine.database), "/a/b", "1.0", Actor("person:ada"))
    engine.tree.catch_up()
    with engine.database.write() as connection:
        job = "INSERT INTO job (job_id, kind, state, subject, priority, asked_by, attempts, owner, payload, created_at) VALUES "
        connection.execute(text(job + "('job-of-before', 'store', 'done', '', 0, '', 0, '', '', '2026-11-22 01:02:03')"))
    return engine


def reopened(engine: Engine) -> Engine:
    return Engine(engine.folder.root, engine.options).open()


def test_the_tree_need_not_be_written_again(engine: Engine) -> None:
    rebuilt(filled(engine))
    with reopened(engine) as again:
        assert again.tree.lag() == 0
        check_promises(again)


def test_jobs_are_taken_along_where_the_old_catalogue_can_be_read_and_it_is_kept(engine: Engine) -> None:
    before = tables(filled(engine))
    engine.close()
    result = rebuild(engine.folder, engine.database.url, NOW)
    assert (result.findings, result.versions, result.revisions) == ((), 5, 6)
    with reopened(engine) as again:
        assert tables(again) == before
        with again.database.read() as connection:
            assert connection.execute(text("SELECT job_id FROM job")).scalars().all() == ["job-of-before"]
    assert result.before is not None
    with sqlite3.connect(result.before) as kept:
        assert kept.execute("SELECT count(*) FROM version").fetchone() == (6,)
    kept.close()


def test_what_only_the_old_catalogue_has_learnt_is_taken_along(engine: Engine) -> None:
    filled(engine)
    told = "SELECT segment_sha256, created_at, checked_at, checked_bad, suspect, codec_advice, pins FROM segment ORDER BY 1"
    read = "SELECT library_id, version, access_count, last_accessed FROM version WHERE current ORDER BY 1, 2"
    with engine.database.write() as connection:
        first = connection.execute(text("SELECT min(segment_sha256) FROM segment")).scalar_one()
        connection.execute(
            text(
                "UPDATE segment SET checked_at = '2026-01-02 00:00:00.000000', created_at = '2026-01-01 00:00:00.000000'"
                ", pins = 2, checked_bad = 1, suspect = 1"
                " WHERE segment_sha256 = :first"
            ),
            {"first": first},
        )
        connection.execute(text("UPDATE version SET access_count = 7, last_accessed = '2026-01-03 00:00:00.000000'"))
        before = [connection.execute(text(query)).all() for query in (told, read)]
    engine.close()
    rebuild(engine.folder, engine.database.url, NOW)
    with reopened(engine) as again, again.database.read() as connection:
        assert [connection.execute(text(query)).all() for query in (told, read)] == before


@pytest.mark.parametrize("seed", range(1, 5))  # which of two places is taken for the newer one the digests of segments decide
def test_what_compress_has_replaced_and_others_keep_on_the_disk_makes_no_circle(open_engine: OpenEngine, seed: int) -> None:
    engine = open_engine(tree="none").create()
    compress = Compress(engine.folder, engine.database, engine.tree, "none", "gzip")
    one, other, third = (text_of(seed, range(1, count)) for count in (2, 3, 4))
    for version, data in (("1", one), ("2", other), ("0", third)):
        engine.store([document("/a", version, data)])
    compress.run(NOW)  # one refers to the other, and shares its segment with the third, which stays
    engine.store([document("/0", "1", one), document("/a", "4", text_of(99)), document("/a", "3", one)])
    compress.run(NOW)  # the other refers to the one
    rebuilt(engine)
    with reopened(engine) as again:
        check_promises(again)
        assert [again.read("/a", version) for version in "0123"] == [third, one, other, one]
        settled = Compress(again.folder, again.database, again.tree, "none", "gzip")
        settled.run(NOW)
        assert settled.run(NOW).rewritten == 0
        with again.database.read() as connection:
            assert connection.execute(text("SELECT count(*) - count(DISTINCT content_sha256) FROM object")).scalar() == 0
        check_promises(again)


def test_a_damaged_catalogue_is_replaced_and_what_it_alone_knew_is_named(engine: Engine) -> None:
    before = tables(filled(engine))
    engine.close()
    file = engine.folder.metadata / "catalogue.db"
    file.write_bytes(file.read_bytes()[:100] + bytes(8000) + file.read_bytes()[8100:])
    result = rebuild(engine.folder, engine.database.url, NOW)
    assert [one.code for one in result.findings] == ["history_lost"]
    with reopened(engine) as again:
        assert tables(again) == before


@pytest.mark.parametrize("lost", [True, False], ids=["lost", "there"])
def test_a_crash_anywhere_leaves_the_old_catalogue_or_the_new_one(engine: Engine, lost: bool) -> None:
    before = view(filled(engine))
    engine.close()

    def work() -> None:
        if lost:
            lose(engine.folder.root)
        rebuild(engine.folder, engine.database.url, NOW)

    steps = steps_of(work)
    assert {"rebuild: commit", "catalogue: fsync", "catalogue: rename", "catalogue: fsync folder"} <= set(steps)
    for number in crash_places(steps):
        die_at(number, work)
        if (engine.folder.metadata / "catalogue.db").exists():
            with reopened(engine) as again:
                assert view(again) == before
        else:
            assert lost
            assert "catalogue: rename" in steps[number - 1 :]
        work()
        with reopened(engine) as again:
            check_promises(again)
            assert view(again) == before
        assert not list(engine.folder.metadata.glob("*.new*"))


def test_an_exception_leaves_no_new_catalogue_behind(engine: Engine) -> None:
    before = view(filled(engine))
    engine.close()
    for step in ("rebuild: commit", "catalogue: fsync", "catalogue: rename"):
        with crash_at(step):
            rebuild(engine.folder, engine.database.url, NOW)
        assert not list(engine.folder.metadata.glob("*.new*"))
        with reopened(engine) as again:
            assert view(again) == before


def test_damaged_indexes_and_segments_are_named_and_do_not_stop_it(engine: Engine) -> None:
    filled(engine)
    index = engine.folder.index(engine.find("/c").place.segment_sha256)
    large = engine.folder.segment(engine.find("/large").place.segment_sha256)
    engine.store([document("/other", "1.0", body(other=1))])
    other = engine.folder.index(engine.find("/other").place.segment_sha256)
    index.write_bytes(index.read_bytes()[:-9] + b"x" + index.read_bytes()[-8:])
    large.unlink()
    other.unlink()
    result = rebuilt(engine)
    codes = sorted(one.code for one in result.findings)
    # An older revision, and what the tree has not shown yet: of these nobody knows the name.
    assert codes == ["index_damaged", "index_missing", "missing"]
    with reopened(engine) as again:
        assert {one.library_id for one in again.libraries()} == {"/a/b", "/c", "/copy", "/large"}
        assert [again.read("/copy"), again.read("/c")] == [body(n=2), body(n=3)]
        assert [one.code for one in again.verify("/large").damaged] == ["missing"]
        assert again.read("/a/b", "1.0") == body(n=4)


def test_versions_that_only_the_old_catalogue_knew_are_named(engine: Engine) -> None:
    filled(engine)
    engine.folder.index(engine.find("/large").place.segment_sha256).unlink()
    engine.close()
    shutil.rmtree(engine.folder.documentation)
    engine.folder.documentation.mkdir()
    result = rebuild(engine.folder, engine.database.url, NOW)
    assert sorted((one.code, one.path[:8]) for one in result.findings) == [("index_missing", "segments"), ("untold", "/large 1")]


def test_a_catalogue_that_somebody_writes_to_is_left_alone(engine: Engine) -> None:
    filled(engine)
    with pytest.raises(CatalogueBusy, match="open"):
        rebuild(engine.folder, engine.database.url, NOW)
    assert len(engine.versions()) == 5


def test_a_store_that_never_came_to_its_commit_is_found_by_the_rebuild(engine: Engine) -> None:
    """Its bytes are whole, and its job is still in the inbox."""
    with crash_at("catalogue: commit"):
        engine.store([document("/a", "1.0", body(n=1))])
    rebuilt(engine)
    with reopened(engine) as again:
        assert [one.status for one in again.store([document("/a", "1.0", body(n=1))])] == ["unchanged"]
        check_promises(again)


def test_what_the_documents_of_one_batch_say_of_their_library_is_told_alike(engine: Engine) -> None:
    def one(version: str, **facts: str) -> Incoming:
        info = {"library_id": "/a", "library_info": {"library_id": "/a", "version_id": version, **facts}}
        return document("/a", version, body(**info))

    engine.store([one("1.0", name="old", description="told once"), one("2.0", name="new")])
    before = tables(engine)
    assert "told once" in before["library"][0]
    rebuilt(engine)
    with reopened(engine) as again:
        assert tables(again) == before


def test_documents_whose_catalogue_is_lost_are_not_hidden_by_an_empty_one(engine: Engine) -> None:
    before = view(filled(engine))
    engine.close()
    lose(engine.folder.root)
    for _ in range(2):
        with Engine(engine.folder.root) as lost, pytest.raises(DataFolderError, match="not there") as refused:
            lost.create()
        assert "strongroom rebuild" in refused.value.hint
    assert rebuild(engine.folder, engine.database.url, NOW).findings == ()
    with Engine(engine.folder.root).create() as again:
        assert view(again) == before


@pytest.mark.parametrize("code", [errno.ENOSPC, errno.EIO], ids=errno.errorcode.get)
def test_a_call_that_fails_anywhere_leaves_the_old_catalogue(engine: Engine, code: int) -> None:
    before = view(filled(engine))
    engine.close()
    number, fired = 0, True
    while fired:
        number += stride(4)
        with faults(number, code) as injected, suppress(DiskFull, TransientIO):
            rebuild(engine.folder, engine.database.url, NOW)
        fired = injected.fired
        with reopened(engine) as again:
            assert view(again) == before
        assert not list(engine.folder.metadata.glob("*.new*"))
    assert number > 4, "hardly anything was made to fail"


def test_an_accepted_file_is_a_job_again_for_the_new_catalogue(engine: Engine) -> None:
    with InboxWriter(engine.folder.inbox) as writer:
        writer.add(body(n=1))
        name = writer.request_id
        writer.commit()
    rebuilt(filled(engine))
    with reopened(engine) as again:
        assert [one.job_id for one in unentered(again.database, again.folder.inbox)] == [name]
