"""The watchman: sees to it that what is wrong becomes known, that backups happen, and that the way to people works.

A thread of beat's process, not of whoever makes backups: what does not run cannot say so. That beat itself is silent is told by
the dead-man's switch outside (tasks/ping.py).
"""

from __future__ import annotations

import threading
from collections.abc import Sequence
from dataclasses import replace
from datetime import UTC, datetime, timedelta

import structlog

from config.settings import Settings
from models.alarms import last_good_backup
from models.consistency import longest_unread
from models.database import Database
from models.drills import last_drills
from models.findings import Observation, OpenFinding, open_findings
from storage.coverage import observe_coverage
from storage.findings import keep_findings
from storage.kinds import kind_of
from storage.layout import DataFolder
from strongroom.errors import StorageError
from strongroom.locks import locked_if_free
from workers.alarm_state import AlarmState, keep_alarms, load_alarms
from workers.alerts import AlertKind, Alerts
from workers.drills import DRILLS, observe_drills
from workers.durations import span
from workers.seldom import Seldom

log = structlog.get_logger()

SEEN_BY = "watchman"
LOOK_EVERY_S = 30.0
TEST_EVERY = timedelta(days=1)
TESTED_WITHIN = timedelta(hours=26)
"""A day, and time to notice that the day's test did not happen."""

_TEST_AGAIN = timedelta(hours=1)
_APART = timedelta(minutes=1)
_TRY_AGAIN = timedelta(minutes=5)
_SEEN_AGAIN = timedelta(hours=1)
_SHOWN = 20


class Watchman:
    """Looks every half minute. Any number of them on one data folder tell everything once: who looks holds a lock."""

    def __init__(self, settings: Settings, every_s: float = LOOK_EVERY_S) -> None:
        self._settings, self._every_s = settings, every_s
        self._alerts = alerts_of(settings)
        self._folder = DataFolder(settings.data_dir)
        self._database: Database | None = None
        self._unread: Seldom[datetime | None] = Seldom(share=1 / 200)
        self._unkept: AlarmState | None = None
        """What could not be written, on a disk that is full: what was told is not told again each half minute."""
        self._stopping = threading.Event()
        self._thread = threading.Thread(target=self._repeat, name="watchman", daemon=True)

    def start(self) -> None:
        """Start to look."""
        self._thread.start()

    def stop(self) -> None:
        """End the thread if it was started, wait for it, and close the database."""
        self._stopping.set()
        if self._thread.ident is not None:
            self._thread.join()
        if self._database is not None:
            self._database.close()

    def look(self, now: datetime) -> None:
        """Look once, and tell what is new.

        Raises:
            StorageError: the catalogue does not answer; nothing is lost by looking again.
        """
        with locked_if_free(self._folder.metadata / "alerts.lock") as alone:
            if not alone:
                return
            kept = (self._unkept or load_alarms(self._folder.root)).of(self._alerts.urls)
            state = replace(kept, looked_at=now, watching_since=kept.watching_since or now)
            try:
                if self._database is None:
                    self._database = Database(self._settings.catalogue_url)
                state = self._look(self._database, state, now)
            finally:
                self._remember(state)

    def _remember(self, state: AlarmState) -> None:
        self._unkept = state
        try:
            keep_alarms(self._folder.root, state)
        except OSError as error:
            log.warning("what was told cannot be kept", reason=error.strerror)
        else:
            self._unkept = None

    def _look(self, database: Database, state: AlarmState, now: datetime) -> AlarmState:
        with database.read() as connection:
            last, lasting = last_good_backup(connection, now), open_findings(connection)
            drills = last_drills(connection, now=now)
        if is_test_due(state, self._alerts, now):
            state = try_alerts(self._alerts, state, last, lasting, now)
        observed = observe(state, last, self._settings.backup_max_age_hours, self._alerts, now)
        observed += observe_coverage(self._unread.get(lambda: _longest_unread(database)), self._settings.coverage_days, now)
        observed += observe_drills(drills, last, state.watching_since, self._settings.drill_max_age_days, now)
        self._keep(database, observed, lasting, now)
        state = replace(state, wrong={one.code: one.message for one in observed})
        with database.read() as connection:
            lasting = open_findings(connection)
        return tell(self._alerts, state, lasting, now)

    def _keep(self, database: Database, observed: list[Observation], lasting: Sequence[OpenFinding], now: datetime) -> None:
        own = {(one.code, one.subject, one.path): one.last_seen for one in lasting if one.code in _OWN}
        seen_again = all(now - at < _SEEN_AGAIN for at in own.values())
        if own.keys() != {one.key for one in observed} or not seen_again:
            keep_findings(self._folder, database, SEEN_BY, observed, now)

    def _repeat(self) -> None:
        while True:
            try:
                self.look(datetime.now(UTC))
            except StorageError as error:
                log.warning("what is wrong cannot be looked for; tried again in half a minute", error=error.message)
            except Exception:
                log.exception("looking for what is wrong failed in a way nobody thought of")
            if self._stopping.wait(self._every_s):
                return


def alerts_of(settings: Settings) -> Alerts:
    """Return who is told, by these settings."""
    said = settings.notify_urls.get_secret_value() if settings.notify_urls else ""
    return Alerts(said.split(), settings.data_dir)


