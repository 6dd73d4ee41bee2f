"""Any sequence of stores, crashes, restarts and tree catch-ups leaves what a dict would hold.

The thorough search: pytest --hypothesis-profile=thorough tests/storage/test_engine_states.py
"""

from __future__ import annotations

import hashlib
import shutil
import tempfile
from collections.abc import Sequence
from pathlib import Path
from typing import ClassVar

import hypothesis
import pytest
from hypothesis import strategies
from hypothesis.stateful import RuleBasedStateMachine, invariant, precondition, rule

from storage.engine import Engine
from storage.ordering import order_of
from strongroom.contracts import DocumentReceipt
from tests.support.archive import body, check_promises, document, large_body, revisions
from tests.support.crash import Crash, observed, steps_of
from tests.support.scenarios import OPTIONS
from tests.support.thorough import walk

LIBRARIES = ("/a/b", "/a_b", "/x/文档", "/Vercel/Next.js")
VERSIONS = ("1.0", "1.10", "v1.9", "2.0rc1", "live-tree", "..x/y")
CONTENTS = [body(n=number) for number in range(6)] + [large_body(9_000, seed=1), large_body(9_000, seed=2)]

Wanted = tuple[str, str, int, str]
"""Library, version, number of the content, what to do when the version has another."""
wanted = strategies.tuples(
    strategies.sampled_from(LIBRARIES),
    strategies.sampled_from(VERSIONS),
    strategies.integers(0, len(CONTENTS) - 1),
    strategies.sampled_from(("revise", "revise", "refuse")),
)
batches = strategies.lists(wanted, min_size=1, max_size=4)


