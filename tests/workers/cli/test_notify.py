"""What a person sees of alerts: ``strongroom notify test``, and doctor's word on backups and on the way to people."""

from __future__ import annotations

import json
import os
from collections.abc import Iterator
from dataclasses import replace
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any

import pytest
from typer.testing import CliRunner, Result

from config.settings import Settings
from tests.support.receiver import Receiver, receiving
from workers.alarm import Watchman
from workers.alarm_state import keep_alarms, load_alarms
from workers.cli import app
from workers.processes import birth_of
from workers.service_state import FlowerState, ServiceState, write_state

DAY = timedelta(days=1)


@pytest.fixture
def receiver() -> Iterator[Receiver]:
    with receiving() as started:
        yield started


@pytest.fixture
def two(receiver: Receiver, monkeypatch: pytest.MonkeyPatch) -> Receiver:
    urls = f"{receiver.url('json', '/s3cret')}  {receiver.url('json', '/two')}"
    monkeypatch.setenv("STRONGROOM_NOTIFY_URLS", urls)
    return receiver


def run(data: Path, *words: str) -> Result:
    return CliRunner().invoke(app, ["--data", str(data), *words])


def alerts(data: Path) -> dict[str, Any]:
    checks: list[dict[str, Any]] = json.loads(run(data, "doctor", "--quick", "--json").stdout)["checks"]
    return next(one for one in checks if one["name"] == "alerts")


def test_a_test_message_says_for_each_service_whether_it_arrived(data: Path, two: Receiver) -> None:
    assert alerts(data)["state"] == "note"
    two.refused.add("/two")
    answer = run(data, "notify", "test", "--json")
    assert answer.exit_code == 1
    told = json.loads(answer.stdout)
    assert (told["delivered"], [one["delivered"] for one in told["services"]]) == (False, [True, False])
    assert "s3cret" not in answer.output
    assert alerts(data)["state"] == "trouble"
    assert "number 2 (JSON)" in alerts(data)["told"]
    two.refused.clear()
    answer = run(data, "notify", "test")
    assert answer.exit_code == 0
    assert answer.stdout.count("delivered") == 2
    assert alerts(data)["state"] == "fine"
    keep_alarms(data, replace(load_alarms(data), tested_at=datetime.now(UTC) - 2 * DAY))
    assert alerts(data)["state"] == "trouble"


def test_without_anybody_to_tell_a_test_fails_and_says_why(data: Path) -> None:
    answer = run(data, "notify", "test", "--json")
    assert answer.exit_code == 1
    assert "STRONGROOM_NOTIFY_URLS" in json.loads(answer.stdout)["error"]["message"]
    assert alerts(data)["state"] == "note"


def test_a_backup_that_did_not_happen_is_seen_by_doctor(data: Path) -> None:
    now = datetime.now(UTC)
    keep_alarms(data, replace(load_alarms(data), watching_since=now - 2 * DAY))
    watchman = Watchman(Settings(data_dir=data))
    watchman.look(now)
    watchman.stop()
    answer = run(data, "doctor", "--quick", "--json")
    told = json.loads(answer.stdout)
    assert answer.exit_code == 1
    assert next(one for one in told["checks"] if one["name"] == "backups")["mend"] == "strongroom backup create --wait"
    assert [one["code"] for one in told["findings"]] == ["backup_late"]
    assert load_alarms(data).wrong.keys() == {"backup_late"}


def test_what_the_watchman_found_wrong_is_seen_in_the_status_of_a_service(data: Path) -> None:
    me = os.getpid()
    service = ServiceState(me, birth_of(me), "", str(data), "redis://127.0.0.1:1/0", FlowerState("", "", None), (), ready=True)
    write_state(service)
    assert json.loads(run(data, "status", "--json").stdout)["alarms"] == []
    keep_alarms(data, replace(load_alarms(data), wrong={"backup_late": "there is no good backup"}))
    told = json.loads(run(data, "status", "--json").stdout)
    assert told["alarms"] == [{"code": "backup_late", "message": "there is no good backup"}]
    assert "wrong     backup_late: there is no good backup" in run(data, "status").stdout
