"""What backups cost by the number of documents, and what that says about 10 TB."""

from __future__ import annotations

import os
import shutil
import sys
from collections.abc import Sequence
from pathlib import Path

from bench.backup import CHANGED, STEPS, Ours, rewrite
from bench.material import write_small_documents
from bench.rows import Row, seconds

TERABYTES = 10
_AT_ONCE = 50_000
"""Documents that lie there as files while they are stored: a multiple of CHANGED."""
_DOCUMENT_BYTES = 80_000
"""What a document of the platform has, on average: 10 TB are 125 million of them."""


def slope_rows(counts: Sequence[int], scratch: Path) -> list[Row]:
    """Measure each count in a folder of its own, and draw the line from the two largest."""
    measured = {count: _measure(count, scratch) for count in sorted(counts)}
    rows = []
    for count, (took, plain_bytes, stored_bytes) in measured.items():
        times = ", ".join(f"{step} {took[step]:.2f} s" for step in STEPS)
        rows.append(
            Row(f"{count:,} documents, {plain_bytes / 1e6:,.0f} MB", times, f"{stored_bytes / 1e6:,.0f} MB stored", "", None)
        )
    if len(measured) > 1:
        rows.extend(_projected(measured))
    return rows


Measured = dict[int, tuple[dict[str, float], int, int]]


def _measure(count: int, scratch: Path) -> tuple[dict[str, float], int, int]:
    home = scratch / str(count)
    ours = Ours(home)
    plain_bytes, paths = _stored(count, ours, home / "small")
    ours.prepare()
    took = {}
    for step in STEPS:
        if step == "incremental":
            ours.store(rewrite(paths, 0))
        os.sync()
        took[step] = seconds(getattr(ours, step))
    ours.engine.close()
    shutil.rmtree(home)
    sys.stderr.write(f"{count:,}: {took}\n")
    return took, plain_bytes, ours.made.stored_bytes


def _stored(count: int, ours: Ours, folder: Path) -> tuple[int, list[Path]]:
    """Store so many documents; return their bytes, and the files that are changed later: the others go, to leave room."""
    plain_bytes, kept = 0, []
    for first in range(0, count, _AT_ONCE):
        paths = write_small_documents(folder, min(_AT_ONCE, count - first), first + 1, first)
        plain_bytes += sum(path.stat().st_size for path in paths)
        ours.store(paths)
        kept += paths[::CHANGED]
        for path in set(paths).difference(kept):
            path.unlink()
    return plain_bytes, kept


def _projected(measured: Measured) -> list[Row]:
    (few, (took_few, plain_few, _)), (many, (took_many, plain_many, _)) = list(measured.items())[-2:]
    rows = []
    for step in STEPS:
        slope_s = (took_many[step] - took_few[step]) / (many - few)
        by_bytes_s = (took_many[step] - took_few[step]) / (plain_many - plain_few) * TERABYTES * 1e12
        told = f"{slope_s * 1e6:.1f} µs a document more; {TERABYTES} TB: {by_bytes_s / 3600:,.1f} h by bytes"
        documents = TERABYTES * 1e12 / _DOCUMENT_BYTES
        limit = f"{slope_s * documents / 3600:,.1f} h by documents of {_DOCUMENT_BYTES / 1000:.0f} KB"
        rows.append(
            Row(f"{step}: from {few:,} to {many:,}", told, limit, "2 h for a full backup" if step == "first" else "", None)
        )
    return rows
