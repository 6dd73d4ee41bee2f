"""What the disk alone says, by the reader of docs/reference: an oracle that knows nothing of the engine."""

from __future__ import annotations

import io
import runpy
from contextlib import redirect_stdout
from pathlib import Path
from unittest import mock

import pytest

from storage.engine import Engine

READER = Path(__file__).resolve().parents[2] / "docs" / "reference" / "read_strongroom.py"


def rows_on_disk(root: Path) -> list[list[str]]:
    """Return the reader's rows for a data folder in which it finds nothing wrong."""
    out = io.StringIO()
    with redirect_stdout(out), mock.patch("sys.argv", [str(READER), str(root)]), pytest.raises(SystemExit) as end:
        runpy.run_path(str(READER), run_name="__main__")
    assert not end.value.code, end.value.code
    return [line.split("\t") for line in out.getvalue().splitlines()]


def revisions_on_disk(engine: Engine) -> dict[tuple[str, str, int], str]:
    """Return the content of each revision, by library, version and number."""
    return {(row[0], row[1], int(row[2])): row[3] for row in rows_on_disk(engine.folder.root)}
