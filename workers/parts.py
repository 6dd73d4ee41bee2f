"""The table of the service's parts: how each is started, when it is ready, and how it is asked to stop.

The supervisor, the Procfile, docker-compose.yml and the tests all start the service from this table.
"""

from __future__ import annotations

import signal
import sys
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from functools import partial
from pathlib import Path

from config.routes import HEARD
from config.settings import Settings
from strongroom.errors import BrokerUnavailable
from workers.broker import EmbeddedBroker, ping
from workers.dashboard import Dashboard
from workers.liveness import SILENT_AFTER_S, STALE_AFTER_S, has_given_sign, last_sign, last_work
from workers.nodes import node_name
from workers.watch import LOOK_WITHIN_S, Seen, Watch

NAMES = ("broker", "worker-short", "worker-long", "beat", "flower")

MAIN = "workers.main"

CHECKOUT = Path(__file__).resolve().parents[1]
"""The folder that the parts run in, so that ``python -m`` finds our packages and no other of the same name."""

StopStep = tuple[signal.Signals, float]
"""A signal, and the seconds to wait for the part to go before the next step. After the last one comes SIGKILL."""

_NOT_INHERITED = frozenset({"REMAP_SIGTERM", "NOTIFY_SOCKET", "STRONGROOM_FLOWER_PASSWORD"})

_PLAIN_STOP: tuple[StopStep, ...] = ((signal.SIGTERM, 10.0),)

FROZEN_AFTER_S = 60.0
"""How long a worker's own loop may stand still while its processes still work: a restart would cut them off."""


@dataclass(frozen=True, slots=True)
class Part:
    """One process of the service. ``after`` is the part whose readiness it waits for; lower ``stop_wave`` stops earlier.

    ``watches`` tell when it is silent though it runs; ``longest_pause_s`` is the most that it rests between two deaths.
    """

    name: str
    command: tuple[str, ...]
    environment: Mapping[str, str] = field(repr=False)
    is_ready: Callable[[], bool] = field(repr=False)
    after: str | None = None
    stop_wave: int = 0
    stop_steps: tuple[StopStep, ...] = _PLAIN_STOP
    watches: tuple[Watch, ...] = field(default=(), repr=False)
    longest_pause_s: float = 30.0


@dataclass(frozen=True, slots=True)
class Site:
    """What the parts of one service share. ``app`` is the module that holds the Celery app."""

    settings: Settings
    environ: Mapping[str, str] = field(repr=False)
    broker_url: str = field(repr=False)
    app: str = MAIN

    @property
    def outside_app(self) -> str:
        """The application for those who run no task: ours without them, or whichever there is."""
        return "workers.outside" if self.app == MAIN else self.app


def all_parts(site: Site, embedded: EmbeddedBroker | None, dashboard: Dashboard) -> tuple[Part, ...]:
    """Return every part, in the order in which they start; without ``embedded`` the broker is somebody else's."""
    broker = (broker_part(site, embedded),) if embedded else ()
    workers = (worker_part(site, "worker-short"), worker_part(site, "worker-long"))
    return (*broker, *workers, beat_part(site), flower_part(site, dashboard))


def broker_part(site: Site, embedded: EmbeddedBroker) -> Part:
    """Return the embedded broker. It is ready when it answers, and stops last: SIGTERM makes it flush its append-only file."""
    environment = {name: value for name, value in _inherited(site.environ).items() if not name.startswith("STRONGROOM_")}
    deaf = Watch(
        f"has not answered for {STALE_AFTER_S:.0f} s",
        lambda seen: object() if seen.broker_lives else None,
        lambda _seen: True,
        STALE_AFTER_S,
    )
    ready = partial(_answers, embedded.url)
    # Nobody can be asked whether jobs wait while it is dead: it never rests for long.
    return Part("broker", embedded.command, environment, ready, stop_wave=2, watches=(deaf,), longest_pause_s=1.0)


