"""The schedules of a service: settings become plans, and a thread of beat's process that claims what is due of them."""

from __future__ import annotations

import threading
import time
from collections.abc import Callable
from contextlib import ExitStack
from datetime import UTC, datetime
from typing import TYPE_CHECKING

import structlog

from config.schedules import SCHEDULED
from config.settings import Settings
from models.schedule import Plan
from strongroom.errors import StorageError
from tasks.owner import this_process
from tasks.schedule import run_due
from workers.jobs_ledger import Ledger, open_ledger

if TYPE_CHECKING:
    from tasks.services import Broker

log = structlog.get_logger()

LOOK_EVERY_S = 5.0
STUCK_AFTER_S = 120.0
"""A look ends within a busy timeout (30 s), well or badly. One that does not hangs in a connection that nobody answers."""


def plans(settings: Settings) -> list[Plan]:
    """Return the schedules of these settings, those that are switched off too."""
    return [Plan(one.name, one.kind, one.task, one.queue, one.arguments(settings), one.times(settings)) for one in SCHEDULED]


class Clerk:
    """Looks every few seconds whether a schedule's time has come. A thread, so that a busy database holds up no ring of beat's.

    Only in a process that does not fork afterwards. Whatever goes wrong is logged and tried again at the next look.
    """

    def __init__(self, settings: Settings, broker: Broker, every_s: float = LOOK_EVERY_S) -> None:
        self._settings, self._broker, self._every_s = settings, broker, every_s
        self._plans = plans(settings)
        self._name = this_process()
        self._stopping = threading.Event()
        self._looked_s = time.monotonic()
        self._opened = ExitStack()
        self._ledger: Ledger | None = None
        self._thread = threading.Thread(target=self._repeat, name="schedules", daemon=True)

    def start(self) -> None:
        """Start to look."""
        self._thread.start()

    def stop(self) -> None:
        """End the thread if it was started, wait for it, and close the database."""
        self._stopping.set()
        if self._thread.ident is not None:
            self._thread.join()
        self._opened.close()

    def is_stuck(self) -> bool:
        """Tell whether a look hangs, so that only a new process can help."""
        return time.monotonic() - self._looked_s > self._every_s + STUCK_AFTER_S

    def look(self, now: Callable[[], datetime] = lambda: datetime.now(UTC)) -> None:
        """Start what is due."""
        if self._ledger is None:
            self._ledger = self._opened.enter_context(open_ledger(self._settings))
        run_due(self._ledger.database, self._broker, self._plans, now(), self._name)

    def _repeat(self) -> None:
        while True:
            try:
                self.look()
            except StorageError as error:
                log.warning("the schedules cannot be looked after; tried again in seconds", error=error.message)
            except Exception:
                log.exception("looking after the schedules failed in a way nobody thought of")
            self._looked_s = time.monotonic()
            if self._stopping.wait(self._every_s):
                return
