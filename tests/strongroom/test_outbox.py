"""The outbox: what was kept is delivered in order, once, and never lost, whoever dies where."""

from __future__ import annotations

import json
import os
import stat
import threading
import time
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest

from strongroom.errors import BrokerUnavailable, OutboxFull, PermissionRefused
from strongroom.inbox import new_request_id
from strongroom.message import Message, store_message
from strongroom.outbox import Outbox
from tests.support.crash import crash_at, die_at, in_child, start_child, steps_of, wait_for


def message(number: int, request_id: str | None = None, size: int = 10) -> Message:
    documents = [{"text": json.dumps({"n": number, "é": "x" * size})}]
    return store_message(request_id or new_request_id(), {"documents": documents}, "short", "normal")


def number_of(kept: Message) -> int:
    return int(json.loads(kept.fields["documents"][0]["text"])["n"])


class Broker:
    """Takes messages, in order; a job's id makes the second of the same no-op, as the ledger does."""

    def __init__(self) -> None:
        self.taken: list[Message] = []

    def __call__(self, sent: Message) -> None:
        self.taken.append(sent)

    @property
    def numbers(self) -> list[int]:
        return [number_of(one) for one in self.taken]

    @property
    def effects(self) -> list[int]:
        first = {one.request_id: number_of(one) for one in reversed(self.taken)}
        return list(dict.fromkeys(first[one.request_id] for one in self.taken))


def deliver(outbox: Outbox, send: Callable[[Message], object], turn_s: float = 0.0) -> bool:
    return outbox.deliver(send, turn_s=turn_s, told=lambda _count: None)


@pytest.fixture
def folder(scratch: Path) -> Path:
    return scratch / "outbox"


@pytest.fixture
def outbox(folder: Path) -> Outbox:
    made = Outbox(folder)
    made.prepare()
    return made


def names(folder: Path, suffix: str = ".message") -> list[str]:
    return sorted(path.name for path in folder.iterdir() if path.suffix == suffix)


def test_what_was_kept_is_delivered_as_it_was_in_the_order_of_acceptance_and_is_gone_then(outbox: Outbox, folder: Path) -> None:
    sent = [message(number) for number in range(20)]
    for one in sent:
        assert outbox.put(one) == one.request_id
    assert names(folder) == [f"{one.request_id}.message" for one in sent]
    assert not outbox.is_empty()
    broker = Broker()
    assert deliver(outbox, broker)
    assert broker.taken == sent
    assert (names(folder), outbox.is_empty()) == ([], True)


def test_folder_and_files_are_their_owners_alone(outbox: Outbox, folder: Path) -> None:
    outbox.put(message(1))
    assert stat.S_IMODE(folder.stat().st_mode) == 0o700
    assert {stat.S_IMODE(path.stat().st_mode) for path in folder.iterdir()} == {0o600}


def test_a_message_accepted_later_goes_later_whatever_its_id_says(outbox: Outbox) -> None:
    early, late = message(1), message(2)
    outbox.put(late)
    renamed = outbox.put(early)
    assert renamed > late.request_id
    broker = Broker()
    deliver(outbox, broker)
    assert broker.numbers == [2, 1]
    assert [one.request_id for one in broker.taken] == [one.fields["request_id"] for one in broker.taken]
    assert broker.taken[1].request_id == renamed


def test_a_message_that_may_have_been_sent_keeps_its_id(outbox: Outbox) -> None:
    early, late = message(1), message(2)
    outbox.put(late)
    assert outbox.put(early, sent=True) == early.request_id


def test_a_delivery_that_fails_keeps_that_message_and_those_behind_it(outbox: Outbox) -> None:
    for number in range(5):
        outbox.put(message(number))
    broker = Broker()

    def dies_at_the_third(sent: Message) -> None:
        if number_of(sent) == 2:
            raise BrokerUnavailable("gone")
        broker(sent)

    with pytest.raises(BrokerUnavailable):
        deliver(outbox, dies_at_the_third)
    assert deliver(outbox, broker)
    assert broker.numbers == [0, 1, 2, 3, 4]


def test_what_comes_while_it_is_delivered_goes_in_the_same_round(outbox: Outbox) -> None:
    outbox.put(message(0))
    broker = Broker()

    def adds_one(sent: Message) -> None:
        if number_of(sent) < 3:
            outbox.put(message(number_of(sent) + 1))
        broker(sent)

    assert deliver(outbox, adds_one)
    assert broker.numbers == [0, 1, 2, 3]


def test_a_delivery_ends_when_its_time_is_over(outbox: Outbox) -> None:
    outbox.put(message(1))
    assert not outbox.deliver(Broker(), until=time.monotonic() - 1, told=lambda _count: None)
    assert not outbox.is_empty()


