"""jobs and jobs show, on a data folder without a service."""

from __future__ import annotations

import json
import os
from collections.abc import Iterator
from dataclasses import replace
from datetime import timedelta
from pathlib import Path
from typing import Any

import pytest
from typer.testing import CliRunner, Result

from models.leases import take_leases
from models.ledger import NewJob
from strongroom.contracts import Priority
from strongroom.inbox import InboxWriter
from tests.support.catalogue import START
from tests.support.desk import Desk, document
from tests.support.job_rows import NOON, add_jobs
from workers.cli import app
from workers.cli.jobs import newest_first

AT_LEAST = {"id", "kind", "state", "attempts", "subject"}
"""What other programs count on."""


@pytest.fixture
def desk(data: Path) -> Iterator[Desk]:
    """A worker's process on the test's data folder."""
    desk = Desk(data)
    yield desk
    desk.close()


def run(desk: Desk, *words: str, width: int = 200) -> Result:
    return CliRunner().invoke(app, ["jobs", "--data", str(desk.root), *words], env={"COLUMNS": str(width)})


def listed(desk: Desk, *words: str) -> list[dict[str, Any]]:
    answer = run(desk, "--json", *words)
    assert answer.exit_code == 0, answer.output
    rows: list[dict[str, Any]] = json.loads(answer.stdout)
    return rows


def stage(desk: Desk, job_id: str, *names: str, priority: Priority = "normal") -> None:
    with InboxWriter(desk.inbox, job_id, priority=priority) as writer:
        for name in names:
            writer.add(document(), name)
        writer.commit()


@pytest.fixture
def ended(desk: Desk) -> Desk:
    """A folder with a job that is done and one that failed."""
    desk.stage("done-00001", document())
    desk.run("done-00001")
    desk.stage("failed-0001", b"no JSON", names=["broken.json"])
    desk.run("failed-0001")
    return desk


def test_the_list_is_an_array_with_what_other_programs_count_on(ended: Desk) -> None:
    rows = listed(ended)
    assert [row["id"] for row in rows] == ["failed-0001", "done-00001"], "newest first"
    assert all(row.keys() >= AT_LEAST for row in rows)
    assert [row["state"] for row in rows] == ["failed", "done"]
    assert rows[0]["error"]["code"] == "not_json"
    assert (rows[0]["asked_by"], rows[0]["attempts"]) == ("producer", 1)


def test_an_empty_ledger_is_an_empty_array(desk: Desk) -> None:
    assert listed(desk) == []
    assert run(desk).stdout == "There are no jobs.\n"


