"""Back-off: the one place that uses tenacity. In process for moments, between deliveries for minutes; never both on one error."""

from __future__ import annotations

from collections.abc import Callable
from datetime import timedelta
from typing import TypeVar

import tenacity

from strongroom.errors import CatalogueBusy, TransientIO

T = TypeVar("T")

_BETWEEN_DELIVERIES = tenacity.wait_random_exponential(multiplier=1, min=0, max=60)
_PASSES_AT_ONCE = (CatalogueBusy, TransientIO)


def in_process(call: Callable[[], T]) -> T:
    """Run ``call``; try twice more within a second or two when the catalogue is busy or the disk stumbled.

    Raises:
        StorageError: the last error, and at once any other that waiting a moment cannot heal.
    """
    retrying = tenacity.Retrying(
        retry=tenacity.retry_if_exception_type(_PASSES_AT_ONCE),
        wait=tenacity.wait_random_exponential(multiplier=0.1, max=1),
        stop=tenacity.stop_after_attempt(3),
        reraise=True,
    )
    return retrying(call)


def delay_before(attempt: int) -> timedelta:
    """Return how long to wait before a job's next delivery: exponential with full jitter, at most a minute.

    Source: M. Brooker, Exponential Backoff And Jitter, AWS Architecture Blog, 2015.
    """
    state = tenacity.RetryCallState(tenacity.Retrying(), None, (), {})
    state.attempt_number = attempt
    return timedelta(seconds=_BETWEEN_DELIVERIES(state))
