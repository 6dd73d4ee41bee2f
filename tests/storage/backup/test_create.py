"""storage/backup/create.py: what was committed comes back, and nothing else."""

from __future__ import annotations

import shutil
import threading
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import replace
from datetime import UTC, datetime, timedelta
from pathlib import Path

import pytest

from models.backups import remembered_backups
from storage.backup import waste
from storage.backup.choice import find_manifest
from storage.backup.create import Create
from storage.backup.local import LocalTarget
from storage.backup.manifest import Manifest, backup_ids
from storage.backup.repository import PACKS, Repository
from storage.backup.restore import ROW_BYTES, Restore
from storage.backup.verify import verify_backup
from storage.cleanup import make_plan
from storage.compress import Compress
from storage.engine import Engine
from storage.index import read_index
from storage.index_files import replace_index
from storage.policies import parse_policies
from storage.rebuild import rebuild
from storage.removal import Removal
from storage.sweep import Sweep
from storage.trail import Actor, Archive
from storage.versions import pin
from strongroom.errors import BackupError, DataFolderError, NotFound, TransientIO
from tests.storage.test_rebuild import lose
from tests.support.alike import store_versions
from tests.support.archive import body, document, large_body
from tests.support.backups import NOW, SMALL, back_up, filled, restored, told, told_after
from tests.support.crash import Crash, observed


@pytest.fixture
def to(scratch: Path) -> Path:
    return scratch / "restored"


@contextmanager
def when(step: str, work: Callable[[], object]) -> Iterator[None]:
    """Do something just before a durable step that comes for the first time."""
    todo = [work]

    def observe(name: str) -> None:
        if name == step and todo:
            todo.pop()()

    with observed(observe):
        yield
    assert not todo, f"{step} did not come"


def test_everything_that_was_committed_comes_back(engine: Engine, repository: Repository, to: Path) -> None:
    before = told(filled(engine))
    made = back_up(engine, repository)
    assert (made.kind, made.counts.documents, made.counts.revisions) == ("full", 5, 6)
    assert verify_backup(repository, made).problems == ()
    assert told_after(repository, to) == before


def test_an_incremental_backup_adds_what_is_new(engine: Engine, repository: Repository, to: Path) -> None:
    filled(engine)
    first, before = back_up(engine, repository), told(engine)
    engine.store([document("/new", "1.0", body(n=9))])
    second = back_up(engine, repository)
    assert (second.kind, second.parent, second.new_segments) == ("incremental", first.backup_id, 1)
    assert second.new_bytes < first.new_bytes / 4
    assert told_after(repository, to, first.backup_id) == before
    assert told_after(repository, to) == told(engine)


def test_where_nothing_changed_no_segment_is_read(engine: Engine, repository: Repository) -> None:
    filled(engine)
    back_up(engine, repository)
    for path in engine.folder.segments.glob("??/*"):
        path.chmod(0)
        path.rename(path.with_name(f"{path.name}.away"))
    second = back_up(engine, repository)
    assert (second.new_segments, second.removed, second.counts.segments) == (0, 0, 3)


def test_what_is_swept_is_gone_from_the_next_backup_and_still_in_the_one_before(
    engine: Engine, repository: Repository, to: Path
) -> None:
    store_versions(engine, "/a/b", 4)
    engine.store([document("/alone", "1.0", body(n=1))])
    engine.store([document("/alone", "2.0", body(n=2))])
    first, before = back_up(engine, repository), told(engine)
    removal, later = Removal(engine.folder, engine.database), datetime.now(UTC) + timedelta(days=30)
    removal.apply(make_plan(engine.database, parse_policies({"/alone": {"keep_last": 1}}), later), "schedule", later)
    engine.tree.catch_up()
    for days in (30, 60):
        Sweep(engine.folder, engine.database).run(later + timedelta(days=days))
    second = back_up(engine, repository)
    assert second.removed == 1
    assert second.counts.revisions == first.counts.revisions - 1
    after, now = told_after(repository, to), told(engine)
    for name in ("version", "segment", "object"):  # of what was purged a rebuild knows less
        assert after[name] == now[name]
    assert told_after(repository, to, first.backup_id) == before


