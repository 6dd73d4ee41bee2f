"""Restoring a library, or a version of it, out of a backup into a folder of its own."""

from __future__ import annotations

import errno
import shutil
from collections.abc import Callable
from contextlib import suppress
from datetime import UTC, datetime
from pathlib import Path

import pytest

from models.catalogue import list_versions
from models.curation import list_pins
from models.names import AliasRow, list_aliases
from storage.backup.choice import find_manifest
from storage.backup.lists import read_lists
from storage.backup.part import RestorePart
from storage.backup.repository import Repository, pack_path
from storage.backup.restore import Restore, Restored
from storage.bring_in import import_file
from storage.compress import Compress
from storage.engine import Engine
from storage.export import export
from storage.layout import DataFolder
from storage.names import alias
from storage.read import read_content
from storage.rebuild import rebuild
from storage.trail import Actor
from storage.versions import pin
from strongroom.errors import BackupDamaged, DataFolderError, InvalidRequest, NotFound, StorageError
from tests.storage.test_rebuild import lose
from tests.support.alike import store_versions
from tests.support.archive import body, check_promises, document
from tests.support.backups import NOW, back_up
from tests.support.crash import die_at, steps_of
from tests.support.faults import faults
from tests.support.thorough import crash_places, stride

ME = Actor("person:test", "one of them")


@pytest.fixture
def taken(engine: Engine, repository: Repository) -> Engine:
    """Two libraries in one batch, one content in both, two revisions of one version, a pin; and a third library."""
    engine.store([document("/a", "1.0", body(n=1)), document("/b", "1.0", body(n=1)), document("/b", "2.0", body(n=2))])
    engine.store([document("/a", "1.0", body(n=3)), document("/a", "2.0", body(n=2))])
    engine.store([document("/c", "1.0", body(n=9))])
    pin(engine.archive, "/a", "1.0", ME)
    alias(engine.archive, "/first/name", "/a", ME)
    back_up(engine, repository)
    return engine


def part(repository: Repository, to: Path, library: str, version: str | None = None) -> Restored:
    return RestorePart(repository, find_manifest(repository, "latest"), library, version).run(to, ME, NOW)


def told(to: Path) -> list[tuple[str, str, int, bytes]]:
    """Return every revision that there is, with its content, after proving that all promises hold."""
    with Engine(to).open() as back:
        check_promises(back)
        with back.database.read() as connection:
            found = list(list_versions(connection, history=True))
        return sorted((one.library_id, one.version, one.revision, read_content(back.folder, one.place)) for one in found)


A = [("/a", "1.0", 1, body(n=1)), ("/a", "1.0", 2, body(n=3)), ("/a", "2.0", 1, body(n=2))]


def test_a_library_comes_back_with_its_revisions_and_pins_alone(taken: Engine, repository: Repository, scratch: Path) -> None:
    done = part(repository, scratch / "to", "/a")
    assert (done.counts.libraries, done.counts.documents, done.counts.revisions) == (1, 2, 3)
    assert told(scratch / "to") == A
    with Engine(scratch / "to").open() as back, back.database.read() as connection:
        assert [(one.version, one.by) for one in list_pins(connection, "/a")] == [("1.0", ME.by)]
        assert back.read("/first/name", "2.0") == body(n=2)
    assert sorted(path.name for path in (scratch / "to").glob(".*")) == []


def as_it_was(engine: Engine) -> tuple[list[tuple[str, int, datetime]], list[AliasRow]]:
    with engine.database.read() as connection:
        times = [(one.version, one.revision, one.created_at) for one in list_versions(connection, "/a", history=True)]
        return sorted(times), list_aliases(connection, "/a")


def test_times_and_aliases_are_as_they_were_also_when_the_catalogue_is_made_anew(
    taken: Engine, repository: Repository, scratch: Path
) -> None:
    to, before = scratch / "to", as_it_was(taken)
    assert [one.alias for one in before[1]] == ["/first/name"]
    part(repository, to, "/a")
    with Engine(to).open() as back:
        assert as_it_was(back) == before
        back.store([document("/first/name", "3.0", body(n=4))])
        after = as_it_was(back)
        assert [version for version, _, _ in after[0]] == ["1.0", "1.0", "2.0", "3.0"]
        url = back.database.url
    lose(to)
    assert rebuild(DataFolder(to), url, NOW).findings == ()
    with Engine(to).open() as back:
        assert as_it_was(back) == after
        with pytest.raises(InvalidRequest, match="is in use"):
            import_file(back, export(taken.archive, "/a", scratch / "a.tar", ME).path, ME, as_it_was=True)


def test_a_version_comes_back_alone(taken: Engine, repository: Repository, scratch: Path) -> None:
    assert part(repository, scratch / "to", "/a", "1.0").counts.revisions == 2
    assert told(scratch / "to") == A[:2]
    part(repository, scratch / "other", "/a", "2.0")
    assert told(scratch / "other") == A[2:]
    with Engine(scratch / "other").open() as back, back.database.read() as connection:
        assert list_pins(connection, "/a") == []


