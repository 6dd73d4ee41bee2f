"""No sequence of stores, cleanups, undos, sweeps, compressions, crashes and jumping clocks makes a committed version unreadable.

The thorough search: pytest --hypothesis-profile=thorough tests/storage/test_removal_states.py
"""

from __future__ import annotations

import hashlib
import shutil
import tempfile
from collections.abc import Callable
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any, ClassVar

import hypothesis
import pytest
from hypothesis import strategies
from hypothesis.stateful import RuleBasedStateMachine, invariant, rule

from models.removal import restorable
from storage.cleanup import Plan, make_plan
from storage.compress import Compress
from storage.engine import Engine
from storage.events import Removed, Restored, read_events
from storage.index import VersionRecord, read_index
from storage.policies import parse_policies
from storage.read import read_content
from storage.removal import Removal
from storage.sweep import Sweep, Swept
from strongroom.errors import NotFound
from tests.support.alike import text
from tests.support.archive import body, check_promises, document, large_body, revisions
from tests.support.crash import Crash, observed
from tests.support.scenarios import OPTIONS
from tests.support.thorough import walk

LIBRARIES = ("/a/b", "/x/文档")
VERSIONS = ("1.0", "1.1", "2.0rc1", "2.0")
CONTENTS = [body(n=number) for number in range(5)] + [large_body(3_000, seed=number) for number in range(3)]
CONTENTS += [text(1, changes, words=400) for changes in ((), (7,), (7, 200))]  # one refers to the other when compressed
POLICIES = [
    parse_policies({"*": rules}) for rules in ({"keep_last": 1}, {"keep_last": 2, "keep_revisions": 1}, {"max_size": 900})
]
GRACE = timedelta(hours=5)

Revision = tuple[str, str, int, str]
"""Library, version, number, digest of the content."""
documents = strategies.lists(
    strategies.tuples(
        strategies.sampled_from(LIBRARIES), strategies.sampled_from(VERSIONS), strategies.integers(0, len(CONTENTS) - 1)
    ),
    min_size=1,
    max_size=5,
    unique_by=lambda wanted: wanted[:2],
)
crash_steps = strategies.none() | strategies.integers(1, 30)


