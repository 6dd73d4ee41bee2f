"""Long walks of the state machines: stores, crashes at any step, cleanups, undos, sweeps, compressions, clocks that jump."""

from __future__ import annotations

import os
import traceback
from pathlib import Path
from typing import Any

import hypothesis
from hypothesis.stateful import RuleBasedStateMachine, invariant, run_state_machine_as_test

from faults.rows import Row
from faults.service import scratch
from faults.sizes import Sizes
from faults.tell import Tell
from storage.engine import Engine
from tests.storage.test_engine_states import EngineStates
from tests.storage.test_removal_states import RemovalStates
from tests.support.compiled import share_compiled_statements

MACHINES: tuple[type[RuleBasedStateMachine], ...] = (EngineStates, RemovalStates)
_LONG, _SHORT = 50, 20
"""Steps of one history."""
_HISTORIES = 40
"""Histories of one machine before it is the other one's turn."""
_FAST = Path("/dev/shm")  # noqa: S108 - a folder of our own below it; each step syncs files, and no power fails here


def run(sizes: Sizes, seed: int, tell: Tell) -> list[Row]:
    """Walk until so many steps are done, or one of them breaks a promise; a broken one is told with the shortest way to it."""
    share_compiled_statements()
    walked = dict.fromkeys((machine.__name__ for machine in MACHINES), 0)
    length = _LONG if sizes.steps > _LONG * _HISTORIES else _SHORT
    broken = ""
    with scratch(keep=sizes.keep, parent=_FAST if os.access(_FAST, os.W_OK) else None) as folder:
        with Engine(folder / "fresh").create():
            pass
        turn = 0
        while not broken and sum(walked.values()) < sizes.steps:
            machine = MACHINES[turn % len(MACHINES)]
            left = sizes.steps - sum(walked.values())
            histories = min(_HISTORIES, -(-sizes.steps // (2 * length * len(MACHINES))), -(-left // length))
            broken, steps = _walk(machine, folder, histories, length, seed * 1_000_003 + turn)
            walked[machine.__name__] += steps
            turn += 1
            tell(f"{sum(walked.values()):,} of {sizes.steps:,} steps")
        if broken:
            tell(broken)
    told = ", ".join(f"{name} {steps:,}" for name, steps in walked.items())
    done = sum(walked.values())
    return [
        Row("steps of the state machines", f"{sizes.steps:,}, no promise broken", told, met=done >= sizes.steps and not broken)
    ]


def _walk(machine: type[RuleBasedStateMachine], folder: Path, histories: int, length: int, seed: int) -> tuple[str, int]:
    """Return what broke, if anything did, and how many steps were walked."""
    steps = [0]

    def count(walker: RuleBasedStateMachine) -> None:
        steps[0] += hasattr(walker, "walked")  # the first look comes before the first step
        walker.walked = True  # type: ignore[attr-defined]  # a mark of ours

    members: dict[str, Any] = {"fresh": folder / "fresh", "scratch": folder, "count": invariant()(count)}
    counted: Any = hypothesis.seed(seed)(type(machine.__name__, (machine,), members))
    settings = hypothesis.settings(
        max_examples=histories,
        stateful_step_count=length,
        deadline=None,
        database=None,
        suppress_health_check=list(hypothesis.HealthCheck),
        phases=(hypothesis.Phase.generate, hypothesis.Phase.shrink),
    )
    try:
        run_state_machine_as_test(counted, settings=settings)
    except Exception:  # noqa: BLE001 - whatever breaks is what was looked for
        return traceback.format_exc(), steps[0]
    return "", steps[0]