def _longest_unread(database: Database) -> datetime | None:
    with database.read() as connection:
        return longest_unread(connection)


_OWN = frozenset({"backup_late", "alerts_failed", "coverage_late", *DRILLS})


def observe(state: AlarmState, last: datetime | None, hours: int, alerts: Alerts, now: datetime) -> list[Observation]:
    """Return what is wrong of what nobody else looks at. ``last`` is when the last good backup began."""
    observed = []
    if is_late(last, state.watching_since, hours, now):
        words = f"no good backup has begun since {last:%Y-%m-%d %H:%M} UTC" if last else "there is no good backup"
        observed.append(Observation("backup_late", "", "", f"{words}, and one every {hours} hours is wanted"))
    if state.failed:
        observed.append(Observation("alerts_failed", "", "", f"the last message did not arrive at {', '.join(state.failed)}"))
    elif alerts.urls and not (state.tested_at and now - state.tested_at <= TESTED_WITHIN):
        observed.append(Observation("alerts_failed", "", "", "the way to people was not tested for longer than a day"))
    return observed


def is_late(last: datetime | None, watching_since: datetime | None, hours: int, now: datetime) -> bool:
    """Tell whether there should be a newer good backup. With ``hours`` 0 there never should."""
    since = last or watching_since
    return hours > 0 and since is not None and now - since > timedelta(hours=hours)


def is_test_due(state: AlarmState, alerts: Alerts, now: datetime) -> bool:
    """Tell whether a test message is to be sent. One that is from the future was sent by a clock that was wrong."""
    if not alerts.urls:
        return False
    if state.tested_at is None or state.tested_at > now + _TRY_AGAIN:
        return True
    return now - state.tested_at >= (_TEST_AGAIN if state.failed else TEST_EVERY)


def try_alerts(
    alerts: Alerts, state: AlarmState, last: datetime | None, lasting: Sequence[OpenFinding], now: datetime
) -> AlarmState:
    """Send a test message to all services, which is worth reading besides; return what became of it."""
    backup = f"The last good backup began {span(now - last)} ago." if last else "There is no good backup yet."
    wrong = sum(kind_of(one.code).needs_person for one in lasting)
    found = f"{wrong} of the findings of `strongroom doctor` need a person." if wrong else "Nothing needs a person."
    body = f"This message comes once a day. When it does not, look.\n{backup}\n{found}"
    deliveries = alerts.send("test of the alerts", body, "info")
    after = state.after(deliveries, now)
    log.log(_WARNING if after.failed else _INFO, "the alerts were tested", services=len(alerts.urls), failed=list(after.failed))
    return after


_INFO, _WARNING = 20, 30


def tell(alerts: Alerts, state: AlarmState, lasting: Sequence[OpenFinding], now: datetime) -> AlarmState:
    """Tell people what has begun and what is over since they were told last; nothing when they know."""
    current = {_key(one): one for one in lasting if kind_of(one.code).needs_person}
    new = [one for key, one in current.items() if key not in state.told]
    over = [words for key, words in state.told.items() if key not in current]
    if not alerts.urls or not (new or over) or not _may_send(state, alerts, now):
        return state
    title = ", ".join(filter(None, (_counted(len(new), "new finding"), f"{len(over)} over" if over else "")))
    deliveries = alerts.send(title, _body(new, over), _kind(new))
    after = state.after(deliveries, now)
    log.log(_WARNING if after.failed else _INFO, "people were told", new=len(new), over=len(over), failed=list(after.failed))
    if not any(one.delivered for one in deliveries):
        return after
    return replace(after, told={key: one.message or one.code for key, one in current.items()})


def _may_send(state: AlarmState, alerts: Alerts, now: datetime) -> bool:
    """Tell whether enough time has passed since the last message: not so long after one that got nowhere."""
    if state.tested_at is None or state.tested_at > now:
        return True
    nowhere = len(state.failed) == len(alerts.urls)
    return now - state.tested_at >= (_TRY_AGAIN if nowhere else _APART)


def _key(one: OpenFinding) -> str:
    return "\n".join((one.code, one.subject, one.path, one.first_seen.isoformat()))


def _body(new: Sequence[OpenFinding], over: Sequence[str]) -> str:
    lines = [f"{one.code}: {_where(one)}{one.message}\n  -> {kind_of(one.code).mend}" for one in new]
    return "\n".join([*_some(lines), *_some([f"over: {words}" for words in over]), "strongroom doctor shows everything."])


def _where(one: OpenFinding) -> str:
    return "".join(f"{word}  " for word in (one.subject, one.path) if word)


def _some(lines: list[str]) -> list[str]:
    return lines if len(lines) <= _SHOWN else [*lines[:_SHOWN], f"and {len(lines) - _SHOWN} more"]


def _kind(new: Sequence[OpenFinding]) -> AlertKind:
    if not new:
        return "success"
    return "failure" if any(one.severity == "loss" for one in new) else "warning"


def _counted(count: int, noun: str) -> str:
    return f"{count} {noun}{'' if count == 1 else 's'}" if count else ""
