"""storage/erase/from_backups where something is odd: what others had before, wrong clocks, a newest backup that has rotted."""

from __future__ import annotations

import hashlib
import os
import shutil
from contextlib import suppress
from dataclasses import replace
from datetime import UTC, datetime, timedelta
from pathlib import Path

import pytest

from storage.backup.create import as_row
from storage.backup.local import LocalTarget
from storage.backup.manifest import Manifest, backup_ids, manifest_path, manifests, write_manifest
from storage.backup.place import Place
from storage.backup.repository import Repository, pack_path
from storage.backup.verify import remember, verify_backup
from storage.engine import Engine
from storage.erase.from_backups import FromBackups, GoneFromBackups
from storage.erase.plan import find_targets
from storage.erase.run import Erasure
from storage.erase.scope import pending_scope
from storage.events import REDACTED, Removed, append_events, read_events
from storage.index import VersionRecord
from storage.library_events import Erased
from storage.trail import Actor
from strongroom.errors import TransientIO
from tests.storage.test_rebuild import rebuilt
from tests.support.archive import body, document, revisions
from tests.support.backups import SMALL, back_up, repository_at, restored
from tests.support.crash import observed

ADA = Actor("person:ada", "request 4711")
SECRET, OTHER, THIRD = "/secret/lib", "/other/lib", "/third/lib"


def root_of(repository: Repository) -> Path:
    assert isinstance(repository.target, LocalTarget)
    return repository.target.root


def erase(engine: Engine, library: str, version: str | None = None) -> Erased:
    work = Erasure(engine.archive, engine.tree, "all", engine.options.limits)
    work.apply(work.plan(find_targets(engine.database, library, version)), ADA)
    return [one for one in read_events(engine.folder.journal) if isinstance(one, Erased)][-1]


def work_on(engine: Engine, repository: Repository) -> FromBackups:
    return FromBackups(engine, Place(str(root_of(repository))), pack_bytes=SMALL)


def run(engine: Engine, repository: Repository) -> GoneFromBackups:
    work = work_on(engine, repository)
    return work.apply(work.plan(), ADA)


def stored_at(engine: Engine, library: str) -> datetime:
    return min(one.created_at for one in revisions(engine) if one.library_id == library)


def told_of(engine: Engine, library: str) -> list[tuple[int, str]]:
    return sorted((one.revision, one.place.content_sha256) for one in revisions(engine) if one.library_id == library)


def make_older(path: Path, by: timedelta) -> None:
    os.utime(path, (path.stat().st_mtime - by.total_seconds(),) * 2)


def test_a_newest_backup_that_was_found_damaged_is_no_reason_to_take_none(engine: Engine, repository: Repository) -> None:
    engine.store([document(SECRET, "1.0", body(n=10)), document(OTHER, "1.0", body(n=1))])
    back_up(engine, repository)
    erase(engine, SECRET)
    newest = back_up(engine, repository, full=True)
    [place] = [one.place for one in engine.versions(OTHER)]
    for path in (root_of(repository) / pack_path(name) for name in newest.packs):
        data = path.read_bytes()
        at = data.find(engine.folder.segment(place.segment_sha256).read_bytes())
        path.write_bytes(data if at < 0 else data[: at + 3] + b"rot" + data[at + 6 :])
    found = verify_backup(repository, newest)
    assert found.problems
    remember(engine.database, found, newest.finished_at, as_row(newest, repository.target.url, newest.as_of))
    assert run(engine, repository).made is not None
    assert any(verify_backup(repository, one).problems == () for _, one in manifests(repository) if isinstance(one, Manifest))


def test_a_content_that_was_removed_long_ago_is_as_old_as_that(engine: Engine) -> None:
    """No row and no index tells of it any more; entries of older releases do not tell what was removed."""
    engine.store([document(SECRET, "1.0", body(n=10)), document(SECRET, "2.0", body(n=11)), document(SECRET, "3.0", body(n=12))])
    first = stored_at(engine, SECRET)
    digest = hashlib.sha256(body(n=11)).hexdigest()
    told = Removed(THIRD, "1.0", first - timedelta(days=9), 1, first, "schedule", content_sha256=digest)
    append_events(engine.folder.journal, [told])
    assert erase(engine, SECRET, "1.0").since == first
    assert erase(engine, SECRET, "2.0").since == first - timedelta(days=9)
    append_events(engine.folder.journal, [replace(told, stored_at=first - timedelta(days=8), content_sha256="")])
    assert erase(engine, SECRET).since == first - timedelta(days=8)


def test_a_store_that_died_with_what_was_erased_later_is_told_without_it(engine: Engine, repository: Repository) -> None:
    """The journal tells of it, for whoever wants to know what was never acknowledged; what it held is illegible."""
    engine.store([document(OTHER, "1.0", body(n=1)), document(SECRET, "1.0", body(n=10))])
    engine.store([document(OTHER, "2.0", body(n=1))])  # its content is there, so the journal tells of it
    [record] = [one for one in read_events(engine.folder.journal) if isinstance(one, VersionRecord)]
    died = replace(record, version="3.0", content_sha256=hashlib.sha256(body(n=10)).hexdigest())
    append_events(engine.folder.journal, [died])
    held = back_up(engine, repository)
    erase(engine, SECRET)
    made = back_up(engine, repository, full=True)
    assert [(one.version, one.content_sha256) for one in made.journal.untold] == [("3.0", REDACTED)]
    done = run(engine, repository)
    assert (done.removed, done.left) == ((held.backup_id,), ())


