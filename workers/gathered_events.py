"""What a worker tells Flower of its tasks, many events at a time.

Celery gathers the events of a task only until its loop turns again, so that nearly each goes alone, and the worker's main process
waits for the broker each time: it spent 38 % of its time so. Nobody who looks at Flower sees a tenth of a second.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

from celery.events import EventDispatcher
from kombu.asynchronous import get_event_loop

GATHERED_S = 0.1
_AT_MOST = 300

# Any below: celery-types does not know what a dispatcher takes, nor kombu's loop.


class Dispatcher(EventDispatcher):
    """Sends the events of tasks every GATHERED_S, where Celery has it gather them at all: in a worker's loop."""

    def __init__(self, *arguments: Any, on_send_buffered: Callable[[], object] | None = None, **options: Any) -> None:
        self._due = False
        super().__init__(*arguments, **options)
        if on_send_buffered is not None:
            self.on_send_buffered = self._send_soon
            self.buffer_limit = _AT_MOST

    def _send_soon(self) -> None:
        if not self._due:
            self._due = True
            loop: Any = get_event_loop()
            loop.call_later(GATHERED_S, self._send)

    def _send(self) -> None:
        self._due = False
        self.flush()

    def disable(self) -> None:
        """Send what was gathered, then stop: a worker that ends tells of its last tasks.

        Without a broker the events stay, and Celery hands them to the next dispatcher.
        """
        if self.enabled:
            self.flush()
        super().disable()
