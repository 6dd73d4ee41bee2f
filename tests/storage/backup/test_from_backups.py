"""storage/erase/from_backups: what is erased is in no backup any more, what stays is whole, and a rerun heals every crash."""

from __future__ import annotations

import errno
import hashlib
import os
import re
import shutil
from collections.abc import Callable, Iterator
from contextlib import suppress
from dataclasses import replace
from datetime import timedelta
from pathlib import Path
from typing import Any

import orjson
import pytest
from sqlalchemy import text

from models.backups import note_verdict, remembered_backups
from models.curation import list_audit
from models.findings import Observation
from storage.backup.create import Create
from storage.backup.doomed import doomed_packs
from storage.backup.local import LocalTarget
from storage.backup.manifest import Manifest, Untold, backup_ids, manifests, new_backup_id, read_manifest, write_manifest
from storage.backup.place import Place
from storage.backup.prune import Prune
from storage.backup.repository import PACKS, Ref, Repository, pack_path
from storage.backup.seal import make_key
from storage.backup.verify import verify_backup
from storage.engine import Engine
from storage.erase.from_backups import FromBackups, GoneFromBackups
from storage.erase.needles import first_object
from storage.erase.plan import find_targets
from storage.erase.run import Erasure
from storage.erase.scope import pending_scope
from storage.events import append_events
from storage.findings import keep_findings
from storage.journal import line_of
from storage.library_events import ErasedFromBackups
from storage.names import rename
from storage.retention import Policy
from storage.trail import Actor
from strongroom.errors import BackupError, InvalidRequest, StalePlan, StorageError, TransientIO
from tests.support.archive import body, document, large_body, view
from tests.support.backups import NOW, SMALL, back_up, restored
from tests.support.crash import DIED, crash_at, die_at, in_child, observed, steps_of
from tests.support.faults import faults
from tests.support.thorough import crash_places, stride

ADA = Actor("person:ada", "request 4711")
SECRET, FORMER, OTHER = "/secret/lib", "/former/name", "/other/lib"
_MAGIC = re.compile(rb"\x1f\x8b\x08|\x28\xb5\x2f\xfd")


def fill(engine: Engine, repository: Repository) -> None:
    """Two backups without the secret, three with it, and one that was taken after it had been erased here."""
    engine.store([document(OTHER, "1.0", body(n=1))])
    back_up(engine, repository, full=True)
    engine.store([document(OTHER, "2.0", body(n=2))])
    back_up(engine, repository)
    engine.store([document(FORMER, "1.0", body(n=10)), document(OTHER, "3.0", body(n=3))])
    back_up(engine, repository)
    engine.store([document(FORMER, "2.0", body(n=11)), document(OTHER, "4.0", body(n=4))])
    back_up(engine, repository)
    rename(engine.archive, FORMER, SECRET, ADA)
    back_up(engine, repository, full=True)
    erase(engine, SECRET)
    engine.store([document(OTHER, "5.0", body(n=5))])
    back_up(engine, repository)


def erase(engine: Engine, library: str, version: str | None = None) -> None:
    work = Erasure(engine.archive, engine.tree, "all", engine.options.limits)
    work.apply(work.plan(find_targets(engine.database, library, version)), ADA)


@pytest.fixture
def filled(engine: Engine, repository: Repository) -> Engine:
    fill(engine, repository)
    return engine


def place_of(repository: Repository) -> Place:
    assert isinstance(repository.target, LocalTarget)
    return Place(str(repository.target.root))


def work_on(engine: Engine, repository: Repository, **options: Any) -> FromBackups:
    return FromBackups(engine, place_of(repository), pack_bytes=SMALL, **options)


def run(engine: Engine, repository: Repository, **options: Any) -> GoneFromBackups:
    work = work_on(engine, repository, **options)
    return work.apply(work.plan(), ADA)


def holds(root: Path, *contents: bytes) -> set[str]:
    """Return the files below a folder that hold one of these contents, or name one by its digest, however that is packed."""
    digests = [hashlib.sha256(one).hexdigest().encode() for one in contents]
    found = set()
    for path in sorted(one for one in root.rglob("*") if one.is_file()):
        data = path.read_bytes()
        pieces = [data]
        for magic in _MAGIC.finditer(data):
            plain, _ = first_object(data[magic.start() :], "gzip" if magic[0].startswith(b"\x1f") else "zstd")
            pieces += [plain] if plain is not None else []
        if any(digest in piece or hashlib.sha256(piece).hexdigest().encode() == digest for piece in pieces for digest in digests):
            found.add(path.relative_to(root).as_posix())
    return found


