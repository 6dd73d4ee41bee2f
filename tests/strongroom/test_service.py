"""A client of the service on this host finds it, says when there is none, and follows it."""

from __future__ import annotations

import json
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from storage.layout import FORMAT
from strongroom.client import Client
from strongroom.result import Err, Result
from strongroom.service import KNOWN_FORMAT, service_max_waiting

TEXT = b'{"library_id": "/a/b", "version_id": "1.0", "text": "\xc3\xa9"}'


def problem(result: Result[Any]) -> Any:
    assert isinstance(result, Err), result
    return result.problem


@pytest.fixture
def service(tmp_path: Path, broker: Any) -> Path:
    (tmp_path / "data" / "run").mkdir(parents=True)
    (tmp_path / "data" / "inbox").mkdir()
    (tmp_path / "data" / "run" / "service.json").write_text(json.dumps({"broker_url": broker.url, "pid": 1}))
    return tmp_path / "data"


def test_of_service_finds_broker_and_inbox_in_the_data_folder(service: Path, broker: Any) -> None:
    with Client.of_service(service) as client:
        ticket = client.store(TEXT).unwrap()
    assert (service / "inbox" / f"{ticket.request_id}.inbox").exists()
    assert len(broker.all()) == 1


def test_of_service_without_a_service_accepts_says_how_to_start_one_and_finds_it_later(service: Path, broker: Any) -> None:
    file = service / "run" / "service.json"
    body = file.read_text()
    file.unlink()
    with Client.of_service(service) as client:
        early = client.store(TEXT).unwrap()
        assert early.undelivered is not None
        assert early.undelivered.code == "broker_unavailable"
        assert f"strongroom up --data {service}" in early.undelivered.hint
        assert (service / "inbox" / f"{early.request_id}.inbox").exists()
        file.write_text(body)
        assert client.flush().unwrap() == 1
        late = client.store(TEXT).unwrap()
        assert late.delivered
    assert [message.headers["id"] for message in broker.all()] == [early.request_id, late.request_id]


def test_of_service_on_a_folder_where_none_ever_ran_is_an_err_and_makes_nothing(tmp_path: Path) -> None:
    (tmp_path / "data").mkdir()
    found = problem(Client.of_service(tmp_path / "data").store(TEXT))
    assert found.code == "broker_unavailable"
    assert "strongroom up" in found.hint
    assert list((tmp_path / "data").iterdir()) == []


@pytest.mark.parametrize(
    ("said", "most"), [(None, 200_000), (5, 5), (0, 200_000), (-1, 200_000), (True, 200_000), ("5", 200_000), (2.5, 200_000)]
)
def test_how_many_may_wait_is_the_services_own_or_the_default(service: Path, said: Any, most: int) -> None:
    (service / "run" / "service.json").write_text(json.dumps({"max_waiting": said} if said is not None else {}))
    assert service_max_waiting(service) == most
    (service / "run" / "service.json").unlink()
    assert service_max_waiting(service) == 200_000


def test_of_service_follows_a_service_that_started_again_elsewhere(service: Path, own_broker: Any, broker: Any) -> None:
    file = service / "run" / "service.json"
    file.write_text(json.dumps({"broker_url": own_broker.url}))
    with Client.of_service(service) as client:
        client.store(TEXT).unwrap()
        own_broker.kill()
        file.write_text(json.dumps({"broker_url": broker.url}))
        assert client.store(TEXT).unwrap().delivered
    assert len(broker.all()) == 1


@pytest.mark.parametrize("body", ["", "{", "[]", '{"broker_url": 3}', "{}"])
def test_of_service_refuses_a_service_file_that_is_none(service: Path, body: str) -> None:
    (service / "run" / "service.json").write_text(body)
    assert problem(Client.of_service(service).store(TEXT)).code == "data_folder"


def test_of_service_without_a_data_folder_is_an_err(tmp_path: Path) -> None:
    found = problem(Client.of_service(tmp_path / "nowhere").store(TEXT))
    assert found.code == "data_folder"
    assert "--data" in found.hint


def test_of_service_reaches_a_broker_in_a_folder_of_any_name(short_folder: Path, broker_at: Callable[[Path], Any]) -> None:
    data = short_folder / "a b#%20é?&"
    (data / "inbox").mkdir(parents=True)
    broker = broker_at(data)
    (data / "run" / "service.json").write_text(json.dumps({"broker_url": broker.url}))
    with Client.of_service(data, timeout_s=1) as client:
        client.store(TEXT).unwrap()
    assert len(broker.all()) == 1


def test_a_folder_of_a_newer_release_is_refused_before_anything_is_staged(service: Path) -> None:
    (service / "run" / "service.json").write_text('{"broker_url": "redis://127.0.0.1:1/0"}')
    (service / "strongroom.json").write_text(json.dumps({"strongroom": "data folder", "format": KNOWN_FORMAT + 1}))
    found = problem(Client.of_service(service).store(TEXT))
    assert (found.code, found.retryable) == ("data_folder", False)
    assert list((service / "inbox").iterdir()) == []


def test_the_client_knows_the_format_that_the_engine_writes() -> None:
    assert KNOWN_FORMAT == FORMAT
