"""Crashes at durable steps: within the process by an exception that nothing catches, or a real end of a forked process."""

from __future__ import annotations

import os
import traceback
from collections.abc import Callable, Iterator
from contextlib import contextmanager

from strongroom import durable

DIED = 77
_FAILED = 70


class Crash(BaseException):
    """The end of a process, as far as the code under test can tell."""


@contextmanager
def observed(observer: Callable[[str], None]) -> Iterator[None]:
    """Have every durable step announced to ``observer``."""
    before = durable.step.observer
    durable.step.observer = observer
    try:
        yield
    finally:
        durable.step.observer = before


def steps_of(work: Callable[[], object]) -> list[str]:
    """Run ``work`` to its end and return the durable steps that it took."""
    steps: list[str] = []
    with observed(steps.append):
        work()
    return steps


@contextmanager
def crash_at(step: int | str) -> Iterator[None]:
    """Crash the block just before the durable step of that number (from 1) or name, and swallow the crash.

    A test whose crash did not come would prove nothing: it fails.
    """
    seen: list[str] = []

    def observe(name: str) -> None:
        seen.append(name)
        if step in {len(seen), name}:
            raise Crash(name)

    crashed = False
    try:
        with observed(observe):
            yield
    except Crash:
        crashed = True
    assert crashed, f"the crash at step {step!r} did not come; there were {seen}"


def die_at(step: int, work: Callable[[], object]) -> None:
    """Run ``work`` in a forked process that ends, without any clean-up, just before its durable step of that number."""
    seen: list[str] = []

    def observe(name: str) -> None:
        seen.append(name)
        if len(seen) == step:
            os._exit(DIED)

    code = in_child(lambda: _watched(observe, work))
    assert code == DIED, f"the end at step {step} did not come: exit code {code}"


def _watched(observer: Callable[[str], None], work: Callable[[], object]) -> None:
    with observed(observer):
        work()


def in_child(work: Callable[[], object]) -> int:
    """Run ``work`` in a forked process; return its exit code: 0, or 70 when it raised. Its traceback goes to stderr."""
    return wait_for(start_child(work))


def start_child(work: Callable[[], object]) -> int:
    """Run ``work`` in a forked process beside this one; return its process id."""
    pid = os.fork()
    if pid:
        return pid
    code = _FAILED
    try:
        work()
        code = 0
    except BaseException:  # noqa: BLE001 - the copy of a test process must end here, whatever it was
        traceback.print_exc()
    finally:
        os._exit(code)


def wait_for(pid: int) -> int:
    """Return the exit code of a child."""
    return os.waitstatus_to_exitcode(os.waitpid(pid, 0)[1])