def test_a_crash_at_any_step_of_keeping_leaves_the_message_whole_or_not_at_all(scratch: Path) -> None:
    steps = steps_of(lambda: _keep_one(scratch / "counted"))
    assert steps[-4:] == ["outbox: write", "outbox: fsync", "outbox: rename", "outbox: fsync folder"]
    for step in range(1, len(steps) + 1):
        folder = scratch / str(step)
        die_at(step, lambda folder=folder: _keep_one(folder))  # type: ignore[misc] # mypy cannot infer a lambda's default
        after = Outbox(folder)
        after.prepare()
        assert names(folder, ".part") == []
        broker = Broker()
        assert deliver(after, broker)
        assert broker.numbers in ([], [1])
        assert (step < len(steps)) is (broker.numbers == []), steps[step - 1]  # once renamed, it is there
        assert after.put(message(2))


def _keep_one(folder: Path) -> None:
    outbox = Outbox(folder)
    outbox.prepare()
    outbox.put(message(1))


def test_a_crash_at_any_step_of_delivering_loses_nothing_keeps_the_order_and_has_one_effect_each(scratch: Path) -> None:
    def made(folder: Path) -> Outbox:
        outbox = Outbox(folder)
        outbox.prepare()
        for number in range(3):
            outbox.put(message(number))
        return outbox

    counted = made(scratch / "counted")
    steps = steps_of(lambda: deliver(counted, Broker()))
    assert steps == ["outbox: publish", "outbox: remove"] * 3
    for step in range(1, len(steps) + 1):
        broker = Broker()
        outbox = made(scratch / str(step))
        with crash_at(step):
            deliver(outbox, broker)
        assert deliver(Outbox(scratch / str(step)), broker)
        assert broker.effects == [0, 1, 2]
        assert len(broker.taken) == 3 + (step % 2 == 0)  # died between the confirmation and the removal: it comes twice


