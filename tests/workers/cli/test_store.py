"""store speaks to programs in one shape, whatever is wrong with what it was given."""

from __future__ import annotations

import json
import subprocess
from collections.abc import Iterator
from contextlib import suppress
from pathlib import Path
from typing import Any

import pytest
from typer.testing import CliRunner

from strongroom.errors import BrokerUnavailable
from strongroom.inbox import InboxFile
from tests.support.processes import await_that
from workers.broker import ping, prepare_embedded
from workers.cli import app
from workers.processes import death_bond
from workers.service_state import FlowerState, ServiceState, write_state


@pytest.fixture
def served(data: Path) -> Iterator[Path]:
    """A data folder with a broker; nobody works there."""
    embedded = prepare_embedded(data)

    def answers() -> bool:
        with suppress(BrokerUnavailable):
            ping(embedded.url, 1.0)
            return True
        return False

    with subprocess.Popen(embedded.command, stdout=subprocess.DEVNULL, preexec_fn=death_bond()) as process:  # noqa: PLW1509
        await_that(answers, "the broker answers")
        write_state(ServiceState(1, "", "", str(data), embedded.url, FlowerState("", "", None), (), ready=True))
        yield data
        process.kill()


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


def test_without_a_service_the_exit_code_says_so(data: Path, tmp_path: Path) -> None:
    (tmp_path / "a.json").write_bytes(b"{}")
    code, told = store(data, "--wait", tmp_path / "a.json")
    assert code == 3
    assert (told["stored"], told["unchanged"], told["failed"][0]["code"]) == (0, 0, "broker_unavailable")
