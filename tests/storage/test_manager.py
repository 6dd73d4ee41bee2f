"""StorageManager as the requirements use it: what is stored comes back, what is damaged does not."""

from __future__ import annotations

import asyncio
import gzip
import hashlib
import json
import os
import random
import threading
import time
from collections.abc import AsyncIterator, Callable
from contextlib import aclosing
from pathlib import Path
from typing import Any

import pytest

from storage.deposits import Content
from storage.engine import Options
from storage.faces import THREADS
from storage.manager import StorageManager
from strongroom import durable
from strongroom.errors import (
    DuplicateKey,
    EmptyDocument,
    IntegrityError,
    InvalidIdentifier,
    InvalidRequest,
    LoneSurrogate,
    NotAnObject,
    NotFound,
    NotJson,
    PermissionRefused,
    StorageError,
    VersionExists,
)
from strongroom.result import Err, Ok

CORPUS = Path(__file__).resolve().parents[3] / "shared" / "data" / "corpus"


@pytest.fixture
async def manager(tmp_path: Path) -> AsyncIterator[StorageManager]:
    async with StorageManager(str(tmp_path / "data")) as manager:
        yield manager


def unpacked(path: Path) -> bytes:
    return gzip.decompress(path.read_bytes())


def damage(path: Path) -> None:
    content = path.read_bytes()
    path.write_bytes(content[:-10] + b"corrupted!")


async def test_a_document_comes_back_equal_and_saves_more_than_60_percent(manager: StorageManager) -> None:
    document = {"content": "How to hold a document so that it comes back. " * 100, "metadata": {"test": True}}
    path = Path(await manager.store_documentation("test_lib", "v1.0.0", document))
    assert await manager.get_documentation("test_lib", "v1.0.0") == document
    assert await manager.retrieve_documentation("test_lib") == document
    assert json.loads(unpacked(path)) == document
    assert (await manager.get_storage_stats("test_lib"))["compression_ratio"] > 0.6


async def test_damage_to_the_file_that_a_store_returned_is_never_served(manager: StorageManager) -> None:
    damage(Path(await manager.store_documentation("test_lib", "v1.0.0", {"content": "Test content"})))
    for read in (manager.get_documentation, manager.get_documentation_bytes):
        with pytest.raises(IntegrityError):
            await read("test_lib", "v1.0.0")
    with pytest.raises(IntegrityError):
        await anext(manager.stream_documentation("test_lib", "v1.0.0"))
    answer = await manager.results.get_documentation("test_lib", "v1.0.0")
    assert isinstance(answer, Err)
    assert answer.problem.code == "integrity_error"
    report = await manager.verify_integrity("test_lib", "latest")
    assert [one.version for one in report.damaged] == ["v1.0.0"]


WORDS = ["".join(random.Random(number).choices("aeinorst", k=7)) for number in range(2000)]


def made_up(seed: str) -> dict[str, Any]:
    """Return a document of 100 kB in 50 chunks."""
    text = " ".join(random.Random(seed).choices(WORDS, k=12_500))
    return {"chunks": [{"content": text[at : at + 2000]} for at in range(0, 100_000, 2000)]}


async def test_three_hundred_documents_at_once_are_stored_in_a_minute_and_each_read_in_a_second(manager: StorageManager) -> None:
    names = [(f"test_lib_{library}", version) for library in range(100) for version in ("v1.0.0", "v1.1.0", "v2.0.0")]
    documents = {name: made_up(" ".join(name)) for name in names}
    began = time.monotonic()
    stores = (manager.store_documentation(*name, document) for name, document in documents.items())
    outcomes = await asyncio.gather(*stores, return_exceptions=True)
    assert time.monotonic() - began < 60
    assert [one for one in outcomes if isinstance(one, BaseException)] == []
    assert all(len(unpacked(Path(str(one)))) > 100_000 for one in outcomes)
    assert sum(thread.name.startswith("strongroom") for thread in threading.enumerate()) <= THREADS
    reading = time.monotonic()
    for name in list(documents)[:30]:
        assert await manager.get_documentation(*name) == documents[name]
    assert (time.monotonic() - reading) / 30 < 1
    assert [name async for name in manager.list_libraries()] == sorted({name for name, _ in documents})
    assert (await manager.verify_integrity()).damaged == []


