"""Four ways to call one operation: the same names, the same answers, the types that a checker is promised."""

from __future__ import annotations

import asyncio
import inspect
import secrets
import subprocess
import sys
import threading
from collections.abc import AsyncIterator, Iterator
from contextvars import ContextVar
from pathlib import Path

import pytest

from storage import curating, libraries, operations
from storage.faces import THREADS, Answering, AsyncAnswering, AsyncRaising, Face, Listing, Operation, Raising, Threads
from storage.interface import Interface
from storage.manager import StorageManager
from storage.room import Room
from storage.sync_manager import SyncStorageManager
from strongroom.errors import NotFound
from strongroom.result import Err, Ok

ROOT = Path(__file__).resolve().parents[2]
ASKED_BY: ContextVar[str] = ContextVar("asked_by", default="nobody")
NO_OPERATION = {"error_of"}


def where(room: Room, word: str, *, loud: bool = False) -> tuple[int, str, str]:
    """Return the thread, the word and who asks."""
    return threading.get_ident(), word.upper() if loud else word, ASKED_BY.get()


def refuse(_room: Room) -> int:
    raise NotFound("nothing here")


def blunder(_room: Room) -> int:
    raise ZeroDivisionError


def count(_room: Room, until: int) -> Iterator[int]:
    """Count, then fail."""
    yield from range(until)
    raise NotFound("the end")


class Table:
    where = Operation(where)
    refuse = Operation(refuse)
    blunder = Operation(blunder)
    count_by_twos = Listing(count, at_once=2)
    count = Listing(count)


class Plain(Table, Raising): ...


class PlainResults(Table, Answering): ...


class Async(Table, AsyncRaising): ...


class AsyncResults(Table, AsyncAnswering): ...


@pytest.fixture
def room(tmp_path: Path) -> Room:
    return Room(tmp_path)


@pytest.fixture
def threads() -> Iterator[Threads]:
    threads = Threads()
    yield threads
    threads.end()


async def test_all_faces_give_the_same_answer(room: Room, threads: Threads) -> None:
    assert Plain(room).where("a", loud=True)[1] == "A"
    assert PlainResults(room).where("a", loud=True).unwrap()[1] == "A"
    assert (await Async(room, threads).where("a", loud=True))[1] == "A"
    assert (await AsyncResults(room, threads).where("a", loud=True)).unwrap()[1] == "A"


async def test_an_asynchronous_call_leaves_the_loops_thread_and_keeps_its_context(room: Room, threads: Threads) -> None:
    ASKED_BY.set("the test")
    for thread, _, asked_by in (
        await Async(room, threads).where("a"),
        (await AsyncResults(room, threads).where("a")).unwrap(),
    ):
        assert thread != threading.get_ident()
        assert asked_by == "the test"
    assert Plain(room).where("a")[0] == threading.get_ident()


async def test_an_expected_error_is_raised_or_answered_and_a_mistake_always_raised(room: Room, threads: Threads) -> None:
    with pytest.raises(NotFound):
        Plain(room).refuse()
    with pytest.raises(NotFound):
        await Async(room, threads).refuse()
    for answer in (PlainResults(room).refuse(), await AsyncResults(room, threads).refuse()):
        assert isinstance(answer, Err)
        assert answer.problem.code == "not_found"
    with pytest.raises(ZeroDivisionError):
        PlainResults(room).blunder()
    with pytest.raises(ZeroDivisionError):
        await AsyncResults(room, threads).blunder()


async def extend(seen: list[object], items: AsyncIterator[int]) -> None:
    async for item in items:
        seen.append(item)  # noqa: PERF401 - what came before an error counts


@pytest.mark.parametrize("name", ["count", "count_by_twos"])
async def test_what_yields_yields_until_it_fails_and_says_so_last(name: str, room: Room, threads: Threads) -> None:
    seen: list[object] = []
    with pytest.raises(NotFound):
        seen.extend(getattr(Plain(room), name)(3))
    with pytest.raises(NotFound):
        await extend(seen, getattr(Async(room, threads), name)(3))
    assert seen == [0, 1, 2, 0, 1, 2]
    answers = list(getattr(PlainResults(room), name)(3))
    async_answers = [item async for item in getattr(AsyncResults(room, threads), name)(3)]
    for items in (answers, async_answers):
        assert items[:-1] == [Ok(number) for number in range(3)]
        assert isinstance(items[-1], Err)


