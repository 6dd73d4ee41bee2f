"""Processes seen from outside, by /proc: nothing that the service notes itself is believed."""

from __future__ import annotations

import os
import signal
import time
from collections.abc import Callable
from contextlib import suppress
from pathlib import Path

from workers.processes import birth_of

_PROC = Path("/proc")
_PAUSE_S = 0.02


class NeverCameTrue(AssertionError):
    """What should have happened did not happen in time."""


def await_that(condition: Callable[[], object], what: str, within_s: float) -> float:
    """Return after how many seconds ``condition`` held.

    Raises:
        NeverCameTrue: it did not, in time.
    """
    started = time.monotonic()
    while not condition():
        if time.monotonic() - started > within_s:
            raise NeverCameTrue(f"not within {within_s:.0f} s: {what}")
        time.sleep(_PAUSE_S)
    return time.monotonic() - started


def children_of(pid: int) -> list[int]:
    """Return the live children of a process."""
    found = []
    for entry in _PROC.iterdir():
        fields = _stat(int(entry.name)) if entry.name.isdigit() else None
        if fields is not None and fields[0] not in "ZX" and int(fields[1]) == pid:
            found.append(int(entry.name))
    return sorted(found)


def is_alive(pid: int) -> bool:
    """Whether there is such a process; a zombie is none."""
    return birth_of(pid) is not None


def is_stopped(pid: int) -> bool:
    """Whether SIGSTOP has stopped it."""
    fields = _stat(pid)
    return fields is not None and fields[0] == "T"


def kill(pid: int) -> None:
    """SIGKILL a process and see it die.

    Raises:
        ProcessLookupError: there is none.
        NeverCameTrue: it lives on.
    """
    birth = birth_of(pid)
    os.kill(pid, signal.SIGKILL)
    # A zombie has no birth, takes signals, and has died already. Any other may be in a sync.
    await_that(lambda: birth is None or birth_of(pid) != birth, f"process {pid} dies of SIGKILL", 60)


def processes_of(folder: Path) -> dict[int, str]:
    """Return the live processes that name ``folder`` in their command line, or as the data folder that they were given."""
    needle = os.fsencode(folder)
    found: dict[int, str] = {}
    for entry in _PROC.iterdir():
        if not entry.name.isdigit() or int(entry.name) == os.getpid():
            continue
        with suppress(FileNotFoundError, ProcessLookupError, PermissionError):
            command = (entry / "cmdline").read_bytes()
            given = b"STRONGROOM_DATA_DIR=" + needle in (entry / "environ").read_bytes()
            if (given or needle in command) and is_alive(int(entry.name)):
                found[int(entry.name)] = command.replace(b"\0", b" ").decode("utf-8", "replace")
    return found


def end_all(folder: Path) -> None:
    """SIGKILL whatever names ``folder``, the frozen and the orphaned too, until nothing is left.

    Raises:
        NeverCameTrue: something lives on.
    """

    def none_left() -> bool:
        left = processes_of(folder)
        for pid in left:
            with suppress(ProcessLookupError):
                os.kill(pid, signal.SIGKILL)
        return not left

    await_that(none_left, f"every process of {folder} is dead", 20)


def _stat(pid: int) -> list[str] | None:
    """Return the fields of proc_pid_stat(5) from the third, the state, on."""
    try:
        return (_PROC / str(pid) / "stat").read_text("utf-8", "replace").rpartition(")")[2].split()
    except (FileNotFoundError, ProcessLookupError):
        return None
