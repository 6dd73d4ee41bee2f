"""Tell whether a part is at work, for a container's health check: ``python -m workers.health NAME``."""

from __future__ import annotations

import sys

from config.settings import Settings
from workers.liveness import is_alive
from workers.loopback import page_answers


def main(name: str) -> int:
    """Return 0 when the part is at work, else 1.

    Workers and beat are judged by the sign that their own loop leaves in the data folder every few seconds: 0.1 s of CPU,
    where ``celery inspect ping`` takes 0.9 s, and no load on the broker.
    """
    settings = Settings()
    at_work = page_answers(settings.flower_port, "/healthcheck") if name == "flower" else is_alive(settings.data_dir, name)
    sys.stdout.write(f"{name} is {'' if at_work else 'not '}at work\n")
    return 0 if at_work else 1


if __name__ == "__main__":
    sys.exit(main(sys.argv[1]))
