"""storage/rebuild.py: after a long and mixed history the catalogue is lost, and every table comes back, row by row."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from contextlib import suppress
from dataclasses import dataclass, field
from datetime import UTC, datetime, timedelta, tzinfo
from random import Random
from types import MappingProxyType
from typing import Any

import pytest
from sqlalchemy import select, text
from sqlmodel import SQLModel

from models.tables import Version, table_of
from storage import store
from storage.cleanup import Plan, make_plan, plan_removal
from storage.compress import Compress
from storage.engine import Engine
from storage.erase.plan import find_targets
from storage.erase.run import Erasure
from storage.names import alias, rename
from storage.policies import parse_policies
from storage.removal import Removal
from storage.rollback import follow_newest, rollback
from storage.sweep import Sweep
from storage.trail import Actor, Archive
from storage.versions import label, pin, unpin
from strongroom.errors import InvalidRequest, NotFound
from tests.conftest import OpenEngine
from tests.storage.test_rebuild import differences, rebuilt
from tests.support.alike import text as text_of
from tests.support.archive import document, large_body, revisions
from tests.support.scenarios import SMALL_LIMITS
from tests.support.thorough import thorough

START = datetime(2030, 1, 1, tzinfo=UTC)
WEEK = timedelta(days=8)
"""More than the grace period: a sweep gives up what was removed before."""

RANDOM_ID = "a number of the row, made anew"
ONLY_READS = "reads are counted in the catalogue alone"
ONLY_SWEEPS = "what sweeps have read and found is in the catalogue alone"
UNEQUAL = MappingProxyType(
    {
        "version": {"version_id": RANDOM_ID, "access_count": ONLY_READS, "last_accessed": ONLY_READS},
        "removed_version": {"version_id": RANDOM_ID, "access_count": ONLY_READS, "last_accessed": ONLY_READS},
        "segment": {
            "checked_at": ONLY_SWEEPS,
            "checked_bad": ONLY_SWEEPS,
            "suspect": ONLY_SWEEPS,
            "claimed_until": ONLY_SWEEPS,
            "codec_advice": "measured, and kept in the catalogue alone",
            "pins": "running backups, which a rebuild ends",
        },
        "object": {"object_id": RANDOM_ID + "; the order of the places of one content is compared"},
        "audit": {"audit_id": RANDOM_ID},
    }
)
"""The columns that cannot be equal when the old catalogue is lost."""

# What a library is said to be (name, description and so on) is told by the records of its versions: of those that were given up,
# and whose records have gone, a rebuild knows nothing. The documents here say nothing of the kind; tests/storage/test_rebuild.py
# compares it.
ONLY_THE_CATALOGUE = frozenset({"job", "schedule", "slot", "finding", "backup", "drill", "segment_change"})
"""Tables of what happened, and not of what is stored: they begin anew."""

NEEDED = text(
    "SELECT content_sha256 FROM version UNION SELECT content_sha256 FROM removed_version WHERE purged_at IS NULL"
    " UNION SELECT reference_sha256 FROM object WHERE reference_sha256 IS NOT NULL"
)
"""Of ``object`` the rows of these contents are compared. What nobody needs may be known to one of the catalogues and not to the
other: compress dropped its place, what compress wrote of it has gone, and the segment with the old one stays for others."""


def tables(engine: Engine) -> dict[str, list[str]]:
    """Return the rows of every table but the columns above, sorted; the places of one content are numbered in their order."""
    found = {}
    with engine.database.read() as connection:
        for name, table in SQLModel.metadata.tables.items():
            if name not in ONLY_THE_CATALOGUE:
                kept = [column for column in table.columns if column.name not in UNEQUAL.get(name, {})]
                rows = connection.execute(select(*kept).order_by(*table.primary_key)).all()
                found[name] = sorted(map(repr, rows if name != "object" else _places(rows, set(connection.scalars(NEEDED)))))
    return found


def _places(rows: Sequence[Any], needed: set[str]) -> list[Any]:
    """Number the places of each content that is needed in their order."""
    seen: dict[str, int] = {}
    numbered = []
    for row in (one for one in rows if one[0] in needed):
        seen[row[0]] = seen.get(row[0], 0) + 1
        numbered.append((seen[row[0]], *row))
    return numbered


def come_back(engine: Engine) -> Engine:
    """Lose the catalogue and make it anew: nothing but the named columns is other than before."""
    engine.tree.catch_up()
    before = tables(engine)
    result = rebuilt(engine)
    assert result.findings == ()
    again = Engine(engine.folder.root, engine.options).open()
    again.tree.catch_up()
    after = tables(again)
    found = differences(before, after)
    assert not found, "\n".join(found)
    receipt = again.verify()
    assert not receipt.damaged
    assert not receipt.findings
    return again


class Clock:
    """A clock that goes on by a minute each time that it is looked at, and by more when it is told."""

    def __init__(self) -> None:
        self.at = START

    def __call__(self) -> datetime:
        self.at += timedelta(minutes=1)
        return self.at


@pytest.fixture(autouse=True)
def clock(monkeypatch: pytest.MonkeyPatch) -> Clock:
    """Have stores tell the time from a clock of the test's own."""
    clock = Clock()

    class Told(datetime):
        @classmethod
        def now(cls, tz: tzinfo | None = None) -> datetime:  # type: ignore[override] # SQL knows no class of the test
            return clock().astimezone(tz)

    monkeypatch.setattr(store, "datetime", Told)
    return clock


