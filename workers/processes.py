"""Processes of the operating system: starting one that cannot outlive us, and telling one from a later one of the same number."""

from __future__ import annotations

import ctypes
import os
import signal
import subprocess
import sys
from collections.abc import Callable, Mapping, Sequence
from contextlib import suppress
from pathlib import Path
from typing import IO

_PR_SET_PDEATHSIG = 1  # prctl(2)
_libc = ctypes.CDLL(None, use_errno=True) if sys.platform == "linux" else None


def spawn(
    command: Sequence[str], environment: Mapping[str, str], folder: Path, output: IO[bytes], keep_open: Sequence[int]
) -> subprocess.Popen[bytes]:
    """Start ``command`` in a session of its own, its output appended to ``output``; it is killed when this thread dies.

    The session keeps a terminal's Ctrl-C away from it: the supervisor alone decides when a part stops.
    (Off Linux there is no parent-death signal: there a killed supervisor leaves its parts behind, holding the folder's lock.)
    """
    return subprocess.Popen(
        command,
        env=environment,
        cwd=folder,
        stdin=subprocess.DEVNULL,
        stdout=output,
        stderr=output,
        start_new_session=True,
        pass_fds=keep_open,
        # Safe here: the supervisor has one thread, and the library is loaded before the fork.
        preexec_fn=death_bond(),  # noqa: PLW1509
    )


def death_bond() -> Callable[[], None]:
    """Return what a forked child calls to be killed together with the process that called this."""
    parent = os.getpid()

    def bind() -> None:
        if _libc is None:
            return
        _libc.prctl(_PR_SET_PDEATHSIG, signal.SIGKILL, 0, 0, 0)
        if os.getppid() != parent:  # it died before the bond held
            os._exit(1)

    return bind


def has_exited(pid: int) -> bool:
    """Tell whether our child ``pid`` has ended, and leave it unreaped: until it is reaped its number is not used again."""
    return os.waitid(os.P_PID, pid, os.WEXITED | os.WNOHANG | os.WNOWAIT) is not None


def kill_group(pid: int) -> None:
    """SIGKILL what is left of the process group ``pid`` leads. Call it before the leader is reaped."""
    with suppress(ProcessLookupError, PermissionError):
        os.killpg(pid, signal.SIGKILL)


def birth_of(pid: int) -> str | None:
    """Return a token of when process ``pid`` started, or None when there is no such process (a zombie is none)."""
    try:
        fields = Path(f"/proc/{pid}/stat").read_text("utf-8", "replace").rpartition(")")[2].split()
    except FileNotFoundError:
        return _birth_by_ps(pid) if not Path("/proc/self/stat").exists() else None
    except ProcessLookupError:
        return None
    return None if fields[0] in "ZX" else fields[19]  # proc(5): fields 3 (state) and 22 (starttime)


def pid_space() -> str:
    """Return a name of where process ids mean what they mean here: this boot of the kernel, this container. Empty off Linux."""
    try:
        boot = Path("/proc/sys/kernel/random/boot_id").read_text("ascii").strip()
        return f"{boot} {Path('/proc/self/ns/pid').readlink()}"
    except OSError:
        return ""


def is_running(pid: int, birth: str) -> bool:
    """Tell whether the process that had this number and birth still runs."""
    return birth_of(pid) == birth


def _birth_by_ps(pid: int) -> str | None:
    answer = subprocess.run(["ps", "-o", "lstart=", "-p", str(pid)], capture_output=True, text=True, check=False)
    return answer.stdout.strip() or None
