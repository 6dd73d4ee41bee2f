"""Celery's settings: what they are and why. docs/explanation/queue.md tells what was measured."""

from __future__ import annotations

from typing import Any

from config.routes import ROUTES
from config.schedules import SCHEDULE
from strongroom.routes import PRIORITY_STEPS, SHORT_QUEUE

VISIBILITY_TIMEOUT_S = 6 * 3600
"""Above the longest job: the broker must never hand out a job that still runs. Lost ones come back by the reconciler."""


def celery_config() -> dict[str, Any]:
    """Return Celery's configuration, apart from the broker's address."""
    return {
        "accept_content": ["json"],
        "task_serializer": "json",
        "result_serializer": "json",
        "result_backend": None,
        "task_ignore_result": True,
        "task_acks_late": True,
        "task_reject_on_worker_lost": True,
        "worker_prefetch_multiplier": 1,
        # Keeps what it cannot read, where Celery's own logs it and lets it go.
        "worker_consumer": "workers.consumer:KeepingConsumer",
        "task_default_queue": SHORT_QUEUE,
        "task_create_missing_queues": True,
        "task_routes": ROUTES,
        "beat_schedule": SCHEDULE,
        "timezone": "UTC",
        "enable_utc": True,
        "broker_transport_options": {
            "visibility_timeout": VISIBILITY_TIMEOUT_S,
            "priority_steps": list(PRIORITY_STEPS),
            "socket_timeout": 30,
            "socket_connect_timeout": 5,
            "socket_keepalive": True,
            "health_check_interval": 25,
        },
        "broker_connection_retry_on_startup": True,
        "broker_connection_max_retries": None,
        # 0: the supervisor waits for running jobs itself; this would sleep its whole length after SIGQUIT.
        "worker_soft_shutdown_timeout": 0,
        "worker_enable_soft_shutdown_on_idle": False,
        "worker_hijack_root_logger": False,
        "worker_redirect_stdouts": False,
        "worker_send_task_events": True,
        "task_send_sent_event": False,
        "worker_cancel_long_running_tasks_on_connection_loss": False,
        "worker_proc_alive_timeout": 60,
    }
