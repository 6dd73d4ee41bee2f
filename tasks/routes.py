"""The names of all tasks, and where the jobs of a kind go. Imports nothing: commands queue jobs by it."""

from __future__ import annotations

from types import MappingProxyType

from strongroom.routes import LONG_QUEUE, SHORT_QUEUE, STORE_TASK, VERIFY_TASK

TREE_TASK = "strongroom.tree"
TIDY_TASK = "strongroom.tidy"
PRUNE_TASK = "strongroom.prune"
CLEANUP_TASK = "strongroom.cleanup"
SWEEP_TASK = "strongroom.sweep"
COMPRESS_TASK = "strongroom.compress"
SCRUB_TASK = "strongroom.scrub"
BACKUP_TASK = "strongroom.backup"
BACKUP_VERIFY_TASK = "strongroom.backup_verify"
BACKUP_PRUNE_TASK = "strongroom.backup_prune"
DRILL_TASK = "strongroom.drill"
"""The tasks that nobody outside sends."""

TASKS = MappingProxyType(
    {
        "store": STORE_TASK,
        "verify": VERIFY_TASK,
        "prune": PRUNE_TASK,
        "cleanup": CLEANUP_TASK,
        "sweep": SWEEP_TASK,
        "scrub": SCRUB_TASK,
        "compress": COMPRESS_TASK,
        "backup": BACKUP_TASK,
        "backup_verify": BACKUP_VERIFY_TASK,
        "backup_prune": BACKUP_PRUNE_TASK,
        "drill": DRILL_TASK,
    }
)
QUEUES = MappingProxyType({kind: SHORT_QUEUE if kind == "store" else LONG_QUEUE for kind in TASKS})
"""Which task does the jobs of a kind, and which queue they go to when nothing else is known of them."""
