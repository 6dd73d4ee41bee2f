"""Prune: what no rule keeps goes, a day later what only that needed, and a backup that is there is whole at any moment."""

from __future__ import annotations

import errno
import secrets
import shutil
from collections.abc import Callable
from contextlib import suppress
from dataclasses import replace
from datetime import UTC, datetime, timedelta
from pathlib import Path

import pytest

from models.backups import note_verdict, remembered_backups
from storage.backup.create import Create
from storage.backup.doomed import DOOMED, doomed_packs
from storage.backup.local import LocalTarget
from storage.backup.manifest import Manifest, backup_ids, manifests, read_manifest, write_manifest
from storage.backup.prune import Prune, Pruned
from storage.backup.repository import PACKS, Repository
from storage.backup.verify import verify_backup
from storage.engine import Engine
from storage.retention import Policy
from strongroom import durable
from strongroom.errors import BackupError, DiskFull, StorageError, TransientIO
from tests.support.archive import body, document, large_body
from tests.support.backups import NOW, SMALL, back_up, restored
from tests.support.crash import die_at, steps_of
from tests.support.faults import faults
from tests.support.thorough import crash_places, stride

DAY = timedelta(days=1)
LAST = Policy(keep_last=1)


def later(days: float) -> datetime:
    return datetime.now(UTC) + days * DAY


def store(engine: Engine, number: int) -> None:
    engine.store([document("/a", f"{number}.0", body(n=number)), document("/large", f"{number}", large_body(3 * SMALL + number))])


def prune(engine: Engine, repository: Repository, now: datetime, policy: Policy | None = LAST) -> Pruned:
    return Prune(repository, engine.database, policy).apply(now)


def packs_of(repository: Repository) -> set[str]:
    return {one.name.rpartition("/")[2] for one in repository.target.names(PACKS)}


def check(repository: Repository) -> list[Manifest]:
    """Return all backups after proving that each is whole."""
    found = [one for _, one in manifests(repository)]
    assert found
    for one in found:
        assert isinstance(one, Manifest)
        assert verify_backup(repository, one).problems == ()
    return [one for one in found if isinstance(one, Manifest)]


@pytest.fixture
def three(engine: Engine, repository: Repository) -> Engine:
    """Three full backups, each with packs of its own, and one that builds on the last."""
    for number in range(3):
        store(engine, number)
        back_up(engine, repository, full=True)
    store(engine, 3)
    back_up(engine, repository)
    return engine


def test_packs_go_a_day_after_the_last_backup_that_needed_them(three: Engine, repository: Repository, scratch: Path) -> None:
    ids, before = backup_ids(repository), packs_of(repository)
    planned = Prune(repository, three.database, LAST).plan(later(0))
    assert (backup_ids(repository), packs_of(repository)) == (ids, before)
    done = prune(three, repository, later(0))
    assert planned == done
    assert [(one.backup_id, one.keep) for one in done.fates] == [(name, name == ids[-1]) for name in reversed(ids)]
    assert backup_ids(repository) == ids[-1:]
    assert packs_of(repository) == before
    assert len(doomed_packs(repository)) == done.doomed > 0
    assert prune(three, repository, later(0.9)).removed == 0
    last = prune(three, repository, later(1.1))
    assert (last.removed, last.removed_bytes) == (done.doomed, done.doomed_bytes)
    [kept] = check(repository)
    assert packs_of(repository) == kept.packs.keys()
    assert doomed_packs(repository) == set()
    restored(repository, scratch / "to")
    with three.database.read() as connection:
        assert sorted(one.state for one in remembered_backups(connection)) == ["done", "removed", "removed", "removed"]


def test_without_a_policy_every_backup_stays_and_what_a_killed_run_left_goes(three: Engine, repository: Repository) -> None:
    before = packs_of(repository)
    name = "f" * 64
    repository.target.create(f"{PACKS}ff/{name}", [b"left behind"])
    assert prune(three, repository, later(0), None).doomed == 0, "it may be a running backup's"
    assert prune(three, repository, later(1.1), None).doomed == 1
    assert prune(three, repository, later(2.2), None).removed == 1
    assert packs_of(repository) == before
    assert len(check(repository)) == 4


