"""workers/pulse.py: how a process of the pool ends."""

from __future__ import annotations

import os
import time

import pytest
from celery.signals import worker_process_shutdown

from workers import pulse

LINGERS = 9


@pytest.mark.parametrize(
    ("exitcode", "running", "idle_s", "ends_with"), [(0, 0, 60, 0), (0, 0, 0, LINGERS), (0, 1, 60, LINGERS), (1, 0, 60, LINGERS)]
)
def test_a_process_that_has_nothing_left_to_tell_ends_at_once(exitcode: int, running: int, idle_s: float, ends_with: int) -> None:
    """What comes after this signal is the second in which the parent reads what became of the last task."""
    child = os.fork()
    if child == 0:
        try:
            pulse._work.update(running=running, ended_at_s=time.monotonic() - idle_s)
            worker_process_shutdown.send(sender=None, pid=os.getpid(), exitcode=exitcode)
        finally:
            os._exit(LINGERS)
    assert os.waitstatus_to_exitcode(os.waitpid(child, 0)[1]) == ends_with
