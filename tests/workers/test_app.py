"""workers/app.py: what the application does when its worker's processes begin and end."""

from __future__ import annotations

import os
from pathlib import Path

import pytest
from celery import signals

from config.settings import Settings
from workers.app import create_app

LINGERS = 9


@pytest.mark.parametrize(("mine", "exitcode", "ends_with"), [(True, 0, 0), (True, 1, LINGERS), (False, 0, LINGERS)])
def test_a_process_of_the_pool_that_ends_well_ends_at_once(tmp_path: Path, mine: bool, exitcode: int, ends_with: int) -> None:
    """What comes after this signal is the second that the pool's library sleeps; any other end is left to it."""
    app = create_app(Settings(data_dir=tmp_path), "memory://")
    child = os.fork()
    if child == 0:
        try:
            if mine:
                app.set_current()
            signals.worker_process_shutdown.send(sender=None, pid=os.getpid(), exitcode=exitcode)
        finally:
            os._exit(LINGERS)
    assert os.waitstatus_to_exitcode(os.waitpid(child, 0)[1]) == ends_with
