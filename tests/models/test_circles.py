"""models/circles.py: a content that refers to itself in the end is read by another of its places, if it has one."""

from __future__ import annotations

from hypothesis import given
from hypothesis import strategies as st

from models.circles import ways_out, without_end

MOST = 3


def test_what_ends_is_left_as_it_is() -> None:
    ways = {"a": ["b", None], "b": ["a"], "c": ["b"], "d": ["gone"]}
    assert without_end(ways, MOST) == set()
    assert ways_out(ways, MOST) == {}


def test_one_of_a_circle_is_read_by_the_place_that_refers_to_nothing() -> None:
    ways = {"a": [None, "b"], "b": ["a"], "c": ["b"]}
    assert without_end(ways, MOST) == {"a", "b", "c"}
    assert ways_out(ways, MOST) == {"a": 0}


def test_a_circle_of_referring_places_alone_is_broken_where_another_reference_leads_out() -> None:
    assert ways_out({"a": ["out", "b"], "b": ["a"], "out": [None]}, MOST) == {"a": 0}


def test_what_has_no_way_out_stays() -> None:
    assert ways_out({"a": ["b"], "b": ["a"]}, MOST) == {}


def test_a_chain_that_is_too_long_gets_shorter_where_it_can() -> None:
    ways = {"a": ["b"], "b": [None, "c"], "c": ["d"], "d": ["e"], "e": ["f"]}
    assert without_end(ways, MOST) == {"a", "b"}
    assert ways_out(ways, MOST) == {"b": 0}


@given(st.dictionaries(st.integers(0, 7), st.lists(st.none() | st.integers(0, 9), min_size=1, max_size=3)))
def test_whatever_refers_to_what_all_that_can_be_read_is_read(numbers: dict[int, list[int | None]]) -> None:
    ways = {str(name): [None if one is None else str(one) for one in among] for name, among in numbers.items()}
    readable: set[str] = set()
    while more := {name for name, among in ways.items() if any(one not in ways or one in readable for one in among)} - readable:
        readable |= more
    out = ways_out(ways, 99)
    chosen = {name: [*among, among[out.get(name, -1)]] for name, among in ways.items()}
    assert without_end(chosen, 99) == ways.keys() - readable
