"""schedule, schedule show, schedule run on a data folder without a service."""

from __future__ import annotations

import json
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any

import pytest
from sqlalchemy import update
from typer.testing import CliRunner, Result

from config.schedules import SCHEDULED
from config.settings import Settings
from models.ledger import JobRow
from models.listing import newest_jobs
from models.tables import Job, Schedule, table_of
from storage.engine import Engine
from tasks.schedule import run_due
from tasks.services import NoBroker
from workers.cli import app
from workers.cli.who import person
from workers.schedules import plans

OFF = {one.setting: "" for one in SCHEDULED[1:]}
SETTINGS = {"schedule_integrity_sweep": "0 * * * *", **OFF, "time_zone": "Australia/Lord_Howe"}
ENVIRON = {f"STRONGROOM_{name.upper()}": value for name, value in SETTINGS.items()}


def now() -> datetime:
    """The commands look at the clock: a time taken when this module was imported may be minutes old."""
    return datetime.now(UTC).replace(microsecond=0)


def run(data: Path, *words: str) -> Result:
    return CliRunner().invoke(app, ["--data", str(data), *words], env=ENVIRON)


def told(data: Path, *words: str) -> Any:  # JSON
    return json.loads(run(data, *words, "--json").stdout)


def look(engine: Engine, *ages: timedelta) -> None:
    """Have a beat look so long ago."""
    for age in ages:
        run_due(engine.database, NoBroker(), plans(Settings(**SETTINGS)), now() - age, "host:1")  # type: ignore[arg-type] # by name


def jobs_of(engine: Engine) -> list[JobRow]:
    with engine.database.read() as connection:
        return newest_jobs(connection)


HOUR = timedelta(hours=1)


def test_a_service_that_never_ran_has_schedules_that_nobody_looks_at(data: Path) -> None:
    sweep, prune, *_ = told(data, "schedule")
    assert (sweep["name"], sweep["kind"], sweep["expression"]) == ("integrity-sweep", "scrub", "0 * * * *")
    assert (sweep["last_slot"], sweep["seen_until"], sweep["time_zone"]) == (None, None, "Australia/Lord_Howe")
    assert "nobody has looked" in sweep["troubles"][0]
    assert timedelta(0) < datetime.fromisoformat(sweep["next_slot_at"]) - now() <= HOUR
    assert (prune["expression"], prune["next_slot_at"], prune["troubles"]) == (None, None, [])


def test_all_is_well_while_a_beat_looks_and_jobs_are_done(data: Path, engine: Engine) -> None:
    look(engine, 2 * HOUR, HOUR, timedelta(0))
    with engine.database.write() as connection:
        connection.execute(update(table_of(Job)).values(state="done", finished_at=now()))
    [sweep, *_] = told(data, "schedule")
    assert sweep["troubles"] == []
    assert sweep["last_slot"]["job_state"] is None, "it was overlapped"
    assert sweep["counts"]["ran"] + sweep["counts"]["late"] == 1
    assert sweep["counts"]["overlapped"] == 1
    shown = run(data, "schedule").stdout
    assert "overlapped" in shown
    assert "nobody" not in shown
    assert "off" in shown


@pytest.mark.parametrize("state", ["failed", "quarantined"])
def test_a_last_job_that_failed_is_trouble(data: Path, engine: Engine, state: str) -> None:
    look(engine, HOUR, timedelta(0))
    [job] = jobs_of(engine)
    with engine.database.write() as connection:
        connection.execute(update(table_of(Job)).values(state=state, finished_at=now()))
    [sweep, *_] = told(data, "schedule")
    assert sweep["troubles"] == [f"its last job {state}: strongroom jobs show {job.job_id}"]
    assert f"strongroom jobs show {job.job_id}" in run(data, "schedule").stdout


def test_a_beat_that_stopped_is_seen_after_a_minute(data: Path, engine: Engine) -> None:
    look(engine, timedelta(minutes=5))
    [sweep, *_] = told(data, "schedule")
    assert sweep["troubles"][0].startswith("nobody has looked at it for 5 min")


def test_what_beat_goes_by_is_shown_and_not_what_this_command_was_given(data: Path, engine: Engine) -> None:
    look(engine, timedelta(0))
    answer = CliRunner().invoke(app, ["--data", str(data), "schedule", "--json"], env={})
    assert [one["expression"] for one in json.loads(answer.stdout)] == ["0 * * * *", *([None] * len(OFF))]


