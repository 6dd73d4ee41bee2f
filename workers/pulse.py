"""What Celery's own processes do to show that they are at work. Imported by them alone (``--include``, ``--scheduler``)."""

from __future__ import annotations

from functools import cache
from pathlib import Path
from typing import Any

from celery.beat import Scheduler
from celery.signals import heartbeat_sent, worker_ready

from config.settings import Settings
from workers.liveness import give_sign
from workers.nodes import part_of

# Any below: celery-types knows neither the attributes of a signal's sender nor what tick() takes.


_part: list[str] = []
"""Which part this worker is, once it consumes. The heartbeat's sender loses its name when the broker goes."""


@worker_ready.connect
def announce(sender: Any, **_: object) -> None:
    """Show that the worker consumes."""
    _part[:] = [part_of(sender.hostname)]
    renew()


@heartbeat_sent.connect
def renew(**_: object) -> None:
    """Show that the worker's loop turns and its connection stands: the heartbeat is a timer of that loop."""
    for part in _part:
        give_sign(_data(), part)


class PulsedScheduler(Scheduler):
    """Celery's in-memory scheduler, which shows at each round that beat is at work.

    Not the default one: that pickles its state into a file.
    """

    def tick(self, *args: Any, **kwargs: Any) -> float:
        """Give a sign, then send what is due and return the seconds until the next round."""
        give_sign(_data(), "beat")
        return float(super().tick(*args, **kwargs))


@cache
def _data() -> Path:
    return Settings().data_dir
