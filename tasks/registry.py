"""The Celery tasks: names, acknowledgement and limits. What they do is in the modules beside this one."""

from __future__ import annotations

import logging
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager, suppress
from dataclasses import asdict
from datetime import UTC, datetime
from typing import Any

import structlog
from celery import Celery
from celery.exceptions import Reject

from storage.tidy import tidy
from strongroom.errors import StorageError
from strongroom.routes import STORE_TASK
from tasks.backup import BACKUP, BACKUP_VERIFY
from tasks.backup_prune import BACKUP_PRUNE
from tasks.cleanup import CLEANUP, SWEEP
from tasks.compress import COMPRESS
from tasks.drill import DRILL
from tasks.jobs import run_job
from tasks.kinds import Kind
from tasks.prune import PRUNE
from tasks.reconcile import send_waiting
from tasks.routes import TASKS, TIDY_TASK, TREE_TASK
from tasks.scrub import SCRUB
from tasks.services import Services
from tasks.space import watch_space
from tasks.store import run_store
from tasks.verify import VERIFY

log = structlog.get_logger()

_OPTIONS: dict[str, Any] = {  # Celery's task options: of many types
    "bind": True,
    "acks_late": True,
    "reject_on_worker_lost": True,
    "ignore_result": True,
    "throws": (StorageError,),
    "typing": False,
    "shared": False,  # else the first application's tasks would answer for every later one
}
"""Late acknowledgement: a message leaves the broker when the ledger knows how its job ended, not before."""

KINDS: tuple[Kind[Any], ...] = (VERIFY, SCRUB, PRUNE, CLEANUP, SWEEP, COMPRESS, BACKUP, BACKUP_VERIFY, BACKUP_PRUNE, DRILL)
"""Every kind of job but a store."""

PAUSE_S = 1.0
"""Between two deliveries of a message that nothing could be done about."""

UNTOLD_S = 60.0
"""How long Flower is told nothing by a job when it could not be."""


def register_tasks(app: Celery, services: Callable[[], Services]) -> None:
    """Register every task. ``services`` returns the process's own: it is called in the process that runs a task."""

    @app.task(name=STORE_TASK, **_OPTIONS)
    def store(task: Any, /, *more: Any, **fields: Any) -> None:  # a bound task; the message as it came, checked by its contract
        with _coming_again():
            run_store(services(), _message(more, fields), task.request.id)
        _make_room(services(), "store")

    for kind in KINDS:
        _register_kind(app, services, kind)

    @app.task(name=TREE_TASK, **_OPTIONS)
    def tree(_task: object) -> None:
        shown = services().engine.tree.catch_up()
        if shown:
            log.info("tree caught up", versions=shown)

    @app.task(name=TIDY_TASK, **_OPTIONS, send_events=False)
    def tidy_up(_task: object) -> None:
        _watch_space(services())
        removed = asdict(tidy(services().engine.folder, datetime.now(UTC)))
        if any(removed.values()):
            log.info("tidied", **removed)


def _watch_space(services: Services) -> None:
    try:
        report = watch_space(services, datetime.now(UTC))
    except StorageError as error:  # whoever is alarmed by that is told by doctor and metrics, which need no ledger
        log.warning("how full the disk is cannot be recorded", error=error.message)
    else:
        if report.level != "fine":
            log.warning("the disk fills up", told=report.words())


def _register_kind(app: Celery, services: Callable[[], Services], kind: Kind[Any]) -> None:
    @app.task(name=TASKS[kind.name], **_OPTIONS)
    def run(task: Any, /, *more: Any, **fields: Any) -> None:  # as the message of a store
        with _coming_again():
            run_job(kind, services(), _message(more, fields), task.request.id, _Flower(task).show)
        _make_room(services(), kind.name)


def _make_room(services: Services, kind: str) -> None:
    """Send the next job of a kind that has a limit at once. The reconciler would within seconds: a failure here loses nothing."""
    if kind in services.limits:
        with suppress(StorageError):
            send_waiting(services)


class _Flower:
    """Tells Flower how far a job has come, by an event of our own: Flower shows its name as the task's state.

    What it cannot be told is in the ledger as well: no job fails, nor waits again and again, because the broker is gone.
    """

    def __init__(self, task: Any) -> None:
        self._task, self._again_s = task, 0.0

    def show(self, line: str) -> None:
        """Tell it, unless it could not be told a moment ago: each try may take a broker's whole patience, 6 to 30 s."""
        if time.monotonic() < self._again_s:
            return
        try:
            self._task.send_event("task-progress", retry=False, result=line)
        except Exception as error:  # noqa: BLE001  # the client library's own among them, which only workers/broker.py may name
            log.debug("Flower is not told how far a job has come", error=repr(error))
            self._again_s = time.monotonic() + UNTOLD_S


def _message(more: tuple[Any, ...], fields: dict[str, Any]) -> dict[str, Any]:
    """Return the fields; of a message that has positional arguments too, something that no contract knows."""
    return {**fields, "args": list(more)} if more else fields


@contextmanager
def _coming_again() -> Iterator[None]:
    """Put the message back into its queue when the job could not even be recorded: Celery would acknowledge and lose it."""
    try:
        yield
    except Exception as error:
        unforeseen = not isinstance(error, StorageError)
        log.log(logging.ERROR, "a message is put back into its queue", error=str(error), exc_info=unforeseen)
        time.sleep(PAUSE_S)  # nothing can be done meanwhile: this process has no ledger, or no disk
        raise Reject(str(error), requeue=True) from None
