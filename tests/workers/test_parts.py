from __future__ import annotations

import os
import signal
import stat
import subprocess
import sys
from collections.abc import Mapping
from pathlib import Path

import pytest
from pydantic import SecretStr

from config.settings import Settings
from strongroom.errors import ConfigurationError
from workers.broker import prepare_embedded
from workers.dashboard import prepare_dashboard
from workers.nodes import node_name, part_of
from workers.parts import CHECKOUT, NAMES, Part, Site, all_parts
from workers.watch import Seen, Watcher

OWN_BROKER = "redis://:brokersecret@broker.example:6379/0"


def parts_of(settings: Settings, environ: Mapping[str, str] | None = None) -> dict[str, Part]:
    """Return the table as the supervisor makes it."""
    embedded = None if settings.broker_url else prepare_embedded(settings.data_dir)
    url = embedded.url if embedded else OWN_BROKER
    table = all_parts(Site(settings, environ or {}, url), embedded, prepare_dashboard(settings))
    return {part.name: part for part in table}


def test_the_table_names_each_part_once_in_the_order_of_its_start(tmp_path: Path) -> None:
    assert tuple(parts_of(Settings(data_dir=tmp_path))) == NAMES


def test_with_a_broker_of_ones_own_none_is_started(tmp_path: Path) -> None:
    table = parts_of(Settings(data_dir=tmp_path, broker_url=SecretStr(OWN_BROKER)))
    assert tuple(table) == NAMES[1:]
    assert {part.environment["STRONGROOM_BROKER_URL"] for part in table.values()} == {OWN_BROKER}


def test_no_secret_stands_in_a_command_or_in_what_is_printed_of_a_part(tmp_path: Path) -> None:
    settings = Settings(
        data_dir=tmp_path / ("x" * 120),  # too long for a socket: the embedded broker has a password
        flower_password=SecretStr("flowersecret"),
        database_url=SecretStr("postgresql+psycopg://me:databasesecret@db.example/name"),
    )
    secret = prepare_embedded(settings.data_dir).url.partition("://:")[2].partition("@")[0]
    environ = {"STRONGROOM_DATABASE_URL": "postgresql+psycopg://me:databasesecret@db.example/name"}
    table = parts_of(settings, environ)
    shown = repr(table) + repr(prepare_embedded(settings.data_dir)) + " ".join(" ".join(part.command) for part in table.values())
    for one in (secret, "flowersecret", "databasesecret"):
        assert one not in shown
    assert table["flower"].environment["FLOWER_BASIC_AUTH"] == "strongroom:flowersecret"
    assert not [name for name in table["broker"].environment if name.startswith("STRONGROOM_")]
    assert "FLOWER_BASIC_AUTH" not in table["worker-short"].environment


def test_what_would_beat_our_own_options_is_not_inherited(tmp_path: Path) -> None:
    environ = {
        "CELERY_BROKER_URL": "redis://elsewhere/0",
        "CELERY_WORKER_CONCURRENCY": "64",
        "FLOWER_UNAUTHENTICATED_API": "true",
        "REMAP_SIGTERM": "SIGQUIT",
        "NOTIFY_SOCKET": "/run/systemd/notify",
        "STRONGROOM_DATA_DIR": "/elsewhere",
        "HTTPS_PROXY": "http://proxy.example:3128",
    }
    for part in parts_of(Settings(data_dir=tmp_path), environ).values():
        inherited = {name for name in environ if part.environment.get(name) == environ[name]}
        assert inherited == {"HTTPS_PROXY"}, part.name


def test_workers_are_found_by_their_command_line_and_differ_by_folder(tmp_path: Path) -> None:
    short = parts_of(Settings(data_dir=tmp_path / "a"))["worker-short"]
    other = parts_of(Settings(data_dir=tmp_path / "b"))["worker-short"]
    assert {"celery", "worker", "short,celery,upkeep,probe-short"} <= set(short.command)
    node = short.command[short.command.index("-n") + 1]
    assert node == node_name("worker-short", tmp_path / "a")
    assert node not in other.command
    assert part_of(node.replace("%h", "a-host.example")) == "worker-short"


def test_jobs_have_the_grace_period_and_the_broker_outlives_everybody(tmp_path: Path) -> None:
    table = parts_of(Settings(data_dir=tmp_path, grace_period_s=7))
    assert table["worker-long"].stop_steps[0] == (signal.SIGTERM, 7.0)
    assert table["worker-long"].stop_steps[1][0] is signal.SIGQUIT
    waves = {name: part.stop_wave for name, part in table.items()}
    assert waves["beat"] == waves["flower"] < waves["worker-short"] == waves["worker-long"] < waves["broker"]


def test_flowers_password_is_made_once_and_read_by_its_owner_alone(tmp_path: Path) -> None:
    settings = Settings(data_dir=tmp_path)
    first, second = prepare_dashboard(settings), prepare_dashboard(settings)
    assert first.password == second.password
    assert len(first.password) >= 20
    assert first.password_file is not None
    assert stat.S_IMODE(first.password_file.stat().st_mode) == 0o600
    assert first.listen == "127.0.0.1"
    assert first.password not in repr(first)


def test_a_password_from_the_settings_is_not_written_down(tmp_path: Path) -> None:
    dashboard = prepare_dashboard(Settings(data_dir=tmp_path, flower_password=SecretStr("given")))
    assert dashboard.password_file is None
    assert not [file for file in tmp_path.rglob("*") if file.is_file()]