def chosen() -> list[dict[str, Any]]:
    """Return the entries of some documents, the smallest first, the last larger than what is held whole."""
    entries = sorted(json.loads((CORPUS / "manifest.json").read_bytes())["entries"], key=lambda one: int(one["bytes"]))
    small = [one for one in entries if one["bytes"] <= Options().limits.whole_bytes]
    return [*small[::7], entries[len(small)]]


@pytest.mark.skipif(not CORPUS.exists(), reason="the corpus of real documentation is not beside this checkout")
async def test_real_documents_come_back_byte_for_byte_and_each_saves_more_than_60_percent(manager: StorageManager) -> None:
    entries = chosen()
    assert entries[-1]["bytes"] > Options().limits.whole_bytes, "none of these documents is streamed"
    names = [(one["library_id"], one["version"]) for one in entries]
    stores = (manager.store_documentation(*name, CORPUS / one["file"]) for name, one in zip(names, entries, strict=True))
    await asyncio.gather(*stores)
    for name, entry in zip(names, entries, strict=True):
        plain = await manager.get_documentation_bytes(*name)
        assert hashlib.sha256(plain).hexdigest() == entry["sha256"]
        assert await manager.get_documentation(*name) == json.loads(plain)
        assert b"".join([piece async for piece in manager.stream_documentation(*name)]) == plain
    for library_id in {name[0] for name in names}:
        assert all(info.compression_ratio > 0.6 for info in await manager.list_versions(library_id))


async def test_latest_is_the_newest_release_whatever_was_stored_last(manager: StorageManager) -> None:
    for version in ("v3.9", "v3.10", "v3.2", "live-tree"):
        await manager.store_documentation("/a/b", version, {"version": version})
    assert (await manager.get_documentation("/a/b"))["version"] == "v3.10"
    assert [one.version for one in await manager.list_versions("/a/b")] == ["v3.10", "v3.9", "v3.2", "live-tree"]
    await manager.store_documentation("/a/b", "nightly", {"version": "nightly"}, sort_as="4.0")
    assert (await manager.get_documentation("/a/b", "latest"))["version"] == "nightly"
    assert [one.latest for one in await manager.list_versions("/a/b")] == [True, False, False, False, False]


BAD: list[tuple[Content, type[StorageError]]] = [
    (b"", EmptyDocument),
    ("{", NotJson),
    ("documentation.json", NotJson),
    ({"n": float("nan")}, NotJson),
    ({"n": object()}, NotJson),
    ("[1]", NotAnObject),
    ('{"a": 1, "a": 2}', DuplicateKey),
    ({"text": "\ud800"}, LoneSurrogate),
    ('{"text": "\ud800"}', LoneSurrogate),
    (Path("nowhere/at/all.json"), NotFound),
    (Path("a\0b"), InvalidRequest),
    (Path("/dev"), InvalidRequest),
    (Path("/dev/null"), InvalidRequest),
]


@pytest.mark.parametrize(("content", "kind"), BAD, ids=lambda one: one.__name__ if isinstance(one, type) else "")
async def test_what_is_no_document_raises_its_own_error_and_stores_nothing(
    manager: StorageManager, content: Content, kind: type[StorageError]
) -> None:
    with pytest.raises(kind) as caught:
        await manager.store_documentation("/a/b", "1", content)
    assert type(caught.value) is kind
    assert caught.value.hint
    answer = await manager.results.store_documentation("/a/b", "1", content)
    assert isinstance(answer, Err)
    assert answer.problem.code == kind.code
    assert [name async for name in manager.list_libraries()] == []


