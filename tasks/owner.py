"""Who runs a job: a run of a process, which shows that it lives by a lock that the system drops when the process ends.

A lock, since it tells the truth however a process ends, and the same in two containers that share the data folder, where process
numbers and host names mean nothing. (Rejected: host, number and start time of the process, looked up in /proc.)
"""

from __future__ import annotations

import fcntl
import os
import secrets
import signal
import socket
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager, suppress
from datetime import UTC, datetime
from itertools import count
from pathlib import Path

from models.leases import Fate
from tasks.procfs import parent_of, state_of

LEAVING = ".leaving"
FROZEN = ".frozen"
_FORGOTTEN_AFTER_S = 24 * 3600.0

DENIAL_S = 5.0
"""A process that goes on denies that it is frozen within a second of its heart. That may just have waited for the database."""

STOPPED_S = 15.0
"""A process that stays stopped so long is killed, whether it holds a lease or not: as long as a lease and DENIAL_S."""


def this_process() -> str:
    """Return what people call this process: ``host:pid``."""
    return f"{socket.gethostname()}:{os.getpid()}"


def mark_leaving(folder: Path, worker: str) -> None:
    """Note that an operator stops this worker: if its processes are killed now, their jobs are not to blame."""
    folder.mkdir(mode=0o700, parents=True, exist_ok=True)
    (folder / f"{worker}{LEAVING}").touch(mode=0o600)


class Presence:
    """This process at work on one data folder, for as long as it lives. Every process makes its own, after a fork.

    Runs are named ``host:pid:worker:lock:number``; the first two only tell people where to look, ``worker`` is the worker whose
    child this process is.
    """

    def __init__(self, folder: Path, process: str, worker: str = "", clock: Callable[[], float] = time.monotonic) -> None:
        """Take a new lock in ``folder``, which is made when it is not there; locks of dead processes are removed.

        Raises:
            OSError: the folder cannot be written.
        """
        folder.mkdir(mode=0o700, parents=True, exist_ok=True)
        self._folder, self._process, self._worker = folder, process, worker
        self._lock = secrets.token_hex(8)
        self._numbers = count(1)
        self._clock = clock
        self._noted: dict[Path, float] = {}
        self._stopped: dict[str, float] = {}
        self._looked = clock()
        self._at_work: dict[str, float] = {}
        self._descriptor = _take(folder / self._lock)
        with suppress(OSError):  # it is there to be found by its siblings: no reason to fail on a full disk
            os.pwrite(self._descriptor, f"{process}:{worker}:{self._lock}:0".encode(), 0)
        self._forget_the_dead()

    @contextmanager
    def at_work(self) -> Iterator[str]:
        """Yield a name for one run. After the block nobody does what is still marked with that name."""
        name = f"{self._process}:{self._worker}:{self._lock}:{next(self._numbers)}"
        self._at_work[name] = time.monotonic()
        try:
            yield name
        finally:
            del self._at_work[name]

    def runs_older_than(self, seconds: float) -> list[str]:
        """Return the names of this process's own runs that have gone on for so long."""
        before = time.monotonic() - seconds
        return [name for name, since in list(self._at_work.items()) if since <= before]

    def is_alive(self, owner: str) -> bool:
        """Whether that run may still go on: its process lives, and if it is this very one, the run has not ended."""
        return self.fate(owner) == "alive"

    def fate(self, owner: str) -> Fate:
        """What became of that run. A frozen process is alive: leases tell of those."""
        worker, lock = (["", "", *owner.split(":")])[-3:-1]
        if owner in self._at_work if lock == self._lock else _is_name(lock) and _is_held(self._folder / lock):
            return "alive"
        return "stopped" if _is_name(worker) and (self._folder / f"{worker}{LEAVING}").exists() else "dead"

    def accuse(self, owner: str) -> None:
        """Note that this run's process did not renew what it held, and holds it no more."""
        lock = (["", *owner.split(":")])[-2]
        if self.is_alive(owner) and lock != self._lock:
            (self._folder / f"{lock}{FROZEN}").write_text(owner, "utf-8")

    def deny(self) -> None:
        """Take back what others noted of this process: it goes on."""
        (self._folder / f"{self._lock}{FROZEN}").unlink(missing_ok=True)

    def kill_frozen_siblings(self) -> list[str]:
        """Kill processes of this worker's pool that have been noted to be frozen for DENIAL_S; return their runs.

        The pool starts others in their place. Call it every few seconds.

        Their leases were taken from them, so they can do nothing any more, and would keep a slot for ever. What cannot be told
        for certain to be a sibling (another worker's, another host's, a system without /proc) is left alone.
        """
        killed: list[str] = []
        now = self._clock()
        self._noted = {path: self._noted.get(path, now) for path in self._folder.glob(f"*{FROZEN}")}
        for path, since in self._noted.items():
            with suppress(FileNotFoundError):
                owner = path.read_text("utf-8")
                if not _is_held(path.with_suffix("")):
                    path.unlink()
                elif path.stem != self._lock and now - since >= DENIAL_S and self._kill_sibling(owner):
                    killed.append(owner)
        return killed

    def kill_stopped_siblings(self) -> list[str]:
        """Kill processes of this worker's pool that have been stopped (SIGSTOP) for STOPPED_S; return what they are called.

        One that is idle holds no lease that could tell of it, and would keep its slot, and the message in its pipe, for ever.
        Call it every few seconds. Only where there is /proc.
        """
        now = self._clock()
        if now - self._looked > DENIAL_S:
            self._stopped.clear()  # this process stood still itself: who knows what was then
        self._looked = now
        self._stopped = {owner: self._stopped.get(owner, now) for owner in self._siblings() if _is_stopped(owner)}
        return [owner for owner, since in self._stopped.items() if now - since >= STOPPED_S and self._kill_sibling(owner)]

    def _siblings(self) -> Iterator[str]:
        for path in self._folder.iterdir():
            if self._worker and not path.suffix and path.name != self._lock:
                with suppress(FileNotFoundError):
                    owner = path.read_text("utf-8")
                    if f":{self._worker}:" in owner and _is_held(path):
                        yield owner

    def _kill_sibling(self, owner: str) -> bool:
        pid, worker = (["", "", "", "", *owner.split(":")])[-4:-2]
        if not worker or worker != self._worker or not pid.isdecimal():
            return False
        with suppress(OSError):  # there is no /proc, or no such process any more
            if parent_of(int(pid)) == os.getppid():
                os.kill(int(pid), signal.SIGKILL)
                return True
        return False

    def close(self) -> None:
        """Leave, as the end of the process would."""
        os.close(self._descriptor)

    def _forget_the_dead(self) -> None:
        for path in self._folder.iterdir():
            if path.suffix in {LEAVING, FROZEN}:
                _remove_when_old(path)
            elif path.name != self._lock:
                _remove_unless_held(path)


