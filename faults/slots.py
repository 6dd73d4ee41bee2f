"""Two schedulers, one killed at random, clocks that jump and are changed: each slot has one row, and one effect at most."""

from __future__ import annotations

import random
import sqlite3
from collections import Counter
from contextlib import closing
from dataclasses import dataclass, field
from datetime import UTC, datetime, timedelta
from pathlib import Path

from config.settings import Settings
from faults.beats import BEATS, Beats, beats
from faults.calendar import HOURLY_EXPRESSION, SEASONS, Season, daily_slots, hourly_slots
from faults.rows import Row
from faults.service import scratch
from faults.sizes import Sizes
from faults.tell import Tell
from workers.prepare import prepare

_DAILY, _HOURLY = "integrity-sweep", "prune-history"
_SLOTS_A_DAY = 25
_KILLS_EVERY = 8
_OUTAGE_EVERY = 60
_JUMP_EVERY = 40
_BUSY_EVERY = 12
"""One job in so many is not done before the next slot comes."""


@dataclass
class _Outcome:
    """Of all seasons together."""

    expected: int = 0
    states: Counter[str] = field(default_factory=Counter)
    jobs: int = 0
    killed: int = 0
    killed_inside: int = 0
    jumps: Counter[str] = field(default_factory=Counter)
    leaps: list[tuple[datetime, datetime]] = field(default_factory=list)
    """Steps of this season over which more than one slot may have passed unseen."""
    wrong: list[str] = field(default_factory=list)


def run(sizes: Sizes, seed: int, tell: Tell) -> list[Row]:
    """Simulate a stretch of days around each change of the clock."""
    outcome = _Outcome()
    chooser = random.Random(f"{seed}:slots")  # noqa: S311  # to be repeated, not to be secret
    days = timedelta(days=max(6.0, sizes.slots / len(SEASONS) / _SLOTS_A_DAY))
    for season in SEASONS[:: sizes.skip_seasons]:
        with scratch(keep=sizes.keep) as folder:
            data = folder / "data"
            settings = Settings(
                data_dir=data,
                time_zone=season.zone,
                schedule_integrity_sweep=season.daily_expression,
                schedule_prune_history=HOURLY_EXPRESSION,
            )
            prepare(settings)
            with beats(settings, folder / "beats.log", chooser) as made:
                last = _Simulation(season, data, made, chooser, outcome).run(season.begin + days)
            _check(season, data, last, outcome)
            outcome.leaps.clear()
            tell(f"{season.zone} from {season.begin:%Y-%m-%d}: {dict(outcome.states)}, {outcome.killed} killed")
    for line in outcome.wrong[:20]:
        tell(f"WRONG: {line}")
    return _rows(sizes, outcome)


class _Simulation:
    """One season: the clock goes on in steps of minutes, now and then by hours, and sometimes back."""

    def __init__(self, season: Season, data: Path, made: Beats, chooser: random.Random, outcome: _Outcome) -> None:
        self._season, self._data, self._beats, self._chooser, self._outcome = season, data, made, chooser, outcome
        self._now = season.begin

    def run(self, until: datetime) -> datetime:
        """Go on until that time; return the latest time that the clock ever showed."""
        latest = self._now
        self._beats.tell(self._now)
        self._beats.start()
        self._beats.await_look()
        while self._now < until:
            before = self._now
            self._now = self._next(until)
            self._beats.tell(self._now)
            self._disturb()
            latest = max(latest, self._now)
            self._outcome.leaps += [(before, self._now)]
            self._work()
        self._outcome.leaps.append((self._now, latest := latest + timedelta(hours=2)))
        self._beats.tell(latest)
        self._beats.start()
        self._beats.await_look()
        self._outcome.killed += self._beats.killed
        self._outcome.killed_inside += self._beats.killed_inside
        return latest

    def _next(self, until: datetime) -> datetime:
        if self._one_in(_JUMP_EVERY):
            hours = self._chooser.uniform(1, 30)
            if self._one_in(2):
                self._outcome.jumps["back"] += 1
                return max(self._season.begin, self._now - timedelta(hours=hours))
            self._outcome.jumps["forward"] += 1
            return min(until, self._now + timedelta(hours=hours))
        if self._one_in(2):  # some come just in time
            half = self._now.replace(minute=30, second=0, microsecond=0)
            slot = half if half > self._now else half + timedelta(hours=1)
            return slot + timedelta(seconds=self._chooser.uniform(0, 30))
        return self._now + timedelta(minutes=self._chooser.uniform(1, 40))

    def _disturb(self) -> None:
        if self._one_in(_OUTAGE_EVERY):  # both are gone, for some hours
            for number in range(BEATS):
                self._beats.kill_one(number)
            self._outcome.jumps["nobody there"] += 1
            self._now += timedelta(hours=self._chooser.uniform(1, 6))
            self._beats.tell(self._now)
        elif self._one_in(_KILLS_EVERY):
            self._beats.kill_one()
        self._beats.start()
        self._beats.await_look()

    def _work(self) -> None:
        """Be the worker: what is queued gets done, mostly before the next slot."""
        if not self._one_in(_BUSY_EVERY):
            with closing(sqlite3.connect(self._data / "metadata" / "catalogue.db", timeout=30)) as connection, connection:
                connection.execute("UPDATE job SET state = 'done' WHERE state = 'queued'")

    def _one_in(self, number: int) -> bool:
        return self._chooser.random() * number < 1


