"""store speaks to programs in one shape, whatever is wrong with what it was given."""

from __future__ import annotations

import errno
import json
import os
import shutil
from collections.abc import Iterator
from contextlib import contextmanager
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

import pytest
from rich.progress import Task, TaskID
from typer.testing import CliRunner

from models.ledger import NewJob, park_job
from storage.engine import Engine
from strongroom.inbox import InboxFile
from strongroom.result import Problem
from strongroom.ticket import Ticket
from workers.cli import app
from workers.cli.store import _Notice
from workers.cli.store_view import unfinished
from workers.processes import birth_of
from workers.service_state import FlowerState, ServiceState, write_state

DEAD_BROKER = "redis+socket:///nowhere/broker.sock?virtual_host=0"


def store(data: Path, *words: str | Path) -> tuple[int, dict[str, Any]]:
    answer = CliRunner().invoke(app, ["--data", str(data), "store", "--json", *map(str, words)])
    return answer.exit_code, json.loads(answer.stdout)


def test_a_name_that_is_no_document_fails_by_itself_and_the_others_go_on(served: Path, tmp_path: Path) -> None:
    good, empty, gone = tmp_path / "good.json", tmp_path / "empty", tmp_path / "gone.json"
    good.write_bytes(b"{}")
    empty.mkdir()
    code, told = store(served, gone, good, empty)
    assert code == 1
    assert [(one["file"], one["code"]) for one in told["failed"]] == [(str(gone), "not_found"), (str(empty), "not_found")]
    assert all(one["message"] and one["hint"] for one in told["failed"])
    (path,) = (served / "inbox").glob("*.inbox")
    with InboxFile(path) as file:
        assert [one.name for one in file.manifest.documents] == [str(good)]


def test_a_priority_is_written_into_the_manifest(served: Path, tmp_path: Path) -> None:
    (tmp_path / "a.json").write_bytes(b"{}")
    assert store(served, "--priority", "high", tmp_path / "a.json")[0] == 0
    (path,) = (served / "inbox").glob("*.inbox")
    with InboxFile(path) as file:
        assert file.manifest.priority == "high"


def test_with_wait_the_shape_is_the_same_when_nothing_could_be_sent(served: Path, tmp_path: Path) -> None:
    code, told = store(served, "--wait", tmp_path / "gone.json")
    assert code == 1
    assert (told["stored"], told["unchanged"], told["failed"][0]["code"]) == (0, 0, "not_found")


def accepted(data: Path) -> list[str]:
    return sorted(path.stem for path in (data / "inbox").glob("*.inbox"))


def test_without_a_service_documents_are_accepted_and_the_answer_says_that_they_wait(data: Path, tmp_path: Path) -> None:
    (tmp_path / "a.json").write_bytes(b"{}")
    code, told = store(data, tmp_path / "a.json")
    assert code == 0
    assert told == {"accepted": 1, "delivered": False, "failed": [], "skipped": [], "jobs": accepted(data)}
    assert len(told["jobs"]) == 1
    answer = CliRunner().invoke(app, ["--data", str(data), "store", str(tmp_path / "a.json")])
    assert answer.exit_code == 0
    assert "1 accepted" in answer.output
    assert f"strongroom up --data {data}" in answer.output


def test_with_a_broker_the_answer_says_that_it_was_told(served: Path, tmp_path: Path) -> None:
    (tmp_path / "a.json").write_bytes(b"{}")
    code, told = store(served, tmp_path / "a.json")
    assert (code, told["accepted"], told["delivered"]) == (0, 1, True)