@pytest.mark.parametrize(("user", "password"), [("a:b", "x"), ("a,b", "x"), ("a", "x,y:z")])
def test_a_user_or_password_that_flower_would_split_is_refused(tmp_path: Path, user: str, password: str) -> None:
    with pytest.raises(ConfigurationError):
        prepare_dashboard(Settings(data_dir=tmp_path, flower_user=user, flower_password=SecretStr(password)))


SELDOM = {"alembic", "apprise", "boto3", "botocore", "pyrage", "click_repl", "prompt_toolkit", "typer"}
"""What no part needs to start, and each would be late by: it is imported where it is used."""


@pytest.mark.parametrize(
    ("modules", "needless"),
    [
        ("workers.service", SELDOM | {"celery", "kombu", "redis", "sqlalchemy", "flower"}),
        ("workers.launch, workers.main, workers.pulse, celery.bin.worker", SELDOM | {"flower", "prometheus_client"}),
        (
            "workers.launch, workers.outside, workers.pulse, workers.alarm, workers.schedules, celery.bin.beat",
            SELDOM | {"flower", "tasks.registry", "storage.engine"},
        ),
        ("workers.web, workers.outside, flower.command", SELDOM | {"sqlalchemy", "storage", "structlog", "tasks.registry"}),
    ],
    ids=["supervisor", "worker", "beat", "flower"],
)
def test_no_part_starts_with_what_it_does_not_need(tmp_path: Path, modules: str, needless: set[str]) -> None:
    script = f"import sys, {modules}; print(*sys.modules)"
    loaded = subprocess.run(
        [sys.executable, "-c", script],
        capture_output=True,
        text=True,
        check=True,
        cwd=CHECKOUT,
        env={**os.environ, "STRONGROOM_DATA_DIR": str(tmp_path)},
    )
    assert needless.isdisjoint(loaded.stdout.split())
    if "workers.main" in modules:  # what each process of its pool needs is imported once, before they are forked
        assert {"storage.store", "storage.reading", "storage.repair", "storage.accesses"} <= set(loaded.stdout.split())


def seconds_until_complaint(part: Part, seen: Seen, *signs: Path) -> int | None:
    """Look at a part every two seconds, for ten minutes that pass at once; return when it first seems silent.

    ``signs`` are touched before each look.
    """
    watchers = [Watcher(watch, 0.0) for watch in part.watches]
    for now in range(2, 600, 2):
        for sign in signs:
            sign.touch()
            os.utime(sign, (now, now))
        if any(watcher.complains(seen, float(now)) for watcher in watchers):
            return now
    return None


FROZEN = Seen(broker_answers=False, broker_lives=False)


def test_each_part_that_shows_nothing_is_noticed_in_time(tmp_path: Path) -> None:
    table = parts_of(Settings(data_dir=tmp_path))
    waiting = {"worker-short": "probe-short", "worker-long": "probe-long"}
    noticed = {
        name: seconds_until_complaint(part, FROZEN if name == "broker" else Seen(messages={waiting.get(name, ""): 1}))
        for name, part in table.items()
    }
    assert noticed == {"broker": 30, "worker-short": 16, "worker-long": 16, "beat": 30, "flower": 60}


def test_without_a_broker_no_part_but_the_broker_is_called_silent(tmp_path: Path) -> None:
    table = parts_of(Settings(data_dir=tmp_path))
    noticed = {name for name, part in table.items() if seconds_until_complaint(part, FROZEN)}
    assert noticed == {"broker"}


def test_a_broker_that_still_loads_its_data_is_left_alone(tmp_path: Path) -> None:
    broker = parts_of(Settings(data_dir=tmp_path))["broker"]
    assert seconds_until_complaint(broker, Seen(broker_answers=False, broker_lives=True)) is None


def test_a_worker_whose_loop_stands_still_while_a_job_runs_is_given_more_time(tmp_path: Path) -> None:
    (tmp_path / "run").mkdir()
    worker = parts_of(Settings(data_dir=tmp_path))["worker-long"]
    waits = Seen(messages={"probe-long": 1})
    busy, alive = tmp_path / "run" / "worker-long.busy", tmp_path / "run" / "worker-long.alive"
    assert seconds_until_complaint(worker, waits, alive) == 16
    alive.unlink()
    assert seconds_until_complaint(worker, waits, busy) == 60
    assert seconds_until_complaint(worker, waits, busy, alive) is None


def test_messages_for_another_worker_are_not_held_against_one(tmp_path: Path) -> None:
    assert (
        seconds_until_complaint(parts_of(Settings(data_dir=tmp_path))["worker-long"], Seen(messages={"probe-short": 1})) is None
    )


def test_the_broker_never_rests_for_long(tmp_path: Path) -> None:
    pauses = {name: part.longest_pause_s for name, part in parts_of(Settings(data_dir=tmp_path)).items()}
    assert pauses.pop("broker") == 1
    assert set(pauses.values()) == {30}


def test_an_application_of_ones_own_is_that_of_every_part(tmp_path: Path) -> None:
    settings = Settings(data_dir=tmp_path)
    table = all_parts(Site(settings, {}, OWN_BROKER, "my.app"), None, prepare_dashboard(settings))
    assert {part.command[part.command.index("-A") + 1] for part in table} == {"my.app"}


def test_flower_is_found_by_its_command_line_and_by_celerys(tmp_path: Path) -> None:
    command = parts_of(Settings(data_dir=tmp_path))["flower"].command
    assert command[1:7] == ("-m", "workers.web", "celery", "-A", "workers.outside", "flower")