def whole(repository: Repository) -> list[Manifest]:
    """Return all backups, the oldest first, after proving that each is whole."""
    found = [one for _, one in manifests(repository)]
    for one in found:
        assert isinstance(one, Manifest), one
        assert verify_backup(repository, one).problems == ()
    return [one for one in reversed(found) if isinstance(one, Manifest)]


def root_of(repository: Repository) -> Path:
    assert isinstance(repository.target, LocalTarget)
    return repository.target.root


def _moved(parts: Any, to: str) -> Any:
    """Return places, or what has some, in another pack: all of these are in one."""
    if isinstance(parts, Ref):
        return replace(parts, pack=to)
    if isinstance(parts, tuple):
        return tuple(_moved(one, to) for one in parts)
    return replace(parts, **{name: _moved(getattr(parts, name), to) for name in ("ref", "refs") if hasattr(parts, name)})


GONE = (body(n=10), body(n=11))


def test_what_is_erased_goes_from_the_backups_and_what_never_held_it_stays(
    filled: Engine, repository: Repository, scratch: Path
) -> None:
    before = backup_ids(repository)
    assert holds(root_of(repository), *GONE)
    plan = work_on(filled, repository).plan()
    assert [one.backup_id for one in plan.fates if one.keep] == before[1::-1]
    assert plan.anew
    assert plan.targets == ((SECRET, None),)
    assert backup_ids(repository) == before
    done = run(filled, repository)
    assert done.removed == tuple(before[2:])
    assert done.left == ()
    assert [one.backup_id for one in whole(repository)] == [*before[:2], done.made]
    assert holds(root_of(repository), *GONE) == set()
    packs = {one.name.rpartition("/")[2] for one in repository.target.names(PACKS)}
    assert packs == {name for one in whole(repository) for name in one.packs}
    restored(repository, scratch / "to")
    with Engine(scratch / "to").open() as engine:
        assert view(engine)["libraries"] == view(filled)["libraries"]
    restored(repository, scratch / "to", before[1])


def test_it_is_told_once_and_what_is_erased_later_is_due_again(filled: Engine, repository: Repository) -> None:
    run(filled, repository)
    with filled.database.read() as connection:
        [told] = [one for one in list_audit(connection, SECRET) if one.action == "erased_from_backups"]
        states = {one.backup_id: one.state for one in remembered_backups(connection)}
    assert (told.by, told.why, told.details["backups"]) == ("person:ada", "request 4711", 4)
    assert sorted(states.values()) == ["done"] * 3 + ["removed"] * 4
    plan = work_on(filled, repository).plan()
    assert (plan.targets, plan.fates, plan.anew) == ((), (), False)
    again = run(filled, repository)
    assert (again.made, again.removed, again.packs) == (None, (), 0)
    filled.store([document(SECRET, "9.0", body(n=12))])
    back_up(filled, repository)
    erase(filled, SECRET)
    done = run(filled, repository)
    assert len(done.removed) == 1
    assert holds(root_of(repository), body(n=12)) == set()
    whole(repository)


def test_only_what_is_asked_for_goes(filled: Engine, repository: Repository) -> None:
    erase(filled, OTHER, "2.0")
    before = backup_ids(repository)
    done = run(filled, repository, only=[(SECRET, None)])
    assert done.removed == tuple(before[2:])
    assert holds(root_of(repository), body(n=2))
    done = run(filled, repository)
    assert done.targets == ((OTHER, "2.0"),)
    assert done.removed == (before[1],)
    assert holds(root_of(repository), body(n=2), *GONE) == set()
    assert len(whole(repository)) == 2


def test_a_reason_is_needed_and_a_plan_that_others_overtook_is_refused(filled: Engine, repository: Repository) -> None:
    work = work_on(filled, repository)
    plan, before = work.plan(), backup_ids(repository)
    with pytest.raises(InvalidRequest, match="reason"):
        work.apply(plan, Actor("person:ada"))
    back_up(filled, repository)
    with pytest.raises(StalePlan):
        work.apply(plan, ADA)
    assert backup_ids(repository)[: len(before)] == before


