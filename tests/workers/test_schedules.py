"""workers/schedules.py: settings become plans; beat's thread starts what is due and survives whatever goes wrong."""

from __future__ import annotations

import os
import subprocess
import sys
from collections.abc import Collection, Mapping
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any

import pytest
from pydantic import BaseModel
from structlog.testing import capture_logs

from config.schedules import SCHEDULED
from config.settings import Settings, read_settings
from models.ledger import JobRow
from models.listing import newest_jobs
from models.schedule import find_schedules, last_slots
from storage.engine import Engine
from strongroom.errors import BrokerUnavailable, ConfigurationError
from tasks.backup import BackupMessage
from tasks.backup_prune import BackupPruneMessage
from tasks.cleanup import CleanupMessage, SweepMessage
from tasks.compress import CompressMessage
from tasks.drill import DrillMessage
from tasks.prune import PruneMessage
from tasks.routes import BACKUP_PRUNE_TASK, BACKUP_TASK, CLEANUP_TASK, COMPRESS_TASK, DRILL_TASK, PRUNE_TASK, SWEEP_TASK
from tasks.scrub import ScrubMessage
from tests.support.processes import await_that
from workers.liveness import has_given_sign
from workers.metrics import schedules
from workers.scene import Onlooker
from workers.schedules import Clerk, plans

CHECKOUT = Path(__file__).parents[2]
SLOTS = "strongroom_schedule_slots_total"
OFF = {
    "schedule_prune_history": "",
    "schedule_retention": "",
    "schedule_sweep": "",
    "schedule_compress": "",
    "schedule_backup": "",
}
OFF |= {"schedule_drill": "", "schedule_backup_prune": ""}
NOON = datetime(2026, 11, 1, 12, tzinfo=UTC)


class Mailbox:
    """A broker that keeps what it is sent."""

    def __init__(self) -> None:
        self.messages: list[tuple[str, Mapping[str, Any]]] = []

    def send(self, task: str, arguments: Mapping[str, Any], *, queue: str, priority: int = 0) -> None:
        self.messages.append((task, arguments))

    def free(self, queues: Collection[str]) -> set[str]:
        raise BrokerUnavailable("It does not say.")


def jobs_of(data: Path) -> list[JobRow]:
    with Engine(data) as engine, engine.open().database.read() as connection:
        return newest_jobs(connection)


def test_each_schedule_has_its_setting_and_its_messages_are_understood() -> None:
    contracts: dict[str, type[BaseModel]] = {"strongroom.scrub": ScrubMessage, PRUNE_TASK: PruneMessage}
    contracts |= {
        CLEANUP_TASK: CleanupMessage,
        SWEEP_TASK: SweepMessage,
        COMPRESS_TASK: CompressMessage,
        BACKUP_TASK: BackupMessage,
    }
    contracts |= {DRILL_TASK: DrillMessage, BACKUP_PRUNE_TASK: BackupPruneMessage}
    settings = Settings(history_days=7, history_jobs=1000, time_zone="Europe/Berlin", schedule_prune_history="")
    found = {plan.name: plan for plan in plans(settings)}
    names = ["integrity-sweep", "prune-history", "retention", "sweep", "backup", "backup-prune", "drill", "compress"]
    assert list(found) == [one.name for one in SCHEDULED] == names
    for plan in found.values():
        contracts[plan.task].model_validate({"request_id": f"{plan.name}-20261101T120000Z", **plan.arguments})
    assert found["integrity-sweep"].said == ("20 * * * *", "Europe/Berlin")
    assert found["prune-history"].said == ("", "")
    assert found["prune-history"].arguments == {"days": 7, "jobs": 1000}


@pytest.mark.parametrize(
    ("name", "value"),
    [("STRONGROOM_SCHEDULE_INTEGRITY_SWEEP", "every night"), ("STRONGROOM_TIME_ZONE", "Mars/Olympus")],
)
def test_a_schedule_that_cannot_be_used_is_named_and_not_its_value(
    monkeypatch: pytest.MonkeyPatch, name: str, value: str
) -> None:
    monkeypatch.setenv(name, value)
    with pytest.raises(ConfigurationError, match=f"{name}: it is no") as caught:
        read_settings()
    assert value not in caught.value.message


