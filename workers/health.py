"""Tell whether a part is at work, for a container's health check: ``python -m workers.health NAME``."""

from __future__ import annotations

import sys

from config.settings import Settings, read_settings
from strongroom.errors import BrokerUnavailable, StorageError
from workers.broker import broker_url_of
from workers.loopback import page_answers
from workers.watch import Seen, is_at_work, look_around


def main(name: str) -> int:
    """Return 0 when the part is at work, else 1.

    Workers and beat are judged by the signs that they leave in the data folder: a worker by what it finished in the last 15 s
    (beat sends it a probe every 5 s), beat by its loop. ``celery inspect ping`` would take 0.9 s of CPU.
    Flower's container tells of the whole service: it is healthy when all parts, the broker and the database are.
    """
    settings = read_settings()
    if name == "flower":
        at_work = page_answers(settings.flower_port, "/health", timeout_s=5.0)
    else:
        at_work = is_at_work(settings.data_dir, name, _look(settings))
    sys.stdout.write(f"{name} is {'' if at_work else 'not '}at work\n")
    return 0 if at_work else 1


def _look(settings: Settings) -> Seen:
    try:
        return look_around(broker_url_of(settings), settings.data_dir)
    except BrokerUnavailable:  # none was ever started
        return Seen(broker_answers=False, broker_lives=False)


if __name__ == "__main__":
    try:
        sys.exit(main(sys.argv[1]))
    except StorageError as error:
        sys.exit(f"{error.message} {error.hint}")