def test_an_erasure_that_was_cut_short_goes_first(engine: Engine, repository: Repository) -> None:
    engine.store([document(SECRET, "1.0", body(n=10))])
    back_up(engine, repository)
    with crash_at("erase: unlink"):
        erase(engine, SECRET)
    with pytest.raises(InvalidRequest, match="cut short"):
        work_on(engine, repository).plan()


def test_where_there_are_no_backups_nothing_is_to_be_done(engine: Engine, scratch: Path) -> None:
    engine.store([document(SECRET, "1.0", body(n=10))])
    erase(engine, SECRET)
    work = FromBackups(engine, Place(str(scratch / "none")))
    assert work.plan().targets == ()
    assert work.apply(work.plan(), ADA).left == ()


def test_what_only_the_journal_of_a_backup_tells_goes_too(engine: Engine, repository: Repository) -> None:
    engine.store([document(OTHER, "1.0", body(n=1))])
    engine.store([document(SECRET, "1.0", body(n=1), metadata={"who": "zoe"})])  # its content was there: no segment tells of it
    back_up(engine, repository)
    erase(engine, SECRET)
    done = run(engine, repository)
    assert len(done.removed) == 1
    assert engine.read(OTHER, "1.0") == body(n=1)
    [made] = whole(repository)
    assert made.backup_id == done.made


def test_a_content_that_another_library_had_and_gave_up_goes_too(engine: Engine, repository: Repository) -> None:
    """The segment was the other library's, and its index never told of the library that is erased."""
    engine.store([document(OTHER, "1.0", body(n=10)), document(OTHER, "2.0", body(n=2))])
    engine.store([document(SECRET, "1.0", body(n=10))])
    back_up(engine, repository)
    erase(engine, SECRET)
    erase(engine, OTHER, "1.0")
    run(engine, repository, only=[(SECRET, None)])
    assert holds(root_of(repository), body(n=10)) == set()


def test_bytes_that_no_list_tells_of_any_more_are_no_secret(engine: Engine, repository: Repository) -> None:
    """Lists are written anew in time, and leave out what was erased; the pack is needed for the sake of the others in it."""
    engine.store([document(OTHER, "0.0", body(n=99))])
    old = Create(engine, repository).run()
    engine.store([document(SECRET, "1.0", body(n=10))])
    engine.store([document(OTHER, "1.0", body(n=1))])
    Create(engine, repository).run()
    erase(engine, SECRET)
    for number in range(2, 20):
        engine.store([document(OTHER, f"{number}.0", body(n=100 + number))])
        Create(engine, repository).run()
    with engine.database.write() as connection:
        note_verdict(connection, old.backup_id, "good", NOW)  # the last that was proven stays
    Prune(repository, engine.database, Policy(keep_last=1)).apply(engine.archive.clock())
    assert len(backup_ids(repository)) == 2
    newest = backup_ids(repository)[-1]
    assert holds(root_of(repository), body(n=10)), "the case that is meant has not come about"
    day = 24 * 3600
    for name in old.packs:  # written long before the secret was stored
        path = root_of(repository) / PACKS / name[:2] / name
        os.utime(path, (path.stat().st_mtime - 3 * day,) * 2)
    plan = work_on(engine, repository).plan()
    [goes] = [one for one in plan.fates if not one.keep]
    assert (goes.backup_id, "no list tells of" in goes.reason) == (newest, True)
    run(engine, repository)
    assert holds(root_of(repository), body(n=10)) == set()
    assert whole(repository)[0].backup_id == old.backup_id


def test_what_a_run_that_died_has_left_goes_too(engine: Engine, repository: Repository) -> None:
    engine.store([document(SECRET, "1.0", body(n=10)), document(OTHER, "1.0", body(n=1))])
    steps = steps_of(lambda: back_up(engine, repository))
    engine.store([document(SECRET, "2.0", body(n=11))])
    engine.store([document(OTHER, "2.0", body(n=2))])
    engine.close()
    die_at(steps.index("backup: link") + 4, lambda: back_up(Engine(engine.folder.root).open(), repository))
    engine.open()
    erase(engine, SECRET)
    assert holds(root_of(repository), body(n=11))
    before = backup_ids(repository)
    done = run(engine, repository)
    assert (list(done.removed), done.left) == (before, ()), "the new backup has not taken it up"
    assert holds(root_of(repository), *GONE) == set()
    whole(repository)


