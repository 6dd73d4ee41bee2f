"""Stores documents into a data folder without a service, for examples that need none: store_alone.py DATA FILE..."""

from __future__ import annotations

import io
import sys
from functools import partial
from pathlib import Path

sys.path.insert(0, str(Path(__file__).resolve().parents[2]))

from storage.engine import Engine
from storage.intake import incoming


def main(data: Path, *files: Path) -> None:
    """Store the files as one batch."""
    with Engine(data).create() as engine:
        sent = [file.read_bytes() for file in files]
        engine.store([incoming(partial(io.BytesIO, one), len(one)) for one in sent])


main(*map(Path, sys.argv[1:]))