def new_name() -> str:
    """Return a name that nobody else has, for a worker."""
    return secrets.token_hex(8)


def _is_stopped(owner: str) -> bool:
    pid = (["", *owner.split(":")])[-4]
    with suppress(OSError):
        return pid.isdecimal() and state_of(int(pid)) == "T"
    return False


def _is_name(text: str) -> bool:
    return text.isalnum()


def _remove_when_old(path: Path) -> None:
    with suppress(FileNotFoundError):
        if datetime.now(UTC).timestamp() - path.stat().st_mtime > _FORGOTTEN_AFTER_S:
            path.unlink()


def _take(path: Path) -> int:
    while True:
        descriptor = os.open(path, os.O_RDWR | os.O_CREAT | os.O_CLOEXEC, 0o600)
        fcntl.flock(descriptor, fcntl.LOCK_EX)
        # Between the two lines above another process may have taken it for a dead one's.
        with suppress(FileNotFoundError):
            if os.path.samestat(os.fstat(descriptor), path.stat()):
                return descriptor
        os.close(descriptor)


def _remove_unless_held(path: Path) -> None:
    """Remove a lock while holding it: else its owner could take it in between, and would hold a file without a name."""
    with suppress(FileNotFoundError, BlockingIOError):
        descriptor = os.open(path, os.O_RDONLY | os.O_CLOEXEC)
        try:
            fcntl.flock(descriptor, fcntl.LOCK_EX | fcntl.LOCK_NB)
            path.unlink()
        finally:
            os.close(descriptor)


def _is_held(path: Path) -> bool:
    try:
        descriptor = os.open(path, os.O_RDONLY | os.O_CLOEXEC)
    except FileNotFoundError:
        return False
    try:
        fcntl.flock(descriptor, fcntl.LOCK_SH | fcntl.LOCK_NB)
    except BlockingIOError:
        return True
    finally:
        os.close(descriptor)
    return False