@pytest.mark.parametrize("kept", [1, 2, 3])
def test_where_only_a_run_that_died_has_left_something_that_goes(engine: Engine, repository: Repository, kept: int) -> None:
    """A large segment is a pack of its own, and its index lies in another one, which may not have been kept."""
    engine.store([document(OTHER, "1.0", large_body(9 * SMALL))])
    engine.store([document(SECRET, "1.0", large_body(3 * SMALL))])
    engine.close()
    die_at_link(kept + 1, lambda: back_up(Engine(engine.folder.root).open(), repository))
    engine.open()
    assert backup_ids(repository) == []
    before = packs_of(repository)
    assert len(before) == kept
    erase(engine, SECRET)
    age(repository)
    done = run(engine, repository)
    assert (done.made, done.removed, done.left) == (None, (), ())
    assert holds(root_of(repository), large_body(3 * SMALL)) == set()
    assert packs_of(repository) < before or kept == 1, "something of it had been kept"
    assert packs_of(repository), "what is clean stays, to go on with"
    back_up(engine, repository)
    [made] = whole(repository)
    assert packs_of(repository) - made.packs.keys() <= doomed_packs(repository)


def test_a_store_that_never_came_to_its_end_is_in_no_manifest(engine: Engine, repository: Repository) -> None:
    engine.store([document(SECRET, "1.0", body(n=10))])
    erase(engine, SECRET)
    back_up(engine, repository)
    told = read_manifest(repository, backup_ids(repository)[0])
    repository.target.remove(f"backups/{told.backup_id}.json")
    [at] = pending_scope(engine.folder.journal, repository).ends.values()
    untold = Untold(SECRET, "2.0", at, hashlib.sha256(body(n=11)).hexdigest(), at)
    write_manifest(repository, replace(told, journal=replace(told.journal, untold=(untold,))))
    assert run(engine, repository).removed == (told.backup_id,)
    assert whole(repository)[0].journal.untold == ()


def test_what_only_a_dumped_row_names_goes_too(engine: Engine, repository: Repository) -> None:
    engine.store([document(OTHER, "1.0", body(n=1))])
    digest = hashlib.sha256(body(n=10)).hexdigest()
    keep_findings(engine.folder, engine.database, "verify", [Observation("orphan", "", "x", f"{digest} is here")], NOW)
    held = back_up(engine, repository)
    engine.store([document(SECRET, "1.0", body(n=10))])
    erase(engine, SECRET)
    with engine.database.read() as connection:
        assert digest not in str(connection.execute(text("SELECT * FROM finding")).all())
    engine.store([document(SECRET, "2.0", body(n=10))])
    back_up(engine, repository, full=True)
    erase(engine, SECRET)
    assert held.backup_id in run(engine, repository).removed
    assert holds(root_of(repository), body(n=10)) == set()


def test_bytes_that_nobody_knows_are_no_harm_in_a_pack_that_is_older(engine: Engine, repository: Repository) -> None:
    engine.store([document(OTHER, "1.0", body(n=1))])
    made = back_up(engine, repository)
    [name] = {ref.pack for ref in made.journal.parts} | {one.ref.pack for one in made.rows}
    data = b"".join(repository.pack(name)) + b"whose is this? " * 9
    other = hashlib.sha256(data).hexdigest()
    repository.target.create(pack_path(other), [data])
    repository.target.remove(f"backups/{made.backup_id}.json")
    packs = {**{key: size for key, size in made.packs.items() if key != name}, other: len(data)}
    moved = replace(made, packs=packs, lists=_moved(made.lists, other), rows=_moved(made.rows, other))
    write_manifest(repository, replace(moved, journal=replace(made.journal, parts=_moved(made.journal.parts, other))))
    engine.store([document(SECRET, "1.0", body(n=10))])
    back_up(engine, repository, full=True)
    erase(engine, SECRET)
    [first, second] = reversed(work_on(engine, repository).plan().fates)
    assert (first.keep, second.keep) == (False, False)
    path = root_of(repository) / pack_path(other)
    os.utime(path, (path.stat().st_mtime - 26 * 3600,) * 2)
    [first, second] = reversed(work_on(engine, repository).plan().fates)
    assert (first.keep, second.keep) == (True, False)