@pytest.mark.parametrize(("library_id", "version"), [("", "1"), ("/a", ""), ("/a", "latest"), ("../..", "1"), ("/a", "a\0b")])
async def test_what_cannot_be_a_name_is_refused(manager: StorageManager, library_id: str, version: str) -> None:
    with pytest.raises(InvalidIdentifier):
        await manager.store_documentation(library_id, version, {"library_id": "/a/b", "version": "1"})
    assert [name async for name in manager.list_libraries()] == []


async def test_wrong_options_are_refused_before_anything_is_stored(manager: StorageManager) -> None:
    with pytest.raises(InvalidRequest, match="metadata"):
        await manager.store_documentation("/a/b", "1", {}, {"by": object()})
    with pytest.raises(InvalidRequest, match="if_exists"):
        await manager.store_documentation("/a/b", "1", {}, if_exists="never")  # type: ignore[arg-type] # the point
    with pytest.raises(TypeError, match="list"):
        await manager.store_documentation("/a/b", "1", [])  # type: ignore[arg-type] # the point
    assert [name async for name in manager.list_libraries()] == []


async def test_other_content_is_a_revision_unless_it_is_to_be_refused(manager: StorageManager) -> None:
    await manager.store_documentation("/a/b", "1", {"n": 1})
    with pytest.raises(VersionExists):
        await manager.store_documentation("/a/b", "1", {"n": 2}, if_exists="refuse")
    assert await manager.get_documentation("/a/b", "1") == {"n": 1}
    await manager.store_documentation("/a/b", "1", {"n": 2})
    assert await manager.get_documentation("/a/b", "1") == {"n": 2}


Ask = Callable[[StorageManager], Any]  # a coroutine of whatever the operation returns

ASKING: dict[str, Ask] = {
    "get_documentation": lambda manager: manager.get_documentation("/a/b", "2"),
    "get_documentation_bytes": lambda manager: manager.get_documentation_bytes("/no/such"),
    "stream_documentation": lambda manager: anext(manager.stream_documentation("/a/b", "2")),
    "list_versions": lambda manager: manager.list_versions("/no/such"),
    "get_library": lambda manager: manager.get_library("/no/such"),
    "get_storage_stats": lambda manager: manager.get_storage_stats("/no/such"),
    "verify_integrity of a library": lambda manager: manager.verify_integrity("/no/such"),
    "verify_integrity of the latest": lambda manager: manager.verify_integrity("/no/such", "latest"),
    "verify_integrity of a version": lambda manager: manager.verify_integrity("/a/b", "2"),
}


@pytest.mark.parametrize("ask", ASKING.values(), ids=ASKING)
async def test_what_is_not_stored_is_not_found(manager: StorageManager, ask: Ask) -> None:
    await manager.store_documentation("/a/b", "1", {})
    with pytest.raises(NotFound):
        await ask(manager)


async def test_a_version_cannot_be_verified_without_its_library(manager: StorageManager) -> None:
    with pytest.raises(InvalidRequest):
        await manager.verify_integrity(version="1")


async def test_a_file_name_that_is_handed_over_as_text_gets_a_hint(manager: StorageManager) -> None:
    with pytest.raises(NotJson) as caught:
        await manager.store_documentation("/a/b", "1", "downloads/documentation.json.gz")
    assert "pathlib.Path" in caught.value.hint


async def test_a_file_that_may_not_be_read_is_refused(manager: StorageManager, tmp_path: Path) -> None:
    if os.geteuid() == 0:
        pytest.skip("root may read every file")
    secret = tmp_path / "secret.json"
    secret.write_text("{}")
    secret.chmod(0)
    with pytest.raises(PermissionRefused):
        await manager.store_documentation("/a/b", "1", secret)


async def test_results_yield_each_item_as_an_ok(manager: StorageManager) -> None:
    await manager.store_documentation("/a/b", "1", {"n": 1})
    assert [one async for one in manager.results.list_libraries()] == [Ok("/a/b")]
    pieces = [one async for one in manager.results.stream_documentation("/a/b")]
    assert pieces == [Ok(b'{"n":1}')]


