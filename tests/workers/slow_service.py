"""Run a broker and a worker whose jobs are slow, supervised: ``python slow_service.py FOLDER``."""

from __future__ import annotations

import os
import sys
from pathlib import Path

from config.settings import Settings
from workers.broker import prepare_embedded
from workers.console import Console, Loudness
from workers.parts import Site, broker_part, worker_part
from workers.service_lock import lock_service
from workers.signals import Signals
from workers.supervisor import Supervisor

folder = Path(sys.argv[1])
(folder / "logs").mkdir()
embedded = prepare_embedded(folder)
site = Site(Settings(data_dir=folder, grace_period_s=2), dict(os.environ), embedded.url, app="tests.workers.slow_app")
parts = [broker_part(site, embedded), worker_part(site, "worker-short")]
with Signals() as signals:
    supervisor = Supervisor(
        parts, folder, lock_service(folder), signals=signals, console=Console(Loudness.QUIET), publish=lambda *_: None
    )
    supervisor.run(lambda: print("READY", flush=True))
