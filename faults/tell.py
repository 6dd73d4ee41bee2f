"""What a run says while it goes on: on standard error, one line a time, with the time since its start."""

from __future__ import annotations

import sys
import time
from collections.abc import Callable

Tell = Callable[[str], None]


def teller(scenario: str) -> Tell:
    """Return a function that tells about a scenario."""
    started = time.monotonic()

    def tell(text: str) -> None:
        minutes, seconds = divmod(time.monotonic() - started, 60)
        sys.stderr.write(f"{scenario} {minutes:.0f}:{seconds:04.1f}  {text}\n")
        sys.stderr.flush()

    return tell
