"""tasks/schedule.py: a slot has one effect, whoever looks and wherever it dies."""

from __future__ import annotations

import json
import tempfile
from collections import Counter
from collections.abc import Collection, Iterator, Mapping
from contextlib import ExitStack
from dataclasses import replace
from datetime import UTC, datetime, timedelta
from functools import partial
from pathlib import Path
from typing import Any

import pytest
from hypothesis import settings
from hypothesis import strategies as st
from hypothesis.stateful import RuleBasedStateMachine, initialize, invariant, rule

from config.cron import Cron
from models.database import Database
from models.leases import end_job, take_leases
from models.ledger import ACTIVE, NewJob
from models.listing import newest_jobs
from models.migrate import upgrade
from models.schedule import MISSED_AT_MOST, UNSEEN, Plan, last_slots, slot_job_id
from strongroom.errors import BrokerUnavailable
from tasks.entering import queue_now
from tasks.schedule import run_due
from tests.conftest import MEMORY
from tests.support.crash import crash_at, die_at, start_child, steps_of, wait_for

NOON = datetime(2026, 11, 1, 12, tzinfo=UTC)
MINUTE = timedelta(minutes=1)
PLAN = Plan("sweep", "verify", "strongroom.verify", "long", {"library_id": "/a/b"}, Cron("*/10 * * * *"))
BEGUN = NOON - MINUTE


class Mailbox:
    """A broker that keeps what it is sent, or one that is away."""

    def __init__(self, *, away: bool = False) -> None:
        self.away = away
        self.messages: list[tuple[str, dict[str, Any], str, int]] = []

    def send(self, task: str, arguments: Mapping[str, Any], *, queue: str, priority: int = 0) -> None:
        if self.away:
            raise BrokerUnavailable("It is away.")
        self.messages.append((task, dict(arguments), queue, priority))

    def free(self, queues: Collection[str]) -> set[str]:
        return set(queues)


@pytest.fixture
def url(scratch: Path) -> str:
    """A catalogue on which the schedule was looked at a minute before noon."""
    address = f"sqlite:///{scratch / 'catalogue.db'}"
    database = Database(address)
    upgrade(database)
    run_due(database, Mailbox(), [PLAN], BEGUN, "before")
    database.close()
    return address


@pytest.fixture
def database(url: str) -> Iterator[Database]:
    one = Database(url)
    yield one
    one.close()


def jobs_of(database: Database) -> dict[str, str]:
    with database.read() as connection:
        return {row.job_id: row.state for row in newest_jobs(connection, limit=10_000)}


def slots_of(database: Database) -> dict[datetime, str]:
    with database.read() as connection:
        return {slot.slot_at: slot.state for slot in last_slots(connection, PLAN.name, 100_000)}


def test_a_due_slot_queues_its_job_and_sends_its_message(database: Database) -> None:
    mailbox = Mailbox()
    assert [slot.state for slot in run_due(database, mailbox, [PLAN], NOON, "here")] == ["ran"]
    message = {"contract": 1, "request_id": "sweep-20261101T120000Z", "library_id": "/a/b"}
    assert mailbox.messages == [("strongroom.verify", message, "long", 3)]
    with database.read() as connection:
        [row] = newest_jobs(connection)
    assert (row.kind, row.asked_by, row.state, row.queue, row.priority) == ("verify", "schedule", "queued", "long", 3)
    assert (json.loads(row.payload), row.due_at, row.subject) == (message, NOON, "sweep")
    assert run_due(database, mailbox, [PLAN], NOON, "here") == []
    assert len(mailbox.messages) == 1


def test_a_broker_that_is_away_delays_the_message_and_not_the_job(database: Database) -> None:
    other = replace(PLAN, name="other")
    run_due(database, Mailbox(), [other], BEGUN, "before")
    run_due(database, Mailbox(away=True), [PLAN, other], NOON, "here")
    assert sorted(jobs_of(database)) == ["other-20261101T120000Z", "sweep-20261101T120000Z"]


def test_a_look_that_finds_nothing_due_takes_no_lock(database: Database) -> None:
    assert steps_of(lambda: run_due(database, Mailbox(), [PLAN], BEGUN + timedelta(seconds=5), "here")) == []


def test_a_person_may_start_one_at_any_time(database: Database, scratch: Path) -> None:
    ids = [queue_now(database, scratch, PLAN, "person:ada@host", NOON) for _ in range(2)]
    with database.read() as connection:
        rows = newest_jobs(connection)
    assert {row.job_id for row in rows} == set(ids)
    assert {(row.asked_by, row.due_at) for row in rows} == {("person:ada@host", NOON)}
    assert slots_of(database) == {}


def test_a_crash_at_any_durable_step_leaves_one_effect(url: str, scratch: Path) -> None:
    now = NOON + 25 * MINUTE
    states = {NOON: "missed", NOON + 10 * MINUTE: "missed", NOON + 20 * MINUTE: "late"}

    def work() -> None:
        database = Database(url)
        run_due(database, Mailbox(), [PLAN], now, "dies")
        database.close()

    before = (scratch / "catalogue.db").read_bytes()
    steps = steps_of(work)
    assert steps == ["schedule: commit", "schedule: committed"]
    for number in range(1, len(steps) + 1):
        for leftover in scratch.glob("catalogue.db*"):
            leftover.unlink()
        (scratch / "catalogue.db").write_bytes(before)
        die_at(number, work)
        database = Database(url)
        mailbox = Mailbox()
        run_due(database, mailbox, [PLAN], now, "heals")
        assert slots_of(database) == states, steps[number - 1]
        assert jobs_of(database) == {"sweep-20261101T122000Z": "queued"}, steps[number - 1]
        assert len(mailbox.messages) == (steps[number - 1] == "schedule: commit"), "what was committed is due in the ledger"
        database.close()


