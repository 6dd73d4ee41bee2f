"""Which queue a task goes to, by how long it may block."""

from __future__ import annotations

from strongroom.routes import LONG_QUEUE, SHORT_QUEUE, STORE_TASK, VERIFY_TASK

UPKEEP_QUEUE = "upkeep"
"""What keeps the service in order. Both workers hear it beside their own queue, in turn: no backlog holds it up."""

PRODUCERS_QUEUE = "celery"
"""Where a plain Celery producer sends when it names no queue."""

HEARD = {"short": (SHORT_QUEUE, PRODUCERS_QUEUE, UPKEEP_QUEUE), "long": (LONG_QUEUE, UPKEEP_QUEUE)}
"""The queues of each worker."""

ROUTES = {
    STORE_TASK: {"queue": SHORT_QUEUE},
    VERIFY_TASK: {"queue": LONG_QUEUE},
    "strongroom.tree": {"queue": LONG_QUEUE},
    "strongroom.tidy": {"queue": UPKEEP_QUEUE},
    "strongroom.reconcile": {"queue": UPKEEP_QUEUE},
}
"""A producer may name the long queue for a store of a large document: every worker knows every task."""
