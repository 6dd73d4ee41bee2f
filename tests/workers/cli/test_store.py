"""store speaks to programs in one shape, whatever is wrong with what it was given."""

from __future__ import annotations

import json
import os
from pathlib import Path
from typing import Any

import pytest
from rich.progress import Task, TaskID
from typer.testing import CliRunner

from strongroom.inbox import InboxFile
from strongroom.result import Problem
from workers.cli import app
from workers.cli.store import _Notice
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
    answer = CliRunner().invoke(app, ["--data", str(served), "store", "--json", "--priority", "urgent", str(tmp_path / "a.json")])
    assert (answer.exit_code, json.loads(answer.stdout)["error"]["code"]) == (1, "invalid_request")


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
    assert told == {"accepted": 1, "delivered": False, "failed": [], "jobs": accepted(data)}
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
    assert [one["code"] for one in told["failed"]] == ["broker_unavailable"]
    assert "Accepted" in told["failed"][0]["message"]
    assert told["jobs"] == accepted(data)


def test_with_a_service_whose_broker_is_away_wait_waits(data: Path, tmp_path: Path) -> None:
    birth = birth_of(os.getpid())
    assert birth is not None
    write_state(ServiceState(os.getpid(), birth, "", str(data), DEAD_BROKER, FlowerState("", "", None), (), ready=True))
    (tmp_path / "a.json").write_bytes(b"{}")
    code, told = store(data, "--wait", "--timeout", "0.2", tmp_path / "a.json")
    assert code == 1
    assert [one["code"] for one in told["failed"]] == ["wait_timeout"]
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
    assert "queue is full" in notice.render(Task(TaskID(0), "sending", 1, 0, _get_time=lambda: 0.0)).plain
    notice.clear()
    assert notice.render(Task(TaskID(0), "sending", 1, 0, _get_time=lambda: 0.0)).plain == ""