def test_the_last_that_was_proven_and_the_last_good_one_stay(three: Engine, repository: Repository) -> None:
    ids = backup_ids(repository)
    with three.database.write() as connection:
        note_verdict(connection, ids[0], "good", NOW)
        note_verdict(connection, ids[-1], "damaged", NOW)
    plan = Prune(repository, three.database, LAST).plan(later(0))
    kept = {one.backup_id: one.reason for one in plan.fates if one.keep}
    assert kept.keys() == {ids[0], ids[-2], ids[-1]}
    assert "proven good" in kept[ids[0]]
    assert "last good" in kept[ids[-2]]


def test_while_nothing_is_whole_nothing_goes(three: Engine, repository: Repository) -> None:
    for one in list(repository.target.names(PACKS)):
        repository.target.remove(one.name)
    with pytest.raises(BackupError, match="none may go"):
        prune(three, repository, later(0))
    assert len(backup_ids(repository)) == 4


def test_a_manifest_that_cannot_be_read_keeps_all_packs(three: Engine, repository: Repository, scratch: Path) -> None:
    path = scratch / "backups" / "backups" / f"{backup_ids(repository)[1]}.json"
    path.write_bytes(path.read_bytes()[:-9])
    done = prune(three, repository, later(0))
    assert (done.doomed, done.damaged) == (0, (path.stem,))
    path.unlink()
    assert prune(three, repository, later(2)).doomed > 0


def test_what_is_needed_again_is_saved_and_doomed_from_anew_when_that_goes(three: Engine, repository: Repository) -> None:
    first = read_manifest(repository, backup_ids(repository)[0])
    prune(three, repository, later(0))
    told = list(repository.target.names(DOOMED))
    assert len(told) == 1
    write_manifest(repository, first)  # a backup that ran meanwhile needs them
    prune(three, repository, later(1.5))  # it goes at once, and its packs wait for a day of their own
    assert first.packs.keys() <= packs_of(repository)
    prune(three, repository, later(2.4))
    assert first.packs.keys() <= packs_of(repository)
    prune(three, repository, later(2.6))
    assert not first.packs.keys() <= packs_of(repository)
    check(repository)


@pytest.mark.parametrize("pack_bytes", [SMALL, 1 << 20], ids=["a pack of its own", "among others"])
def test_equal_bytes_get_another_name_while_the_old_one_is_doomed(
    engine: Engine, repository: Repository, scratch: Path, pack_bytes: int
) -> None:
    back_up(engine, repository)
    engine.store([document("/large", "1.0", body(noise=secrets.token_hex(4 * SMALL)))])
    copying = Create(engine, repository, pack_bytes=pack_bytes)
    gone = copying.run(full=True)
    repository.target.remove(f"backups/{gone.backup_id}.json")
    assert prune(engine, repository, later(1.1), None).doomed > 0
    doomed = doomed_packs(repository)
    made = copying.run(full=True)
    assert not made.packs.keys() & doomed
    assert prune(engine, repository, later(2.3), None).removed == len(doomed)
    check(repository)
    restored(repository, scratch / "to", made.backup_id)


def test_a_kill_anywhere_leaves_whole_backups_and_the_rerun_finishes(
    three: Engine, repository: Repository, scratch: Path
) -> None:
    prune(three, repository, later(0), Policy(keep_last=3))
    three.close()
    root, now = three.folder.root, later(1.1)
    start = {name: shutil.copytree(name, scratch / f"start-{name.name}") for name in (scratch / "backups", root / "metadata")}

    def work() -> None:
        with Engine(root).open() as engine:
            prune(engine, repository, now)

    def again() -> None:
        for name, copy in start.items():
            shutil.rmtree(name)
            shutil.copytree(copy, name)

    steps = steps_of(work)
    assert {"backup: remove", "backup: link"} <= set(steps)
    for number in crash_places(steps):
        again()
        with suppress(AssertionError):  # the last steps are the catalogue's, of which there may be fewer
            die_at(number, work)
        check(repository)
        with Engine(root).open() as engine:
            prune(engine, repository, now)
            prune(engine, repository, now + 1.1 * DAY)
        [kept] = check(repository)
        assert packs_of(repository) == kept.packs.keys()
        with Engine(root).open() as engine, engine.database.read() as connection:
            rows = {one.backup_id: one.state for one in remembered_backups(connection)}
        assert {name for name, state in rows.items() if state == "done"} == {kept.backup_id}


