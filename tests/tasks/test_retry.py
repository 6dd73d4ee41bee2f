from __future__ import annotations

from datetime import timedelta

import pytest

from strongroom.errors import CatalogueBusy, DiskFull, IntegrityError, StorageError, TransientIO
from tasks.retry import delay_before, in_process


@pytest.mark.parametrize("attempt", [1, 2, 3, 6, 50])
def test_delays_grow_with_each_attempt_to_a_minute_at_most_and_differ(attempt: int) -> None:
    delays = {delay_before(attempt) for _ in range(50)}
    assert len(delays) > 1
    assert timedelta(0) <= min(delays)
    assert max(delays) <= timedelta(seconds=min(60, 2 ** (attempt - 1)))


@pytest.mark.parametrize("error", [CatalogueBusy("locked"), TransientIO("stumbled")])
def test_what_a_moment_heals_is_tried_three_times(error: StorageError) -> None:
    calls: list[int] = []

    def call() -> None:
        calls.append(1)
        raise error

    with pytest.raises(type(error)):
        in_process(call)
    assert len(calls) == 3


@pytest.mark.parametrize("error", [DiskFull("full"), IntegrityError("damaged"), StorageError("odd"), ValueError("a bug")])
def test_what_a_moment_cannot_heal_is_raised_at_once(error: Exception) -> None:
    calls: list[int] = []

    def call() -> None:
        calls.append(1)
        raise error

    with pytest.raises(type(error)):
        in_process(call)
    assert len(calls) == 1


def test_the_first_success_is_the_answer() -> None:
    answers = iter([CatalogueBusy("locked"), 7])

    def call() -> int:
        answer = next(answers)
        if isinstance(answer, Exception):
            raise answer
        assert isinstance(answer, int)
        return answer

    assert in_process(call) == 7
