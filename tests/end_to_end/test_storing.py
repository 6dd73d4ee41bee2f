"""What goes in comes back to the byte, however it goes in."""

from __future__ import annotations

import gzip
import hashlib
import json
import subprocess
import sys
import time
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from strongroom.client import Client
from strongroom.outgoing import Outgoing
from tests.support.command import Folder, document, service
from tests.support.processes import await_that


@pytest.fixture(scope="module")
def other() -> Iterator[Folder]:
    """A second service, without a tree: thousands of files would take longer to remove than to make."""
    with service(STRONGROOM_TREE="none") as folder:
        yield folder


# The three shapes in which the downloader writes documents, as they come: sorted or not, indented or not.
SHAPES: dict[str, Any] = {
    "chunks": {
        "chunks": [
            {"chunk_id": "c1", "content": "x", "content_hash": "0" * 16, "metadata": {"extracted_entries": []}, "token_count": 1}
        ],
        "downloaded_at": "2026-01-01T00:00:00Z",
        "library_id": "/shape/chunks",
        "storage_format_version": "1.0",
        "summary": {},
        "version_id": "v_1767225600_000001",
    },
    "simple": {
        "stored_at": "2026-01-01",
        "library_id": "/shape/simple",
        "version_id": "v_1767225600_000002",
        "chunk_count": 0,
        "chunks": [],
    },
    "contexts": {
        "library_info": {"library_id": "/shape/contexts", "version": "3.1.3", "name": "Contexts", "trust_score": 9.5},
        "contexts": [{"content": "é" * 100}],
        "documentation_sections": {},
        "total_tokens": 100,
    },
}


def _plain(shape: str) -> bytes:
    if shape == "chunks":
        return json.dumps(SHAPES[shape], sort_keys=True, indent=2, ensure_ascii=False).encode() + b"\n"
    return json.dumps(SHAPES[shape]).encode()


@pytest.mark.parametrize("shape", SHAPES)
@pytest.mark.parametrize("packed", [False, True], ids=["json", "json.gz"])
def test_each_shape_comes_back_to_the_byte_packed_or_not(running: Folder, papers: Path, shape: str, packed: bool) -> None:
    plain = _plain(shape)
    path = papers / ("documentation.json.gz" if packed else "documentation.json")
    path.write_bytes(gzip.compress(plain) if packed else plain)

    answer = running.store(path)

    assert (answer.code, answer.fields["failed"], answer.fields["stored"] + answer.fields["unchanged"]) == (0, [], 1)
    assert running.run("get", f"/shape/{shape}").out == plain
    (row,) = running.run("list", f"/shape/{shape}", "--json").fields
    assert row["content_sha256"] == hashlib.sha256(plain).hexdigest()
    assert row["size_bytes"] == len(plain)


def test_a_gzip_of_several_members_comes_back_as_the_json_that_it_unpacks_to(running: Folder, papers: Path) -> None:
    plain = document("/packed/members", text="x" * 1000)
    (papers / "a.json.gz").write_bytes(gzip.compress(plain[:500]) + gzip.compress(plain[500:]))
    assert running.store(papers / "a.json.gz").code == 0
    assert running.run("get", "/packed/members").out == plain


def test_standard_input_is_a_document_too(running: Folder) -> None:
    assert running.store("-", stdin=document("/from/stdin")).fields["stored"] == 1
    assert running.run("get", "/from/stdin").out == document("/from/stdin")
    assert (
        running.store("--library", "/from/stdin-packed", "-", stdin=gzip.compress(document("/from/stdin"))).fields["stored"] == 1
    )
    assert running.run("get", "/from/stdin-packed", "1.0").out == document("/from/stdin")


def test_the_options_beat_what_the_document_says(running: Folder, papers: Path) -> None:
    (papers / "a.json").write_bytes(document("/own/name", "1.0"))
    assert running.store("--library", "/given/name", "--version", "2.0", papers / "a.json").code == 0
    assert running.run("get", "/given/name", "2.0").out == document("/own/name", "1.0")
    assert running.run("list", "/own/name").code == 1


def test_the_client_says_library_version_order_source_and_metadata(running: Folder) -> None:
    with Client.of_service(running.path) as client:
        made = [
            Outgoing(b"{}", "/by/client", "nightly", sort_as="9.9", source="https://example.org", metadata={"by": ["hand"]}),
            Outgoing({"library_id": "/by/client", "a": "é"}, version="2.0"),
        ]
        tickets = client.store_many(made).unwrap()
        receipts = client.wait(tickets, 30.0).unwrap()
    assert [(one.status, one.library_id, one.version) for one in receipts] == [
        ("stored", "/by/client", "nightly"),
        ("stored", "/by/client", "2.0"),
    ]
    shown = running.run("show", "/by/client", "--json").fields
    assert (shown["version"], shown["source"], shown["metadata"]) == ("nightly", "https://example.org", {"by": ["hand"]})
    assert running.run("get", "/by/client", "2.0").out == '{"library_id":"/by/client","a":"é"}'.encode()


