"""The drill: what is well is fresh, and each fault that is planted turns it red."""

from __future__ import annotations

import errno
import json
import shutil
from collections.abc import Callable
from dataclasses import replace
from datetime import UTC, datetime, timedelta
from pathlib import Path

import pytest
from sqlalchemy import text

from models.backups import note_verdict, remembered_backups
from models.drills import last_drills
from storage.backup.drill import Drilled, RunDrill
from storage.backup.local import LocalTarget
from storage.backup.manifest import backup_ids, read_manifest, write_manifest
from storage.backup.place import Place
from storage.backup.proof import differences_when_rebuilt
from storage.backup.repository import Repository, pack_path
from storage.backup.seal import make_key
from storage.engine import Engine
from storage.scratch import SCRATCH
from storage.trail import Actor
from storage.versions import pin
from strongroom.errors import DiskFull, TransientIO
from tests.support.archive import body, document, large_body
from tests.support.backups import NOW, SMALL, back_up, restored
from tests.support.crash import die_at, steps_of
from tests.support.faults import faults
from tests.support.thorough import crash_places

DAY = timedelta(days=1)


@pytest.fixture
def place(scratch: Path) -> Place:
    return Place(str(scratch / "backups"))


@pytest.fixture
def taken(engine: Engine, repository: Repository) -> Engine:
    """Two backups: the older one of three documents, the newest of four."""
    engine.store([document("/a", "1.0", body(n=1)), document("/large", "1.0", large_body(3 * SMALL))])
    engine.store([document("/copy", "1.0", body(n=1))])
    back_up(engine, repository)
    engine.store([document("/b", "1.0", body(n=2))])
    pin(engine.archive, "/a", "1.0", Actor("person:test", "kept for the drill"))
    back_up(engine, repository)
    return engine


def drill(engine: Engine, place: Place, **options: object) -> Drilled:
    found = RunDrill(engine, place, **{"max_age": DAY, **options}).run()  # type: ignore[arg-type]  # each test knows its own
    assert not list(engine.folder.tmp.glob(f"*{SCRATCH}"))
    return found


def test_the_newest_and_an_older_backup_are_restored_read_and_compared(taken: Engine, place: Place) -> None:
    found = drill(taken, place)
    assert (found.verdict, found.problems) == ("fresh", ())
    assert [(one.documents, one.checked) for one in found.proofs] == [(4, 4), (3, 3)]
    assert found.backup_id == found.proofs[0].backup_id > found.proofs[1].backup_id
    assert 0 < found.rto_s < 60
    assert 0 <= found.rpo_s < 60
    with taken.database.read() as connection:
        [row] = last_drills(connection, 10)
    assert (row.drill_id, row.verdict, row.rto_s, row.checked) == (found.drill_id, "fresh", found.rto_s, 7)
    assert [one["checked"] for one in row.details["backups"]] == [4, 3]


def test_of_many_documents_so_many_are_read_by_lot(taken: Engine, place: Place) -> None:
    found = drill(taken, place, read_at_most=0)
    assert (found.checked, found.verdict) == (0, "fresh")


def test_without_any_backup_the_verdict_is_never(engine: Engine, place: Place) -> None:
    assert drill(engine, place).verdict == "never"


def test_backups_that_were_taken_and_are_gone_are_no_never(taken: Engine, place: Place, scratch: Path) -> None:
    shutil.rmtree(scratch / "backups")
    found = drill(taken, place)
    assert found.verdict == "failed"
    assert "not in" in found.problems[0]


def test_a_schedule_that_stopped_makes_it_stale(taken: Engine, place: Place) -> None:
    found = drill(taken, place, clock=lambda: datetime.now(UTC) + 2 * DAY)
    assert (found.verdict, found.problems) == ("stale", ())
    assert found.rpo_s > DAY.total_seconds()


def newest_pack(repository: Repository) -> Path:
    newest, older = (read_manifest(repository, one) for one in reversed(backup_ids(repository)))
    new = sorted(newest.packs.keys() - older.packs.keys())
    return Path(repository.target.root) / pack_path(new[0])  # type: ignore[attr-defined]  # it is a folder


