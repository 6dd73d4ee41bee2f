"""What the kernel says of a process. Only where there is /proc."""

from __future__ import annotations

from pathlib import Path


def state_of(pid: int) -> str:
    """Return the state of a process: T for one that was stopped (proc_pid_stat(5)).

    Raises:
        OSError: there is no such process, or no /proc.
    """
    return _fields(pid)[0]


def parent_of(pid: int) -> int:
    """Return the number of a process's parent.

    Raises:
        OSError: there is no such process, or no /proc.
    """
    return int(_fields(pid)[1])


def _fields(pid: int) -> list[str]:
    # From the state on: a command's name may hold spaces and parentheses.
    return Path(f"/proc/{pid}/stat").read_text("utf-8", "replace").rpartition(")")[2].split()
