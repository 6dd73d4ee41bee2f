"""Which queue a task goes to, by how long it may block."""

from __future__ import annotations

from strongroom.routes import LONG_QUEUE, SHORT_QUEUE, STORE_TASK, VERIFY_TASK

ROUTES = {
    STORE_TASK: {"queue": SHORT_QUEUE},
    VERIFY_TASK: {"queue": LONG_QUEUE},
    "strongroom.tree": {"queue": LONG_QUEUE},
    "strongroom.tidy": {"queue": LONG_QUEUE},
    "strongroom.reconcile": {"queue": SHORT_QUEUE},
}
"""A producer may name the long queue for a store of a large document: every worker knows every task."""
