"""How long a store may be silent: a server that is frozen takes connections, and answers nothing."""

from __future__ import annotations

import time
from collections.abc import Callable
from typing import TYPE_CHECKING

from botocore.exceptions import ConnectionClosedError, ConnectTimeoutError, ReadTimeoutError

if TYPE_CHECKING:
    from types_boto3_s3.client import S3Client


def is_silence(error: Exception | None) -> bool:
    """Tell whether a request failed since the time for a sign of the server was over, and not since a connection broke."""
    if isinstance(error, ConnectionClosedError):  # so the library calls it, too, when the server does not take the body
        return any(isinstance(one, TimeoutError) for one in error.kwargs["error"].args)
    return isinstance(error, ConnectTimeoutError | ReadTimeoutError)


class Patience:
    """Ends the library's tries once a server was silent for long enough: that counts them, however long each one took.

    Whoever never heard the server gives up after ``timeout_s``. Whoever did bears it for as long again: the connection that
    was kept may be a dead one, and the next is new. Until the server is heard again, each request is made once.
    """

    def __init__(self, timeout_s: float, clock: Callable[[], float] = time.monotonic) -> None:
        self._timeout_s, self._clock = timeout_s, clock
        self._asked_at: float | None = None
        self._silent_since: float | None = None
        self._heard = False

    def watch(self, client: S3Client) -> None:
        """Follow all requests of a client."""
        client.meta.events.register("before-send.s3", self._asks)
        client.meta.events.register("response-received.s3", self._ended)
        client.meta.events.register_first("needs-retry.s3", self._refuses)  # before the library's own, which waits

    def broke_off(self, error: Exception) -> None:
        """Take note that a request failed, or an answer half-way: what was silent by then counts."""
        if not is_silence(error):
            self._asked_at = self._silent_since = None
        elif self._silent_since is None:
            earliest = self._clock() - self._timeout_s  # what went before was sent or came, for as long as that takes
            self._silent_since = max(earliest, self._asked_at or earliest)

    def is_over(self) -> bool:
        """Tell whether the server was silent for so long that it is given up."""
        since = self._silent_since
        return since is not None and self._clock() - since >= self._timeout_s * (2 if self._heard else 1)

    def _asks(self, **_: object) -> None:
        if self._asked_at is None:
            self._asked_at = self._clock()

    def _ended(self, exception: Exception | None = None, **_: object) -> None:
        if exception is not None:
            self.broke_off(exception)
        else:
            self._asked_at = self._silent_since = None
            self._heard = True

    def _refuses(self, caught_exception: Exception | None = None, **_: object) -> bool | None:
        return False if is_silence(caught_exception) and self.is_over() else None
