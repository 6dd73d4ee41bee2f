"""A whole service in the foreground: the lock, the data folder, the broker, the parts, and what is told about them."""

from __future__ import annotations

import os
import time
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field, replace
from datetime import UTC, datetime
from functools import partial

from config.settings import Settings
from storage.layout import DataFolder
from strongroom.errors import BrokerUnavailable
from tasks.bell import take_down
from workers.broker import EmbeddedBroker, ping, prepare_embedded
from workers.console import Console
from workers.dashboard import Dashboard, prepare_dashboard
from workers.notify import notify
from workers.parts import Site, all_parts
from workers.preparation import run_apart
from workers.private_files import make_folder
from workers.processes import birth_of
from workers.service_lock import lock_service
from workers.service_state import PartState, ServiceState, remove_state, write_state
from workers.signals import Signals
from workers.supervisor import Supervisor
from workers.watch import look_around

BROKER_WITHIN_S = 8.0
"""With the last look's own patience: after 10 s whoever waits is told what address does not answer."""


@dataclass(frozen=True, slots=True)
class Order:
    """What to run. ``prepare`` makes the data folder ready (folders, migrations); ``app`` is the module of the Celery app."""

    settings: Settings
    environ: Mapping[str, str] = field(repr=False)
    prepare: Callable[[Settings], None]
    console: Console
    app: str = "workers.main"


def run_service(order: Order, on_ready: Callable[[ServiceState], None]) -> None:
    """Run the service until SIGINT, SIGTERM or SIGHUP asks it to stop; call ``on_ready`` once when all parts are ready.

    On return, however that comes about, no process of the service is left. Must be called by a process with one thread.

    Raises:
        DataFolderLocked: a service runs on the folder.
        DataFolderError: the folder holds other things than strongroom's, or a newer release made it.
        BrokerUnavailable: the broker that was set did not answer for 10 seconds.
        ServiceFailed: a part did not start.
        StorageError: what ``order.prepare`` raised.
    """
    data = order.settings.data_dir
    DataFolder(data).refuse_foreign()  # before the lock: it is a file in there
    with Signals() as signals:
        lock = lock_service(data)
        try:
            make_folder(data / "run")
            make_folder(data / "logs")
            run_apart(partial(order.prepare, order.settings), data / "logs" / "prepare.log", signals)
            embedded = _settle_broker(order.settings, signals)
            if not signals.stops:
                _supervise(order, lock, signals, embedded, on_ready)
        finally:
            remove_state(data)
            take_down(data / "run")
            os.close(lock)


def _supervise(
    order: Order, lock: int, signals: Signals, embedded: EmbeddedBroker | None, on_ready: Callable[[ServiceState], None]
) -> None:
    settings, data = order.settings, order.settings.data_dir
    dashboard = prepare_dashboard(settings)
    url = embedded.url if embedded else _external_url(settings) or ""
    parts = all_parts(Site(settings, order.environ, url, order.app), embedded, dashboard)
    socket = order.environ.get("NOTIFY_SOCKET")
    state = _first_state(settings, url, dashboard)

    def publish(parts: tuple[PartState, ...], ready: bool, stopping: bool) -> None:
        nonlocal state
        state = replace(state, parts=parts, ready=ready, stopping=stopping)
        if stopping:
            notify(socket, "STOPPING=1")
        write_state(state)

    def announce() -> None:
        notify(socket, "READY=1")
        on_ready(state)

    look = partial(look_around, url, data)
    Supervisor(parts, data, lock, signals=signals, console=order.console, publish=publish, look=look).run(announce)


def _settle_broker(settings: Settings, signals: Signals) -> EmbeddedBroker | None:
    url = _external_url(settings)
    if url is None:
        return prepare_embedded(settings.data_dir, settings.broker_fsync)
    deadline = time.monotonic() + BROKER_WITHIN_S
    while not signals.stops:
        try:
            ping(url, timeout_s=2.0)
            break
        except BrokerUnavailable:
            if time.monotonic() > deadline:
                raise
            signals.wait(0.5)
    return None


def _external_url(settings: Settings) -> str | None:
    return settings.broker_url.get_secret_value() if settings.broker_url else None


def _first_state(settings: Settings, url: str, dashboard: Dashboard) -> ServiceState:
    return ServiceState(
        pid=os.getpid(),
        birth=birth_of(os.getpid()) or "",
        started_at=datetime.now(UTC).isoformat(timespec="milliseconds"),
        data=str(settings.data_dir),
        broker_url=url,
        flower=dashboard.state,
        parts=(),
        ready=False,
        max_waiting=settings.max_waiting,
    )
