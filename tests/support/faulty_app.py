"""The workers' application with faults that a test plants: files in ``run/faults`` of the data folder.

``slow``: each store takes a fifth of a second. ``poison``: whoever holds an inbox file open whose name begins so kills itself.
"""

from __future__ import annotations

import os
import signal
import time
from contextlib import suppress
from pathlib import Path

from strongroom import durable
from workers.main import app, settings

__all__ = ["app"]

FAULTS = settings.data_dir / "run" / "faults"
SLOW_S = 0.2


def _observe(step: str) -> None:
    if step != "segment: flush":
        return
    if (FAULTS / "poison").exists() and any(name.startswith("poison") for name in _open_inbox_files()):
        os.kill(os.getpid(), signal.SIGKILL)
    if (FAULTS / "slow").exists():
        time.sleep(SLOW_S)


def _open_inbox_files() -> list[str]:
    names = []
    for link in Path("/proc/self/fd").iterdir():
        with suppress(OSError):
            names.append(link.readlink().name)
    return names


durable.step.observer = _observe
