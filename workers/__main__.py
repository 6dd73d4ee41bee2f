"""``python -m workers`` is the command line."""

from __future__ import annotations

from workers.cli import main

main()
