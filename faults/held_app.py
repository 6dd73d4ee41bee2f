"""The workers' application with stores that can be held: while ``run/faults/hold`` is there, none goes on past its segment.

Who is held says so by a file ``run/faults/held.PID``.
"""

from __future__ import annotations

import os
import time

from strongroom import durable
from workers.main import app, settings

__all__ = ["app"]

FOLDER = settings.data_dir / "run" / "faults"
_AT = "segment: flush"
_PAUSE_S = 0.01


def _hold(step: str) -> None:
    if step != _AT or not (FOLDER / "hold").exists():
        return
    mark = FOLDER / f"held.{os.getpid()}"
    mark.touch()
    while (FOLDER / "hold").exists():
        time.sleep(_PAUSE_S)
    mark.unlink()


durable.step.observer = _hold