@pytest.mark.parametrize("left_behind", [False, True])
def test_without_a_service_there_is_nothing_to_wait_for_and_the_exit_code_says_so(
    data: Path, tmp_path: Path, left_behind: bool
) -> None:
    if left_behind:  # by a supervisor that was killed
        write_state(ServiceState(1, "never", "", str(data), DEAD_BROKER, FlowerState("", "", None), (), ready=True))
    (tmp_path / "a.json").write_bytes(b"{}")
    code, told = store(data, "--wait", tmp_path / "a.json")
    assert code == 3
    assert (told["stored"], told["unchanged"], told["accepted"], told["delivered"]) == (0, 0, 1, False)
    assert [(one["file"], one["code"]) for one in told["failed"]] == [(str(tmp_path / "a.json"), "broker_unavailable")]
    assert "Accepted" in told["failed"][0]["message"]
    assert told["jobs"] == accepted(data)


def test_with_a_service_whose_broker_is_away_wait_waits(data: Path, tmp_path: Path) -> None:
    birth = birth_of(os.getpid())
    assert birth is not None
    write_state(ServiceState(os.getpid(), birth, "", str(data), DEAD_BROKER, FlowerState("", "", None), (), ready=True))
    (tmp_path / "a.json").write_bytes(b"{}")
    code, told = store(data, "--wait", "--timeout", "0.2", tmp_path / "a.json")
    assert code == 5
    assert [(one["file"], one["code"]) for one in told["failed"]] == [(str(tmp_path / "a.json"), "wait_timeout")]
    assert "accepted" not in told
    assert told["delivered"] is False


def test_a_folder_on_which_no_service_ever_ran_accepts_nothing(tmp_path: Path) -> None:
    (tmp_path / "a.json").write_bytes(b"{}")
    (tmp_path / "new").mkdir()
    code, told = store(tmp_path / "new", tmp_path / "a.json")
    assert (code, told["accepted"], told["failed"][0]["code"]) == (3, 0, "broker_unavailable")
    assert list((tmp_path / "new").iterdir()) == []


def test_a_full_queue_holds_the_command_up_for_its_timeout_and_is_an_error_then(served: Path, tmp_path: Path) -> None:
    service = served / "run" / "service.json"
    service.write_text(json.dumps(json.loads(service.read_text()) | {"max_waiting": 1}))
    (tmp_path / "a.json").write_bytes(b"{}")
    assert store(served, tmp_path / "a.json")[0] == 0
    code, told = store(served, "--timeout", "0.2", tmp_path / "a.json")
    assert (code, told["accepted"], [one["code"] for one in told["failed"]]) == (1, 0, ["queue_full"])
    assert len(accepted(served)) == 1


def test_the_bar_says_that_the_queue_is_full_until_it_moves_on() -> None:
    notice = _Notice()
    notice.show(Problem("queue_full", "m", "h"))
    assert "queue is full" in notice.__rich__().plain
    beside = notice.beside_numbers()[-1]
    assert beside(Task(TaskID(0), "sending", 1, 0, _get_time=lambda: 0.0)) is notice
    notice.clear()
    assert notice.__rich__().plain == ""


@pytest.mark.parametrize(
    "words",
    [
        ("--priority", "urgent", "a.json"),
        ("--if-exists", "bogus", "a.json"),
        ("",),
        ("a.json", ""),
        ("--library", "", "a.json"),
        ("--version", "", "a.json"),
        ("--no-such-option", "a.json"),
    ],
)
def test_a_wrong_command_line_is_told_as_json_and_nothing_is_stored(data: Path, words: tuple[str, ...]) -> None:
    (data / "inbox").mkdir(exist_ok=True)
    code, told = store(data, *words)
    assert (code, told["error"]["code"]) == (2, "invalid_request")
    assert told["error"]["message"]
    assert "store --help" in told["error"]["hint"]
    assert list((data / "inbox").iterdir()) == []


