"""storage/backup/past.py: what a part of a backup tells of itself is what the original told, and nothing of others."""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import replace
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any

import pytest

from models.curation import AuditRow
from models.database import Database
from storage.backup.choice import find_manifest
from storage.backup.part import RestorePart
from storage.backup.past import Past
from storage.backup.repository import Repository
from storage.cleanup import plan_removal
from storage.engine import Engine
from storage.events import read_events
from storage.history import read_history
from storage.index import VersionRecord
from storage.names import alias, aliases, rename, unalias
from storage.removal import Removal
from storage.rollback import rollback
from storage.sweep import Sweep
from storage.trail import Actor
from storage.versions import label, pin, unpin
from strongroom.errors import NotFound
from tests.storage.test_rebuild import differences, rebuilt, tables
from tests.support.archive import body, check_promises, document, revisions
from tests.support.backups import back_up
from tests.support.on_disk import revisions_on_disk

ADA, ME = Actor("person:ada", "for a reason"), Actor("person:me", "restored")
NOW = datetime.now(UTC)
DAY = timedelta(days=1)
TOLD_ALIKE = ("library", "version", "removed_version", "pin", "label", "alias")


def remove(engine: Engine, version: str, numbers: Iterable[int], days: float = 0) -> str:
    wanted = {one.version_id for one in revisions(engine) if one.version == version and one.revision in set(numbers)}
    plan = plan_removal(engine.database, "/a", wanted, "nobody reads it")
    Removal(engine.folder, engine.database).apply(plan, ADA.by, NOW + days * DAY)
    engine.tree.catch_up()
    return plan.plan_id


@pytest.fixture
def lived(engine: Engine) -> Engine:
    """A library of which much was removed, brought back, given up, renamed and said; and another one that shares with it."""
    for number in (1, 2, 1):
        engine.store([document("/old/a", "1.0", body(n=number)), document("/b", "1.0", body(n=number))])
    engine.store([document("/old/a", "2.0", body(n=4)), document("/old/a", "3.0", body(n=5)), document("/b", "9", body(n=4))])
    pin(engine.archive, "/old/a", "1.0", ADA)
    rename(engine.archive, "/old/a", "/a", ADA)
    for number in (6, 7, 8):
        engine.store([document("/a", "4.0", body(n=number))])
    for name, version in (("stable", "1.0"), ("next", "2.0"), ("stable", "3.0")):
        label(engine.archive, "/a", name, version, ADA)
    unpin(engine.archive, "/a", "1.0", ADA)
    pin(engine.archive, "/a", "2.0", ADA)
    alias(engine.archive, "/other/name", "/a", ADA)
    for name in ("/moved", "/gone"):
        alias(engine.archive, name, "/a", ADA)
    alias(engine.archive, "/moved", "/b", ADA)
    unalias(engine.archive, "/gone", ADA)
    remove(engine, "4.0", [1])
    Sweep(engine.folder, engine.database).run(NOW + 8 * DAY)  # that one is given up
    Removal(engine.folder, engine.database).undo(remove(engine, "4.0", [2], 9), ADA.by, NOW + 10 * DAY)
    remove(engine, "1.0", [1, 2], 11)
    remove(engine, "2.0", [1], 12)
    for version in ("1.0", "3.0"):
        rollback(engine.archive, "/a", version, ADA)
    engine.tree.catch_up()
    return engine


def part(repository: Repository, to: Path, version: str | None = None, library: str = "/a") -> Engine:
    done = RestorePart(repository, find_manifest(repository, "latest"), library, version).run(to, ME, NOW)
    assert done.differences == ()
    return Engine(to).open()


def history(database: Database, version: str | None = None) -> tuple[Any, list[AuditRow]]:
    """Return what `strongroom history` tells: of the versions, and who did what; the restore itself aside."""
    found = read_history(database, "/a", version)
    trail = [one for one in found.trail if one.by != ME.by]
    assert len(found.trail) - len(trail) in {0, 1}
    return (found.latest, list(found.versions)), sorted(trail, key=lambda one: (one.at, one.action, one.version))


