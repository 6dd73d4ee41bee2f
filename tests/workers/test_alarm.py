"""The watchman: what he sees, whom he tells, once, and what he remembers; the messages go to a real receiver."""

from __future__ import annotations

import json
import os
import signal
import subprocess
import sys
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from datetime import UTC, datetime, timedelta
from pathlib import Path

import pytest
import structlog
from pydantic import SecretStr
from sqlalchemy import Connection, update

from config.settings import Settings
from models.backups import BackupRow, begin_backup, note_verdict
from models.database import Database
from models.drills import DrillRow, add_drill
from models.findings import Observation, open_findings
from models.tables import Segment, table_of
from storage.engine import Engine
from storage.findings import keep_findings
from storage.layout import DataFolder
from tests.support.archive import body, document
from tests.support.processes import CHECKOUT
from tests.support.receiver import Receiver, receiving
from workers.alarm import Watchman
from workers.alarm_state import load_alarms, state_file
from workers.alerts import Alerts
from workers.deliver import deliver

pytestmark = pytest.mark.filterwarnings("ignore:'imghdr' is deprecated:DeprecationWarning")  # apprise's own

NOW = datetime(2030, 1, 1, tzinfo=UTC)
HOUR = timedelta(hours=1)


class Here(Alerts):
    """Delivers in this process: the library is loaded once. The process of its own has a test of its own."""

    def _run(self, order: bytes) -> bytes:
        return b"".join(json.dumps(one).encode() + b"\n" for one in deliver(json.loads(order)))


@pytest.fixture
def receiver() -> Iterator[Receiver]:
    with receiving() as started:
        yield started


@pytest.fixture
def make(data: Path, receiver: Receiver) -> Iterator[Callable[..., Watchman]]:
    """Makes watchmen over one data folder, who tell services of these paths."""
    made: list[Watchman] = []

    def watchman(*paths: str) -> Watchman:
        urls = " ".join(receiver.url("json", path) for path in paths)
        one = Watchman(Settings(data_dir=data, notify_urls=SecretStr(urls) if urls else None))
        one._alerts = Here(urls.split(), data)
        made.append(one)
        return one

    yield watchman
    for one in made:
        one.stop()


@contextmanager
def writing(data: Path) -> Iterator[Connection]:
    database = Database(f"sqlite:///{data / 'metadata' / 'catalogue.db'}")
    with database.write() as connection:
        yield connection
    database.close()


def backup(data: Path, name: str, at: datetime, state: str = "done") -> None:
    with writing(data) as connection:
        begin_backup(connection, BackupRow(name, "file:///backups", "full", state, at, at))


def lasting(data: Path) -> list[str]:
    database = Database(f"sqlite:///{data / 'metadata' / 'catalogue.db'}")
    with database.read() as connection:
        found = [one.code for one in open_findings(connection)]
    database.close()
    return found


def find(data: Path, *codes: str, at: datetime = NOW) -> None:
    database = Database(f"sqlite:///{data / 'metadata' / 'catalogue.db'}")
    keep_findings(DataFolder(data), database, "test", [Observation(code, "/a", "p", f"{code} it is") for code in codes], at)
    database.close()


def titles(receiver: Receiver) -> list[str]:
    return [body["title"].partition(": ")[2] for body in receiver.bodies]


def test_what_was_written_while_the_clock_was_years_ahead_silences_no_alarm(data: Path, make: Callable[..., Watchman]) -> None:
    watchman = make()
    watchman.look(NOW)
    backup(data, "ahead", NOW + 10_000 * HOUR)
    with writing(data) as connection:
        add_drill(connection, DrillRow("ahead", "ahead", NOW + 10_000 * HOUR, "fresh", 1.0, 1.0, 1, {}))
        add_drill(connection, DrillRow("red", "x", NOW, "failed", 1.0, 1.0, 1, {"problems": ["a pack is missing"]}))
    watchman.look(NOW + 27 * HOUR)
    assert sorted(lasting(data)) == ["backup_late", "drill_failed"]


def test_a_backup_that_does_not_happen_is_an_alarm_until_one_does(data: Path, make: Callable[..., Watchman]) -> None:
    watchman = make()
    watchman.look(NOW)
    watchman.look(NOW + 25 * HOUR)
    assert lasting(data) == []
    watchman.look(NOW + 27 * HOUR)
    assert lasting(data) == ["backup_late"]
    backup(data, "a", NOW + 28 * HOUR, "failed")
    watchman.look(NOW + 29 * HOUR)
    assert lasting(data) == ["backup_late"]
    backup(data, "b", NOW + 30 * HOUR)
    watchman.look(NOW + 31 * HOUR)
    assert lasting(data) == []
    watchman.look(NOW + 57 * HOUR)
    assert lasting(data) == ["backup_late"]


