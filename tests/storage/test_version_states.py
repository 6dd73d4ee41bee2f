"""Stores, rollbacks and removals in any order: the disk alone tells what the catalogue says."""

from __future__ import annotations

import shutil
import tempfile
from datetime import UTC, datetime
from pathlib import Path

from hypothesis import given, settings
from hypothesis import strategies as st

from models.curation import find_held
from models.removal import Going, remove_revisions
from storage.engine import Engine, Options
from storage.events import Removed, append_events
from storage.rollback import Rollback
from storage.trail import Actor
from strongroom.errors import InvalidRequest, NotFound
from tests.support.archive import body, check_sums, document, revisions
from tests.support.on_disk import rows_on_disk

ADA = Actor("person:ada")
LIBRARY = "/a/b"
VERSION = st.sampled_from(["1.0", "2.0", "3.0"])
NUMBER = st.integers(1, 4)
STEP = st.one_of(
    st.tuples(st.just("store"), VERSION, NUMBER),
    st.tuples(st.just("store"), VERSION, NUMBER),
    st.tuples(st.just("back"), VERSION, st.none() | NUMBER),
    st.tuples(st.just("remove"), VERSION, NUMBER),
    st.tuples(st.just("newest"), VERSION, st.none()),
)


def take(engine: Engine, kind: str, version: str, number: int | None) -> None:
    if kind == "store":
        engine.store([document(LIBRARY, version, body(n=number))])
    elif kind == "back":
        before = {(one.version, one.revision): one.place.content_sha256 for one in revisions(engine)}
        went = engine.rollback(LIBRARY, version, ADA, number)
        check_rollback(engine, went, before)
    elif kind == "newest":
        engine.follow_newest(LIBRARY, ADA)
    else:
        remove(engine, version, number)


def check_rollback(engine: Engine, went: Rollback, before: dict[tuple[str, int], str]) -> None:
    """It came to what it says, and nothing that was there is gone."""
    after = {(one.version, one.revision): one for one in revisions(engine)}
    assert {name: after[name].place.content_sha256 for name in before} == before
    current = after[went.version, went.revision]
    assert current.current
    if went.kind == "content":
        assert current.place.content_sha256 == before[went.version, went.to_revision]
    else:
        assert after.keys() == before.keys()
        assert went.kind == "unchanged" or current.latest


def remove(engine: Engine, version: str, number: int | None) -> None:
    """Remove a revision that is not its version's last, nor the current one of the latest version: as a cleanup may."""
    found = next((one for one in revisions(engine) if (one.version, one.revision) == (version, number)), None)
    if found is None or found.latest:
        return
    with engine.database.write() as connection:
        at = datetime.now(UTC)
        gone = remove_revisions(connection, [Going(found.version_id, "old")], at, "schedule", "plan")
        append_events(
            engine.folder.journal, [Removed(LIBRARY, version, one.stored_at, one.revision, at, "schedule") for one in gone]
        )


@settings(max_examples=40)
@given(st.lists(STEP, max_size=12))
def test_the_disk_alone_tells_what_the_catalogue_says(
    memory: Path, fresh_folder: Path, steps: list[tuple[str, str, int | None]]
) -> None:
    with tempfile.TemporaryDirectory(dir=memory) as scratch:
        root = Path(shutil.copytree(fresh_folder, Path(scratch) / "data"))
        with Engine(root, Options(tree="none")).open() as engine:
            for step in steps:
                try:
                    take(engine, *step)
                except (NotFound, InvalidRequest):
                    continue
            check_sums(engine)
            rows = rows_on_disk(root)
            with engine.database.read() as connection:
                held = find_held(connection, LIBRARY)
            found = revisions(engine)
    assert {(row[1], int(row[2])): row[3] for row in rows} == {
        (one.version, one.revision): one.place.content_sha256 for one in found
    }
    if held is not None and held.by_hand:
        assert {row[1] for row in rows if row[4:]} == {held.version}