class RemovalStates(RuleBasedStateMachine):
    """The model: which revisions there are, and which each plan removed that can still be brought back."""

    fresh: ClassVar[Path]
    scratch: ClassVar[Path]

    def __init__(self) -> None:
        super().__init__()
        self.folder = Path(tempfile.mkdtemp(dir=self.scratch))
        self.root = Path(shutil.copytree(self.fresh, self.folder / "data"))
        self.engine = Engine(self.root, OPTIONS).open()
        self.ahead = timedelta()
        self.model: set[Revision] = set()
        self.plans: dict[str, tuple[set[Revision], datetime]] = {}
        self.numbers: dict[tuple[str, str], int] = {}

    def teardown(self) -> None:
        self.engine.close()
        shutil.rmtree(self.folder)

    def now(self) -> datetime:
        return datetime.now(UTC) + self.ahead

    def found(self) -> set[Revision]:
        return {(one.library_id, one.version, one.revision, one.place.content_sha256) for one in revisions(self.engine)}

    def _do(self, work: Callable[[], Any], crash_at: int | None, expected: set[Revision]) -> bool:
        """Do something, crashing at a step or not; return whether it was done, all of it. It may be half done in no case."""
        seen: list[str] = []

        def observe(name: str) -> None:
            seen.append(name)
            if len(seen) == crash_at:
                raise Crash(name)

        before = self.found()
        assert before == self.model
        try:
            with observed(observe):
                work()
        except Crash:
            self.restart()
            after = self.found()
            assert after in (before, expected), seen
            self.model = after
            return after == expected
        assert self.found() == expected, seen
        self.model = expected
        return True

    @rule(wanted=documents, crash_at=crash_steps)
    def store(self, wanted: list[tuple[str, str, int]], crash_at: int | None) -> None:
        expected = set(self.model)
        numbers = dict(self.numbers)
        for library, version, content in wanted:
            mine = sorted(one[2:] for one in self.model if one[:2] == (library, version))
            digest = hashlib.sha256(CONTENTS[content]).hexdigest()
            if not mine or mine[-1][1] != digest:
                numbers[library, version] = numbers.get((library, version), 0) + 1
                expected.add((library, version, numbers[library, version], digest))
        batch = [document(library, version, CONTENTS[content]) for library, version, content in wanted]
        if self._do(lambda: self.engine.store(batch), crash_at, expected):
            self.numbers = numbers

    def _gone(self, plan: Plan) -> set[Revision]:
        gone = {(one.library_id, one.version, old.number) for one in plan.verdicts() for old in one.revisions}
        return {one for one in self.model if one[:3] in gone}

    @rule(policies=strategies.sampled_from(POLICIES), crash_at=crash_steps)
    def clean(self, policies: Any, crash_at: int | None) -> None:
        now = self.now()
        plan = make_plan(self.engine.database, policies, now)
        gone = self._gone(plan)
        removal = Removal(self.engine.folder, self.engine.database)
        if self._do(lambda: removal.apply(plan, "schedule", now), crash_at, self.model - gone) and gone:
            kept = self.plans.get(plan.plan_id, (set(), now))[0]
            self.plans[plan.plan_id] = (kept | gone, now)

    @rule(data=strategies.data(), crash_at=crash_steps)
    def undo(self, data: Any, crash_at: int | None) -> None:
        hypothesis.assume(self.plans)
        plan_id = data.draw(strategies.sampled_from(sorted(self.plans)))
        removal = Removal(self.engine.folder, self.engine.database)
        expected = self.model | self.plans[plan_id][0]
        if self._do(lambda: removal.undo(plan_id, "person:ann", self.now()), crash_at, expected):
            del self.plans[plan_id]
            with pytest.raises(NotFound):
                removal.undo(plan_id, "person:ann", self.now())

    @rule(hours=strategies.sampled_from((0, 2, 7, 30, 200)), crash_at=crash_steps, shown=strategies.booleans())
    def sweep(self, hours: int, crash_at: int | None, shown: bool) -> None:
        self.ahead += timedelta(hours=hours)
        if shown:
            self.engine.tree.catch_up()
        now = self.now()
        swept: list[Swept] = []
        self._do(lambda: swept.append(Sweep(self.engine.folder, self.engine.database, GRACE).run(now)), crash_at, self.model)
        for plan_id, (removed, at) in list(self.plans.items()):
            with self.engine.database.read() as connection:
                names = {(one.library_id, one.version, one.revision) for one in restorable(connection, plan_id)}
            left = {one for one in removed if one[:3] in names}  # what the tree still shows stays a little longer
            assert left == removed or now - at > GRACE - timedelta(seconds=5), "given up before its time"
            self.plans[plan_id] = (left, at)
            if not left:
                del self.plans[plan_id]

    @rule(crash_at=crash_steps)
    def compress(self, crash_at: int | None) -> None:
        engine = self.engine
        work = Compress(engine.folder, engine.database, engine.tree, engine.options.tree, "gzip")
        self._do(lambda: work.run(self.now()), crash_at, self.model)

    @rule()
    def restart(self) -> None:
        self.engine.close()
        self.engine = Engine(self.root, OPTIONS).open()

    @rule()
    def verify(self) -> None:
        self.engine.tree.catch_up()
        check_promises(self.engine)

    @invariant()
    def every_committed_version_is_there_and_readable(self) -> None:
        found = revisions(self.engine)
        assert {(one.library_id, one.version, one.revision, one.place.content_sha256) for one in found} == self.model
        for one in found:
            assert hashlib.sha256(read_content(self.engine.folder, one.place)).hexdigest() == one.place.content_sha256
        names = {(one.library_id, one.version) for one in found}
        assert {(one.library_id, one.version) for one in found if one.current} == names
        newest = {name: max(one.revision for one in found if (one.library_id, one.version) == name) for name in names}
        assert all(one.current == (one.revision == newest[one.library_id, one.version]) for one in found)

    @invariant()
    def the_disk_alone_tells_of_every_version(self) -> None:
        told = set()
        for path in self.engine.folder.segments.glob("??/*.index"):
            told |= {(one.library_id, one.version, one.stored_at) for one in read_index(path).versions}
        removed: dict[tuple[str, str, datetime], bool] = {}
        for event in read_events(self.engine.folder.journal):
            if isinstance(event, VersionRecord):
                told.add((event.library_id, event.version, event.stored_at))
            if isinstance(event, Removed | Restored):
                removed[event.library_id, event.version, event.stored_at] = isinstance(event, Removed)
        stored = {(one.library_id, one.version, one.created_at) for one in revisions(self.engine)}
        assert stored <= told
        if not (self.engine.folder.metadata / "removal.pending").exists():
            assert not {key for key, gone in removed.items() if gone} & stored


@pytest.fixture
def machine(fresh_folder: Path, scratch: Path) -> type[RemovalStates]:
    return type("RemovalStates", (RemovalStates,), {"fresh": fresh_folder, "scratch": scratch})


def test_no_sequence_makes_a_committed_version_unreadable(machine: type[RemovalStates]) -> None:
    walk(machine, 8, 15)


def test_the_machine_would_notice_a_file_that_went_too_early(machine: type[RemovalStates]) -> None:
    run = machine()
    try:
        run.store([("/a/b", "1.0", 1)], None)
        run.every_committed_version_is_there_and_readable()
        for path in run.engine.folder.segments.glob("??/*"):
            path.unlink()
        with pytest.raises(Exception, match="missing"):
            run.every_committed_version_is_there_and_readable()
    finally:
        run.teardown()