def test_storing_again_changes_nothing(running: Folder, papers: Path) -> None:
    for number in range(5):
        (papers / f"{number}.json").write_bytes(document("/again", number))
    first, second = running.store(papers), running.store(papers)
    assert (first.fields["stored"], second.fields["stored"], second.fields["unchanged"]) == (5, 0, 5)
    assert second.code == 0
    assert {row["revision"] for row in running.run("list", "/again", "--json").fields} == {1}


def test_without_wait_everything_is_accepted_and_done_later(running: Folder, papers: Path) -> None:
    for number in range(5):
        (papers / f"{number}.json").write_bytes(document("/later", number))
    answer = running.run("store", "--json", papers)
    assert (answer.code, answer.fields["accepted"], answer.fields["failed"]) == (0, 5, [])
    await_that(lambda: not running.waiting, "all are done")
    assert len(running.run("list", "/later", "--json").fields) == 5


def test_a_folder_of_2000_small_files_is_stored_in_reasonable_time(other: Folder, papers: Path) -> None:
    for number in range(2000):
        folder = papers / f"{number // 100:02}"
        folder.mkdir(exist_ok=True)
        (folder / f"{number}.json").write_bytes(document(f"/many/{number % 50}", number, text=f"text {number} " * 100))

    started = time.monotonic()
    answer = other.store(papers)
    seconds = time.monotonic() - started

    assert (answer.code, answer.fields["stored"], answer.fields["failed"]) == (0, 2000, [])
    assert seconds < 20, "a hundred a second is not reasonable"
    assert other.waiting == []
    sample = other.run("get", "/many/7", "1957").out
    assert sample == document("/many/7", 1957, text="text 1957 " * 100)


def test_a_damaged_byte_is_found_named_and_never_served(running: Folder, papers: Path) -> None:
    for number in range(3):
        (papers / f"{number}.json").write_bytes(document("/damaged", number, text="x" * 5000))
    assert running.store(papers).code == 0
    row = next(row for row in running.run("list", "/damaged", "--json").fields if row["version"] == "1")
    segment = running.path / row["segment"]
    whole = segment.read_bytes()
    damaged = bytearray(whole)
    damaged[row["offset"] + row["length"] // 2] ^= 0xFF
    segment.chmod(0o600)
    segment.write_bytes(damaged)
    try:
        verified = running.run("verify", "/damaged", "--json")
        assert verified.code == 1
        assert [(one["library_id"], one["version"], one["code"]) for one in verified.fields["damaged"]] == [
            ("/damaged", "1", "damaged")
        ]
        assert segment.read_bytes() == damaged, "verify repaired"
        got = running.run("get", "/damaged", "1")  # which repairs it, if the tree or a payload has it
        assert (got.code, got.out) in {(1, b""), (0, document("/damaged", 1, text="x" * 5000))}
        assert running.run("get", "/damaged", "2").code == 0
    finally:
        segment.write_bytes(whole)
    assert running.run("verify", "/damaged", "--json").code == 0


def test_the_tree_passes_the_tools_that_everybody_has(running: Folder, papers: Path) -> None:
    plain = document("/for/tools", text="x" * 1000)
    (papers / "a.json").write_bytes(plain)
    assert running.store(papers / "a.json").code == 0
    shown = running.run("show", "/for/tools", "--json").fields
    folder = (running.path / shown["file"]).parent
    assert subprocess.run(["sha256sum", "-c", "--quiet", "checksum.sha256"], cwd=folder, check=False).returncode == 0
    assert subprocess.run(["zcat", "documentation.json.gz"], cwd=folder, capture_output=True, check=False).stdout == plain


def test_a_copied_folder_reads_with_no_service_and_no_environment(running: Folder, tmp_path: Path, papers: Path) -> None:
    (papers / "a.json").write_bytes(document("/copied"))
    assert running.store(papers / "a.json").code == 0
    command = [sys.executable, "-m", "workers", "get", "--data", str(running.path), "/copied"]
    got = subprocess.run(command, cwd=Path(__file__).parents[2], env={"PATH": "/usr/bin:/bin"}, capture_output=True, check=False)
    assert got.stdout == document("/copied")


def test_two_services_side_by_side_know_nothing_of_each_other(running: Folder, other: Folder, papers: Path) -> None:
    (papers / "a.json").write_bytes(document("/side/by-side", text="here"))
    (papers / "b.json").write_bytes(document("/side/by-side", text="there"))
    assert running.store(papers / "a.json").fields["stored"] == 1
    assert other.store(papers / "b.json").fields["stored"] == 1
    assert running.run("get", "/side/by-side").out == document("/side/by-side", text="here")
    assert other.run("get", "/side/by-side").out == document("/side/by-side", text="there")
    assert running.state["flower"]["address"] != other.state["flower"]["address"]
    assert running.state["broker_url"] != other.state["broker_url"]