def test_programs_are_told_of_all_jobs_and_people_of_fifty(desk: Desk, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("models.listing.PORTION", 7)
    minutes = [number // 3 for number in range(60)]
    add_jobs(desk.engine.database, *(("store", ("done", "failed")[number % 2], minutes[number]) for number in range(60)))
    newest = [f"job-{number}" for number in sorted(range(60), key=lambda one: (minutes[one], f"job-{one}"), reverse=True)]
    for minute, name in ((0, "waits-0000"), (30, "waits-0030")):
        stage(desk, name, "a.json")
        then = (NOON + timedelta(minutes=minute, seconds=1)).timestamp()
        os.utime(desk.inbox / f"{name}.inbox", (then, then))
    expected = ["waits-0030", *newest[:-3], "waits-0000", *newest[-3:]]
    assert [row["id"] for row in listed(desk)] == expected
    assert [row["id"] for row in listed(desk, "--limit", "9")] == expected[:9]
    failed = [name for name in newest if int(name[4:]) % 2]
    assert [row["id"] for row in listed(desk, "--state", "failed")] == failed
    assert len(listed(desk, "--state", "failed", "--state", "done")) == 60
    assert sum("store" in line for line in run(desk).stdout.splitlines()) == 50
    assert next(row for row in listed(desk) if row["id"] == "waits-0000")["subject"] == "a.json"


def test_a_file_that_is_entered_while_the_list_is_read_is_one_job(ended: Desk) -> None:
    done, failed = (ended.job(name) for name in ("done-00001", "failed-0001"))
    older = replace(failed, created_at=done.created_at - timedelta(minutes=1), state="queued")
    for since, files in ((failed.created_at, [older]), (NOON, [failed])):
        assert list(newest_first(iter(files), iter([failed, done]), since)) == [failed, done]


def test_states_kinds_and_a_limit_narrow_the_list_down(ended: Desk) -> None:
    stage(ended, "waits-0001", "a.json")
    assert [row["id"] for row in listed(ended, "--state", "failed")] == ["failed-0001"]
    assert [row["id"] for row in listed(ended, "--state", "failed", "--state", "queued")] == ["waits-0001", "failed-0001"]
    assert listed(ended, "--kind", "verify") == []
    assert len(listed(ended, "--kind", "store")) == 3
    assert [row["id"] for row in listed(ended, "--limit", "1")] == ["waits-0001"]
    answer = run(ended, "--state", "lost")
    assert (answer.exit_code, "quarantined" in answer.stderr) == (1, True)


def test_an_accepted_file_that_the_ledger_does_not_know_is_a_queued_job(desk: Desk) -> None:
    stage(desk, "waits-0001", "a.json", "b.json", priority="high")
    stage(desk, "waits-0002", *(f"{number}.json" for number in range(5)))
    many, few = listed(desk)
    assert (many["id"], many["subject"]) == ("waits-0002", "5 documents")
    assert few.items() >= {
        "id": "waits-0001", "kind": "store", "state": "queued", "attempts": 0, "subject": "a.json, b.json", "priority": "high",
    }.items()  # fmt: skip
    assert desk.jobs() == [], "looking enters nothing"


def test_part_files_and_strangers_in_the_inbox_are_no_jobs(desk: Desk) -> None:
    for name in ("waits-0001.abc.part", "short.inbox", "..inbox", "notes.txt"):
        (desk.inbox / name).write_bytes(b"")
    assert listed(desk) == []


def test_a_file_that_cannot_be_read_is_listed_by_its_name(desk: Desk) -> None:
    (desk.inbox / "damaged-1.inbox").write_bytes(b"cut short")
    (desk.inbox / "link-00001.inbox").symlink_to("/nowhere")
    assert {(row["id"], row["subject"]) for row in listed(desk)} == {("damaged-1", ""), ("link-00001", "")}


def test_a_file_whose_job_the_ledger_knows_is_listed_once(desk: Desk) -> None:
    stage(desk, "waits-0001", "a.json")
    with desk.engine.database.write() as connection:
        take_leases(connection, [NewJob("waits-0001", "store")], "host:1:w:l:1", START, lambda _row: "dead")
    assert [(row["id"], row["state"]) for row in listed(desk)] == [("waits-0001", "running")]
    assert listed(desk, "--state", "queued") == []


def test_a_table_shows_progress_errors_and_how_many_jobs_are_in_each_state(ended: Desk) -> None:
    with ended.engine.database.write() as connection:
        take_leases(connection, [NewJob("runs-00001", "verify")], "host:1:w:l:1", START, lambda _row: "dead")
        connection.exec_driver_sql("""UPDATE job SET progress = '{"done": 42, "total": 100}' WHERE job_id = 'runs-00001'""")
    stage(ended, "waits-0001", "a.json")
    out = run(ended).stdout
    assert "42 %" in out
    assert "not_json" in out
    assert "1 running, 1 done, 1 failed, 1 queued" in out
    assert "1 accepted file of the inbox" in out
    assert "progress" not in run(ended, "--state", "done").stdout
    assert run(ended, "--state", "parked").stdout == "There are no jobs.\n", "a narrowed list is no place for sums"


def test_a_long_name_is_cut_in_the_table_but_an_id_never(ended: Desk) -> None:
    out = run(ended, width=60).stdout
    assert "failed-0001" in out
    assert "done-00001" in out


def test_names_that_a_terminal_would_obey_are_spelled_out(desk: Desk) -> None:
    stage(desk, "waits-0001", "\x1b[2Jevil [/red]")
    out = run(desk).stdout
    assert "\x1b[2J" not in out
    assert "\\x1b[2Jevil [/red]" in out


def test_show_says_everything_its_lease_and_where_its_payload_lies(ended: Desk) -> None:
    fields = json.loads(run(ended, "show", "failed-0001", "--json").stdout)
    assert fields.keys() >= AT_LEAST | {"owner", "token", "renewals", "expires_at", "sends", "queue", "priority"}
    assert fields["token"] == 1
    assert fields["kept_at"] == str(ended.root / "inbox" / "failed" / "failed-0001.inbox")
    assert fields["error"]["hint"]
    people = run(ended, "show", "failed-0001")
    assert people.exit_code == 0
    assert "failed-0001.inbox" in people.stdout


def test_show_knows_an_accepted_file_too(desk: Desk) -> None:
    stage(desk, "waits-0001", "a.json")
    fields = json.loads(run(desk, "show", "waits-0001", "--json").stdout)
    assert (fields["state"], fields["subject"]) == ("queued", "a.json")


@pytest.mark.parametrize("command", ["show", "why", "retry", "cancel", "wait"])
@pytest.mark.parametrize("job_id", ["unknown-1", "../failed-0001", "failed-0001/../failed-0001", "[/red]\x1b[2J"])
def test_a_word_that_names_no_job_is_answered_clearly(ended: Desk, command: str, job_id: str) -> None:
    answer = run(ended, command, job_id)
    assert answer.exit_code == 1
    assert "There is no job" in answer.stderr
    assert "\x1b" not in answer.stderr
    assert ended.kept == ["failed-0001"]


@pytest.mark.parametrize("command", [["--json"], ["show", "x"], ["why", "x"], ["retry", "x"], ["cancel", "x"], ["wait", "--all"]])
def test_a_folder_that_is_none_is_answered_clearly(tmp_path: Path, command: list[str]) -> None:
    answer = CliRunner().invoke(app, ["--data", str(tmp_path / "none"), "jobs", *command])
    assert answer.exit_code == 1
    assert "none" in answer.output + answer.stderr
    assert not (tmp_path / "none").exists()
