"""A crash at every durable step of every kind of store."""

from __future__ import annotations

import shutil
from collections.abc import Callable
from pathlib import Path

import pytest

from storage.engine import Engine
from strongroom import durable
from tests.support.archive import check_promises, shown, unfinished, view
from tests.support.crash import crash_at, die_at, in_child, observed, steps_of
from tests.support.scenarios import OPTIONS, SCENARIOS, Scenario
from tests.support.thorough import crash_places

Every = pytest.mark.parametrize("scenario", SCENARIOS, ids=lambda one: one.name)


class Rehearsal:
    """A scenario that has been run once without an accident: what was there before, what was there after, by which steps."""

    def __init__(self, scenario: Scenario, fresh: Path, scratch: Path) -> None:
        self.scenario = scenario
        self.prepared = scratch / "prepared"
        self._scratch = scratch
        shutil.copytree(fresh, self.prepared)
        with Engine(self.prepared, OPTIONS).open() as engine:
            scenario.prepare(engine)
            self.before = view(engine)
        with Engine(self.copy(), OPTIONS).open() as engine:
            self.steps = steps_of(lambda: scenario.run(engine))
            engine.tree.catch_up()
            check_promises(engine)
            self.after, self.tree = view(engine), shown(engine)

    def copy(self) -> Path:
        """Return a data folder in which the scenario has yet to run."""
        shutil.rmtree(self._scratch / "data", ignore_errors=True)
        return Path(shutil.copytree(self.prepared, self._scratch / "data", symlinks=True, copy_function=shutil.copy2))

    def survives(self, number: int, accident: Callable[[Path], object]) -> None:
        """Check that an accident at a step breaks no promise, and that the rerun comes to the same end as without one."""
        root = self.copy()
        accident(root)
        with Engine(root, OPTIONS).open() as engine:
            found = view(engine)
            assert found in (self.before, self.after), f"neither all nor nothing of the batch at step {self.steps[number - 1]}"
            if "catalogue: committed" in self.steps[:number]:
                assert found == self.after, "what was committed is lost"
            if not self.scenario.damage:
                check_promises(engine)
            self.scenario.run(engine)
            engine.tree.catch_up()
            assert (view(engine), shown(engine)) == (self.after, self.tree)
            check_promises(engine)


@pytest.fixture
def rehearse(fresh_folder: Path, scratch: Path) -> Callable[[Scenario], Rehearsal]:
    return lambda scenario: Rehearsal(scenario, fresh_folder, scratch)


@Every
def test_a_crash_anywhere_breaks_no_promise_and_the_rerun_heals(
    scenario: Scenario, rehearse: Callable[[Scenario], Rehearsal]
) -> None:
    rehearsal = rehearse(scenario)

    def accident(root: Path) -> None:
        engine = Engine(root, OPTIONS).open()
        with crash_at(number):
            scenario.run(engine)
        engine.close()

    for number in crash_places(rehearsal.steps):
        rehearsal.survives(number, accident)


@pytest.mark.parametrize("scenario", [SCENARIOS[1], SCENARIOS[4]], ids=lambda one: one.name)
def test_the_end_of_the_process_anywhere_breaks_no_promise(scenario: Scenario, rehearse: Callable[[Scenario], Rehearsal]) -> None:
    rehearsal = rehearse(scenario)

    def accident(root: Path) -> None:
        die_at(number, lambda: scenario.run(Engine(root, OPTIONS).open()))

    for number in crash_places(rehearsal.steps):
        rehearsal.survives(number, accident)


def test_every_kind_of_durable_step_is_crashed_at(rehearse: Callable[[Scenario], Rehearsal]) -> None:
    seen = {step for scenario in (SCENARIOS[4], SCENARIOS[5]) for step in _steps(rehearse, scenario)}
    expected = {"segment: flush", "segment: fsync", "segment: rename", "segment: fsync folder", "index: fsync", "index: link"}
    expected |= {"journal: write", "journal: fsync", "catalogue: commit", "catalogue: committed", "generation: rename"}
    assert expected <= seen


def _steps(rehearse: Callable[[Scenario], Rehearsal], scenario: Scenario) -> list[str]:
    rehearsal = rehearse(scenario)
    shutil.rmtree(rehearsal.prepared)
    return rehearsal.steps


def test_a_folder_whose_making_was_cut_short_anywhere_is_completed(scratch: Path) -> None:
    steps = steps_of(lambda: Engine(scratch / "whole").create().close())
    assert len(steps) > 20
    for number in crash_places(steps):
        root = scratch / str(number) / "data"
        die_at(number, lambda root=root: Engine(root).create())  # type: ignore[misc]
        with Engine(root).create() as engine:
            check_promises(engine)


def test_the_injector_notices_a_crash_that_does_not_come(scratch: Path) -> None:
    with pytest.raises(AssertionError, match="did not come"), crash_at("no such step"):
        durable.step("another step")
    with pytest.raises(AssertionError, match="did not come"):
        die_at(2, lambda: durable.step("the only step"))
    assert in_child(lambda: durable.step("no observer")) == 0


def test_nothing_swallows_a_crash(engine: Engine) -> None:
    scenario = SCENARIOS[0]
    with crash_at("catalogue: commit"):
        scenario.run(engine)
    assert not engine.versions()
    assert not unfinished(engine)


def test_an_observer_is_gone_after_its_block() -> None:
    with observed(lambda _name: None):
        assert durable.step.observer is not None
    assert durable.step.observer is None
