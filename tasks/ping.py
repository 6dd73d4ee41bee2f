"""The dead-man's ping: a service outside is told that a run begins and how it ends, and raises the alarm when it hears nothing.

The protocol is that of healthchecks.io: the URL itself means that all went well, ``/start`` and ``/fail`` behind its path what
they say, and ``rid`` ties a start to its end. For others the words go where the URL has ``{state}``.
"""

from __future__ import annotations

import http.client
import threading
import time
import urllib.parse
import urllib.request
import uuid
from collections.abc import Iterator
from contextlib import contextmanager
from typing import Literal

import structlog

log = structlog.get_logger()

State = Literal["start", "success", "fail"]

TRY_S = 5.0
WITHIN_S = 15.0
"""For the last ping of a run: it is over by then, and waits no longer to have said so."""

_PLACE = "{state}"


@contextmanager
def pinged(url: str | None, within_s: float = WITHIN_S) -> Iterator[None]:
    """Tell that a run begins, and at the end whether it raised. Without a URL it does nothing.

    The run does not wait for the first ping, and ``within_s`` at most for the last. A ping that fails is logged, without its
    address, which is a secret; it changes nothing of the run.
    """
    if url is None:
        yield
        return
    run = uuid.uuid4()
    begun = _send(url, "start", run, within_s / 3)
    state: State = "fail"
    try:
        yield
        state = "success"
    finally:
        deadline = time.monotonic() + within_s
        begun.join(within_s / 2)  # a start that comes after its end would open a run that never ends
        if not begun.is_alive():
            left_s = deadline - time.monotonic()
            _send(url, state, run, 0.9 * left_s).join(left_s)


def address(url: str, state: State, run: uuid.UUID) -> str:
    """Return where a state is said."""
    if _PLACE in url:
        return url.replace(_PLACE, state)
    parts = urllib.parse.urlsplit(url)
    path = parts.path.rstrip("/") + ("" if state == "success" else f"/{state}")
    query = "&".join(filter(None, (parts.query, f"rid={run}")))
    return urllib.parse.urlunsplit(parts._replace(path=path, query=query))


def _send(url: str, state: State, run: uuid.UUID, within_s: float) -> threading.Thread:
    thread = threading.Thread(target=_ping, args=(address(url, state, run), state, within_s), name="ping", daemon=True)
    thread.start()
    return thread


def _ping(said: str, state: State, within_s: float) -> None:
    deadline = time.monotonic() + within_s
    pause_s, reason = 0.25, "no time was left"
    while (left_s := deadline - time.monotonic()) > 0:
        try:
            request = urllib.request.Request(said, headers={"User-Agent": "strongroom"})  # noqa: S310 - the settings take http(s) alone
            with urllib.request.urlopen(request, timeout=min(TRY_S, left_s)):  # noqa: S310 - as above
                return
        except (OSError, ValueError, http.client.HTTPException) as error:
            reason = type(error).__name__
        time.sleep(min(pause_s, max(0.0, deadline - time.monotonic())))
        pause_s *= 2
    log.warning("the dead-man's switch could not be told", state=state, reason=reason)
