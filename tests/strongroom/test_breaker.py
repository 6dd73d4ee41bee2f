"""The breaker: a dead broker costs a fifth of a producer's time at worst, and one that is back is found."""

from __future__ import annotations

import pytest

from strongroom.breaker import LONGEST_REST_S, Breaker
from strongroom.errors import BrokerUnavailable


class World:
    """A clock, and a broker that takes its time to fail."""

    def __init__(self) -> None:
        self.now, self.tries, self.takes_s, self.up = 0.0, 0, 1.0, False

    def clock(self) -> float:
        return self.now

    def work(self) -> str:
        self.tries += 1
        self.now += self.takes_s
        if not self.up:
            raise BrokerUnavailable("down", "start it", {"delivery": "unknown"})
        return "done"


@pytest.fixture
def world() -> World:
    return World()


@pytest.fixture
def breaker(world: World) -> Breaker:
    return Breaker(world.clock)


def fails(breaker: Breaker, world: World, *, anyway: bool = False) -> BrokerUnavailable:
    with pytest.raises(BrokerUnavailable) as caught:
        breaker.call(world.work, anyway=anyway)
    return caught.value


def test_while_it_rests_the_broker_is_not_asked_and_the_answer_says_why(breaker: Breaker, world: World) -> None:
    assert fails(breaker, world).context["delivery"] == "unknown"
    again = fails(breaker, world)
    assert (again.message, again.hint, again.context) == ("down", "start it", {"delivery": "none"})
    assert world.tries == 1
    world.now = 1 + 3.9
    fails(breaker, world)
    assert world.tries == 1
    world.now = 1 + 4
    fails(breaker, world)
    assert world.tries == 2


def test_a_broker_that_is_back_is_used_again_without_a_rest(breaker: Breaker, world: World) -> None:
    fails(breaker, world)
    world.now, world.up = 10.0, True
    assert [breaker.call(world.work) for _ in range(3)] == ["done"] * 3


def test_who_asks_anyway_is_not_held_back_and_what_it_finds_counts_for_all(breaker: Breaker, world: World) -> None:
    fails(breaker, world)
    fails(breaker, world, anyway=True)
    assert world.tries == 2
    world.up = True
    assert breaker.call(world.work, anyway=True) == "done"
    assert breaker.call(world.work) == "done"


@pytest.mark.parametrize(("takes_s", "rest_s"), [(0.001, 0.004), (0.3, 1.2), (60, LONGEST_REST_S)])
def test_the_rest_is_as_long_as_the_try_was_dear(breaker: Breaker, world: World, takes_s: float, rest_s: float) -> None:
    world.takes_s = takes_s
    fails(breaker, world)
    world.now = takes_s + rest_s * 0.99
    fails(breaker, world)
    assert world.tries == 1
    world.now = takes_s + rest_s * 1.01
    fails(breaker, world)
    assert world.tries == 2


def test_an_error_of_another_kind_is_no_reason_to_rest(breaker: Breaker, world: World) -> None:
    with pytest.raises(ZeroDivisionError):
        breaker.call(lambda: 1 // 0)
    world.up = True
    assert breaker.call(world.work) == "done"
