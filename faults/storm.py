"""Many store jobs while children, workers and the broker are killed, frozen and flushed, and every message comes twice."""

from __future__ import annotations

import random
import time
from collections.abc import Callable

from faults.audit import Audit, audit
from faults.book import Book, accepted_files, ended, opened
from faults.injector import Injector
from faults.processes import NeverCameTrue, await_that
from faults.rows import Row
from faults.senders import TEAM, Load, Team, team
from faults.service import Service, scratch, service
from faults.sizes import Sizes
from faults.tell import Tell

_STUCK_S = 120.0
"""Without any fault, and without any job ending for so long: what has not ended never will."""


def run(sizes: Sizes, seed: int, tell: Tell) -> list[Row]:
    """Send, break, wait until nothing is left to be done, and count."""
    with scratch(keep=sizes.keep) as folder, service(folder) as running, opened(running.data) as book:
        load = Load(running.data, folder / "notes", seed, sizes.jobs, max(10, sizes.jobs // 50), sizes.later_s)
        injector = Injector(running, book, random.Random(f"{seed}:faults"), sizes.freeze_s)  # noqa: S311
        with team(load) as senders:
            started = time.monotonic()
            _Storm(sizes, running, book, injector, senders, tell).blow()
            took = time.monotonic() - started
            twice, sent = senders.rung_twice.value, list(senders.notes())
        running.stop()
        tell("stopped; now everything is read again")
        found = audit(running, sent)
    for line in found.told():
        tell(f"WRONG: {line}")
    return _rows(sizes, injector, found, twice, took)


class _Storm:
    """The loop that lets the senders go on, breaks things, and sees when all is done."""

    def __init__(self, sizes: Sizes, running: Service, book: Book, injector: Injector, senders: Team, tell: Tell) -> None:
        self._sizes, self._running, self._book, self._senders, self._tell = sizes, running, book, senders, tell
        self._injector = injector
        self._started_s = self._calm_until_s = time.monotonic()
        self._told_s = 0.0

    def blow(self) -> None:
        """Return when every job has ended, or none ends any more though nothing is broken any more."""
        self._senders.released.value = TEAM
        await_that(lambda: self._senders.accepted.value == TEAM, "every sender has begun", 60)
        self._started_s = time.monotonic()
        self._calm_until_s = self._started_s + self._sizes.calm_s[0]
        progress = _Progress()
        while not (self._senders.finished and self._enough()):
            self._turn()
            if progress.stands_still(self._ended(), _STUCK_S):
                self._tell("nothing ends any more; the faults stop")
                break
            time.sleep(0.05)
        for said in self._injector.thaw(everything=True):
            self._tell(said)
        self._tell(f"the faults are over: {dict(self._injector.fired)}")
        progress = _Progress()
        try:
            await_that(lambda: self._settled(progress), "all jobs have ended", 3600)
        except NeverCameTrue as error:
            self._tell(f"WRONG: {error}")

    def _settled(self, progress: _Progress) -> bool:
        if progress.stands_still(self._ended(), _STUCK_S):
            raise NeverCameTrue(f"no job ends any more; the ledger has {self._book.counts()}")
        parts = ("broker", "worker-short", "worker-long")
        return self._senders.finished and self._all_ended() and all(self._running.pid(part) for part in parts)

    def _turn(self) -> None:
        now = time.monotonic()
        self._senders.released.value = self._release()
        for said in self._injector.thaw():
            self._tell(said)
        if now >= self._calm_until_s:
            done = self._injector.fire()
            if done is not None:
                self._tell(done)
                self._calm_until_s = time.monotonic() + self._injector.chooser.uniform(*self._sizes.calm_s)
        if now >= self._told_s + 5.0:
            self._told_s = now
            self._tell(f"accepted {self._senders.accepted.value:,}, ledger {self._book.counts()}")

    def _release(self) -> int:
        """Return how many may be sent: a bounded backlog, and no sooner all than every kind of fault can have fired enough."""
        needed_s = self._sizes.least * len(self._injector.kinds) * sum(self._sizes.calm_s) / 2
        share = min(1.0 if self._enough() else 0.95, (time.monotonic() - self._started_s) / needed_s)
        waiting = self._senders.accepted.value - self._ended()
        room = max(0, self._sizes.outstanding - waiting)
        return max(self._senders.released.value, min(int(self._sizes.jobs * share), self._senders.accepted.value + room))

    def _enough(self) -> bool:
        return self._injector.least >= self._sizes.least

    def _ended(self) -> int:
        return ended(self._book.counts())

    def _all_ended(self) -> bool:
        counts = self._book.counts()
        return ended(counts) == sum(counts.values()) >= self._sizes.jobs and accepted_files(self._running.data) == 0


class _Progress:
    """Whether a number still changes."""

    def __init__(self) -> None:
        self._last, self._since_s = -1, time.monotonic()

    def stands_still(self, number: int, for_s: float) -> bool:
        """Whether it has been this number for so long."""
        if number != self._last:
            self._last, self._since_s = number, time.monotonic()
        return time.monotonic() - self._since_s > for_s


def _rows(sizes: Sizes, injector: Injector, found: Audit, twice: int, took: float) -> list[Row]:
    jobs = f"{sizes.jobs:,} store jobs under faults"
    lost = found.count("lost", "no row")
    doubled = found.count("stored twice", "never sent", "revisions", "phantom jobs", "sums")
    unread = found.count("unreadable") + found.revisions - found.read - found.count("unreadable")
    not_done = sum(len(cases) for kind, cases in found.complaints.items() if kind.startswith("job ")) + found.count("left")
    told = f"{found.receipts} receipts" + (f", {found.count('receipts')} missing" if found.count("receipts") else "")
    fired = ", ".join(f"{kind} {injector.fired[kind]}" + _hand(injector, kind) for kind in injector.kinds)
    woken = ", ".join(f"{count} {what}" for what, count in sorted(injector.woken.items()))
    enough: Callable[[], bool] = lambda: injector.least >= sizes.least  # noqa: E731
    return [
        Row(
            f"{jobs}: lost",
            "0",
            f"{lost} of {found.accepted:,} accepted, in {took:.0f} s",
            lost == 0 and found.accepted == sizes.jobs,
        ),
        Row(
            f"{jobs}: with two effects",
            "0",
            f"{doubled}; {found.revisions:,} revisions, {found.repeated:,} jobs ran again",
            doubled == 0,
        ),
        Row(f"{jobs}: read back, digests compared", "all", f"{found.read:,} of {found.revisions:,}", unread == 0),
        Row(
            f"{jobs}: not done, left over, receipt missing",
            "0",
            f"{not_done + found.count('receipts')}; {told}",
            not_done + found.count("receipts") == 0,
        ),
        Row(f"{jobs}: what verify finds", "nothing", f"{found.count('verify')} findings", found.count("verify") == 0),
        Row(
            "faults that fired (of those: with a job in hand)",
            f"each kind {sizes.least} times",
            f"{fired}; frozen: {woken}",
            enough(),
        ),
        Row(
            "messages delivered twice; lost by the flushed broker",
            "every one; some",
            f"{twice:,}; {injector.messages_lost:,}",
            twice == found.accepted and injector.messages_lost > 0,
        ),
    ]


def _hand(injector: Injector, kind: str) -> str:
    return f" ({injector.in_hand[kind]})" if injector.in_hand[kind] else ""