def remove_pack(repository: Repository) -> None:
    newest_pack(repository).unlink()


def flip_byte(repository: Repository) -> None:
    path = newest_pack(repository)
    whole = path.read_bytes()
    at = len(whole) // 2
    path.write_bytes(whole[:at] + bytes([whole[at] ^ 1]) + whole[at + 1 :])


def cut_manifest(repository: Repository, number: int = -1) -> None:
    path = repository.target.root / "backups" / f"{backup_ids(repository)[number]}.json"  # type: ignore[attr-defined]  # as above
    path.write_bytes(path.read_bytes()[:-100])


def cut_older_manifest(repository: Repository) -> None:
    cut_manifest(repository, 0)


def rewrite(repository: Repository, **changed: object) -> None:
    newest = read_manifest(repository, backup_ids(repository)[-1])
    repository.target.remove(f"backups/{newest.backup_id}.json")
    write_manifest(repository, replace(newest, **changed))  # type: ignore[arg-type]  # each caller knows its own


def old_schema(repository: Repository) -> None:
    rewrite(repository, schema="0000")


def old_format(repository: Repository) -> None:
    rewrite(repository, format=0)


def newer_format(repository: Repository) -> None:
    path = repository.target.root / "strongroom-backup.json"  # type: ignore[attr-defined]  # as above
    path.write_text(json.dumps({**json.loads(path.read_text()), "format": 99}))


def promised_more(repository: Repository) -> None:
    newest = read_manifest(repository, backup_ids(repository)[-1])
    rewrite(repository, counts=replace(newest.counts, documents=5))


@pytest.mark.parametrize(
    ("fault", "said"),
    [
        (remove_pack, "missing"),
        (flip_byte, "The pack"),
        (cut_manifest, "manifest"),
        (cut_older_manifest, "manifest"),
        (old_schema, "0000"),
        (old_format, "format 0"),
        (newer_format, "format 99"),
        (promised_more, "there were 5"),
    ],
    ids=lambda one: getattr(one, "__name__", ""),
)
def test_a_planted_fault_turns_it_red(
    taken: Engine, place: Place, repository: Repository, fault: Callable[[Repository], None], said: str
) -> None:
    fault(repository)
    found = drill(taken, place)
    assert found.verdict == "failed"
    assert any(said in one for one in found.problems), found.problems


def test_a_pack_of_a_backup_that_is_not_restored_is_missed_all_the_same(
    taken: Engine, place: Place, repository: Repository
) -> None:
    lost = newest_pack(repository)
    back_up(taken, repository, full=True)
    lost.unlink()
    found = drill(taken, place, choose=min)
    assert [one.problems for one in found.proofs] == [(), ()]
    assert found.verdict == "failed"
    assert lost.name in found.problems[0]


def test_a_byte_that_no_restore_needs_turns_it_red_too(taken: Engine, place: Place, repository: Repository) -> None:
    back_up(taken, repository)
    oldest = read_manifest(repository, backup_ids(repository)[0])
    dead = next(one.ref for one in oldest.rows if one.table == "backup")  # whole in each backup: later ones have their own
    path = Path(place.url) / pack_path(dead.pack)
    bytes_ = bytearray(path.read_bytes())
    bytes_[dead.offset] ^= 1
    path.write_bytes(bytes_)
    found = drill(taken, place, choose=max)
    assert found.verdict == "failed"
    assert [len(one.problems) for one in found.proofs] == [1, 1]
    assert all(dead.pack in one for one in found.problems)
    assert sorted(verdicts(taken)) == ["", "damaged", "damaged"]


def test_another_key_turns_it_red(engine: Engine, scratch: Path) -> None:
    right, wrong = scratch / "right.key", scratch / "wrong.key"
    for path in (right, wrong):
        make_key(path, datetime.now(UTC))
    place = Place(str(scratch / "sealed"), right)
    engine.store([document("/a", "1.0", body(n=1))])
    back_up(engine, place.make(datetime.now(UTC)))
    assert drill(engine, place).verdict == "fresh"
    for other in (wrong, None, scratch / "nowhere.key"):
        found = drill(engine, replace(place, key_file=other))
        assert found.verdict == "failed"
        assert "key" in found.problems[0]