def test_show_lists_the_last_times_newest_first(data: Path, engine: Engine) -> None:
    assert "None of its times" in run(data, "schedule", "show", "integrity-sweep").stdout
    look(engine, 6 * HOUR, 3 * HOUR, timedelta(0))
    slots = told(data, "schedule", "show", "integrity-sweep")
    assert [slot["state"] for slot in slots[:3]] == ["overlapped", "missed", "missed"]
    assert slots[3]["job_state"] == "queued"
    assert [slot["slot_at"] for slot in slots] == sorted((slot["slot_at"] for slot in slots), reverse=True)
    assert len(told(data, "schedule", "show", "integrity-sweep", "--limit", "2")) == 2
    assert slots[3]["job_id"] in run(data, "schedule", "show", "integrity-sweep").stdout


def test_run_queues_a_job_of_its_own_for_a_person(data: Path, engine: Engine) -> None:
    for number, words in enumerate((("--json",), ()), start=1):
        answer = run(data, "schedule", "run", "prune-history", *words)
        assert answer.exit_code == 0
        rows = jobs_of(engine)
        assert len(rows) == number
        assert any(row.job_id in answer.stdout for row in rows)
        assert {(row.kind, row.asked_by, row.state) for row in rows} == {("prune", f"person:{person()}", "queued")}


KEEP_ONE, KEEP_NINE = ({"*": {"keep_last": number}} for number in (1, 9))


def run_retention(data: Path, policies: dict[str, Any], *words: str) -> Result:
    environ = {**ENVIRON, "STRONGROOM_RETENTION": json.dumps(policies)}
    return CliRunner().invoke(app, ["--data", str(data), "schedule", "run", "retention", *words], env=environ)


def look_with(engine: Engine, age: timedelta, **settings: Any) -> None:
    run_due(engine.database, NoBroker(), plans(Settings(**{**SETTINGS, **settings})), now() - age, "host:1")


def policies_of(engine: Engine, answer: Result) -> Any:  # JSON
    """Return what the job is told that a command has just queued."""
    job_id = json.loads(answer.stdout)["job_id"]
    [payload] = [row.payload for row in jobs_of(engine) if row.job_id == job_id]
    return json.loads(payload)["policies"]


def test_while_a_service_runs_its_own_policies_hold_and_the_shells_are_named_as_passed_over(data: Path, engine: Engine) -> None:
    look_with(engine, timedelta(0), retention=KEEP_NINE)
    answer = run_retention(data, KEEP_ONE, "--json")
    assert policies_of(engine, answer) == KEEP_NINE
    told = json.loads(answer.stdout)
    assert (told["settings_of"], told["arguments"]) == ("service", {"policies": KEEP_NINE})
    assert told["passed_over"] == {"policies": KEEP_ONE}
    shown = run_retention(data, KEEP_ONE).stdout
    assert f"\nwith {json.dumps({'policies': KEEP_NINE})}, as the service was told" in shown
    assert f"\nnot with {json.dumps({'policies': KEEP_ONE})}, as this shell says" in shown
    assert "not with" not in run_retention(data, KEEP_NINE).stdout


def test_a_service_that_has_no_policies_removes_nothing_though_this_shell_has_some(data: Path, engine: Engine) -> None:
    look_with(engine, timedelta(0))
    assert policies_of(engine, run_retention(data, KEEP_ONE, "--json")) == {}


def test_a_service_that_was_started_anew_with_other_policies_goes_by_those(data: Path, engine: Engine) -> None:
    look_with(engine, timedelta(seconds=15), retention=KEEP_ONE)
    look_with(engine, timedelta(seconds=10), retention=KEEP_NINE)
    assert policies_of(engine, run_retention(data, {}, "--json")) == KEEP_NINE


@pytest.mark.parametrize("minutes", [None, 5])
def test_where_no_service_looks_this_shells_policies_hold_and_that_is_said(
    data: Path, engine: Engine, minutes: int | None
) -> None:
    if minutes is not None:
        look_with(engine, timedelta(minutes=minutes), retention=KEEP_NINE)
    answer = run_retention(data, KEEP_ONE, "--json")
    assert policies_of(engine, answer) == KEEP_ONE
    told = json.loads(answer.stdout)
    assert (told["settings_of"], told["passed_over"]) == ("command", {})
    assert "as this shell says: no service looks" in run_retention(data, KEEP_ONE).stdout


def test_what_a_beat_of_an_older_release_goes_by_is_not_guessed(data: Path, engine: Engine) -> None:
    look_with(engine, timedelta(0), retention=KEEP_NINE)
    with engine.database.write() as connection:
        connection.execute(update(table_of(Schedule)).values(arguments=None))
    assert json.loads(run_retention(data, KEEP_ONE, "--json").stdout)["settings_of"] == "command"


@pytest.mark.parametrize("command", ["show", "run"])
def test_a_schedule_that_there_is_not_is_refused_and_the_others_are_named(data: Path, command: str) -> None:
    answer = run(data, "schedule", command, "nightly")
    assert answer.exit_code == 1
    assert "integrity-sweep, prune-history" in answer.stderr
