"""What tells a part that works from one that merely runs, and how long one may be silent while something is wanted of it."""

from __future__ import annotations

import os
from collections.abc import Callable, Mapping
from contextlib import suppress
from dataclasses import dataclass, field
from pathlib import Path

from config.routes import HEARD, JOB_QUEUES
from strongroom.errors import BrokerUnavailable, StorageError
from workers.broker import UNACKED, messages_in
from workers.liveness import SILENT_AFTER_S, is_alive, is_young, worked_s_ago

LOOK_WITHIN_S = 0.5
"""How long a look may wait for the broker: whoever looks has other things to do."""

LONGEST_PAUSE_S = 6.0
ABSENT_AFTER_S = 12.0
"""Without a look for so long, the one who looks was stopped himself."""

_QUEUES = tuple(dict.fromkeys(queue for queues in HEARD.values() for queue in queues))


@dataclass(frozen=True, slots=True)
class Seen:
    """What one look from outside told. ``messages`` wait in the queues; it is empty when the broker did not say."""

    broker_answers: bool = True
    broker_lives: bool = True
    messages: Mapping[str, int] = field(default_factory=dict)
    jobs_wait: bool = False

    def waits_for(self, worker: str) -> bool:
        """Whether something waits in a queue that the part ``worker`` hears."""
        return any(self.messages.get(queue, 0) for queue in HEARD[worker.removeprefix("worker-")])


def look_around(url: str, data: Path) -> Seen:
    """Look once at the broker and the inbox. Takes at most ``LOOK_WITHIN_S``, and little more."""
    try:
        messages = messages_in(url, _QUEUES, LOOK_WITHIN_S)
    except BrokerUnavailable as error:
        return Seen(False, bool(error.context.get("lives")), {}, inbox_waits(data))
    except StorageError:  # it refuses the password
        return Seen(False, True, {}, inbox_waits(data))
    jobs_wait = any(messages[name] for name in (*JOB_QUEUES, UNACKED)) or inbox_waits(data)
    return Seen(True, True, messages, jobs_wait)


def is_at_work(data: Path, part: str, seen: Seen) -> bool:
    """Judge a worker or beat once, from outside: what the supervisor's watches judge over a while.

    A worker works when it finished something, or was busy, a moment ago; or when nothing waits for it and its loop turns.
    """
    if part == "beat":
        return is_alive(data, part)
    if is_young(worked_s_ago(data, part), SILENT_AFTER_S):
        return True
    return seen.broker_answers and not seen.waits_for(part) and is_alive(data, part)


def pause_after_look(took_s: float, every_s: float) -> float:
    """Return how long to rest after a look: one that had to wait must not take all the time of who has other things to do."""
    return max(every_s, min(LONGEST_PAUSE_S, 4 * took_s))


def inbox_waits(data: Path) -> bool:
    """Tell whether an accepted job lies in the inbox, which is there until it is done whatever the broker knows."""
    with suppress(OSError), os.scandir(data / "inbox") as entries:
        return any(entry.name.endswith(".inbox") for entry in entries)
    return False


@dataclass(frozen=True, slots=True)
class Watch:
    """A part is silent when it gave no sign for ``after_s``, though something was ``wanted`` of it for the last third of that.

    A third, because a frozen worker takes one more message along: the broker hands it to a process that had asked for one.

    ``sign`` returns something that differs from what it returned before whenever the part has shown that it works; None is no
    sign. ``complaint`` says what is wrong then. ``every_s`` is for a sign that costs something to look at.
    """

    complaint: str
    sign: Callable[[Seen], object]
    wanted: Callable[[Seen], bool]
    after_s: float
    every_s: float = 0.0


class Watcher:
    """A watch over one process, from the moment that it is ready: what was seen, and when. Times are monotonic seconds."""

    def __init__(self, watch: Watch, now_s: float) -> None:
        self._watch = watch
        self._sign: object = None
        self._signed_at_s = self._wanted_since_s = self._looked_at_s = now_s

    def complains(self, seen: Seen, now_s: float) -> str | None:
        """Take one more look; return the complaint when the part is silent."""
        watch = self._watch
        absent_s = now_s - self._looked_at_s
        if absent_s < watch.every_s:
            return None
        self._looked_at_s = now_s
        if absent_s > watch.every_s + ABSENT_AFTER_S:  # we were stopped ourselves: who knows what was then
            self._signed_at_s = self._wanted_since_s = now_s
        sign = watch.sign(seen)
        if sign is not None and sign != self._sign:
            self._sign = sign
            self._signed_at_s = now_s
        if not watch.wanted(seen):
            self._wanted_since_s = now_s
        silent = now_s - self._signed_at_s >= watch.after_s and now_s - self._wanted_since_s >= watch.after_s / 3
        return watch.complaint if silent else None
