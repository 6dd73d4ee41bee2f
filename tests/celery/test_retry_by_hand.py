"""A job that kills its worker, from its quarantine to its end: the command line and a real worker, with nothing in between."""

from __future__ import annotations

import json
from collections.abc import Callable
from pathlib import Path
from typing import Any

from pytest_celery import CeleryTestSetup
from typer.testing import CliRunner

from models.ledger import find_jobs
from storage.engine import Engine
from strongroom.inbox import InboxWriter
from tests.support.local_containers import LocalWorker
from tests.support.processes import await_that
from workers.cli import app

POISON = "poison-0002"


def state_of(engine: Engine) -> str | None:
    with engine.database.read() as connection:
        row = find_jobs(connection, [POISON]).get(POISON)
    return row.state if row else None


def run(data: Path, *words: str) -> Any:
    answer = CliRunner().invoke(app, ["--data", str(data), "jobs", *words, "--json"])
    assert answer.exit_code == 0, answer.output
    return json.loads(answer.stdout)


def test_a_poison_job_is_quarantined_explained_and_done_after_the_cure(
    celery_setup: CeleryTestSetup, worker: LocalWorker, engine: Engine, data: Path, plant: Callable[[str], Path]
) -> None:
    poison = plant("poison")
    with InboxWriter(data / "inbox", POISON) as writer:
        writer.add(b'{"library_id": "/poison/cured", "version_id": "1"}')
        writer.commit()
    celery_setup.app.send_task("strongroom.store", kwargs={"inbox": f"{POISON}.inbox"}, queue="short")

    await_that(lambda: state_of(engine) == "quarantined", "it is given up", 90.0)
    row = run(data, "show", POISON)
    assert (row["state"], row["attempts"]) == ("quarantined", 6)
    said = run(data, "why", POISON)["why"]
    assert str(data / "inbox" / "failed" / f"{POISON}.inbox") in said
    assert f"`strongroom jobs retry {POISON}`" in said

    poison.unlink()
    assert run(data, "retry", POISON)["retried"] == [POISON]
    assert run(data, "wait", POISON, "--timeout", "60")["done"] == 1
    assert len(engine.versions("/poison/cured")) == 1
    row = run(data, "show", POISON)
    assert (row["state"], row["attempts"], row["error"], row["kept_at"]) == ("done", 1, None, None)