def test_what_was_not_read_for_too_long_is_an_alarm_before_the_promise_breaks(
    engine: Engine, data: Path, make: Callable[..., Watchman]
) -> None:
    engine.store([document("/a/b", "1.0", body(n=1))])
    for days, found in ((26, []), (28, ["coverage_late"]), (31, ["coverage_late"])):
        with engine.database.write("test") as connection:
            connection.execute(update(table_of(Segment)).values(created_at=NOW - timedelta(days=days)))
        make().look(NOW)
        assert lasting(data) == found
    with engine.database.write("test") as connection:
        connection.execute(update(table_of(Segment)).values(checked_at=NOW))
    make().look(NOW)
    assert lasting(data) == []


def test_a_backup_that_was_found_damaged_is_none(data: Path, make: Callable[..., Watchman]) -> None:
    watchman = make()
    watchman.look(NOW)
    backup(data, "a", NOW + 20 * HOUR)
    with writing(data) as connection:
        note_verdict(connection, "a", "damaged", NOW)
    watchman.look(NOW + 27 * HOUR)
    assert lasting(data) == ["backup_late"]


def test_what_begins_and_what_is_over_is_told_once(data: Path, make: Callable[..., Watchman], receiver: Receiver) -> None:
    watchman = make("/one")
    watchman.look(NOW)
    assert titles(receiver) == ["test of the alerts"]
    find(data, "damaged", "tree_stale", "orphan")
    watchman.look(NOW + timedelta(minutes=2))
    assert titles(receiver)[1:] == ["2 new findings"]
    assert receiver.bodies[-1]["type"] == "failure"
    assert "damaged it is" in receiver.bodies[-1]["message"]
    assert "strongroom verify --all --repair" in receiver.bodies[-1]["message"]
    assert "orphan" not in receiver.bodies[-1]["message"]
    watchman.look(NOW + timedelta(minutes=4))
    make("/one").look(NOW + timedelta(minutes=6))
    assert len(receiver.bodies) == 2
    find(data, "tree_stale", at=NOW + timedelta(minutes=7))
    watchman.look(NOW + timedelta(minutes=8))
    assert titles(receiver)[2:] == ["1 over"]
    assert receiver.bodies[-1]["type"] == "success"


def test_a_message_that_got_nowhere_comes_again_and_is_red_meanwhile(
    data: Path, make: Callable[..., Watchman], receiver: Receiver
) -> None:
    watchman = make("/one")
    watchman.look(NOW)
    receiver.refused.add("/one")
    find(data, "damaged")
    watchman.look(NOW + timedelta(minutes=2))
    watchman.look(NOW + timedelta(minutes=3))
    assert titles(receiver)[1:] == ["1 new finding"], "it was tried again too soon"
    assert lasting(data) == ["damaged", "alerts_failed"]
    receiver.refused.clear()
    watchman.look(NOW + timedelta(minutes=9))
    assert titles(receiver)[2:] == ["2 new findings"]
    watchman.look(NOW + timedelta(minutes=11))
    assert lasting(data) == ["damaged"]


def test_one_service_of_two_that_fails_is_named_and_the_other_is_told(
    data: Path, make: Callable[..., Watchman], receiver: Receiver
) -> None:
    receiver.refused.add("/two")
    watchman = make("/one", "/two")
    watchman.look(NOW)
    assert load_alarms(data).failed == ("number 2 (JSON)",)
    assert lasting(data) == ["alerts_failed"]
    watchman.look(NOW + timedelta(minutes=2))
    assert "number 2 (JSON)" in receiver.bodies[-1]["message"]
    told = len(receiver.bodies)
    watchman.look(NOW + timedelta(minutes=10))
    assert len(receiver.bodies) == told
    receiver.refused.clear()
    watchman.look(NOW + timedelta(minutes=70))
    assert lasting(data) == []


def test_the_way_to_people_is_tested_each_day_and_when_it_changes(
    data: Path, make: Callable[..., Watchman], receiver: Receiver
) -> None:
    backup(data, "a", NOW + 25 * HOUR)
    watchman = make("/one")
    for hours in (0, 12, 23, 24, 30, 48):
        watchman.look(NOW + hours * HOUR)
    assert [one for one in titles(receiver) if one.startswith("test")] == ["test of the alerts"] * 3
    make("/other").look(NOW + 49 * HOUR)
    assert receiver.paths == ["/one"] * 3 + ["/other"]


