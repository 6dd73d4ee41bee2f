"""``make demo``, or ``python -m workers.demo``."""

from __future__ import annotations

import argparse
import os
import sys
from collections.abc import Mapping, Sequence
from pathlib import Path

from workers.signals import Signals


def main(arguments: Sequence[str], environ: Mapping[str, str]) -> int:
    """Run the demo and return its exit code: 0 all held, 1 something did not, 130 it was interrupted."""
    parser = argparse.ArgumentParser(prog="python -m workers.demo", description="See strongroom work, on real documents.")
    parser.add_argument("--data", type=Path, metavar="DIR", help="a new folder for everything; default: demo-data/1, 2 ...")
    parser.add_argument("--packages", type=int, metavar="N", help=argparse.SUPPRESS)
    options = parser.parse_args(arguments)
    with Signals() as signals:
        from workers.demo.run import run_demo  # noqa: PLC0415  # it takes a moment, in which Ctrl-C should find us prepared

        # The demo is the same for everybody: what somebody has set for a service of their own is not for this one.
        own = {name: value for name, value in environ.items() if not name.startswith("STRONGROOM_")}
        folder = options.data.absolute() if options.data else None
        return run_demo(folder, own, signals, options.packages)


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:], os.environ))  # noqa: TID251  # what the service inherits: handed on, not read