def test_what_a_folder_holds_is_stored_or_failed_or_skipped_and_never_passed_over(served: Path, tmp_path: Path) -> None:
    docs, elsewhere = tmp_path / "docs", tmp_path / "elsewhere"
    (docs / "closed").mkdir(parents=True)
    elsewhere.mkdir()
    for path in (docs / "a.json", docs / "B.JSON", elsewhere / "c.json", docs / "readme.md"):
        path.write_bytes(b"{}")
    (docs / "file-link.json").symlink_to(elsewhere / "c.json")
    (docs / "dangling.json").symlink_to("nowhere")
    (docs / "linked").symlink_to(elsewhere)
    os.mkfifo(docs / "pipe.json")
    with refused(docs / "closed"):
        code, told = store(served, docs)
    assert code == 1
    assert told["accepted"] == 3, "a.json, B.JSON and what the link leads to"
    failed = {Path(one["file"]).name: one["code"] for one in told["failed"]}
    assert failed == {"closed": "permission_denied", "dangling.json": "not_found", "pipe.json": "invalid_request"}
    assert {Path(one["file"]).name for one in told["skipped"]} == {"linked", "readme.md"}


def test_people_are_told_what_was_skipped_even_when_all_is_well(served: Path, tmp_path: Path) -> None:
    (tmp_path / "docs").mkdir()
    (tmp_path / "docs" / "a.json").write_bytes(b"{}")
    for name in ("one.txt", "two.txt"):
        (tmp_path / "docs" / name).touch()
    answer = CliRunner().invoke(app, ["--data", str(served), "store", "--quiet", str(tmp_path / "docs")])
    assert answer.exit_code == 0
    assert "2 skipped" in answer.output
    assert "one.txt and 1 other:" in answer.output


@contextmanager
def refused(folder: Path) -> Iterator[None]:
    """Have the operating system refuse to list a folder; as root it never does, so scandir is told to."""
    hit = False
    real = os.scandir

    def scandir(path: str) -> object:
        nonlocal hit
        if str(path) == str(folder):
            hit = True
            raise PermissionError(errno.EACCES, "Permission denied", path)
        return real(path)

    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(os, "scandir", scandir)
        yield
    assert hit, "nobody looked into the folder"


def test_when_nothing_more_is_accepted_every_document_is_named(data: Path, tmp_path: Path) -> None:
    for name in ("a.json", "b.json"):
        (tmp_path / name).write_bytes(b"{}")
    shutil.rmtree(data / "inbox")
    (data / "inbox").touch()
    code, told = store(data, tmp_path / "a.json", tmp_path / "b.json")
    assert code != 0
    assert [Path(one["file"]).name for one in told["failed"]] == ["a.json", "b.json"]


def test_a_folder_that_is_not_there_is_one_where_no_service_runs(tmp_path: Path) -> None:
    (tmp_path / "a.json").write_bytes(b"{}")
    code, told = store(tmp_path / "nowhere", tmp_path / "a.json")
    assert (code, told["failed"][0]["code"], told["failed"][0]["file"]) == (3, "data_folder", str(tmp_path / "a.json"))


def test_a_job_that_is_parked_says_so_and_what_it_waits_for(engine: Engine, data: Path) -> None:
    now = datetime(2026, 1, 1, tzinfo=UTC)
    error = {"code": "not_enough_space", "message": "It needs 1.2 GB.", "hint": "Make room."}
    with engine.database.write() as connection:
        park_job(connection, NewJob("0123456789ab", "store"), error, now, now)
    parked, other = Ticket("0123456789ab", ("a.json",)), Ticket("0123456789ac", ("b.json",))
    told = unfinished(data, Problem("wait_timeout", "late", "wait"), [parked, other], ["b.json"])
    assert told == [
        {"file": "a.json", "code": "not_enough_space", "message": "Accepted, and parked: It needs 1.2 GB.", "hint": "Make room."}
    ]


def test_a_folder_of_a_newer_release_accepts_nothing(served: Path, tmp_path: Path) -> None:
    (served / "strongroom.json").write_text('{"strongroom": "data folder", "format": 2}')
    (tmp_path / "a.json").write_bytes(b"{}")
    code, told = store(served, tmp_path / "a.json")
    assert (code, told["failed"][0]["code"], told["accepted"]) == (1, "data_folder", 0)
    assert "format 2" in told["failed"][0]["message"]
    assert accepted(served) == []
