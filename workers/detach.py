"""Running something in the background, with word of how its start went."""

from __future__ import annotations

import json
import os
import signal
import sys
import traceback
from collections.abc import Callable
from pathlib import Path
from typing import Any

Report = dict[str, Any]  # JSON
Send = Callable[[Report], None]

_INTERRUPTIONS = (signal.SIGINT, signal.SIGTERM)


def run_detached(work: Callable[[Send], None], log: Path) -> Report | None:
    """Run ``work`` in a forked child that has a session of its own and writes to ``log``; return what it sends first.

    None when it ended without a word. When the caller is interrupted meanwhile (SIGINT or SIGTERM), the child is asked
    to stop and waited for, and KeyboardInterrupt is raised. The caller must have one thread.

    Raises:
        OSError: the log cannot be written; nothing was started.
    """
    output = os.open(log, os.O_WRONLY | os.O_CREAT | os.O_APPEND | os.O_CLOEXEC, 0o600)
    read, write = os.pipe()
    # Until the number of the child is noted, an interruption must wait.
    blocked = signal.pthread_sigmask(signal.SIG_BLOCK, _INTERRUPTIONS)
    signal.signal(signal.SIGTERM, signal.default_int_handler)
    pid = os.fork()
    if pid == 0:
        os.close(read)
        _live_apart(work, output, write, blocked)
    os.close(write)
    os.close(output)
    try:
        signal.pthread_sigmask(signal.SIG_SETMASK, blocked)
        with os.fdopen(read, "rb") as pipe:
            line = pipe.readline()
    except KeyboardInterrupt:
        os.kill(pid, signal.SIGTERM)
        os.waitpid(pid, 0)
        raise
    if not line:
        os.waitpid(pid, 0)
        return None
    report: Report = json.loads(line)
    return report


def _live_apart(work: Callable[[Send], None], output: int, pipe: int, mask: set[int]) -> None:
    code = 1
    try:
        signal.pthread_sigmask(signal.SIG_SETMASK, mask)
        os.setsid()
        _redirect(output)
        word = os.fdopen(pipe, "wb")

        def send(report: Report) -> None:
            if not word.closed:
                word.write(json.dumps(report).encode() + b"\n")
                word.close()

        work(send)
        code = 0
    except BaseException:  # noqa: BLE001  # the copy of a process ends here, whatever it was
        traceback.print_exc()
    finally:
        sys.stdout.flush()
        sys.stderr.flush()
        os._exit(code)


def _redirect(output: int) -> None:
    nothing = os.open(os.devnull, os.O_RDONLY)
    for target, source in ((0, nothing), (1, output), (2, output)):
        os.dup2(source, target)
    os.close(nothing)
    os.close(output)