@pytest.mark.parametrize("full", [False, True])
def test_a_backup_that_ends_while_others_go_is_whole_or_goes_too(
    copy: Callable[[], Engine], repository: Repository, *, full: bool
) -> None:
    engine = copy()
    steps = steps_of(lambda: run(engine, repository))
    ended = 0
    for place in [number for number, step in enumerate(steps, 1) if step in {"backup: write", "backup: remove"}][:: stride(2)]:
        engine = copy()
        seen: list[str] = []
        made: list[Manifest] = []

        def beside(
            step: str, seen: list[str] = seen, made: list[Manifest] = made, place: int = place, engine: Engine = engine
        ) -> None:
            seen.append(step)
            if len(seen) == place:
                with Engine(engine.folder.root).open() as other:
                    made.append(back_up(other, repository, full=full))

        with observed(beside):
            run(engine, repository)
        assert made
        ended += made[0].backup_id not in backup_ids(repository)
        whole(repository)
        finish(engine, repository)
        check_all(engine, repository)
    assert ended or full, "none went with the others: what is tested here did not happen"


def test_a_backup_that_goes_on_with_what_goes_begins_anew(engine: Engine, repository: Repository) -> None:
    """It took up a pack of a run that died before the erasure, for the sake of another segment in that."""
    engine.store([document(SECRET, "1.0", body(n=10))])
    engine.store([document(OTHER, "1.0", body(n=1))])
    engine.close()
    die_at_link(2, lambda: back_up(Engine(engine.folder.root).open(), repository))
    engine.open()
    erase(engine, SECRET)
    [taken_up] = [one.name for one in repository.target.names(PACKS)]
    seen: list[str] = []

    def beside(step: str) -> None:
        seen.append(step)
        if seen.count("backup: link") == 1 and seen[-2] == "backup: link":
            with Engine(engine.folder.root).open() as other:
                assert run(other, repository).packs == 1

    with observed(beside):
        back_up(engine, repository)
    assert seen.count("snapshot: committed") == 2, "it has not begun anew"
    assert len(whole(repository)) == 1
    assert taken_up not in {one.name for one in repository.target.names(PACKS)}
    assert holds(root_of(repository), body(n=10)) == set()


def test_what_somebody_is_writing_since_before_it_was_erased_goes(engine: Engine, repository: Repository) -> None:
    engine.store([document(SECRET, "1.0", body(n=10))])

    def pieces() -> Iterator[bytes]:
        yield body(n=10)
        erase(engine, SECRET)
        run(engine, repository)
        assert holds(root_of(repository), body(n=10)) == set()
        yield b"more"

    with pytest.raises(TransientIO, match="while it was written"):
        repository.target.create(f"{PACKS}ab/{'ab' * 32}", pieces())


def test_a_pack_that_went_can_come_back_under_another_name(engine: Engine, repository: Repository) -> None:
    engine.store([document(SECRET, "1.0", large_body(3 * SMALL))])  # a pack of its own, named by its digest
    back_up(engine, repository)
    erase(engine, SECRET)
    before = packs_of(repository)
    run(engine, repository)
    gone = before - packs_of(repository)
    Prune(repository, engine.database, None).apply(engine.archive.clock())
    assert gone <= doomed_packs(repository), "a backup may be under way that builds on them"
    engine.store([document(SECRET, "2.0", large_body(3 * SMALL))])
    assert "snapshot: committed" in (steps := steps_of(lambda: back_up(engine, repository)))
    assert steps.count("snapshot: committed") == 1, "it has not begun anew"
    assert gone.isdisjoint(packs_of(repository))
    assert whole(repository)[-1].counts.documents == 1
    Prune(repository, engine.database, None).apply(engine.archive.clock() + timedelta(days=2))
    assert doomed_packs(repository) == set()


def test_a_backup_that_ended_a_moment_before_packs_were_doomed_goes_too(filled: Engine, repository: Repository) -> None:
    """It began before, behind one that goes."""
    before = backup_ids(repository)
    late = read_manifest(repository, before[3])
    ids: list[str] = []

    def beside(step: str) -> None:
        if step == "backup: write" and not ids and len(backup_ids(repository)) > len(before):  # that of what dooms the packs
            ids.append(new_backup_id(repository, filled.archive.clock()))
            write_manifest(repository, replace(late, backup_id=ids[0]))

    with observed(beside):
        done = run(filled, repository)
    assert set(ids) < set(done.removed)
    whole(repository)
    assert holds(root_of(repository), *GONE) == set()


