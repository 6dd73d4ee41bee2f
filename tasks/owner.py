"""Who runs a job: a process of a host, told apart from a later one with the same number."""

from __future__ import annotations

import os
import socket
from pathlib import Path


def this_process() -> str:
    """Return this process's name in the ledger: ``host:pid:start``, start in clock ticks since the boot."""
    return f"{socket.gethostname()}:{os.getpid()}:{_start_of(os.getpid())}"


def is_alive(owner: str) -> bool:
    """Whether the process may still run. True when that cannot be known: it is another host's, or there is no /proc."""
    host, _, rest = owner.rpartition(":")[0].rpartition(":")
    start = owner.rpartition(":")[2]
    if not rest.isdigit():
        return False
    if host != socket.gethostname():
        return True
    return _start_of(int(rest)) == start


def _start_of(pid: int) -> str:
    """Return field 22 of proc_pid_stat(5); the name in field 2 may hold spaces. Empty when there is no such process."""
    try:
        stat = Path(f"/proc/{pid}/stat").read_text(encoding="utf-8", errors="replace")
    except OSError:
        return ""
    fields = stat.rpartition(")")[2].split()
    return "" if fields[0] == "Z" else fields[19]
