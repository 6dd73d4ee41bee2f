"""A step that runs in a child of its own, so that what it imports never weighs on the supervisor."""

from __future__ import annotations

import json
import os
import sys
import traceback
from collections.abc import Callable
from pathlib import Path

from strongroom.errors import StorageError
from workers.processes import death_bond, has_exited, kill_group
from workers.reported_errors import Fields, pack, unpack
from workers.signals import Signals, default_signals


class PreparationFailed(StorageError):
    """The data folder could not be prepared, for a reason that nobody foresaw."""

    code = "preparation_failed"
    category = "unknown"


def run_apart(step: Callable[[], None], log: Path, signals: Signals) -> None:
    """Run ``step`` in a forked child and return when it is done, or has been killed because a stop was asked for.

    Raises:
        StorageError: the one that it raised, of the same class.
        PreparationFailed: it raised something else, or died.
    """
    read, write = os.pipe()
    bond = death_bond()
    pid = os.fork()
    if pid == 0:
        bond()
        _run_and_exit(step, log, write)
    os.close(write)
    with os.fdopen(read, "rb") as pipe:
        killed = _await(pid, signals)
        report: Fields = json.loads(pipe.read() or "{}")
    if "code" in report:
        raise unpack(report)
    if not killed and "done" not in report:
        raise PreparationFailed("The preparation of the data folder was killed.", f"The whole story is in {log}.")


def _await(pid: int, signals: Signals) -> bool:
    killed = False
    while not has_exited(pid):
        if signals.stops:
            kill_group(pid)
            killed = True
        signals.wait(0.05)
    os.waitpid(pid, 0)
    return killed


def _run_and_exit(step: Callable[[], None], log: Path, pipe: int) -> None:
    report: Fields = {"done": True}
    try:
        os.setsid()
        default_signals()
        output = os.open(log, os.O_WRONLY | os.O_CREAT | os.O_APPEND, 0o600)
        os.dup2(output, 1)
        os.dup2(output, 2)
        step()
    except StorageError as error:
        report = pack(error)
    except BaseException as error:  # noqa: BLE001  # the copy of a process ends here, whatever it was
        traceback.print_exc()
        report = pack(PreparationFailed(f"{type(error).__name__}: {error}", f"The whole story is in {log}."))
    finally:
        os.write(pipe, json.dumps(report, default=str).encode())
        sys.stdout.flush()
        sys.stderr.flush()
        # No clean-up of the supervisor's own: this is a copy of it.
        os._exit(0)