def test_a_failed_sync_accepts_nothing(outbox: Outbox, folder: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    outbox.put(message(1))
    monkeypatch.setattr("os.fsync", _refuse)
    with pytest.raises(PermissionRefused):
        outbox.put(message(2))
    monkeypatch.undo()
    assert (len(names(folder)), names(folder, ".part")) == (1, [])
    outbox.put(message(3))
    broker = Broker()
    deliver(outbox, broker)
    assert broker.numbers == [1, 3]


def _refuse(_descriptor: int) -> None:
    raise PermissionError(1, "no sync today")


def test_the_outbox_is_bounded_and_has_room_again_when_something_was_delivered(folder: Path) -> None:
    outbox = Outbox(folder, limit_bytes=5000)
    outbox.prepare()
    for number in range(4):
        outbox.put(message(number, size=1000))
    with pytest.raises(OutboxFull) as caught:
        outbox.put(message(4, size=1000))
    assert sum((folder / name).stat().st_size for name in names(folder)) <= 5000
    assert caught.value.retryable
    assert "outbox_limit_bytes" in caught.value.hint
    with pytest.raises(OutboxFull):
        Outbox(folder, limit_bytes=5000).put(message(9, size=1000))
    taken: list[Message] = []

    def takes_two(sent: Message) -> None:
        if len(taken) == 2:
            raise BrokerUnavailable("gone again")
        taken.append(sent)

    with pytest.raises(BrokerUnavailable):
        deliver(outbox, takes_two)
    assert outbox.put(message(5, size=1000))


def test_a_message_larger_than_the_whole_outbox_is_refused(folder: Path) -> None:
    outbox = Outbox(folder, limit_bytes=100)
    outbox.prepare()
    with pytest.raises(OutboxFull):
        outbox.put(message(1, size=1000))
    assert names(folder) == []


@pytest.mark.parametrize("lock", [b"", b"garbage", b"12", b"-1 x", b"9" * 200, b"\xff"])
def test_what_the_lock_file_says_is_not_believed_blindly(outbox: Outbox, folder: Path, lock: bytes) -> None:
    outbox.put(message(1))
    (folder / ".lock").write_bytes(lock)
    outbox.put(message(2))
    broker = Broker()
    deliver(outbox, broker)
    assert broker.numbers == [1, 2]


@pytest.mark.parametrize(
    "body",
    [b"", b"{", b"[]", b"null", b'{"format": 2}', b'{"format": 1}', b'{"format": 1, "fields": []}', b"[" * 100_000, b"\xff"],
)
def test_a_damaged_message_is_set_aside_and_holds_nothing_up(outbox: Outbox, folder: Path, body: bytes) -> None:
    damaged = new_request_id()
    (folder / f"{damaged}.message").write_bytes(body)
    outbox.put(message(1))
    assert [one.documents for one in outbox.kept()] == [None, 1]
    broker = Broker()
    assert deliver(outbox, broker)
    assert broker.numbers == [1]
    assert (folder / f"{damaged}.damaged").read_bytes() == body


def test_a_message_under_anothers_name_is_damaged(outbox: Outbox, folder: Path) -> None:
    outbox.put(message(1))
    (path,) = folder.glob("*.message")
    path.rename(folder / f"{new_request_id()}.message")
    broker = Broker()
    assert deliver(outbox, broker)
    assert broker.taken == []
    assert len(names(folder, ".damaged")) == 1


def test_files_of_other_names_are_left_alone(outbox: Outbox, folder: Path) -> None:
    for name in ("readme.message", "notes.txt", "../x.message"):
        (folder / Path(name).name).write_text("mine")
    assert outbox.is_empty()
    assert deliver(outbox, Broker())
    assert (folder / "readme.message").read_text() == "mine"


def test_a_message_that_somebody_removes_by_hand_meanwhile_holds_nothing_up(outbox: Outbox, folder: Path) -> None:
    for number in range(3):
        outbox.put(message(number))
    broker = Broker()

    def removes_the_next(sent: Message) -> None:
        broker(sent)
        if number_of(sent) == 0:
            (folder / names(folder)[1]).unlink()

    assert deliver(outbox, removes_the_next)
    assert broker.numbers == [0, 2]


def test_it_tells_what_it_keeps_oldest_first(outbox: Outbox, folder: Path) -> None:
    ids = [outbox.put(message(number)) for number in range(3)]
    kept = list(outbox.kept())
    assert [one.request_id for one in kept] == ids
    assert [one.documents for one in kept] == [1, 1, 1]
    assert [one.size_bytes for one in kept] == [(folder / name).stat().st_size for name in names(folder)]
    assert [one.since for one in kept] == sorted(one.since for one in kept)


def test_an_outbox_that_is_not_there_is_empty(folder: Path) -> None:
    absent = Outbox(folder)
    assert absent.is_empty()
    assert list(absent.kept()) == []
    assert deliver(absent, Broker())
    assert not folder.exists()


def test_two_processes_take_turns(outbox: Outbox) -> None:
    for number in range(3):
        outbox.put(message(number))
    asked: list[int] = []

    def while_another_looks(sent: Message) -> None:
        asked.append(in_child(lambda: _assert_not_mine(outbox, keeping=number_of(sent) < 3)))

    assert deliver(outbox, while_another_looks)
    assert asked == [0] * 6


def _assert_not_mine(outbox: Outbox, *, keeping: bool) -> None:
    broker = Broker()
    assert not deliver(outbox, broker)
    assert broker.taken == []
    if keeping:  # that waits for nobody's network
        outbox.put(message(99))


def test_a_deliverer_that_is_killed_leaves_the_turn_even_if_it_has_forked(outbox: Outbox, tmp_path: Path) -> None:
    outbox.put(message(1))
    read, write = os.pipe()

    def dies_with_the_turn_in_hand() -> None:
        def forks_and_dies(_sent: Message) -> None:
            if os.fork() == 0:  # a child that outlives it, with a copy of each descriptor
                os.close(write)
                os.read(read, 1)
                os._exit(0)
            os._exit(7)

        deliver(outbox, forks_and_dies)

    assert wait_for(start_child(dies_with_the_turn_in_hand)) == 7
    broker = Broker()
    assert deliver(outbox, broker, turn_s=10.0)  # the child may not have run yet
    assert broker.numbers == [1]
    os.close(write)
    os.close(read)


@pytest.fixture
def producers() -> Iterator[Callable[[Callable[[int], None], int], list[threading.Thread]]]:
    started: list[threading.Thread] = []

    def start(work: Callable[[int], None], count: int) -> list[threading.Thread]:
        threads = [threading.Thread(target=work, args=(number,)) for number in range(count)]
        started.extend(threads)
        for thread in threads:
            thread.start()
        return threads

    yield start
    for thread in started:
        thread.join()


def test_many_writers_and_deliverers_at_once_deliver_each_message_once_and_each_writers_in_order(
    outbox: Outbox, producers: Any
) -> None:
    broker = Broker()
    guard = threading.Lock()

    def writes(writer: int) -> None:
        for number in range(40):
            outbox.put(message(1000 * writer + number))

    def delivers(_number: int) -> None:
        while writing[0].is_alive() or writing[1].is_alive() or not outbox.is_empty():
            outbox.deliver(lambda sent: _take(guard, broker, sent), told=lambda _count: None)

    writing = producers(writes, 2)
    for thread in producers(delivers, 2):
        thread.join()
    assert sorted(broker.numbers) == [*range(40), *range(1000, 1040)]
    for writer in (0, 1):
        mine = [number for number in broker.numbers if number // 1000 == writer]
        assert mine == sorted(mine)
    assert [one.request_id for one in broker.taken] == sorted(one.request_id for one in broker.taken)


def _take(guard: threading.Lock, broker: Broker, sent: Message) -> None:
    assert guard.acquire(blocking=False), "two deliver at a time"
    broker(sent)
    guard.release()