def test_what_refers_to_other_contents_is_whole(engine: Engine, repository: Repository, scratch: Path) -> None:
    store_versions(engine, "/a/b", 4)
    before = [engine.read("/a/b", f"{number}.0") for number in range(1, 5)]
    Compress(engine.folder, engine.database, engine.tree, "none", "gzip").run(datetime.now(UTC))
    back_up(engine, repository)
    with engine.database.read() as connection:
        assert any(one.place.reference_sha256 for one in list_versions(connection))
    part(repository, scratch / "to", "/a/b")
    assert [content for *_, content in told(scratch / "to")] == before


def test_of_the_segments_only_those_are_read_that_it_needs(taken: Engine, repository: Repository, scratch: Path) -> None:
    seen: list[tuple[int, int]] = []
    manifest = find_manifest(repository, "latest")
    RestorePart(repository, manifest, "/c", None, lambda done, total: seen.append((done, total))).run(scratch / "to", ME, NOW)
    assert seen[-1][1] < manifest.counts.segment_bytes / 2
    assert told(scratch / "to") == [("/c", "1.0", 1, body(n=9))]


def test_what_is_not_there_is_named_and_leaves_no_data_folder(taken: Engine, repository: Repository, scratch: Path) -> None:
    for library, version in (("/nowhere", None), ("/a", "7.0")):
        with pytest.raises(NotFound, match="is not in the backup"):
            part(repository, scratch / "to", library, version)
        assert list((scratch / "to").iterdir()) == []
    part(repository, scratch / "to", "/a")
    with pytest.raises(DataFolderError, match="not empty"):
        part(repository, scratch / "to", "/a")
    (scratch / "mine").mkdir()
    (scratch / "mine" / "note").touch()
    with pytest.raises(DataFolderError, match="not empty"):
        part(repository, scratch / "mine", "/a")
    assert (scratch / "mine" / "note").exists()


def test_a_damaged_segment_that_it_needs_is_said_and_one_that_it_does_not_need_is_not(
    taken: Engine, repository: Repository, scratch: Path
) -> None:
    manifest = find_manifest(repository, "latest")
    entries = read_lists(repository, manifest.lists)
    with taken.database.read() as connection:
        needed = {one.place.segment_sha256 for one in list_versions(connection, "/c")}
    [name] = needed
    path = Path(repository.target.root) / pack_path(entries[name].segment.pack)  # type: ignore[attr-defined]  # it is a folder
    whole, at = path.read_bytes(), entries[name].segment.offset
    path.write_bytes(whole[:at] + bytes([whole[at] ^ 1]) + whole[at + 1 :])
    with pytest.raises(BackupDamaged):
        part(repository, scratch / "to", "/c")
    assert not (scratch / "to" / "strongroom.json").exists()


def test_a_kill_anywhere_leaves_none_and_the_rerun_finishes(taken: Engine, repository: Repository, scratch: Path) -> None:
    taken.close()
    to = scratch / "to"
    steps = steps_of(lambda: part(repository, to, "/a"))
    places = [number for number in crash_places(steps) if steps[number - 1].startswith("restore: ")]
    assert len(places) > 3, steps
    for number in places:
        shutil.rmtree(to)
        die_at(number, lambda: part(repository, to, "/a"))
        if not (to / "strongroom.json").exists():
            part(repository, to, "/a")
        assert told(to) == A


@pytest.mark.parametrize(("first", "step"), [("part", "restore: rename"), ("whole", "restore: pack")])
def test_what_a_killed_restore_left_is_no_obstacle_to_one_of_another_kind(
    taken: Engine, repository: Repository, scratch: Path, first: str, step: str
) -> None:
    taken.close()
    to, manifest = scratch / "to", find_manifest(repository, "latest")
    kinds: dict[str, Callable[[], Restored]] = {
        "part": lambda: part(repository, to, "/c"),
        "whole": lambda: Restore(repository, manifest).run(to, NOW),
    }
    kill, then = kinds[first], kinds["whole" if first == "part" else "part"]
    numbers = [number for number, name in enumerate(steps_of(kill), 1) if name == step]
    shutil.rmtree(to)
    die_at(numbers[len(numbers) // 2], kill)
    (to / "note").mkdir()
    with pytest.raises(DataFolderError, match="not empty"):  # that is somebody's
        then()
    (to / "note").rmdir()
    then()
    assert {("/c", "1.0", 1, body(n=9))} <= set(told(to))
    assert list(to.glob(".*")) == []
    (to / ".restoring").mkdir()  # one that died behind its last step
    with pytest.raises(DataFolderError, match="data folder already"):
        kill()
    assert list(to.glob(".*")) == []


@pytest.mark.parametrize("code", [errno.ENOSPC, errno.EIO], ids=errno.errorcode.get)
def test_a_call_that_fails_anywhere_is_said(taken: Engine, repository: Repository, scratch: Path, code: int) -> None:
    to, number, fired = scratch / "to", 7, True
    while fired:
        with faults(number, code) as injected, suppress(StorageError):
            part(repository, to, "/a")
        fired = injected.fired
        number += stride(199)
        if (to / "strongroom.json").exists():
            assert told(to) == A
            shutil.rmtree(to)
    assert number > 300, "hardly anything was made to fail"