def test_a_backup_that_cannot_be_searched_goes(filled: Engine, repository: Repository) -> None:
    first = read_manifest(repository, backup_ids(repository)[0])
    path = root_of(repository) / pack_path(first.journal.parts[0].pack)
    path.write_bytes(path.read_bytes()[:-40] + bytes(40))
    [goes] = [one for one in work_on(filled, repository).plan().fates if one.backup_id == first.backup_id]
    assert (goes.keep, "cannot be read" in goes.reason) == (False, True)
    run(filled, repository)
    whole(repository)


def test_a_backup_whose_lists_cannot_be_read_goes(engine: Engine, repository: Repository) -> None:
    for number in range(60):
        engine.store([document(OTHER, f"{number}.0", body(n=number))])
    made = back_up(engine, repository)
    [lists] = {ref.pack for part in made.lists for ref in part.refs}
    assert lists not in {ref.pack for ref in made.journal.parts} | {one.ref.pack for one in made.rows}
    path = root_of(repository) / pack_path(lists)
    path.write_bytes(bytes(path.stat().st_size))
    engine.store([document(SECRET, "1.0", body(n=100))])
    erase(engine, SECRET)
    [goes] = work_on(engine, repository).plan().fates
    assert (goes.keep, "cannot be read" in goes.reason) == (False, True)


def test_what_goes_at_last_is_as_old_as_the_last_erasure(engine: Engine, repository: Repository) -> None:
    engine.store([document(SECRET, "1.0", body(n=10))])
    erase(engine, SECRET)
    scope = pending_scope(engine.folder.journal, repository)
    [(target, until)] = scope.ends.items()
    for at, gone in ((until - timedelta(1), False), (until, True)):
        here = (repository.repository_id, repository.target.url)
        event = ErasedFromBackups(*target, *here, 1, at, until + timedelta(1), "person:ada", "why")
        append_events(engine.folder.journal, [event])
        assert (pending_scope(engine.folder.journal, repository).ends == {}) is gone
    assert pending_scope(engine.folder.journal, replace(repository, repository_id="another")).ends == scope.ends


def test_packs_of_which_nobody_tells_are_named_until_they_are_a_day_old(filled: Engine, repository: Repository) -> None:
    stray = f"{PACKS}ab/{'ab' * 32}"
    repository.target.create(stray, [b"whose is it?"])
    done = run(filled, repository)
    assert ["packs that no backup tells of" in one.what for one in done.left] == [True]
    assert work_on(filled, repository).plan().targets, "it is not over"
    path = root_of(repository) / stray
    os.utime(path, (path.stat().st_mtime - 25 * 3600,) * 2)
    assert run(filled, repository).left == ()
    assert not path.exists()
    assert work_on(filled, repository).plan().targets == ()


def test_a_manifest_that_nobody_can_use_is_named_and_left(filled: Engine, repository: Repository) -> None:
    path = root_of(repository) / "backups" / f"{backup_ids(repository)[0]}.json"
    path.write_bytes(path.read_bytes()[:-9])
    done = run(filled, repository)
    assert [path.stem in one.where for one in done.left] == [True]
    assert holds(root_of(repository), *GONE) == set()
    assert work_on(filled, repository).plan().targets, "it is not over"
    doomed = doomed_packs(repository) & {one.name.rpartition("/")[2] for one in repository.target.names(PACKS)}
    assert doomed, "what only they needed and is clean stays: nobody knows whether that manifest needs it"
    path.unlink()
    assert run(filled, repository).left == ()
    assert doomed.isdisjoint(one.name.rpartition("/")[2] for one in repository.target.names(PACKS))


def test_where_no_new_backup_can_be_taken_every_old_one_stays(filled: Engine, repository: Repository) -> None:
    before = backup_ids(repository)
    [place, *_] = [one.place for one in filled.versions(OTHER)]
    path = filled.folder.segment(place.segment_sha256)
    path.write_bytes(b"x" * path.stat().st_size)
    for backup_id in before:  # there is no good copy of it anywhere
        manifest = read_manifest(repository, backup_id)
        for name in manifest.packs:
            one = root_of(repository) / PACKS / name[:2] / name
            if one.exists() and place.segment_sha256 in _digests_in(one):
                one.write_bytes(b"x" * one.stat().st_size)
    with pytest.raises(BackupError, match="cannot be backed up whole"):
        run(filled, repository)
    assert backup_ids(repository) == before