@dataclass
class History:
    """What may happen to a data folder. Each step does something different with each random number."""

    engine: Engine
    clock: Clock
    random: Random = field(default_factory=Random)
    plans: list[str] = field(default_factory=list)

    @property
    def archive(self) -> Archive:
        return Archive(self.engine.folder, self.engine.database, self.clock)

    @property
    def actor(self) -> Actor:
        return Actor("person:ada", f"reason {self.random.randint(1, 9)}")

    def any_version(self) -> tuple[str, str]:
        one = self.random.choice(revisions(self.engine))
        return one.library_id, one.version

    def store(self) -> None:
        """A batch in one segment: alike, shared between libraries, now and then large, now and then known."""
        some = []
        for _ in range(self.random.randint(1, 5)):
            library, version = self.random.choice(["/a/b", "/c", "/d"]), f"{self.random.randint(1, 4)}.0"
            content = text_of(1, range(self.random.randint(0, 12)), words=300)
            if self.random.random() < 0.1:
                content = large_body(6000, seed=self.random.randint(1, 3))
            some.append(document(library, version, content, source=self.random.choice(["", "https://a.example"])))
        self.engine.store(some)

    def compress(self) -> None:
        Compress(self.engine.folder, self.engine.database, self.engine.tree, "latest", "gzip").run(self.clock())

    def clean_up(self) -> None:
        plan = make_plan(self.engine.database, parse_policies({"*": {"keep_last": self.random.randint(1, 2)}}), self.clock())
        self._apply(plan)

    def remove_revision(self) -> None:
        one = self.random.choice(revisions(self.engine))
        with self.engine.database.read() as connection:
            columns = table_of(Version).c
            wanted = (columns.library_id == one.library_id) & (columns.version == one.version)
            version_id = str(connection.scalar(select(columns.version_id).where(wanted, columns.revision == one.revision)))
        if len(revisions(self.engine)) > 1:
            self._apply(plan_removal(self.engine.database, one.library_id, {version_id}, "one of them"))

    def _apply(self, plan: Plan) -> None:
        if plan.going:
            Removal(self.engine.folder, self.engine.database).apply(plan, "schedule", self.clock())
            self.plans.append(plan.plan_id)

    def undo(self) -> None:
        with suppress(NotFound, IndexError):
            Removal(self.engine.folder, self.engine.database).undo(self.plans.pop(), "person:ada", self.clock())

    def sweep(self) -> None:
        self.clock.at += WEEK
        self.engine.tree.catch_up()
        Sweep(self.engine.folder, self.engine.database).run(self.clock())

    def roll_back(self) -> None:
        with suppress(InvalidRequest, NotFound):
            rollback(self.archive, *self.any_version(), self.actor)

    def follow(self) -> None:
        follow_newest(self.archive, self.any_version()[0], self.actor)

    def pin(self) -> None:
        pin(self.archive, *self.any_version(), self.actor)

    def unpin(self) -> None:
        unpin(self.archive, *self.any_version(), self.actor)

    def label(self) -> None:
        library, version = self.any_version()
        with suppress(NotFound):
            label(self.archive, library, "stable", self.random.choice([version, None]), self.actor)

    def rename(self) -> None:
        with suppress(InvalidRequest):
            rename(self.archive, self.any_version()[0], f"/renamed/{self.random.randint(1, 99)}", self.actor)

    def alias(self) -> None:
        with suppress(InvalidRequest):
            alias(self.archive, f"/also/{self.random.randint(1, 99)}", self.any_version()[0], self.actor)

    def erase(self) -> None:
        library, version = self.any_version()
        if len({one.library_id for one in revisions(self.engine)}) > 1:
            work = Erasure(self.archive, self.engine.tree, "latest", self.engine.options.limits, [])
            plan = work.plan(find_targets(self.engine.database, library, self.random.choice([version, None])))
            assert work.apply(plan, self.actor).proof.left == ()


STEPS: tuple[tuple[Callable[[History], None], int], ...] = (
    (History.store, 6),
    (History.compress, 3),
    (History.clean_up, 2),
    (History.remove_revision, 2),
    (History.undo, 1),
    (History.sweep, 3),
    (History.roll_back, 1),
    (History.follow, 1),
    (History.pin, 1),
    (History.unpin, 1),
    (History.label, 1),
    (History.rename, 1),
    (History.alias, 1),
)


SEEDS = range(1, 201) if thorough() else (24, 35)
"""Two that have found something."""


@pytest.mark.parametrize("seed", SEEDS)
def test_every_table_is_as_it_was_after_a_random_history(open_engine: OpenEngine, clock: Clock, seed: int) -> None:
    history = History(open_engine(tree="latest", limits=SMALL_LIMITS).create(), clock, Random(seed))
    history.store()
    steps, weights = zip(*STEPS, *([(History.erase, 2)] if thorough() else []), strict=True)
    for _ in range(20):
        history.random.choices(steps, weights)[0](history)
    for _ in range(2):
        come_back(history.engine).close()
        history.engine = Engine(history.engine.folder.root, history.engine.options).open()
        history.compress()
        history.sweep()
    history.engine.close()
