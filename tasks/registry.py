"""The Celery tasks: names, acknowledgement and limits. What they do is in the modules beside this one."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import asdict
from datetime import UTC, datetime
from typing import Any

import structlog
from celery import Celery

from storage.tidy import tidy
from strongroom.errors import StorageError
from strongroom.routes import STORE_TASK, VERIFY_TASK
from tasks.reconcile import run_reconcile
from tasks.services import RECONCILE_TASK, TIDY_TASK, TREE_TASK, Services
from tasks.store import run_store
from tasks.verify import run_verify

log = structlog.get_logger()

_OPTIONS: dict[str, Any] = {  # Celery's task options: of many types
    "bind": True,
    "acks_late": True,
    "reject_on_worker_lost": True,
    "ignore_result": True,
    "throws": (StorageError,),
    "typing": False,
}
"""Late acknowledgement: a message leaves the broker when the ledger knows how its job ended, not before."""


def register_tasks(app: Celery, services: Callable[[], Services]) -> None:
    """Register every task. ``services`` returns the process's own: it is called in the process that runs a task."""

    @app.task(name=STORE_TASK, **_OPTIONS)
    def store(task: Any, **fields: Any) -> None:  # a bound task; the message as it came, checked by its contract
        run_store(services(), fields, task.request.id)

    @app.task(name=VERIFY_TASK, **_OPTIONS)
    def verify(task: Any, **fields: Any) -> None:  # as above
        run_verify(services(), fields, task.request.id)

    @app.task(name=TREE_TASK, **_OPTIONS)
    def tree(_task: object) -> None:
        shown = services().engine.tree.catch_up()
        if shown:
            log.info("tree caught up", versions=shown)

    @app.task(name=RECONCILE_TASK, **_OPTIONS)
    def reconcile(_task: object) -> None:
        again = run_reconcile(services())
        if again:
            log.info("sent again what nobody was doing", jobs=again)

    @app.task(name=TIDY_TASK, **_OPTIONS)
    def tidy_up(_task: object) -> None:
        log.info("tidied", **asdict(tidy(services().engine.folder, datetime.now(UTC))))