class Refusing(LocalTarget):
    """A target that refuses to remove, once, at that time."""

    def __init__(self, root: Path, number: int) -> None:
        super().__init__(root)
        self.left = number

    def remove(self, name):  # type: ignore[no-untyped-def] # as LocalTarget's
        self.left -= 1
        if self.left == 0:
            with durable.os_errors(f"cannot remove {name} from {self.url}"):
                raise OSError(errno.EIO, "as told")
        super().remove(name)


@pytest.mark.parametrize("code", [errno.ENOSPC, errno.EIO, 0], ids=["ENOSPC", "EIO", "remove"])
def test_a_call_that_fails_anywhere_is_said_and_no_backup_that_was_to_stay_is_less(
    three: Engine, repository: Repository, scratch: Path, code: int
) -> None:
    prune(three, repository, later(0), Policy(keep_last=3))
    promised, now, two = set(backup_ids(repository)[-2:]), later(1.1), Policy(keep_last=2)
    start = shutil.copytree(scratch / "backups", scratch / "start")
    number, fired = 0, True
    while fired:
        number += stride(2) if code else 1
        shutil.rmtree(scratch / "backups")
        shutil.copytree(start, scratch / "backups")
        refusing = Refusing(scratch / "backups", 0 if code else number)
        said: StorageError | None = None
        with faults(number if code else 0, code) as injected:
            try:
                prune(three, replace(repository, target=refusing), now, two)
            except (DiskFull, TransientIO) as error:
                said = error
        fired = injected.fired if code else refusing.left <= 0
        assert (said is not None) == fired
        assert said is None or refusing.url in said.message
        assert promised <= {one.backup_id for one in check(repository)}
        for days in (0.0, 1.1):
            prune(three, repository, now + days * DAY, two)
        kept = check(repository)
        assert {one.backup_id for one in kept} == promised
        assert packs_of(repository) == {name for one in kept for name in one.packs}
    assert number > 3, "hardly anything was made to fail"


class Meeting(LocalTarget):
    """A target at whose so-many-th call something else happens."""

    def __init__(self, root: Path, number: int, happens: Callable[[], object]) -> None:
        super().__init__(root)
        self.left, self.happens, self.met = number, happens, False

    def _meet(self) -> None:
        self.left -= 1
        if self.left == 0:
            self.met = True
            self.happens()

    def create(self, name, pieces):  # type: ignore[no-untyped-def] # as LocalTarget's
        self._meet()
        super().create(name, pieces)

    def read(self, name, offset=0, length=None):  # type: ignore[no-untyped-def] # as LocalTarget's
        self._meet()
        return super().read(name, offset, length)

    def names(self, prefix=""):  # type: ignore[no-untyped-def] # as LocalTarget's
        self._meet()
        return super().names(prefix)

    def remove(self, name):  # type: ignore[no-untyped-def] # as LocalTarget's
        self._meet()
        super().remove(name)


@pytest.mark.parametrize("full", [True, False], ids=["full", "incremental"])
@pytest.mark.parametrize("within", ["backup", "prune"])
def test_a_prune_and_a_backup_at_once_do_each_other_no_harm(
    three: Engine, repository: Repository, scratch: Path, within: str, full: bool
) -> None:
    prune(three, repository, later(0), Policy(keep_last=3))
    store(three, 9)
    start = shutil.copytree(scratch / "backups", scratch / "start")
    now, number, met = later(1.1), 0, True

    def take(place: Repository) -> None:
        Create(three, place, pack_bytes=SMALL).run(full=full)

    def clear(place: Repository) -> None:
        prune(three, place, now)

    inner, outer = (take, clear) if within == "prune" else (clear, take)
    while met:
        number += stride(3)
        shutil.rmtree(scratch / "backups")
        shutil.copytree(start, scratch / "backups")
        meeting = Meeting(scratch / "backups", number, lambda: inner(repository))
        outer(Repository(meeting, repository.seal, repository.repository_id))
        met = meeting.met
        check(repository)
        for days in (1.1, 2.2):
            prune(three, repository, now + days * DAY)
            check(repository)
    assert number > 10
