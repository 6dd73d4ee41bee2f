"""How far a search goes: a sample in ``make test``, which has minutes for all of them; everything and much longer with
``pytest --hypothesis-profile=thorough`` (see CONTRIBUTING.md)."""

from __future__ import annotations

from collections.abc import Sequence

import hypothesis
from hypothesis.stateful import RuleBasedStateMachine, run_state_machine_as_test


def thorough() -> bool:
    """Return whether this run has time."""
    return hypothesis.settings().max_examples > 100


def crash_places(steps: Sequence[str]) -> list[int]:
    """Return the numbers (from 1) of the durable steps to crash at: each, or of each name the last, and the first of all.

    One name is one line of the program; its last run has the most behind it.
    """
    if thorough():
        return list(range(1, len(steps) + 1))
    return sorted({1, *{name: number for number, name in enumerate(steps, 1)}.values()})


def stride(usual: int) -> int:
    """Return how many calls further the next one is to fail."""
    return 1 if thorough() else usual


def walk(machine: type[RuleBasedStateMachine], examples: int, steps: int) -> None:
    """Walk through a state machine: that often and that far, or as the profile says."""
    usual = hypothesis.settings(max_examples=examples, stateful_step_count=steps)
    run_state_machine_as_test(machine, settings=None if thorough() else usual)  # type: ignore[no-untyped-call]  # untyped there