def _digests_in(path: Path) -> set[str]:
    return {orjson.loads(line)["segment_sha256"] for line in re.findall(rb'\{"strongroom_index".*', path.read_bytes())}


@pytest.fixture
def copy(filled: Engine, scratch: Path, repository: Repository) -> Callable[[], Engine]:
    """Puts folder and backups back to what they were, and opens the folder."""
    filled.close()
    folders = [filled.folder.root, root_of(repository)]
    for folder in folders:
        shutil.copytree(folder, scratch / f"{folder.name}.before", symlinks=True)

    def make() -> Engine:
        filled.close()
        for folder in folders:
            shutil.rmtree(folder)
            shutil.copytree(scratch / f"{folder.name}.before", folder, symlinks=True)
        return filled.open()

    return make


def die_at_link(number: int, work: Callable[[], object]) -> None:
    """Run work in a process that ends just before it keeps the file of that number at the target."""
    seen: list[str] = []

    def observe(step: str) -> None:
        seen.append(step)
        if seen.count("backup: link") == number:
            os._exit(DIED)

    def run_work() -> None:
        with observed(observe):
            work()

    assert in_child(run_work) == DIED


def packs_of(repository: Repository) -> set[str]:
    return {one.name.rpartition("/")[2] for one in repository.target.names(PACKS)}


def age(repository: Repository) -> None:
    """Make all packs a day older."""
    for path in (root_of(repository) / PACKS).glob("*/*"):
        os.utime(path, (path.stat().st_mtime - 25 * 3600,) * 2)


def finish(engine: Engine, repository: Repository) -> None:
    """Erase, a day later once more where a pack was left of which nobody knows: a crash came before it was noted."""
    left = run(engine, repository).left
    assert all("no backup tells of" in one.what for one in left)
    if left:
        age(repository)
        assert run(engine, repository).left == ()


def check_all(engine: Engine, repository: Repository) -> None:
    """What is kept is whole, what is erased is nowhere, and the newest backup is as new as the erasure."""
    found = whole(repository)
    assert holds(root_of(repository), *GONE) == set()
    assert found[-1].counts.documents == len(engine.versions(OTHER))
    assert work_on(engine, repository).plan().targets == ()


def test_a_crash_anywhere_leaves_each_backup_whole_and_the_rerun_finishes(
    copy: Callable[[], Engine], repository: Repository
) -> None:
    engine = copy()
    before = backup_ids(repository)
    steps = steps_of(lambda: run(engine, repository))
    assert {"snapshot: commit", "backup: link", "backup: remove", "erase: commit", "journal: fsync"} <= set(steps)
    mine = range(steps.index("backup: remove"), len(steps) + 1, stride(3))
    for number in sorted({*crash_places(steps), *mine}):
        engine = copy()
        with crash_at(number):
            run(engine, repository)
        left = whole(repository)
        assert [one.backup_id for one in left[:2]] == before[:2], steps[number - 1]
        newest = left[-1].counts
        assert newest.documents == len(engine.versions(OTHER)), steps[number - 1]
        finish(engine, repository)
        check_all(engine, repository)


def test_a_process_that_dies_in_the_middle_is_healed_by_the_next(copy: Callable[[], Engine], repository: Repository) -> None:
    engine = copy()
    root = engine.folder.root
    steps = steps_of(lambda: run(engine, repository))
    for number in (steps.index("backup: remove"), steps.index("backup: remove") + 5):
        copy().close()
        die_at(number, lambda: run(Engine(root).open(), repository))
        finish(engine.open(), repository)
        check_all(engine, repository)


@pytest.mark.parametrize("code", [errno.ENOSPC, errno.EIO])
def test_a_disk_that_refuses_is_told_and_the_next_run_finishes(
    copy: Callable[[], Engine], repository: Repository, code: int
) -> None:
    engine = copy()
    with faults() as counted:
        run(engine, repository)
    for number in range(1, len(counted.calls) + 1, stride(12)):
        engine = copy()
        with faults(number, code) as injected, suppress(StorageError):
            run(engine, repository)
        assert injected.fired
        whole(repository)
        finish(engine, repository)
        check_all(engine, repository)