def test_a_clerk_starts_what_is_due_once(data: Path) -> None:
    mailbox = Mailbox()
    nightly = Settings(data_dir=data, retention={"*": {"keep_last": 5}}, grace_hours=2, schedule_integrity_sweep="30 2 * * *")
    clerk = Clerk(nightly.model_copy(update={"schedule_backup": ""}), mailbox)
    for hours in (0, 15, 15, 16):
        clerk.look(lambda hours=hours: NOON + timedelta(hours=hours))  # type: ignore[misc] # mypy cannot infer such a default
    clerk.stop()
    assert mailbox.messages == [
        (
            "strongroom.scrub",
            {"contract": 1, "request_id": "integrity-sweep-20261102T023000Z", "days": 30, "mb_s": 0.0, "repair": True},
        ),
        (
            "strongroom.cleanup",
            {"contract": 1, "request_id": "retention-20261102T030000Z", "policies": {"*": {"keep_last": 5}}},
        ),
        ("strongroom.prune", {"contract": 1, "request_id": "prune-history-20261102T040000Z", "days": 90, "jobs": 1_000_000}),
        ("strongroom.sweep", {"contract": 1, "request_id": "sweep-20261102T033000Z", "grace_hours": 2}),
    ]
    assert [row.asked_by for row in jobs_of(data)] == ["schedule"] * 4


def test_a_clerk_begins_as_soon_as_the_data_folder_is_there(data: Path) -> None:
    hidden = data.rename(data.with_name("hidden"))
    clerk = Clerk(Settings(data_dir=data), Mailbox(), every_s=0.01)
    with capture_logs() as logs:
        clerk.start()
        await_that(lambda: len(logs) >= 2, "it has tried in vain, twice")
        hidden.rename(data)
        await_that(lambda: looked_after(data) == {one.name for one in SCHEDULED}, "it looks")
    clerk.stop()
    assert {line["event"] for line in logs} == {"the schedules cannot be looked after; tried again in seconds"}
    assert not clerk.is_stuck()


def looked_after(data: Path) -> set[str]:
    with Engine(data) as engine, engine.open().database.read() as connection:
        return set(find_schedules(connection))


def test_beat_claims_what_is_due_though_there_is_no_broker(data: Path) -> None:
    settings = Settings(data_dir=data, schedule_integrity_sweep="* * * * *", **OFF)  # type: ignore[arg-type] # by name
    before = datetime.now(UTC) - timedelta(minutes=5)
    clerk = Clerk(settings, Mailbox())
    clerk.look(lambda: before)
    clerk.stop()
    environ = {name: value for name, value in os.environ.items() if not name.startswith("STRONGROOM_")} | {
        "STRONGROOM_DATA_DIR": str(data),
        "STRONGROOM_BROKER_URL": "redis://127.0.0.1:1/0",
        "STRONGROOM_SCHEDULE_INTEGRITY_SWEEP": "* * * * *",
        **{f"STRONGROOM_{name.upper()}": "" for name in OFF},
    }
    command = [sys.executable, "-m", "celery", "-A", "workers.main", "beat", "--scheduler", "workers.pulse:PulsedScheduler"]
    beat = subprocess.Popen(
        [*command, "--pidfile="], cwd=CHECKOUT, env=environ, stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL
    )
    try:
        await_that(lambda: bool(jobs_of(data)), "the newest of five slots has its job")
        await_that(lambda: has_given_sign(data, "beat"), "beat has given its sign")
        assert beat.poll() is None
    finally:
        beat.kill()
        beat.wait()
    with Engine(data) as engine, engine.open().database.read() as connection:
        states = [slot.state for slot in last_slots(connection, "integrity-sweep", 10)]
    assert states[-5:] in (["ran", *["missed"] * 4], ["missed"] * 5)
    assert [(row.kind, row.state) for row in jobs_of(data)] == [("scrub", "queued")]


def test_a_monitor_is_told_what_became_of_the_slots_and_when_the_next_one_is(data: Path) -> None:
    settings = Settings(data_dir=data, schedule_prune_history="", schedule_integrity_sweep="30 2 * * *")
    clerk = Clerk(settings, Mailbox())
    for days in (0, 1, 3):
        clerk.look(lambda days=days: NOON + timedelta(days=days))  # type: ignore[misc] # as above
    clerk.stop()
    scene = Onlooker(settings).look()
    samples = {(sample.name, *sample.labels.values()): sample.value for family in schedules(scene) for sample in family.samples}
    counted = [samples[SLOTS, "integrity-sweep", state] for state in ("ran", "late", "missed", "overlapped")]
    assert counted == [0, 1, 1, 1]
    last = samples["strongroom_schedule_last_slot_timestamp_seconds", "integrity-sweep"]
    assert last == datetime(2026, 11, 4, 2, 30, tzinfo=UTC).timestamp()
    following = samples["strongroom_schedule_next_slot_timestamp_seconds", "integrity-sweep"]
    assert 0 < following - datetime.now(UTC).timestamp() <= 86400
    assert ("strongroom_schedule_next_slot_timestamp_seconds", "prune-history") not in samples, "it is off"