def verdicts(engine: Engine) -> list[str]:
    with engine.database.read() as connection:
        return [one.verdict for one in remembered_backups(connection)]


def test_what_was_restored_whole_counts_as_proven_and_what_was_not_is_not_built_on(
    taken: Engine, place: Place, repository: Repository
) -> None:
    assert drill(taken, place).verdict == "fresh"
    assert verdicts(taken) == ["good", "good"]
    flip_byte(repository)
    found = drill(taken, place)
    assert [one.damaged for one in found.proofs] == [True, False]
    assert verdicts(taken) == ["damaged", "good"]
    assert back_up(taken, repository).kind == "full"


def test_a_drill_does_not_take_back_what_a_verification_of_all_bytes_found(taken: Engine, place: Place) -> None:
    with taken.database.write() as connection:
        [newest, _] = remembered_backups(connection)
        note_verdict(connection, newest.backup_id, "damaged", NOW)
    assert drill(taken, place).verdict == "fresh"
    assert verdicts(taken) == ["damaged", "good"]


def test_a_revision_that_the_backup_lacks_turns_it_red(taken: Engine, place: Place) -> None:
    with taken.database.write() as connection:
        connection.execute(text("UPDATE version SET created_at = '2020-01-01 00:00:00.000000' WHERE library_id = '/b'"))
    found = drill(taken, place)
    assert found.verdict == "failed"
    assert "1 revisions" in found.problems[0]


def test_a_disk_that_does_not_tell_what_the_catalogue_knows_is_found(
    taken: Engine, repository: Repository, scratch: Path
) -> None:
    restored(repository, scratch / "to")
    assert list(differences_when_rebuilt(scratch / "to", NOW)) == []
    next((scratch / "to" / "segments").glob("??/*.index")).unlink()
    assert any("made anew differs" in one for one in differences_when_rebuilt(scratch / "to", NOW))


def test_what_a_killed_drill_left_is_removed_by_the_next(taken: Engine, place: Place) -> None:
    taken.close()
    root = taken.folder.root

    def work() -> None:
        with Engine(root).open() as engine:
            RunDrill(engine, place).run()

    steps = steps_of(work)
    at = max(number for number, step in enumerate(steps, 1) if step == "restore: rename")
    die_at(at, work)
    left = list((root / "tmp").glob(f"*{SCRATCH}"))
    assert len(left) == 1
    with Engine(root).open() as engine:
        assert drill(engine, place).verdict == "fresh"


def test_backups_that_go_while_it_looks_make_no_green_drill(taken: Engine, place: Place, repository: Repository) -> None:
    class Vanishing(LocalTarget):
        def names(self, prefix=""):  # type: ignore[no-untyped-def] # as LocalTarget's
            found = list(super().names(prefix))
            for one in found:
                self.remove(one.name)
            return iter(found)

    class Elsewhere(Place):
        def open(self) -> Repository:
            return replace(repository, target=Vanishing(repository.target.root))  # type: ignore[attr-defined]  # as above

    found = drill(taken, Elsewhere(place.url))
    assert (found.verdict, found.proofs) == ("failed", ())
    assert "None of the 2 backups" in found.problems[0]


def test_a_call_that_fails_anywhere_is_said_is_never_green_and_the_next_run_is(
    engine: Engine, repository: Repository, place: Place
) -> None:
    engine.store([document("/a", "1.0", body(n=1))])
    back_up(engine, repository)
    with faults() as counted:
        RunDrill(engine, place).run()
    for turn, number in enumerate(crash_places(counted.calls)):
        with engine.database.write() as connection:
            connection.execute(text("DELETE FROM drill"))
        code = (errno.ENOSPC, errno.EIO)[turn % 2]
        with faults(number, code) as injected, pytest.raises((DiskFull, TransientIO)):
            RunDrill(engine, place).run()
        assert injected.fired
        assert not list(engine.folder.tmp.iterdir())
        with engine.database.read() as connection:
            assert last_drills(connection) == []
        assert verdicts(engine) == ["good"], "nothing is said of the backup"
    assert drill(engine, place).verdict == "fresh"
