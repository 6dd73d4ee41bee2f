"""What Celery's own processes do to show that they are at work. Imported by them alone (``--include``, ``--scheduler``)."""

from __future__ import annotations

import logging
import os
import time
from functools import cache
from pathlib import Path
from threading import Thread
from typing import TYPE_CHECKING, Any

from celery.beat import Scheduler
from celery.signals import (
    celeryd_after_setup,
    heartbeat_sent,
    task_postrun,
    task_prerun,
    worker_process_init,
    worker_process_shutdown,
    worker_ready,
    worker_shutdown,
)

from config.settings import Settings
from tasks.probe import PROBE_TASK, register_probe
from workers.app_broker import AppBroker
from workers.liveness import give_busy_sign, give_sign, give_work_sign, remove_sign
from workers.nodes import part_of

if TYPE_CHECKING:
    from workers.schedules import Clerk

# Any below: celery-types knows neither the attributes of a signal's sender nor what tick() takes.

_SIGNS_APART_S = 1.0

_part: list[str] = []
"""Which part this worker is. The heartbeat's sender loses its name when the broker goes; the pool's processes inherit it."""

_consumes: list[bool] = []
"""Whether it has begun to: the first heartbeat comes before."""

_work = {"running": 0.0, "shown_at_s": 0.0, "ended_at_s": 0.0}
"""Of this process: how many tasks run, when it last showed that one ended, and when the last one did."""

_READ_AFTER_S = 1.0
"""A process of a pool that ends gives its parent so long to read what became of the last task (billiard/pool.py)."""


@celeryd_after_setup.connect
def settle(sender: Any, instance: Any, **_: object) -> None:
    """Learn which part this is, the probe, and how to take messages, before the pool's processes are forked."""
    from kombu.transport.redis import Transport  # noqa: PLC0415 - beat imports this module, too, and takes none

    from workers.taking import TakingChannel  # noqa: PLC0415 - the same

    _part[:] = [part_of(sender)]
    Transport.Channel = TakingChannel
    register_probe(instance.app)
    for name in ("celery.worker.strategy", "celery.app.trace"):
        logging.getLogger(name).addFilter(_is_no_probe)


@worker_ready.connect
def announce(**_: object) -> None:
    """Show that the worker consumes. It has a while from now to finish its first task."""
    _consumes.append(True)
    for part in _part:
        give_work_sign(_data(), part)
    renew()


@heartbeat_sent.connect
def renew(**_: object) -> None:
    """Show that the worker's loop turns and its connection stands: the heartbeat is a timer of that loop."""
    for part in _part if _consumes else ():
        give_sign(_data(), part)


@worker_shutdown.connect
def depart(**_: object) -> None:
    """Take the sign away: whoever asks a moment later is not to be told that the worker is there."""
    _consumes.clear()
    for part in _part:
        remove_sign(_data(), part)


@task_prerun.connect
def begin(**_: object) -> None:
    """Note that a task runs in this process."""
    _work["running"] += 1


@task_postrun.connect
def end(**_: object) -> None:
    """Show that a task has ended, whatever its end: a worker that does short ones does not touch the file for each."""
    _work["running"] = max(0, _work["running"] - 1)
    now_s = _work["ended_at_s"] = time.monotonic()
    if now_s - _work["shown_at_s"] < _SIGNS_APART_S:
        return
    _work["shown_at_s"] = now_s
    for part in _part:
        give_work_sign(_data(), part)


@worker_process_shutdown.connect
def end_at_once(exitcode: int, **_: object) -> None:
    """End this process without that pause when there is nothing to be read: each ``strongroom down`` would wait for it."""
    idle_s = time.monotonic() - _work["ended_at_s"]
    if exitcode == os.EX_OK and not _work["running"] and idle_s > _READ_AFTER_S:
        os._exit(exitcode)


@worker_process_init.connect
def watch_over_tasks(**_: object) -> None:
    """Show each second that a task runs, while one does, in each process of the pool.

    From a thread of the process that runs it: the worker's own would go on telling so of processes that are frozen.
    """
    Thread(target=_show_busy, name="busy", daemon=True).start()


def _show_busy() -> None:
    while True:
        time.sleep(_SIGNS_APART_S)
        for part in _part if _work["running"] else ():
            give_busy_sign(_data(), part)


class PulsedScheduler(Scheduler):
    """Celery's in-memory scheduler, which shows at each round that beat is at work. Beside it schedules and alarms are seen to.

    Not the default one: that pickles its state into a file.
    """

    _clerk: Clerk | None = None

    def tick(self, *args: Any, **kwargs: Any) -> float:
        """Give a sign, then send what is due and return the seconds until the next round."""
        if self._clerk is None:  # not earlier: Celery makes a scheduler in processes, too, that only ask what it would do
            from workers.alarm import Watchman  # noqa: PLC0415 - the workers import this module, and need neither
            from workers.schedules import Clerk  # noqa: PLC0415 - the same

            self._clerk = Clerk(Settings(), AppBroker(self.app))
            self._clerk.start()
            Watchman(Settings()).start()
        if not self._clerk.is_stuck():
            give_sign(_data(), "beat")
        return float(super().tick(*args, **kwargs))


def _is_no_probe(record: logging.LogRecord) -> bool:
    """Tell whether a log line is worth its place: of an idle service probes would be all that its logs tell."""
    said = record.args or ()
    return PROBE_TASK not in (said.values() if isinstance(said, dict) else said)


logging.getLogger("celery.beat").addFilter(_is_no_probe)


@cache
def _data() -> Path:
    return Settings().data_dir