async def test_no_durable_step_of_a_store_runs_on_the_loops_thread(
    manager: StorageManager, monkeypatch: pytest.MonkeyPatch
) -> None:
    threads: set[int] = set()
    monkeypatch.setattr(durable.step, "observer", lambda _name: threads.add(threading.get_ident()))
    await manager.store_documentation("/a/b", "1", {"n": 1})
    assert threads
    assert threading.get_ident() not in threads


class Held:
    """Holds whoever comes to a durable step first, until it is let go."""

    def __init__(self, monkeypatch: pytest.MonkeyPatch, step: str) -> None:
        self.arrived, self._go_on, self._step, self._first = threading.Event(), threading.Event(), step, threading.Lock()
        monkeypatch.setattr(durable.step, "observer", self._hold)

    def _hold(self, name: str) -> None:
        if name == self._step and self._first.acquire(blocking=False):
            self.arrived.set()
            assert self._go_on.wait(10)

    async def wait(self) -> None:
        assert await asyncio.to_thread(self.arrived.wait, 10)

    def let_go(self) -> None:
        self._go_on.set()


async def test_close_waits_for_a_store_whose_caller_has_gone(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    manager = StorageManager(tmp_path)
    await manager.initialize()
    held = Held(monkeypatch, "catalogue: commit")
    store = asyncio.create_task(manager.store_documentation("/a/b", "1", {"n": 1}))
    await held.wait()
    store.cancel()
    with pytest.raises(asyncio.CancelledError):
        await store
    closing = asyncio.create_task(manager.close())
    done, _ = await asyncio.wait([closing], timeout=0.2)
    assert not done
    held.let_go()
    await closing
    async with manager:
        assert await manager.get_documentation("/a/b") == {"n": 1}


def until_waiting(manager: StorageManager, stores: int) -> None:
    deadline = time.monotonic() + 10
    while len(manager._room._gathering._waiting) < stores:
        assert time.monotonic() < deadline


async def test_stores_that_wait_for_the_same_one_share_one_segment(
    manager: StorageManager, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    held = Held(monkeypatch, "segment: fsync")
    first = asyncio.create_task(manager.store_documentation("/a/b", "0", {"n": 0}))
    await held.wait()
    others = [asyncio.create_task(manager.store_documentation("/a/b", f"{n}", {"n": n})) for n in range(1, 6)]
    await asyncio.to_thread(until_waiting, manager, len(others))
    held.let_go()
    await asyncio.gather(first, *others)
    assert len(list((tmp_path / "data" / "segments").glob("*/*.index"))) == 2
    assert (await manager.get_documentation("/a/b")) == {"n": 5}


async def test_nobody_waits_for_a_large_document(manager: StorageManager, monkeypatch: pytest.MonkeyPatch) -> None:
    held = Held(monkeypatch, "segment: fsync")
    large = json.dumps({"text": "x" * Options().limits.whole_bytes})
    store = asyncio.create_task(manager.store_documentation("/large", "1", large))
    await held.wait()
    await asyncio.wait_for(manager.store_documentation("/small", "1", {"n": 1}), 10)
    assert not store.done()
    held.let_go()
    await store
    assert (await manager.get_documentation_bytes("/large")).decode() == large


async def test_a_stream_that_is_broken_off_leaves_no_file_open(manager: StorageManager) -> None:
    await manager.store_documentation("/a/b", "1", json.dumps({"text": random.Random(1).randbytes(3 << 20).hex()}))
    async with aclosing(manager.stream_documentation("/a/b")) as pieces:
        await anext(pieces)
        assert any("segments" in name for name in open_files())
    await manager.close()  # the thread that fetched the last piece may only now be letting go of it
    assert not any("segments" in name for name in open_files())


def open_files() -> list[str]:
    names = []
    for entry in Path("/proc/self/fd").iterdir():
        try:
            names.append(str(entry.readlink()))
        except FileNotFoundError:  # the folder's own descriptor
            continue
    return names
