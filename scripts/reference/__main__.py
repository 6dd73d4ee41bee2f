"""Write the reference pages: ``python -m scripts.reference``; with ``--check`` only say which ones are out of date."""

from __future__ import annotations

import sys

from scripts.reference import COMMAND, ROOT, stale


def main(arguments: list[str]) -> int:
    """Bring the pages up to date, or return 1 when they are not."""
    pages = stale()
    if arguments == ["--check"]:
        for name in pages:
            print(f"{name} is out of date: run `{COMMAND}`", file=sys.stderr)
        return 1 if pages else 0
    for name, text in pages.items():
        (ROOT / name).write_text(text, "utf-8")
        print(f"wrote {name}")
    return 0


sys.exit(main(sys.argv[1:]))