class EngineStates(RuleBasedStateMachine):
    """The model: for each version its contents, oldest revision first."""

    fresh: ClassVar[Path]
    scratch: ClassVar[Path]

    def __init__(self) -> None:
        super().__init__()
        self.folder = Path(tempfile.mkdtemp(dir=self.scratch))
        self.root = Path(shutil.copytree(self.fresh, self.folder / "data"))
        self.engine = Engine(self.root, OPTIONS).open()
        self.model: dict[tuple[str, str], list[int]] = {}

    def teardown(self) -> None:
        self.engine.close()
        shutil.rmtree(self.folder)

    def _store(self, batch: Sequence[Wanted]) -> list[DocumentReceipt]:
        return self.engine.store(
            [document(library, version, CONTENTS[content], if_exists=rule) for library, version, content, rule in batch]
        )

    def _expect(self, batch: Sequence[Wanted]) -> list[tuple[str, int | None]]:
        """Store a batch in the model; return what each document's receipt says."""
        expected: list[tuple[str, int | None]] = []
        repeated = self._repeated(batch)
        for library, version, content, on_conflict in batch:
            history = self.model.setdefault((library, version), [])
            if (library, version) in repeated:
                expected.append(("unchanged", None))
            elif history and history[-1] == content:
                expected.append(("unchanged", len(history)))
            elif history and on_conflict == "refuse":
                expected.append(("failed", None))
            else:
                history.append(content)
                expected.append(("stored", len(history)))
        return expected

    def _repeated(self, batch: Sequence[Wanted]) -> set[tuple[str, str]]:
        """Versions that the batch names twice and whose last revisions are just these: it was stored before."""
        named: dict[tuple[str, str], list[int]] = {}
        careful = {(library, version) for library, version, _, on_conflict in batch if on_conflict == "refuse"}
        for library, version, content, _ in batch:
            contents = named.setdefault((library, version), [])
            if contents[-1:] != [content]:
                contents.append(content)
        found = {key for key, contents in named.items() if self.model.get(key, [])[-len(contents) :] == contents}
        return {key for key in found if len(named[key]) > 1 and key not in careful}

    @rule(batch=batches)
    def store(self, batch: list[Wanted]) -> None:
        hypothesis.assume(not self._is_unclear(batch))
        expected = self._expect(batch)
        receipts = self._store(batch)
        for (status, revision), receipt in zip(expected, receipts, strict=True):
            assert receipt.status == status, (batch, receipts)
            assert revision is None or receipt.revision == revision
            if status == "failed":
                assert receipt.error is not None
                assert receipt.error.code == "version_exists"

    def _is_unclear(self, batch: Sequence[Wanted]) -> bool:
        """One version twice, with care: what is refused then depends on what was checked first. Tested by hand."""
        names = [(library, version) for library, version, _, _ in batch]
        return any(names.count(key) > 1 for key in names) and any(on_conflict == "refuse" for *_, on_conflict in batch)

    @rule(batch=batches, at=strategies.integers(1, 40), again=strategies.booleans())
    def crash_while_storing(self, batch: list[Wanted], at: int, again: bool) -> None:
        hypothesis.assume(not self._is_unclear(batch))
        seen: list[str] = []

        def observe(name: str) -> None:
            seen.append(name)
            if len(seen) == at:
                raise Crash(name)

        try:
            with observed(observe):
                self._store(batch)
        except Crash:
            pass
        else:
            assert len(seen) < at, "a crash was swallowed"
        if "catalogue: committed" in seen:
            self._expect(batch)
        self.restart()
        if again:
            self._again(batch)

    def _again(self, batch: Sequence[Wanted]) -> None:
        self._expect(batch)
        self._store(batch)

    @rule(batch=batches)
    def crash_at_every_step_of_showing(self, batch: list[Wanted]) -> None:
        hypothesis.assume(not self._is_unclear(batch))
        self._again(batch)
        for at in range(1, 4):

            def observe(name: str, left: list[int] = [at]) -> None:  # noqa: B006 - counts down, once a loop
                left[0] -= 1
                if left[0] == 0:
                    raise Crash(name)

            try:
                with observed(observe):
                    self.engine.tree.catch_up()
            except Crash:
                self.restart()

    @rule()
    def restart(self) -> None:
        self.engine.close()
        self.engine = Engine(self.root, OPTIONS).open()

    @rule()
    def catch_up(self) -> None:
        self.engine.tree.catch_up()
        assert self.engine.tree.lag() == 0
        for one in self.engine.versions():
            assert (self.engine.folder.root / one.file_path).exists()

    @precondition(lambda self: self.model)
    @rule()
    def verify(self) -> None:
        check_promises(self.engine)

    @invariant()
    def what_is_read_is_what_the_model_holds(self) -> None:
        stored = {key: history for key, history in self.model.items() if history}
        found: dict[tuple[str, str], list[str]] = {}
        for one in sorted(revisions(self.engine), key=lambda one: one.revision):
            found.setdefault((one.library_id, one.version), []).append(one.place.content_sha256)
        assert found == {
            key: [hashlib.sha256(CONTENTS[number]).hexdigest() for number in history] for key, history in stored.items()
        }
        for (library, version), history in stored.items():
            assert self.engine.read(library, version) == CONTENTS[history[-1]]
            assert b"".join(self.engine.stream(library, version)) == CONTENTS[history[-1]]

    @invariant()
    def the_latest_is_the_newest_release(self) -> None:
        for library in {library for (library, _), history in self.model.items() if history}:
            versions = [version for (name, version), history in self.model.items() if name == library and history]
            latest = self.engine.find(library).version
            assert order_of(latest) == max(order_of(version) for version in versions)
            assert [one.version for one in self.engine.versions(library) if one.latest] == [latest]

    @invariant()
    def identical_content_is_stored_once(self) -> None:
        with self.engine.database.read() as connection:
            twice = connection.exec_driver_sql("SELECT count(*) - count(DISTINCT content_sha256) FROM object").scalar_one()
        assert twice == 0


@pytest.fixture
def machine(fresh_folder: Path, scratch: Path) -> type[EngineStates]:
    return type("EngineStates", (EngineStates,), {"fresh": fresh_folder, "scratch": scratch})


def test_no_sequence_of_stores_crashes_and_restarts_tells_the_engine_from_a_dict(machine: type[EngineStates]) -> None:
    walk(machine, 6, 15)


def test_the_machine_would_notice_a_lost_document(machine: type[EngineStates]) -> None:
    run = machine()
    try:
        run._again([("/a/b", "1.0", 1, "revise")])
        run.what_is_read_is_what_the_model_holds()
        with run.engine.database.write() as connection:
            connection.exec_driver_sql("DELETE FROM version")
        with pytest.raises(AssertionError):
            run.what_is_read_is_what_the_model_holds()
    finally:
        run.teardown()


def test_a_store_takes_no_more_steps_than_the_machine_may_crash_at(engine: Engine) -> None:
    wide = [document(library, "1.0", content) for library, content in zip(LIBRARIES, CONTENTS[-4:], strict=True)]
    assert 8 < len(steps_of(lambda: engine.store(wide))) <= 40