def test_a_library_tells_of_all_that_became_of_it(lived: Engine, repository: Repository, scratch: Path) -> None:
    back_up(lived, repository)
    with part(repository, scratch / "to") as back:
        (versions, trail), (versions_before, trail_before) = history(back.database), history(lived.database)
        assert versions == versions_before
        assert trail == [one for one in trail_before if one.details.get("alias") != "/moved"], "that is another library's today"
        before, after = ({name: tables(one)[name] for name in TOLD_ALIKE} for one in (lived, back))
        mine = {name: [row for row in rows if "'/b'" not in row] for name, rows in before.items()}
        assert differences(mine, after) == []
        assert {name for name, _, _ in revisions_on_disk(back)} == {"/a"}
        assert not [one for one in read_events(back.folder.journal) if "/b" in {one.library_id, getattr(one, "to", "")}]
        check_promises(back)
        assert rebuilt(back).findings == ()
    with Engine(scratch / "to").open() as again:
        assert differences(after, {name: tables(again)[name] for name in TOLD_ALIKE}) == []
        assert [one.read("/other/name", "4.0") for one in (again, lived)] == [body(n=8), body(n=8)]
        with pytest.raises(NotFound):
            again.read("/moved")


def test_what_could_still_be_undone_can_be_undone_there(lived: Engine, repository: Repository, scratch: Path) -> None:
    plan_id = remove(lived, "4.0", [3], 13)
    back_up(lived, repository)
    with part(repository, scratch / "to") as back:
        assert back.read("/a", "4.0") == body(n=7)
        shown = [one.name for one in (back.folder.root / "documentation" / "+a").iterdir() if one.is_symlink()]
        assert sorted(shown) == ["1.0", "3.0", "4.0", "latest"]
        Removal(back.folder, back.database).undo(plan_id, ME.by, NOW + 14 * DAY)
        back.tree.catch_up()
        assert back.read("/a", "4.0") == body(n=8)
        assert back.store([document("/a", "4.0", body(n=9))])[0].revision == 4
        check_promises(back)


@pytest.mark.parametrize("version", ["1.0", "3.0", "4.0"])
def test_a_version_tells_of_itself_and_of_what_it_is_part_of(
    lived: Engine, repository: Repository, scratch: Path, version: str
) -> None:
    back_up(lived, repository)
    with part(repository, scratch / "to", version) as back:
        (held, versions), trail = history(back.database, version)
        assert (held.version, held.by_hand) == (version, version == "3.0")
        (_, before), trail_before = history(lived.database, version)
        if version != "3.0":
            versions, before = ([replace(one, latest=False) for one in told] for told in (versions, before))
        assert versions == before
        # Nothing is told of the label, of latest, and of the name that mean another version, or another library, today.
        left_out = [one for one in trail_before if one not in trail]
        assert {(one.action, one.details.get("label"), one.details.get("alias")) for one in left_out} <= {
            ("labelled", "stable", None),
            ("aliased", None, "/moved"),
            ("latest", None, None),
        }
        assert [one for one in trail if one not in trail_before] == []
        assert [one.version for one in back.versions()] == [version]
        assert back.read("/a") == lived.read("/a", version)
        check_promises(back)


def test_what_was_told_under_a_name_that_means_another_library_today_is_told_under_its_own(
    lived: Engine, repository: Repository, scratch: Path
) -> None:
    alias(lived.archive, "/old/a", "/b", ADA)
    back_up(lived, repository)
    with part(repository, scratch / "to") as back:
        assert [one.revision for one in back.versions("/a")] == [one.revision for one in lived.versions("/a")]
        assert [one.library_id for one in back.libraries()] == ["/a"]
        assert [one.alias for one in aliases(back.archive)] == ["/other/name"]


def test_a_record_is_that_of_the_index_or_where_none_is_left_made_of_the_catalogue(engine: Engine) -> None:
    for number in (1, 2):
        engine.store([document("/a", f"{number}.0", body(n=number), sort_as="7")])
    place = engine.find("/a", "2.0").place
    engine.folder.index(place.segment_sha256).unlink()
    records = [one for one in Past(engine.folder, engine.database, "/a").told() if isinstance(one, VersionRecord)]
    assert {(one.version, one.sort_as) for one in records} == {("1.0", "7"), ("2.0", "")}
    assert {one.stored_at for one in records} == {one.created_at for one in revisions(engine)}
