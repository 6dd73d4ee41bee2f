"""``make bench``: measure everything and print one table."""

from __future__ import annotations

import argparse
import json
import shutil
import sys
import tempfile
from collections.abc import Iterable
from dataclasses import asdict
from pathlib import Path

from bench import backup, catalogue, engine, service, slopes, sweeping
from bench.material import corpus, write_small_documents
from bench.profile import print_profile, profile
from bench.rows import Row, print_rows


def main() -> None:
    """Run the measurements in a folder of their own, on the disk of the checkout."""
    options = argparse.ArgumentParser(prog="python -m bench", description=__doc__)
    options.add_argument(
        "--documents",
        type=int,
        help="5,000 documents of 30 KB; 100,000 of a backup, 1,000,000 of a catalogue",
    )
    parts = ("engine", "corpus", "queue", "memory", "sweep", "backup", "catalogue")
    options.add_argument("--only", choices=parts, help="measure only a part")
    options.add_argument("--slopes", type=int, nargs="+", metavar="N", help="only: backups of so many documents, and 10 TB")
    options.add_argument("--profile", action="store_true", help="where the time of a document goes, instead of the table")
    options.add_argument("--json", action="store_true", help="JSON on standard output")
    asked = options.parse_args()
    documents = asked.documents or {"backup": 100_000, "catalogue": 1_000_000}.get(asked.only, 5000)
    scratch = Path(tempfile.mkdtemp(prefix="bench-", dir=Path(__file__).resolve().parents[1]))
    try:
        if asked.profile:
            found = profile(write_small_documents(scratch / "small", documents), scratch)
        elif asked.slopes:
            rows = slopes.slope_rows(asked.slopes, scratch)
        else:
            rows = measure(scratch, documents, asked.only)
    finally:
        shutil.rmtree(scratch)
    if asked.json:
        json.dump(asdict(found) if asked.profile else [asdict(row) for row in rows], sys.stdout, indent=1)
    elif asked.profile:
        print_profile(found)
    else:
        print_rows(rows)


def measure(scratch: Path, documents: int, only: str | None) -> list[Row]:
    """Run the parts one after the other: they would disturb each other. The catalogue only when it is asked for: it is large."""
    if only == "catalogue":
        return catalogue.catalogue_rows(documents, scratch)
    paths = write_small_documents(scratch / "small", documents)
    rows = _Rows()
    rate = float("nan")
    if only in {None, "engine", "queue"}:
        found, rate = engine.ingest(paths, scratch)
        rows.extend(found)
    if only in {None, "queue"}:
        with service.service(scratch / "queue") as data:
            rows.append(service.through_the_queue(paths, data, rate))
        with service.service(scratch / "single") as data:
            rows.append(service.one_a_message(paths[: min(2000, documents)], data))
        rows.append(service.start_up(paths[0], scratch))
    if only in {None, "corpus"}:
        rows.extend(engine.corpus_rows(corpus(), scratch))
    if only in {None, "sweep"}:
        with service.service(scratch / "swept") as data:
            rows.append(sweeping.beside_a_sweep(paths, data))
    if only in {None, "backup"}:
        rows.extend(backup.backup_rows(paths, scratch))
    if only in {None, "memory"}:
        with service.service(scratch / "large") as data:
            rows.extend(service.large_document(scratch, data))
    return list(rows)


class _Rows(list[Row]):
    """Tells each row as it comes: a run takes minutes."""

    def append(self, row: Row) -> None:
        sys.stderr.write(f"{row.what}: {row.ours}; {row.peer}\n")
        super().append(row)

    def extend(self, rows: Iterable[Row]) -> None:
        for row in rows:
            self.append(row)


if __name__ == "__main__":
    main()