def worker_part(site: Site, name: str, silent_after_s: float = SILENT_AFTER_S) -> Part:
    """Return the worker ``worker-short`` or ``worker-long``, each with a queue of its own.

    It stops warm: running jobs finish. Those that have not when the grace period is over go back to the queue (SIGQUIT).
    ``worker_soft_shutdown_timeout`` does not serve: its wait is a sleep of the whole grace period, however short the job.
    """
    settings = site.settings
    queue = name.removeprefix("worker-")
    concurrency = settings.short_concurrency if queue == "short" else settings.long_concurrency
    arguments = (
        *("worker", "-Q", ",".join(HEARD[queue]), "-c", str(concurrency), "-n", node_name(name, settings.data_dir), "-E"),
        *("--without-gossip", "--without-mingle", "--include", "workers.pulse"),
    )
    return Part(
        name,
        _celery(site.app, *arguments, f"--loglevel={settings.log_level}"),
        _environment(site),
        partial(has_given_sign, settings.data_dir, name),
        after="broker" if queue == "short" else "worker-short",
        stop_wave=1,
        stop_steps=((signal.SIGTERM, float(settings.grace_period_s)), (signal.SIGQUIT, 10.0)),
        watches=worker_watches(settings.data_dir, name, silent_after_s),
    )


def worker_watches(data: Path, name: str, silent_after_s: float) -> tuple[Watch, ...]:
    """Return what tells that a worker runs and does not work: nothing done, or its loop frozen, while messages wait for it."""

    def wanted(seen: Seen) -> bool:
        return seen.waits_for(name)

    return (
        Watch(
            f"has done nothing for {silent_after_s:g} s while messages wait for it",
            lambda _seen: last_work(data, name),
            wanted,
            silent_after_s,
        ),
        Watch(
            f"has not looked at its queues for {FROZEN_AFTER_S:.0f} s",
            lambda _seen: last_sign(data, name),
            wanted,
            FROZEN_AFTER_S,
        ),
    )


def beat_part(site: Site) -> Part:
    """Return beat. It keeps its schedule in memory: no pickle on disk, and no lock file that outlives a kill."""
    data = site.settings.data_dir
    arguments = ("beat", "--scheduler", "workers.pulse:PulsedScheduler", "--max-interval=10", "--pidfile=")
    return Part(
        "beat",
        _celery(site.outside_app, *arguments, f"--loglevel={site.settings.log_level}"),
        _environment(site),
        partial(has_given_sign, data, "beat"),
        after="worker-short",
        watches=(
            Watch(
                f"has not looked at its schedule for {STALE_AFTER_S:.0f} s",
                lambda _seen: last_sign(data, "beat"),
                lambda seen: seen.broker_answers,
                STALE_AFTER_S,
            ),
        ),
    )


def flower_part(site: Site, dashboard: Dashboard) -> Part:
    """Return Flower. Its password goes by the environment."""
    environment = _environment(site) | dashboard.environment
    deaf = Watch(
        "has not answered for 60 s",
        lambda _seen: object() if dashboard.answers(LOOK_WITHIN_S) else None,
        lambda seen: seen.broker_answers,
        after_s=60.0,
        every_s=20.0,
    )
    # Another launcher of the same command: it adds /health and our metrics.
    command = _celery(site.outside_app, "flower", *dashboard.arguments, launcher="workers.web")
    return Part("flower", command, environment, dashboard.answers, after="worker-short", watches=(deaf,))


def _celery(app: str, *arguments: str, launcher: str = "workers.launch") -> tuple[str, ...]:
    return (sys.executable, "-m", launcher, "celery", "-A", app, *arguments)


def _environment(site: Site) -> dict[str, str]:
    own = {"STRONGROOM_DATA_DIR": str(site.settings.data_dir), "STRONGROOM_BROKER_URL": site.broker_url}
    return _inherited(site.environ) | own


def _inherited(environ: Mapping[str, str]) -> dict[str, str]:
    """Celery and Flower take options from CELERY_* and FLOWER_*, which beat ours; the rest is for the supervisor alone."""
    return {
        name: value
        for name, value in environ.items()
        if not name.startswith(("CELERY_", "FLOWER_")) and name not in _NOT_INHERITED
    }


def _answers(url: str) -> bool:
    try:
        ping(url, timeout_s=0.5)
    except BrokerUnavailable:
        return False
    return True