def _check(season: Season, data: Path, last: datetime, outcome: _Outcome) -> None:
    """Compare the rows with the calendar."""
    with closing(sqlite3.connect(data / "metadata" / "catalogue.db", timeout=30)) as connection:
        slots = connection.execute("SELECT schedule, slot_at, state, job_id FROM slot").fetchall()
        jobs = Counter(str(one[0]) for one in connection.execute("SELECT job_id FROM job"))
    outcome.jobs += jobs.total()
    for name, expected in ((_DAILY, daily_slots(season, last)), (_HOURLY, hourly_slots(season, last))):
        found = Counter(_instant(str(at)) for schedule, at, *_ in slots if schedule == name)
        missed = [_instant(str(at)) for schedule, at, state, _ in slots if schedule == name and state == "missed"]
        excused = _passed_over(expected, outcome.leaps)
        outcome.expected += len(expected)
        where = f"{season.zone}, {name}"
        outcome.wrong += [f"{where}: {at} is missing: a silent miss" for at in sorted(expected - found.keys())]
        outcome.wrong += [f"{where}: {at} is no slot" for at in sorted(found.keys() - expected)]
        outcome.wrong += [f"{where}: {at} is missed though somebody looked" for at in missed if at not in excused]
        outcome.wrong += [f"{where}: {at} has {count} rows" for at, count in found.items() if count > 1]
    for schedule, at, state, job_id in slots:
        outcome.states[state] += 1
        effects = jobs.pop(job_id, 0)
        if effects != (1 if state in {"ran", "late"} else 0):
            outcome.wrong.append(f"{season.zone}, {schedule}: {at} is {state} and has {effects} jobs")
    outcome.wrong += [f"{season.zone}: job {name} is of no slot" for name in jobs]


def _passed_over(slots: set[datetime], leaps: list[tuple[datetime, datetime]]) -> set[datetime]:
    """Return the slots that a leap of the clock passed over together with a newer one: at most one of them is caught up."""
    ordered, found = sorted(slots), set[datetime]()
    for begin, end in leaps:
        found.update([at for at in ordered if begin < at <= end][:-1])
    return found


def _instant(text: str) -> datetime:
    return datetime.fromisoformat(text).replace(tzinfo=UTC)


def _rows(sizes: Sizes, outcome: _Outcome) -> list[Row]:
    what = f"{outcome.expected:,} simulated slots, two schedulers, clocks jump"
    states = ", ".join(f"{state} {count}" for state, count in sorted(outcome.states.items()))
    jumps = ", ".join(f"{kind} {count}" for kind, count in sorted(outcome.jumps.items()))
    fired = outcome.killed > 0 and outcome.killed_inside > 0 and len(outcome.jumps) == 3
    enough = outcome.expected >= sizes.slots and {"ran", "late", "missed"} <= outcome.states.keys()
    return [
        Row(
            f"{what}: one effect each, no silent miss",
            "0 wrong",
            f"{len(outcome.wrong)} wrong; {states}",
            not outcome.wrong and enough,
        ),
        Row(
            "schedulers killed (of those: in the middle of a look); clocks that jump",
            "each kind once",
            f"{outcome.killed} ({outcome.killed_inside}); {jumps}",
            fired,
        ),
    ]