@pytest.mark.parametrize("full", [False, True])
def test_a_backup_that_runs_meanwhile_neither_brings_it_back_nor_lacks_anything(
    copy: Callable[[], Engine], repository: Repository, *, full: bool
) -> None:
    engine = copy()
    steps = steps_of(lambda: back_up(engine, repository, full=full))
    places = [number for number, step in enumerate(steps, 1) if step in {"backup: link", "snapshot: committed", "backup: write"}]
    cut_off = 0
    for place in [*places[:: stride(2)], len(steps)]:
        engine = copy()
        seen: list[str] = []

        def beside(step: str, seen: list[str] = seen, place: int = place, engine: Engine = engine) -> None:
            seen.append(step)
            if len(seen) == place:
                with Engine(engine.folder.root).open() as other:
                    run(other, repository)

        with observed(beside):
            made = back_up(engine, repository, full=full)
        assert len(seen) > place
        assert made.backup_id in backup_ids(repository) or place == len(steps), "it had ended, and went with the others"
        cut_off += seen.count("snapshot: committed") > 2  # its own, the erasure's, and one more
        whole(repository)
        finish(engine, repository)
        check_all(engine, repository)
    assert cut_off or full, "no backup had to begin anew: what is tested here did not happen"


@pytest.mark.parametrize("keep", ["in a folder", "in a bucket"])
def test_what_is_sealed_is_searched_and_goes_too(
    engine: Engine, keep: str, request: pytest.FixtureRequest, scratch: Path
) -> None:
    make_key(scratch / "key", NOW)
    place = Place(str(scratch / "sealed"), scratch / "key")
    if keep == "in a bucket":
        store = request.getfixturevalue("store")
        place = Place(f"s3://{store.bucket}/{request.getfixturevalue('bucket')().prefix}", scratch / "key", store.access)
    repository = place.make(NOW)
    fill(engine, repository)
    before = backup_ids(repository)
    plan = FromBackups(engine, place).plan()
    done = FromBackups(engine, place, pack_bytes=SMALL).apply(plan, ADA)
    assert (done.removed, done.left) == (tuple(before[2:]), ())
    assert len(plan.fates) == len(before)
    assert backup_ids(repository) == [*before[:2], done.made]
    for one in repository.target.names():
        if one.name.startswith((PACKS, "backups/")):
            path = scratch / "opened" / one.name
            path.parent.mkdir(parents=True, exist_ok=True)
            path.write_bytes(b"".join(repository.seal.opened(repository.target.read(one.name))))
    assert holds(scratch / "opened", body(n=1)), "the search finds what is there"
    assert holds(scratch / "opened", *GONE) == set()
    assert len(whole(repository)) == 3
    assert FromBackups(engine, place).plan().targets == ()


def test_the_backups_of_another_data_folder_at_the_place_are_searched_too(
    engine: Engine, repository: Repository, scratch: Path
) -> None:
    """Such as those of the folder that this one was restored from; what they need in common with others does not keep them."""
    engine.store([document(SECRET, "1.0", body(n=10)), document(OTHER, "1.0", body(n=1))])
    back_up(engine, repository)
    restored(repository, scratch / "to")
    with Engine(scratch / "to").open() as other:
        back_up(other, repository)
        erase(other, SECRET)
        done = run(other, repository)
        assert (len(done.removed), done.left) == (2, ())
        assert holds(root_of(repository), body(n=10)) == set()
        [made] = whole(repository)
        assert made.backup_id == done.made


def test_an_older_release_told_less_of_an_erasure_and_its_backups_go_all_the_same(filled: Engine, repository: Repository) -> None:
    lines = filled.folder.journal.read_bytes().splitlines(keepends=True)
    told = [orjson.loads(line[17:]) for line in lines]
    assert any("since" in entry.get("erased", {}) for entry in told)
    for entry in told:
        entry.get("erased", {}).pop("since", None)
    filled.folder.journal.write_bytes(b"".join(map(line_of, told)))
    done = run(filled, repository)
    assert (len(done.removed), done.left) == (4, ())
    assert holds(root_of(repository), *GONE) == set()
