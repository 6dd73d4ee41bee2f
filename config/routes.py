"""Which queue a task goes to, by how long it may block."""

from __future__ import annotations

from strongroom.routes import LONG_QUEUE, SHORT_QUEUE, STORE_TASK, VERIFY_TASK

UPKEEP_QUEUE = "upkeep"
"""What keeps the service in order. Both workers hear it beside their own queue, in turn: no backlog holds it up."""

PRODUCERS_QUEUE = "celery"
"""Where a plain Celery producer sends when it names no queue."""

PROBE_QUEUES = {"short": "probe-short", "long": "probe-long"}
"""Each worker's own, and of no other: what waits there waits for that worker (docs/decisions/0010-probes.md)."""

JOB_QUEUES = (SHORT_QUEUE, LONG_QUEUE, PRODUCERS_QUEUE)
"""Where somebody's work waits; the others hold rings that the next ring replaces."""

HEARD = {
    "short": (SHORT_QUEUE, PRODUCERS_QUEUE, UPKEEP_QUEUE, PROBE_QUEUES["short"]),
    "long": (LONG_QUEUE, UPKEEP_QUEUE, PROBE_QUEUES["long"]),
}
"""The queues of each worker."""

ROUTES = {
    STORE_TASK: {"queue": SHORT_QUEUE},
    VERIFY_TASK: {"queue": LONG_QUEUE},
    "strongroom.tree": {"queue": LONG_QUEUE},
    "strongroom.tidy": {"queue": UPKEEP_QUEUE},
    "strongroom.reconcile": {"queue": UPKEEP_QUEUE},
}
"""A producer may name the long queue for a store of a large document: every worker knows every task."""