def test_processes_that_look_at_the_same_time_never_both_win(url: str, database: Database, scratch: Path) -> None:
    slots = 40

    def look(name: str) -> None:
        own = Database(url)
        mailbox = Mailbox()
        for number in range(slots):
            run_due(own, mailbox, [PLAN], NOON + number * 10 * MINUTE, name)
        (scratch / name).write_text("\n".join(message[1]["request_id"] for message in mailbox.messages))
        own.close()

    children = [start_child(partial(look, name)) for name in ("a", "b", "c")]
    assert [wait_for(child) for child in children] == [0, 0, 0]
    sent = Counter(line for name in "abc" for line in (scratch / name).read_text().split())
    states = slots_of(database)
    assert len(states) == slots
    started = {slot_job_id(PLAN.name, at) for at, state in states.items() if state in {"ran", "late"}}
    assert sent == Counter(started), "each message was sent by one process"
    assert set(jobs_of(database)) == started


class Clocks(RuleBasedStateMachine):
    """Two processes whose clocks jump and that die at random, and workers that end jobs; a model says what each slot is."""

    EVERY = timedelta(minutes=10)

    @initialize()
    def begin(self) -> None:
        self.closing = ExitStack()
        folder = self.closing.enter_context(tempfile.TemporaryDirectory(dir=MEMORY if MEMORY.exists() else None))
        url = f"sqlite:///{folder}/catalogue.db"
        self.databases = [Database(url), Database(url)]
        upgrade(self.databases[0])
        self.now = NOON
        self.seen: datetime | None = None
        self.states: dict[datetime, str] = {}
        self.active: set[str] = set()
        self.sent: Counter[str] = Counter()

    @rule(
        seconds=st.integers(0, 700)
        | st.integers(-4000, 4000)
        | st.sampled_from([-86_400, 86_400, 40 * 86_400, -40 * 86_400, 10**9, -(10**9)]),
        who=st.integers(0, 1),
        dies=st.sampled_from(["", "", "", "schedule: commit", "schedule: committed"]),
    )
    def look(self, seconds: int, who: int, dies: str) -> None:
        self.now += timedelta(seconds=seconds)
        if not 1990 < self.now.year < 2200:
            self.now = NOON
        mailbox = Mailbox()
        if dies and self._would_write():
            with crash_at(dies):
                run_due(self.databases[who], mailbox, [PLAN], self.now, f"process {who}")
            assert mailbox.messages == []
        else:
            dies = ""
            run_due(self.databases[who], mailbox, [PLAN], self.now, f"process {who}")
        if dies != "schedule: commit":
            self._model_look()
        self.sent.update(message[1]["request_id"] for message in mailbox.messages)

    @rule()
    def end_jobs(self) -> None:
        for job_id in sorted(self.active):
            with self.databases[0].write() as connection:
                row = take_leases(connection, [NewJob(job_id, "verify")], "worker", self.now, lambda _row: "dead")[job_id]
                end_job(connection, row.lease, "done", self.now)
        self.active.clear()

    def _due(self) -> list[datetime]:
        assert self.seen is not None
        count = max(0, self._number(self.now) - self._number(self.seen))
        newest = self._number(self.now)
        kept = range(newest - min(count, MISSED_AT_MOST + 1) + 1, newest + 1)
        return [datetime.fromtimestamp(number * 600, UTC) for number in kept]

    def _number(self, at: datetime) -> int:
        return int((at - datetime.fromtimestamp(0, UTC)) // self.EVERY)

    def _would_write(self) -> bool:
        if self.seen is None:
            return True
        if self.now < self.seen:
            return self.seen - self.now >= UNSEEN
        return bool(self._due()) or self.now - self.seen >= timedelta(seconds=20)

    def _model_look(self) -> None:
        if self.seen is None or self.now < self.seen:
            if self._would_write():
                self.seen = self.now
            return
        due = self._due()
        if not self._would_write():
            return
        self.seen = self.now
        for at in due[:-1]:
            self.states.setdefault(at, "missed")
        for at in due[-1:]:
            if self.states.get(at, "missed") == "missed":
                late = self.now - at > timedelta(seconds=60)
                self.states[at] = "overlapped" if self.active else "late" if late else "ran"
                if not self.active:
                    self.active = {slot_job_id(PLAN.name, at)}

    @invariant()
    def each_slot_is_what_the_model_says_and_started_one_job_at_most(self) -> None:
        assert slots_of(self.databases[0]) == self.states
        jobs = jobs_of(self.databases[0])
        assert set(jobs) == {slot_job_id(PLAN.name, at) for at, state in self.states.items() if state in {"ran", "late"}}
        assert {job_id for job_id, state in jobs.items() if state in ACTIVE} == self.active
        assert set(self.sent.values()) <= {1}
        assert set(self.sent) <= set(jobs)

    def teardown(self) -> None:
        for database in self.databases:
            database.close()
        self.closing.close()


Clocks.TestCase.settings = settings(max_examples=25, stateful_step_count=25, deadline=None)
TestClocks = Clocks.TestCase
