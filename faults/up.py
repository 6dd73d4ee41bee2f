"""``strongroom up`` with another application: ``python -m faults.up MODULE``."""

from __future__ import annotations

import os
import sys

from config.settings import read_settings
from workers.console import Console, Loudness
from workers.prepare import prepare
from workers.service import Order, run_service


def main() -> None:
    """Run the service in the foreground until it is asked to stop."""
    environ = dict(os.environ)  # noqa: TID251  # what the parts inherit: handed on, not read
    order = Order(read_settings(), environ, prepare, Console(Loudness.QUIET), app=sys.argv[1])
    run_service(order, lambda _state: None)


if __name__ == "__main__":
    main()
