"""bench/backup.py: what is timed is what it says, and what comes back is compared."""

from __future__ import annotations

from pathlib import Path

import pytest

from bench.backup import Ours, change
from bench.material import write_small_documents


def test_what_is_restored_is_held_against_the_files(scratch: Path) -> None:
    paths = write_small_documents(scratch / "small", 3)
    ours = Ours(scratch)
    ours.store(paths)
    ours.prepare()
    ours.first()
    assert ours.made.kind == "full"
    ours.store(change(paths, 0))
    ours.incremental()
    assert (ours.made.kind, ours.made.new_segments) == ("incremental", 1)
    ours.verify()
    ours.restore()
    ours.compare(paths)
    paths[1].write_text('{"library_id": "/bench/library-1", "version_id": "1.1"}')
    with pytest.raises(AssertionError):
        ours.compare(paths)
    ours.engine.close()
