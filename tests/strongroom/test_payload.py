"""Where documents go: an inbox file that is whole or absent, or the message itself."""

from __future__ import annotations

import gzip
import io
import subprocess
import sys
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest

from strongroom import durable
from strongroom.client import Client
from strongroom.contracts import StoreMessage, parse_message
from strongroom.inbox import InboxFile
from strongroom.outgoing import Outgoing
from strongroom.result import Err, Result

TEXT = b'{"library_id": "/a/b", "version_id": "1.0", "text": "\xc3\xa9"}'
Staged = Callable[[], list[Path]]


def problem(result: Result[Any]) -> Any:
    assert isinstance(result, Err), result
    return result.problem


def contents(path: Path) -> list[bytes]:
    with InboxFile(path) as file:
        return [file.read(document) for document in file.manifest.documents]


def test_a_mistyped_inbox_is_an_err_and_is_not_made(broker: Any, tmp_path: Path) -> None:
    client = Client(inbox=tmp_path / "inbx", broker_url=broker.url)
    assert problem(client.store(TEXT)).code == "data_folder"
    assert not (tmp_path / "inbx").exists()
    assert broker.all() == []


def test_a_full_disk_is_an_err_and_nothing_stays_behind(broker: Any, inbox: Path, staged: Staged) -> None:
    script = (
        "import resource, sys\n"
        "from strongroom import Client\n"
        "client = Client(inbox=sys.argv[1], broker_url=sys.argv[2])\n"
        "client.store(b'{}').unwrap()\n"
        "resource.setrlimit(resource.RLIMIT_FSIZE, (100_000, 100_000))\n"
        "print(client.store(b'x' * 5_000_000).problem.code, client.store(b'x' * 200_000).problem.code)\n"
        "client.store(b'{}').unwrap()\n"
    )
    command = [sys.executable, "-W", "error", "-c", script, str(inbox), broker.url]
    done = subprocess.run(command, capture_output=True, text=True, check=False)
    assert (done.stdout.split(), done.stderr) == (["disk_full", "disk_full"], "")
    assert len(staged()) == len(broker.all()) == 2


def test_a_crash_at_any_step_of_a_store_leaves_a_whole_job_or_none(
    own_broker: Any, inbox: Path, steps: list[str], crash_at: Callable[[int, Callable[[], object]], None]
) -> None:
    def store() -> None:
        Client(inbox=inbox, broker_url=own_broker.url).store(TEXT, name="one")

    store()
    count = len(steps)
    assert count >= 4
    durable.step.observer = None
    for number in range(count):
        for path in inbox.iterdir():
            path.unlink()
        own_broker.client.flushall()
        crash_at(number, store)
        for path in inbox.iterdir():
            if path.suffix == ".inbox":
                assert contents(path) == [TEXT]
            else:
                assert path.suffix == ".part"
        for message in own_broker.all():
            assert contents(inbox / message.fields["inbox"]) == [TEXT]


def many(count: int, size: int = 10) -> Iterator[Outgoing]:
    return (Outgoing(b"%0*d" % (size, number), name=str(number)) for number in range(count))


def test_without_an_inbox_documents_travel_inside_the_message(broker: Any) -> None:
    with Client(broker_url=broker.url) as client:
        ticket = client.store(TEXT, library_id="/x/y", version="1").unwrap()
        client.store(gzip.compress(b'{"packed":') + gzip.compress(b" 1}")).unwrap()
    plain, packed = broker.all()
    assert plain.fields == {
        "contract": 1,
        "request_id": ticket.request_id,
        "documents": [{"text": TEXT.decode(), "library_id": "/x/y", "version": "1"}],
    }
    assert packed.fields["documents"] == [{"text": '{"packed": 1}'}]
    assert parse_message(StoreMessage, plain.fields).documents[0].text == TEXT.decode()


def test_without_an_inbox_a_message_holds_a_mebibyte_at_most(broker: Any) -> None:
    with Client(broker_url=broker.url) as client:
        assert [ticket.documents for ticket in client.store_many(many(11, 200 * 2**10)).unwrap()] == [5, 5, 1]


@pytest.mark.parametrize(
    ("document", "code"),
    [
        (b"x" * (256 * 1024 + 1), "limit_exceeded"),
        (gzip.compress(bytes(50_000_000)), "limit_exceeded"),
        (io.BytesIO(bytes(17 * 2**20)), "limit_exceeded"),
        (gzip.compress(TEXT)[:-1], "damaged_gzip"),
        (gzip.compress(TEXT) + b"trailing", "damaged_gzip"),
        (b"\xff", "not_json"),
    ],
)
def test_without_an_inbox_what_a_message_cannot_hold_is_an_err(broker: Any, document: Any, code: str) -> None:
    with Client(broker_url=broker.url) as client:
        found = problem(client.store(document))
    assert found.code == code
    assert found.hint
    assert broker.all() == []


def test_the_largest_inline_document_passes(broker: Any) -> None:
    with Client(broker_url=broker.url) as client:
        client.store(b"x" * 256 * 1024).unwrap()
    assert len(broker.all()[0].fields["documents"][0]["text"]) == 256 * 1024


def test_without_an_inbox_there_is_nothing_to_wait_for(broker: Any) -> None:
    with Client(broker_url=broker.url) as client:
        ticket = client.store(TEXT).unwrap()
        found = problem(client.wait(ticket, 0))
    assert found.code == "configuration"
    assert "inbox" in found.hint
