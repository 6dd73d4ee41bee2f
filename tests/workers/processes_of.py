"""Which processes belong to a data folder, by what /proc tells: nothing that we noted ourselves could miss one."""

from __future__ import annotations

import os
import time
from collections.abc import Callable
from pathlib import Path


def processes_of(folder: Path) -> dict[int, str]:
    """Return the live processes that name ``folder`` in their command line or environment, with their command lines."""
    needle = os.fsencode(folder)
    found: dict[int, str] = {}
    for entry in Path("/proc").iterdir():
        if not entry.name.isdigit() or int(entry.name) == os.getpid():
            continue
        try:
            state = (entry / "stat").read_bytes().rpartition(b")")[2].split()[0]
            command = (entry / "cmdline").read_bytes()
            if state != b"Z" and needle in command + (entry / "environ").read_bytes():
                found[int(entry.name)] = command.replace(b"\0", b" ").decode("utf-8", "replace")
        except (FileNotFoundError, ProcessLookupError, PermissionError):
            continue
    return found


def await_that(condition: Callable[[], object], what: str, within_s: float = 20.0) -> None:
    """Return as soon as ``condition`` holds; fail saying ``what`` did not come true."""
    deadline = time.monotonic() + within_s
    while not condition():
        assert time.monotonic() < deadline, f"within {within_s} s: {what}"
        time.sleep(0.01)
