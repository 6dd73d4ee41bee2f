"""The broker is gone for a minute, and back with its data or empty, while documents are stored all the time."""

from __future__ import annotations

import hashlib
import time
from collections.abc import Callable
from dataclasses import dataclass, field

from faults.audit import Audit, audit
from faults.book import accepted_files, ended, opened
from faults.broker import Broker
from faults.documents import paper
from faults.processes import NeverCameTrue, await_that
from faults.rows import Row
from faults.senders import Sent
from faults.service import Service, scratch, service
from faults.sizes import Sizes
from faults.tell import Tell
from strongroom.client import Client
from strongroom.result import Err, Ok

_LIBRARIES = 10
_HEALED_WITHIN_S = 120.0


def run(sizes: Sizes, seed: int, tell: Tell) -> list[Row]:
    """Let the broker go twice: it comes back with its data, and it comes back with nothing."""
    with scratch(keep=sizes.keep) as folder:
        broker = Broker(folder / "broker")
        broker.start()
        with service(folder, STRONGROOM_BROKER_URL=broker.url) as running, Client.of_service(running.data) as client:
            producer = _Producer(client, seed, 1 / sizes.offered_per_s)
            outages = [_go(sizes, broker, running, producer, tell, with_data=kept) for kept in (True, False)]
            running.stop()
            found = audit(running, producer.sent)
    for line in found.told():
        tell(f"WRONG: {line}")
    return _rows(sizes, producer, found, outages)


@dataclass(frozen=True, slots=True)
class _Outage:
    """How it went: how many jobs were accepted meanwhile, and when all accepted had ended after the broker was back."""

    back: str
    waiting: int
    meanwhile: int
    healed_s: float


@dataclass
class _Producer:
    """Stores one document after the other, at an even pace, whether the broker is there or not."""

    client: Client
    seed: int
    pause_s: float
    sent: list[Sent] = field(default_factory=list)
    told: dict[str, int] = field(default_factory=dict)
    """How often the client answered what."""

    def store_until(self, over: Callable[[], bool]) -> int:
        """Store until ``over``; return how many documents were accepted meanwhile."""
        before = self.accepted
        while not over():
            due_s = time.monotonic() + self.pause_s
            self.store()
            time.sleep(max(0.0, due_s - time.monotonic()))
        return self.accepted - before

    def store(self) -> None:
        """Store one document. One that is not accepted is offered no more: the next one differs."""
        one = paper(self.seed, len(self.sent), 0, _LIBRARIES)
        answer = self.client.store(one.data, receipt=False)
        said = answer.problem.code if isinstance(answer, Err) else "accepted"
        self.told[said] = self.told.get(said, 0) + 1
        job_id = answer.value.request_id if isinstance(answer, Ok) else ""
        digest = hashlib.sha256(one.data).hexdigest()
        said = "yes" if isinstance(answer, Ok) else "perhaps"
        self.sent.append(Sent(job_id, one.library_id, one.version, digest, said, receipt=False))

    @property
    def accepted(self) -> int:
        """How many documents were accepted so far."""
        return sum(one.said == "yes" for one in self.sent)


def _go(sizes: Sizes, broker: Broker, running: Service, producer: _Producer, tell: Tell, *, with_data: bool) -> _Outage:
    back = "back with its data" if with_data else "back empty"
    waiting = _burst(producer, running, sizes.burst)
    broker.go(with_data=with_data)
    tell(f"the broker is gone, {waiting} jobs have not ended")
    back_s = time.monotonic() + sizes.away_s
    meanwhile = producer.store_until(lambda: time.monotonic() >= back_s)
    broker.start()
    came_s = time.monotonic()
    tell(f"{back}; {meanwhile} accepted meanwhile; answers so far: {producer.told}")
    producer.store_until(lambda: time.monotonic() >= came_s + sizes.away_s / 10)
    healed = _await_all(running, producer.accepted, tell)
    tell(f"all {producer.accepted} have ended {time.monotonic() - came_s:.1f} s after the broker was back")
    return _Outage(back, waiting, meanwhile, time.monotonic() - came_s if healed else float("inf"))


def _burst(producer: _Producer, running: Service, count: int) -> int:
    """Store faster than the workers work, so that messages wait; return how many jobs have not ended."""
    for _ in range(count):
        producer.store()
    with opened(running.data) as book:
        return producer.accepted - ended(book.counts())


def _await_all(running: Service, accepted: int, tell: Tell) -> bool:
    """Whether every accepted job ends by itself."""
    with opened(running.data) as book:

        def all_ended() -> bool:
            counts = book.counts()
            return ended(counts) == sum(counts.values()) >= accepted and accepted_files(running.data) == 0

        try:
            await_that(all_ended, "everything accepted ends", _HEALED_WITHIN_S)
        except NeverCameTrue as error:
            tell(f"WRONG: {error}: {book.counts()}, {accepted_files(running.data)} files in the inbox")
            return False
        return True


def _rows(sizes: Sizes, producer: _Producer, found: Audit, outages: list[_Outage]) -> list[Row]:
    what = f"broker gone for {sizes.away_s:.0f} s"
    rows = [
        Row(
            f"{what} and {one.back}: everything accepted finishes",
            "all, with no manual step",
            f"{one.healed_s:.1f} s after the broker was back; {one.waiting} waited when it went, {one.meanwhile} came meanwhile",
            one.healed_s < float("inf") and one.waiting > 0,
        )
        for one in outages
    ]
    wrong = sum(len(cases) for cases in found.complaints.values())
    told = ", ".join(f"{said} {count}" for said, count in sorted(producer.told.items()))
    read = f"{found.read:,} of {found.accepted:,} read back, {wrong} complaints"
    meanwhile = sum(one.meanwhile for one in outages)
    return [
        *rows,
        Row(f"{what}, twice: stored once each", "all", read, wrong == 0 and found.read == found.revisions >= found.accepted > 0),
        Row(f"{what}, twice: what the client answers", "accepted, all the while", told, meanwhile > 0),
    ]