async def test_a_listing_that_is_broken_off_can_be_asked_again(room: Room, threads: Threads) -> None:
    numbers = Async(room, threads).count(1000)
    assert await anext(numbers) == 0
    await numbers.aclose()
    assert await anext(Async(room, threads).count(1)) == 0


async def test_as_many_calls_run_at_a_time_as_promised_and_no_more(threads: Threads) -> None:
    go_on = threading.Event()
    calls = [asyncio.create_task(threads.run(lambda: go_on.wait(10))) for _ in range(THREADS * 3)]
    await asyncio.sleep(0)  # every task hands its call over
    assert sum(thread.name.startswith("strongroom") for thread in threading.enumerate()) == THREADS
    go_on.set()
    assert all(await asyncio.gather(*calls))


def test_every_operation_stands_in_the_table_under_its_name() -> None:
    functions = {
        name
        for module in (operations, curating, libraries)
        for name, one in vars(module).items()
        if inspect.isfunction(one) and one.__module__ == module.__name__ and not name.startswith("_")
    }
    listed = {name for name, one in vars(Interface).items() if isinstance(one, Operation | Listing)}
    assert functions - NO_OPERATION <= listed
    assert listed - functions == {"retrieve_documentation", "get_storage_statistics"}


def test_every_face_has_every_operation_with_the_functions_own_signature_and_words(tmp_path: Path) -> None:
    loop, plain = StorageManager(tmp_path), SyncStorageManager(tmp_path)
    faces: list[Face] = [loop, loop.results, plain, plain.results]
    for name, function in [*vars(operations).items(), *vars(curating).items(), *vars(libraries).items()]:
        if inspect.isfunction(function) and hasattr(Interface, name):
            expected = list(inspect.signature(function).parameters.values())[1:]
            for face in faces:
                method = getattr(face, name)
                assert list(inspect.signature(method).parameters.values()) == expected
                assert method.__doc__ == function.__doc__ == getattr(Interface, name).__doc__


TYPES = """
from typing import Any, AsyncGenerator, Coroutine, Iterator, assert_type
from storage.manager import StorageManager
from storage.sync_manager import SyncStorageManager
from strongroom.result import Err, Ok
a, s = StorageManager("x"), SyncStorageManager("x")
print(assert_type(s.get_documentation("l"), dict[str, Any]))
print(assert_type(s.results.get_documentation("l", "1"), Ok[dict[str, Any]] | Err))
print(assert_type(a.get_documentation("l", version="1"), Coroutine[Any, Any, dict[str, Any]]))
print(assert_type(a.results.get_documentation("l"), Coroutine[Any, Any, Ok[dict[str, Any]] | Err]))
print(assert_type(s.list_libraries(), Iterator[str]))
print(assert_type(s.results.list_libraries(), Iterator[Ok[str] | Err]))
print(assert_type(a.list_libraries(), AsyncGenerator[str, None]))
print(assert_type(a.results.list_libraries(), AsyncGenerator[Ok[str] | Err, None]))
"""

WRONG = {
    "s.get_documentation(3)": "arg-type",
    "s.get_documentation()": "call-arg",
    "a.get_documentation('l', verion='1')": "call-arg",
    "a.results.store_documentation('l', '1', {}, if_exists='never')": "arg-type",
    "s.results.store_documentation('l', '1', 3)": "arg-type",
    "a.results.burn_documentation('l')": "attr-defined",
}


@pytest.mark.slow
def test_a_type_checker_knows_each_face_and_finds_what_is_wrong(tmp_path: Path) -> None:
    program = tmp_path / f"program_{secrets.token_hex(8)}.py"  # of a known name mypy would repeat what it said before
    program.write_text(TYPES + "\n".join(f"print({wrong})" for wrong in WRONG) + "\n")
    # A cache of its own would cost half a minute; the one of `make types` is there or made for it.
    command = [sys.executable, "-m", "mypy", "--strict", "--no-error-summary", str(program)]
    run = subprocess.run(command, cwd=ROOT, capture_output=True, text=True, timeout=110, check=False)
    first = TYPES.count("\n") + 1
    found = [line for line in run.stdout.splitlines() if line.startswith(str(program)) and ": error: " in line]
    expected = [(f"{program}:{first + at}: error: ", f"[{code}]") for at, code in enumerate(WRONG.values())]
    assert len(found) == len(expected), run.stdout + run.stderr
    for line, (start, end) in zip(found, expected, strict=True):
        assert line.startswith(start), run.stdout
        assert line.endswith(end), run.stdout