def test_what_was_compressed_comes_back_as_it_is_now(engine: Engine, repository: Repository, to: Path) -> None:
    store_versions(engine, "/a/b", 4)
    first = back_up(engine, repository)
    Compress(engine.folder, engine.database, engine.tree, "all", "gzip").run(datetime.now(UTC), None, lambda _a, _b: None)
    second = back_up(engine, repository)
    assert second.removed > 0
    assert second.counts.segments == first.counts.segments - second.removed + second.new_segments
    assert verify_backup(repository, second).problems == ()
    assert told_after(repository, to)["version"] == told(engine)["version"]


def test_a_catalogue_that_was_made_anew_costs_a_comparison_and_no_copy(engine: Engine, repository: Repository, to: Path) -> None:
    filled(engine)
    back_up(engine, repository)
    engine.close()
    lose(engine.folder.root)
    rebuild(engine.folder, engine.database.url, NOW)
    with Engine(engine.folder.root).open() as again:
        second = back_up(again, repository)
        assert (second.kind, second.new_segments, second.removed) == ("incremental", 0, 0)
        assert told_after(repository, to) == told(again)


def test_an_index_that_was_made_again_is_in_the_next_backup_also_when_the_catalogue_was_made_anew(
    engine: Engine, repository: Repository, to: Path
) -> None:
    engine.store([document("/a", "1.0", body(n=1)), document("/b", "1.0", body(n=2))])
    back_up(engine, repository)
    [path] = engine.folder.segments.glob("??/*.index")
    index = read_index(path)
    replace_index(engine.folder.tmp / "new.index", path, replace(index, versions=index.versions[:1]))
    engine.close()
    lose(engine.folder.root)
    rebuild(engine.folder, engine.database.url, NOW)
    with Engine(engine.folder.root).open() as again:
        second = back_up(again, repository)
        assert (second.kind, second.new_segments) == ("incremental", 1)
        assert [one.version for one in again.versions("/b")] == []
        assert told_after(repository, to)["version"] == told(again)["version"]


def test_a_folder_that_was_put_back_to_an_older_state_is_compared_though_its_numbers_come_again(
    engine: Engine, repository: Repository, scratch: Path, to: Path
) -> None:
    """As by a snapshot of the machine: the target has a backup of a past that is no more, and all counts agree with it."""
    root = engine.folder.root

    def go_on(past: str, stores: int) -> Manifest:
        with Engine(root).open() as one:
            for number in range(stores):
                one.store([document(f"/{past}-{number}", "1.0", body(n=number, past=past))])
            pin(one.archive, "/a", "1.0", Actor(f"person:{past}"))
            made = back_up(one, repository)
            assert verify_backup(repository, made).problems == ()
            assert told_after(repository, to) == told(one)
            return made

    engine.store([document("/a", "1.0", body(n=1))])
    back_up(engine, repository)
    engine.close()
    shutil.copytree(root, scratch / "older")
    go_on("lost", 2)
    shutil.rmtree(root)
    (scratch / "older").rename(root)
    kept = go_on("kept", 3)
    assert (kept.kind, kept.new_segments, kept.removed) == ("incremental", 3, 2)
    assert (go_on("later", 1).new_segments) == 1


def test_a_long_chain_is_written_anew_and_says_the_same(engine: Engine, repository: Repository, to: Path) -> None:
    filled(engine)
    made = []
    for number in range(20):
        engine.store([document("/chain", f"{number}.0", body(number=number))])
        made.append(back_up(engine, repository))
    assert max(len(one.lists) for one in made) == 16
    assert len(made[-1].lists) < 6
    assert len(made[-1].packs) < 2 * 20
    assert verify_backup(repository, made[-1]).problems == ()
    assert told_after(repository, to) == told(engine)