def test_a_test_that_did_not_happen_is_red(data: Path, make: Callable[..., Watchman], monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("workers.alarm.is_test_due", lambda *_: False)
    make("/one").look(NOW)
    assert lasting(data) == ["alerts_failed"]


def test_nobody_is_told_when_nobody_is_set_and_everything_that_lasts_once_somebody_is(
    data: Path, make: Callable[..., Watchman], receiver: Receiver
) -> None:
    find(data, "damaged")
    make().look(NOW)
    assert receiver.bodies == []
    watchman = make("/one")
    watchman.look(NOW + HOUR)
    watchman.look(NOW + HOUR + timedelta(minutes=2))
    assert titles(receiver) == ["test of the alerts", "1 new finding"]
    assert "1 of the findings" in receiver.bodies[0]["message"]


def test_many_findings_are_one_message_that_can_be_read(data: Path, make: Callable[..., Watchman], receiver: Receiver) -> None:
    watchman = make("/one")
    watchman.look(NOW)
    database = Database(f"sqlite:///{data / 'metadata' / 'catalogue.db'}")
    observed = [Observation("damaged", f"/library/{number}", "p", "it is") for number in range(500)]
    keep_findings(DataFolder(data), database, "test", observed, NOW)
    database.close()
    watchman.look(NOW + timedelta(minutes=2))
    assert titles(receiver)[1:] == ["500 new findings"]
    assert "and 480 more" in receiver.bodies[-1]["message"]
    assert len(receiver.bodies[-1]["message"]) < 5000


def test_what_he_remembers_holds_no_address_and_a_damaged_memory_is_an_empty_one(
    data: Path, make: Callable[..., Watchman]
) -> None:
    make("/s3cret").look(NOW)
    assert "s3cret" not in state_file(data).read_text()
    assert state_file(data).stat().st_mode & 0o777 == 0o600
    for content in ("", "[]", "{", '{"told": 3}', '{"tested_at": "x"}', '{"failed": 1}'):
        state_file(data).write_text(content)
        assert load_alarms(data).tested_at is None


def test_a_disk_on_which_nothing_can_be_kept_is_no_reason_to_tell_it_again_and_again(
    data: Path, make: Callable[..., Watchman], receiver: Receiver
) -> None:
    blocked = state_file(data).with_name(f".{state_file(data).name}.{os.getpid()}")
    blocked.mkdir()
    watchman = make("/one")
    for minutes in range(0, 10, 2):
        watchman.look(NOW + timedelta(minutes=minutes))
    assert titles(receiver) == ["test of the alerts"]
    assert not state_file(data).exists(), "it could be kept"
    blocked.rmdir()
    watchman.look(NOW + timedelta(minutes=10))
    assert load_alarms(data).tested_at == NOW


def test_of_two_who_look_at_once_one_does(data: Path, make: Callable[..., Watchman], receiver: Receiver) -> None:
    from strongroom.locks import locked

    with locked(data / "metadata" / "alerts.lock"):
        make("/one").look(NOW)
    assert receiver.bodies == []


def test_a_message_is_delivered_by_a_process_of_its_own_that_shows_no_address(data: Path, receiver: Receiver) -> None:
    receiver.refused.add("/bad")
    urls = [receiver.url("json", "/s3cret"), receiver.url("json", "/bad"), "nonsense://s3cret"]
    alerts = Alerts(urls, data)
    with structlog.testing.capture_logs() as lines:
        told = alerts.send("title", "body", "warning")
    assert [str(one) for one in told] == ["number 1 (JSON)", "number 2 (JSON)", "number 3 (unknown)"]
    assert [one.delivered for one in told] == [True, False, False]
    assert receiver.bodies[0]["type"] == "warning"
    assert str(data) in receiver.bodies[0]["message"]
    assert "s3cret" not in f"{lines} {alerts!r} {told!r}"


def test_a_delivery_ends_by_itself_when_whoever_began_it_is_gone(receiver: Receiver) -> None:
    receiver.slow.add("/slow")
    order = {
        "urls": [receiver.url("json", "/slow?read_timeout=30&rto=30")],
        "title": "t",
        "body": "b",
        "kind": "info",
        "within_s": -1,
    }
    with subprocess.Popen((sys.executable, "-m", "workers.deliver"), stdin=subprocess.PIPE, cwd=CHECKOUT) as process:
        process.communicate(json.dumps(order).encode(), timeout=20)
    assert process.returncode == -signal.SIGALRM


def test_a_service_that_does_not_answer_in_time_has_not_delivered(data: Path, receiver: Receiver) -> None:
    receiver.slow.add("/slow")
    urls = [receiver.url("json", "/quick"), receiver.url("json", "/slow")]
    started = time.monotonic()
    told = Alerts(urls, data, within_s=4.0).send("title", "body", "info")
    assert time.monotonic() - started < 15
    assert [one.delivered for one in told] == [True, False]
