"""Run a broker and a worker whose jobs are slow, supervised: ``python slow_service.py FOLDER [SILENT_AFTER_S]``."""

from __future__ import annotations

import json
import os
import sys
from functools import partial
from pathlib import Path

from config.settings import Settings
from workers.broker import prepare_embedded
from workers.console import Console, Loudness
from workers.parts import Site, broker_part, worker_part
from workers.service_lock import lock_service
from workers.service_state import PartState
from workers.signals import Signals
from workers.supervisor import Supervisor
from workers.watch import look_around

folder = Path(sys.argv[1])
silent_after_s = float(sys.argv[2]) if len(sys.argv) > 2 else 600.0
(folder / "logs").mkdir()
embedded = prepare_embedded(folder)
settings = Settings(data_dir=folder, grace_period_s=2, short_concurrency=2)
site = Site(settings, dict(os.environ), embedded.url, app="tests.workers.slow_app")
parts = [broker_part(site, embedded), worker_part(site, "worker-short", silent_after_s)]


def publish(parts: tuple[PartState, ...], _ready: bool, _stopping: bool) -> None:
    """Append each state to a file."""
    with open(folder / "published", "a", encoding="utf-8") as file:
        file.write(json.dumps({part.name: [part.state, part.pid, part.restarts] for part in parts}) + "\n")


with Signals() as signals:
    supervisor = Supervisor(
        parts,
        folder,
        lock_service(folder),
        signals=signals,
        console=Console(Loudness.QUIET),
        publish=publish,
        look=partial(look_around, embedded.url, folder),
        look_every_s=0.5,
    )
    supervisor.run(lambda: print("READY", flush=True))
