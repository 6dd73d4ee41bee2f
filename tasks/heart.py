"""What every worker process does beside its tasks: renew the leases that it holds, reconcile, and listen for the bell.

Three threads, so that none waits for another. A busy task cannot starve them: what computes for long in one call lets go of
the interpreter's lock, and the interpreter itself switches threads every 5 ms.
"""

from __future__ import annotations

import random
import threading
import time
from collections.abc import Callable
from contextlib import suppress
from datetime import UTC, datetime

import structlog

from models.leases import RENEWAL, renew_leases
from strongroom.errors import BrokerUnavailable, StorageError
from tasks.admission import wake_parked
from tasks.bell import Bell
from tasks.reconcile import run_reconcile, send_due, take_back_leases
from tasks.services import Services
from tasks.watch import Watch
from tasks.writer import StoppedWriter, is_of_this_service

log = structlog.get_logger()

BEAT_S = 1.0
RECONCILE_S = 2.0
ACCESSES_S = 30.0
_DONE = "reconciled"


class Heart:
    """The three threads of one process. They end with it; ``stop`` is for tests and for orderly ends."""

    def __init__(self, services: Services) -> None:
        self._services = services
        self._watch = Watch(services.database, services.presence)
        self._writer = StoppedWriter(services.database)
        self._done = services.engine.folder.run / _DONE
        self._stopping = threading.Event()
        self._bell = Bell(services.engine.folder.run)
        self._renewed = 0.0
        self._flushed = 0.0
        self._threads = [
            threading.Thread(target=self._repeat, args=(self.beat, BEAT_S), name="heartbeat", daemon=True),
            threading.Thread(target=self._repeat, args=(self.reconcile, RECONCILE_S), name="reconciler", daemon=True),
            threading.Thread(target=self._listen, name="bell", daemon=True),
        ]

    def start(self) -> None:
        """Start the threads. Only in a process that does not fork."""
        for thread in self._threads:
            thread.start()

    def stop(self) -> None:
        """End the threads and wait for them."""
        self._stopping.set()
        self._bell.end()
        for thread in self._threads:
            thread.join()
        self._bell.close()

    def beat(self) -> None:
        """Renew what this process has held for a while, all of it in one transaction; first see that nobody holds that up."""
        if (writer := self._writer.kill(is_of_this_service)) is not None:
            log.warning("a process that was frozen in the middle of a write is replaced", process=writer)
        self._services.presence.deny()
        owners = self._services.presence.runs_older_than(RENEWAL.total_seconds())
        if owners and time.monotonic() - self._renewed >= RENEWAL.total_seconds() - BEAT_S / 2:
            with self._services.database.write("heartbeat") as connection:
                renew_leases(connection, owners, dict(self._services.progress), datetime.now(UTC))
            self._renewed = time.monotonic()
        self._write_accesses()

    def _write_accesses(self) -> None:
        """Write how often documents were read, now and then: a read costs no write."""
        accesses = self._services.engine.accesses
        if len(accesses) and time.monotonic() - self._flushed >= ACCESSES_S:
            self._flushed = time.monotonic()
            with self._services.database.write("accesses") as connection:
                accesses.flush_access(connection)

    def reconcile(self) -> bool:
        """Look for leases to be taken back; send what is due, unless another process of this folder has just done that.

        Returns whether this one sent.
        """
        taken = take_back_leases(self._services, self._watch)
        presence = self._services.presence
        for owner in (*presence.kill_frozen_siblings(), *presence.kill_stopped_siblings()):
            log.warning("a process of this worker was frozen and is replaced", owner=owner)
        if not taken and self._is_done():
            return False
        wake_parked(self._services)
        sent = run_reconcile(self._services)
        self._done.touch(mode=0o600)
        if sent:
            log.info("sent again what nobody was doing", jobs=sent)
        return True

    def _is_done(self) -> bool:
        with suppress(FileNotFoundError):  # the age is negative after the clock was set back
            return abs(datetime.now(UTC).timestamp() - self._done.stat().st_mtime) < RECONCILE_S * 0.75
        return False

    def _listen(self) -> None:
        while self._bell.heard():
            _tried(lambda: send_due(self._services))

    def _repeat(self, step: Callable[[], object], pause_s: float) -> None:
        while not self._stopping.wait(pause_s * random.uniform(0.8, 1.2)):  # noqa: S311 - so that processes do not march in step
            _tried(step)


def _tried(step: Callable[[], object]) -> None:
    """Take a step. Whatever goes wrong, its thread goes on: what is due stays due."""
    try:
        step()
    except BrokerUnavailable:
        log.debug("the broker does not answer: what is due stays due")
    except StorageError as error:
        log.warning("the ledger or the inbox cannot be reached", error=error.message)
    except Exception:
        log.exception("reconciling failed in a way nobody thought of")