def test_a_chain_that_is_mostly_dead_ends_in_a_full_backup(
    engine: Engine, repository: Repository, to: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(waste, "SPARE_BYTES", 0)
    monkeypatch.setattr(waste, "FACTOR", 1.1)
    kinds = []
    for number in range(4):
        engine.store([document("/a", f"{number}.0", large_body(20_000, seed=number))])
        kinds.append(back_up(engine, repository).kind)
    assert kinds == ["full", "incremental", "incremental", "incremental"], "nothing is dead"
    store_versions(engine, "/b", 6)
    dead = back_up(engine, repository)
    assert not waste.is_wasteful(dead)
    Compress(engine.folder, engine.database, engine.tree, "none", "zstd").run(datetime.now(UTC), None, lambda _a, _b: None)
    assert waste.is_wasteful(back_up(engine, repository))
    last = back_up(engine, repository)
    assert last.kind == "full"
    assert not waste.is_wasteful(last)
    assert verify_backup(repository, last).problems == ()
    assert told_after(repository, to)["version"] == told(engine)["version"]


def test_a_full_backup_needs_nothing_that_an_older_one_wrote(engine: Engine, repository: Repository, to: Path) -> None:
    filled(engine)
    old = back_up(engine, repository).packs
    for name in old:
        path = f"{PACKS}{name[:2]}/{name}"
        data = b"".join(repository.target.read(path))
        repository.target.remove(path)
        repository.target.create(path, [b"\0" + data[1:]])
    full = back_up(engine, repository, full=True)
    assert verify_backup(repository, full).problems == ()
    assert told_after(repository, to) == told(engine)


def test_a_store_that_is_under_way_is_in_the_next_backup_and_not_in_this_one(
    engine: Engine, repository: Repository, to: Path
) -> None:
    """It has journalled its version and not committed it: the disk tells of it already."""
    filled(engine)
    before, made = told(engine), []

    def in_between() -> None:
        with observed(lambda _step: None):
            made.append(back_up(engine, repository))

    with when("journal: fsync", lambda: None), when_committing(engine, in_between):
        engine.store([document("/late/copy", "1.0", body(n=2))])
    assert [one.library_id for one in made[0].journal.untold] == ["/late/copy"]
    assert told_after(repository, to) == before
    assert back_up(engine, repository).journal.untold == ()
    assert told_after(repository, to) == told(engine)


@contextmanager
def when_committing(engine: Engine, work: Callable[[], object]) -> Iterator[None]:
    """Do something when a store has written all of its files, before it takes the write lock."""
    real, todo = engine.database.write, [work]

    def write(name: str = "catalogue"):  # type: ignore[no-untyped-def] # as Database.write
        if todo and name == "catalogue":
            todo.pop()()
        return real(name)

    engine.database.write = write  # type: ignore[method-assign] # the one place where nothing durable is announced
    try:
        yield
    finally:
        del engine.database.write
    assert not todo


def test_a_store_that_died_before_its_commit_does_not_come_back_as_if_it_had_not(
    engine: Engine, repository: Repository, to: Path
) -> None:
    filled(engine)
    before = told(engine)

    def die(name: str) -> None:
        if name == "catalogue: commit":
            raise Crash(name)

    with observed(die), pytest.raises(Crash):
        engine.store([document("/late/copy", "1.0", body(n=2))])
    for days in (0, 1, 5):
        clock = datetime.now(UTC) + timedelta(days=days)
        made = Create(engine, repository, clock=lambda clock=clock: clock, pack_bytes=SMALL).run()  # type: ignore[misc] # bound
        assert [one.library_id for one in made.journal.untold] == (["/late/copy"] if days < 2 else [])
        assert told_after(repository, to, made.backup_id) == before


def test_writers_go_on_and_a_backup_holds_exactly_one_moment(engine: Engine, repository: Repository, to: Path) -> None:
    """Each batch is one commit of a document and its copy: a backup has both or none, in the order of the commits."""
    stop, errors, root = threading.Event(), [], engine.folder.root

    def write(writer: int) -> None:
        try:
            with Engine(root).open() as mine:
                number = 0
                while not stop.is_set():
                    text = body(writer=writer, number=number)
                    mine.store([document(f"/w{writer}", f"{number}.0", text), document(f"/copy{writer}", f"{number}.0", text)])
                    if number % 5 == 4:
                        pin(Archive(mine.folder, mine.database), f"/w{writer}", f"{number}.0", Actor("person:ada"))
                    number += 1
        except BaseException as error:  # noqa: BLE001 - of a thread: raised by the test
            errors.append(error)

    threads = [threading.Thread(target=write, args=(number,)) for number in range(2)]
    for thread in threads:
        thread.start()
    made = [back_up(engine, repository) for _ in range(6)]
    stop.set()
    for thread in threads:
        thread.join()
    assert not errors, errors
    last = {0: -1, 1: -1}
    for one in (made[1], made[-1]):
        restored(repository, to, one.backup_id)
        with Engine(to).open() as back:
            assert len(back.versions()) == one.counts.documents
            for writer, before in last.items():
                numbers = sorted(int(found.version.partition(".")[0]) for found in back.versions(f"/w{writer}"))
                copies = sorted(int(found.version.partition(".")[0]) for found in back.versions(f"/copy{writer}"))
                assert numbers == copies == list(range(len(numbers)))
                assert len(numbers) - 1 >= before
                last[writer] = len(numbers) - 1
    assert max(last.values()) >= 0, "nobody wrote meanwhile"


def test_two_backups_at_once_do_each_other_no_harm(engine: Engine, repository: Repository, to: Path) -> None:
    filled(engine)
    made: list[Manifest] = []

    def another() -> None:
        with observed(lambda _step: None), Engine(engine.folder.root).open() as beside:
            made.append(back_up(beside, repository))

    with when("backup: link", another):
        made.append(back_up(engine, repository))
    assert backup_ids(repository) == sorted({one.backup_id for one in made})
    for one in made:
        assert verify_backup(repository, one).problems == ()
        assert told_after(repository, to, one.backup_id) == told(engine)


def test_what_a_sweep_moves_away_meanwhile_is_taken_from_the_trash(engine: Engine, repository: Repository, to: Path) -> None:
    filled(engine)
    before = told(engine)

    def move() -> None:
        for path in engine.folder.segments.glob("??/" + "?" * 64):
            stem = f"swept-20300101T000000000000-{path.name}"
            path.with_suffix(".index").rename(engine.folder.trash / f"{stem}.index")
            path.rename(engine.folder.trash / f"{stem}.segment")

    with when("snapshot: committed", move):
        back_up(engine, repository)
    assert told_after(repository, to) == before


def test_damage_that_can_be_repaired_is_repaired_first(engine: Engine, repository: Repository, to: Path) -> None:
    engine.store([document("/a", "1.0", large_body(20_000))])
    engine.tree.catch_up()
    name = engine.find("/a").place.segment_sha256
    path = engine.folder.segment(name)
    tree = next(engine.folder.documentation.rglob("documentation.json.gz"))
    whole = path.read_bytes()
    tree.unlink()
    tree.write_bytes(whole)
    path.unlink()
    path.write_bytes(b"\0" + whole[1:])
    made = back_up(engine, repository)
    assert verify_backup(repository, made).problems == ()
    restored(repository, to)
    with Engine(to).open() as back:
        assert back.read("/a") == large_body(20_000)


@pytest.mark.parametrize("size", [200, 20_000], ids=["small", "a pack of its own"])
def test_damage_that_cannot_be_repaired_is_named_and_there_is_no_backup(
    engine: Engine, repository: Repository, size: int
) -> None:
    engine.store([document("/good", "1.0", body(n=1))])
    good = back_up(engine, repository)
    engine.store([document("/a", "1.0", large_body(size))])
    path = engine.folder.segment(engine.find("/a").place.segment_sha256)
    path.write_bytes(b"\0" + path.read_bytes()[1:])
    with pytest.raises(BackupError, match=path.name):
        back_up(engine, repository)
    assert backup_ids(repository) == [good.backup_id]
    with engine.database.read() as connection:
        assert [one.state for one in remembered_backups(connection)] == ["failed", "done"]


def test_a_damaged_journal_is_mended_first(engine: Engine, repository: Repository, to: Path) -> None:
    filled(engine)
    lines = engine.folder.journal.read_bytes().splitlines(keepends=True)
    lines[0] = lines[0][:30] + b"x" + lines[0][31:]
    engine.folder.journal.write_bytes(b"".join(lines))
    back_up(engine, repository)
    assert told_after(repository, to)["version"] == told(engine)["version"]


def test_packs_that_are_doomed_are_not_built_on(engine: Engine, repository: Repository, to: Path) -> None:
    filled(engine)
    first = back_up(engine, repository)
    names = ",".join(f'"{name}"' for name in first.packs)
    repository.target.create("doomed/1.json", [f'{{"packs": [{names}], "at": "2030-01-01T00:00:00+00:00"}}'.encode()])
    assert back_up(engine, repository).kind == "full"


def test_a_copy_that_takes_too_long_begins_again_with_what_it_has(engine: Engine, repository: Repository, to: Path) -> None:
    filled(engine)
    times = iter([NOW, NOW, NOW + timedelta(hours=13)])
    made = Create(engine, repository, clock=lambda: next(times, NOW + timedelta(hours=13)), pack_bytes=SMALL).run()
    assert made.as_of == NOW + timedelta(hours=13)
    assert told_after(repository, to) == told(engine)


def test_two_folders_that_share_a_target_do_each_other_no_harm(
    engine: Engine, repository: Repository, scratch: Path, to: Path
) -> None:
    filled(engine)
    mine = back_up(engine, repository)
    with Engine(scratch / "second").create() as other:
        other.store([document("/other", "1.0", body(other=1))])
        theirs = back_up(other, repository)
        assert told_after(repository, to, theirs.backup_id) == told(other)
    third = back_up(engine, repository)
    assert third.parent == mine.backup_id
    assert told_after(repository, to, third.backup_id) == told(engine)


class Unreachable(LocalTarget):
    def names(self, prefix: str = ""):  # type: ignore[no-untyped-def] # as LocalTarget's
        raise TransientIO(f"{self.url} does not answer.")


def test_a_target_that_does_not_answer_makes_no_backup(engine: Engine, repository: Repository) -> None:
    away = Repository(Unreachable(repository.target.root), repository.seal, repository.repository_id)  # type: ignore[attr-defined]
    with pytest.raises(TransientIO, match="does not answer"):
        Create(engine, away).run()
    with pytest.raises(NotFound):
        find_manifest(repository, "latest")


def test_progress_says_how_much_of_how_much(engine: Engine, repository: Repository) -> None:
    filled(engine)
    seen: list[tuple[int, int]] = []
    made = Create(engine, repository, lambda done, total: seen.append((done, total)), pack_bytes=SMALL).run()
    assert seen == sorted(seen)
    assert {total for _, total in seen} == {made.counts.segment_bytes}
    assert seen[-1][0] == made.counts.segment_bytes


def test_a_restore_is_not_said_to_be_over_before_its_catalogue_is_made(engine: Engine, repository: Repository, to: Path) -> None:
    filled(engine)
    made = back_up(engine, repository)
    seen: list[tuple[int, int]] = []
    at_the_sync: list[int] = []
    with when("restore: sync", lambda: at_the_sync.append(len(seen))):
        Restore(repository, made, lambda done, total: seen.append((done, total))).run(to, NOW)
    assert seen == sorted(seen)
    [total] = {total for _, total in seen}
    unpacked = seen[at_the_sync[0] - 1][0]
    assert unpacked == total - made.counts.revisions * ROW_BYTES
    assert seen[-1] == (total, total)


def test_of_two_restores_to_one_folder_the_second_is_refused(engine: Engine, repository: Repository, to: Path) -> None:
    filled(engine)
    back_up(engine, repository)
    refused: list[str] = []

    def second() -> None:
        with pytest.raises(DataFolderError, match="Another restore") as said:
            Restore(repository, find_manifest(repository, "latest")).run(to, NOW)
        refused.append(said.value.message)

    with when("restore: sync", second):
        assert told_after(repository, to) == told(engine)
    assert refused
