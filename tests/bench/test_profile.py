"""bench/profile.py: the command measures a real store, and its parts are the whole."""

from __future__ import annotations

from pathlib import Path

import pytest

from bench.material import write_small_documents
from bench.parts import PARTS
from bench.profile import Profile, print_profile, profile


@pytest.fixture(scope="module")
def found(memory: Path) -> Profile:
    """A profile of a few documents."""
    return profile(write_small_documents(memory / "bench" / "small", 40), memory / "bench")


def test_the_parts_are_all_there_and_together_what_one_thread_took(found: Profile) -> None:
    assert [part.what for part in found.parts] == list(PARTS)
    assert all(part.free_us <= part.us + 1 for part in found.parts)
    assert sum(part.us for part in found.parts) == pytest.approx(found.alone_us, rel=0.5)  # a busy machine, few documents


def test_what_costs_most_by_itself_costs_something_within_the_store(found: Profile) -> None:
    costs = {part.what: part.us for part in found.parts}
    assert all(costs[part] > 0 for part in PARTS)
    assert all(cost > 0 for cost in found.floor.values())
    assert found.syncs > 0


def test_what_is_printed_names_every_part_and_says_what_it_means(found: Profile, capsys: pytest.CaptureFixture[str]) -> None:
    print_profile(found)
    printed = capsys.readouterr().out
    assert all(part in printed for part in PARTS)
    assert "Ten times the blueprint's rate leaves" in printed