@pytest.mark.parametrize("clue", ["", "a manifest", "a pack that tells of it"])
def test_a_pack_is_older_only_where_no_clock_was_wrong(engine: Engine, repository: Repository, clue: str) -> None:
    engine.store([document(OTHER, "1.0", body(n=1))])
    made = back_up(engine, repository)
    repository.target.remove(manifest_path(made.backup_id))
    write_manifest(repository, replace(made, rows=()))  # nobody knows these bytes any more
    engine.store([document(SECRET, "1.0", body(n=10))])
    held = back_up(engine, repository, full=True)
    erase(engine, SECRET)
    old, wrong = timedelta(hours=26), {"a manifest": [manifest_path(held.backup_id)], "": []}
    for name in [*map(pack_path, made.packs), *wrong.get(clue, map(pack_path, held.packs))]:
        make_older(root_of(repository) / name, old)
    fates = {one.backup_id: one.keep for one in work_on(engine, repository).plan().fates}
    assert fates == {made.backup_id: not clue, held.backup_id: False}


def test_a_copy_of_the_place_is_a_place_of_its_own(engine: Engine, repository: Repository, scratch: Path) -> None:
    engine.store([document(SECRET, "1.0", body(n=10)), document(OTHER, "1.0", body(n=1))])
    held = back_up(engine, repository)
    shutil.copytree(root_of(repository), scratch / "copied")
    erase(engine, SECRET)
    assert run(engine, repository).removed == (held.backup_id,)
    copied = repository_at(scratch / "copied")
    assert copied.repository_id == repository.repository_id
    done = run(engine, copied)
    assert (done.removed, [done.made]) == ((held.backup_id,), backup_ids(copied))
    assert work_on(engine, copied).plan().targets == ()


def test_what_is_stored_behind_an_erasure_by_a_clock_that_was_ahead_is_there_for_good(
    engine: Engine, repository: Repository, scratch: Path
) -> None:
    engine.store([document(SECRET, "1.0", body(n=10)), document(OTHER, "1.0", body(n=1))])
    held = back_up(engine, repository)
    ahead = replace(engine.archive, clock=lambda: datetime.now(UTC) + timedelta(days=400))
    work = Erasure(ahead, engine.tree, "all", engine.options.limits)
    work.apply(work.plan([(SECRET, None)]), ADA)
    for numbers in ((11, 12, 1), (13,)):  # in one batch, and behind it; one has a content that is there
        engine.store([document(SECRET, "2.0", body(n=number)) for number in numbers])
    made = back_up(engine, repository)
    done = run(engine, repository)
    assert (set(done.removed), done.left) == ({held.backup_id, made.backup_id}, ())
    before = told_of(engine, SECRET)
    assert len(before) == 4
    assert rebuilt(engine).findings == ()
    assert told_of(engine, SECRET) == before
    restored(repository, scratch / "to")
    with Engine(scratch / "to").open() as other:
        assert told_of(other, SECRET) == before


def test_a_content_is_as_old_as_whoever_had_it_first(engine: Engine, repository: Repository) -> None:
    """Its bytes may be in packs that are older than the library that is erased."""
    for library in (THIRD, OTHER, SECRET):
        engine.store([document(library, "1.0", body(n=10))])
    engine.store([document(OTHER, "2.0", body(n=2)), document(THIRD, "2.0", body(n=3))])
    third, other = stored_at(engine, THIRD), stored_at(engine, OTHER)
    assert third < other
    assert erase(engine, THIRD, "1.0").since == third
    assert erase(engine, SECRET).since == other
    scope = pending_scope(engine.folder.journal, repository, [(SECRET, None)])
    assert (list(scope.ends), scope.since) == ([(SECRET, None)], third)


@pytest.mark.parametrize("at", ["index: write", "segment: rename", "segment: fsync folder"])
def test_a_store_that_an_erasure_overtook_is_there_and_in_no_way_of_it(engine: Engine, repository: Repository, at: str) -> None:
    """It had written its files; the journal is told of it once more behind the erasure, with the time of before."""
    engine.store([document(SECRET, "1.0", body(n=10)), document(OTHER, "1.0", body(n=1))])
    held = back_up(engine, repository)
    began: list[str] = []

    def beside(step: str) -> None:
        if step == at and not began:
            began.append(step)
            with Engine(engine.folder.root).open() as other:
                erase(other, SECRET)

    documents = [document(SECRET, "2.0", body(n=2)), document(SECRET, "3.0", body(n=1))]
    with observed(beside), suppress(TransientIO):
        engine.store(documents)
    assert began
    assert [one.error for one in engine.store(documents)] == [None, None]
    done = run(engine, repository)
    assert (done.removed, done.left) == ((held.backup_id,), ())
    assert [one.version for one in engine.versions(SECRET)] == ["3.0", "2.0"]
    before = told_of(engine, SECRET)
    assert rebuilt(engine).findings == ()
    assert told_of(engine, SECRET) == before
