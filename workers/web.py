"""Flower with two pages of ours: ``python -m workers.web celery -A APP flower ...`` is ``celery -A APP flower ...`` and more.

``/health`` tells in JSON, and by its status, whether the service works; ``/metrics`` shows our figures behind Flower's. Neither
asks for the password, and neither tells a secret or the contents of a document.
"""

from __future__ import annotations

from workers.launch import run  # isort: skip - first: it holds back the search for garbage

import asyncio
import json
import logging
import sys
import time
from collections.abc import Iterable, Sequence
from concurrent.futures import Future
from threading import Thread
from typing import TYPE_CHECKING, Any

import prometheus_client
from flower.urls import handlers  # type: ignore[import-untyped]  # Flower has no types
from flower.views.monitor import Metrics  # type: ignore[import-untyped]  # as above
from prometheus_client.core import GaugeMetricFamily, Metric
from prometheus_client.registry import Collector
from tornado.web import RequestHandler

from config.settings import Settings, read_settings

if TYPE_CHECKING:
    from workers.scene import Onlooker, Scene

log = logging.getLogger(__name__)

FRESH_S = 2.0
"""However many ask, the service is looked at no more often than this."""

_WAIT_S = 3.0
"""How long whoever asks may wait for a look. A database that hangs must not hang this page: it says so."""

_FIRST_WAIT_S = 8.0
"""The same for the first look, which imports what it looks with: half a second, more on a machine that has much to do."""


class Window(Collector):
    """The last look at the service. The next one is taken by a thread, and there is one such thread at a time."""

    def __init__(self, settings: Settings) -> None:
        self._settings = settings
        self._onlooker: Onlooker | None = None
        self._running: Future[None] | None = None
        self.scene: Scene | None = None
        self._at_s = 0.0

    @property
    def age_s(self) -> float:
        """How long ago the last look was taken."""
        return time.monotonic() - self._at_s

    async def fresh(self) -> Scene | None:
        """Return a look of the last FRESH_S; None when none could be taken in time."""
        if self.scene is None or self.age_s >= FRESH_S:
            if self._running is None or self._running.done():
                self._running = Future()
                # No pool's thread: those are waited for when the process ends, and a database may hang.
                Thread(target=self._look, args=(self._running,), name="onlooker", daemon=True).start()
            patience_s = _WAIT_S if self._onlooker else _FIRST_WAIT_S
            await asyncio.wait([asyncio.wrap_future(self._running)], timeout=patience_s)
        return self.scene if self.age_s < FRESH_S + _WAIT_S else None

    def collect(self) -> Iterable[Metric]:
        """Yield what the last look told, and its age: a look that hangs must not pass for a calm one."""
        yield GaugeMetricFamily("strongroom_look_age_seconds", "Age of the figures named strongroom_*.", round(self.age_s, 3))
        if self.scene is not None:
            from workers.metrics import all_metrics  # noqa: PLC0415 - as in _look

            yield from all_metrics(self.scene)

    def describe(self) -> Iterable[Metric]:
        """Yield nothing: to register is no reason to look."""
        return ()

    def _look(self, done: Future[None]) -> None:
        try:
            if self._onlooker is None:
                from workers.scene import Onlooker  # noqa: PLC0415 - half of Flower's start, and many never ask for these pages

                self._onlooker = Onlooker(self._settings)
            self.scene = self._onlooker.look()
        except Exception:
            log.exception("the service could not be looked at")
        else:
            self._at_s = time.monotonic()
        finally:
            done.set_result(None)


class Health(RequestHandler):
    """``/health``: 200 when the service works, else 503; what is wrong stands in its JSON."""

    def initialize(self, window: Window) -> None:
        """Take what Tornado hands to each request."""
        self._window = window

    async def get(self) -> None:
        """Answer."""
        scene = await self._window.fresh()
        fields = health_fields(scene)
        self.set_status(200 if fields["ready"] else 503)
        self.set_header("Content-Type", "application/json")
        self.set_header("Cache-Control", "no-store")
        self.finish(json.dumps(fields) + "\n")


class OurMetrics(Metrics):  # type: ignore[misc]  # Flower has no types
    """``/metrics``: Flower's figures and ours, after a look that is fresh or as fresh as it can be."""

    def initialize(self, window: Window) -> None:
        """Take what Tornado hands to each request."""
        self._window = window

    async def get(self) -> None:
        """Answer."""
        await self._window.fresh()
        await super().get()


def health_fields(scene: Scene | None) -> dict[str, Any]:  # JSON
    """Return what ``/health`` says; of a look that could not be taken, that nothing is known to work."""
    if scene is None:
        return {"ready": False, "parts": {}, "broker": False, "database": False, "oldest_waiting_s": None}
    return {
        "ready": scene.ready,
        "parts": dict(scene.parts),
        "broker": scene.seen.broker_answers,
        "database": scene.database,
        "oldest_waiting_s": round(scene.oldest_waiting_s, 1),
    }


def add_pages(settings: Settings) -> None:
    """Put our pages before Flower's, which are in one list that its application is made from."""
    window = Window(settings)
    prometheus_client.REGISTRY.register(window)
    handlers[:0] = [(r"/health", Health, {"window": window}), (r"/metrics", OurMetrics, {"window": window})]


def main(command: Sequence[str]) -> None:
    """Add the pages, and be the ``celery`` command from there on."""
    add_pages(read_settings())
    sys.argv[:] = command  # Flower looks there for its own name
    run(command)


if __name__ == "__main__":
    main(sys.argv[1:])
