from __future__ import annotations

import os
import signal
import subprocess
import time
from pathlib import Path

import pytest
import redis

from tests.support.processes import await_that
from workers.broker import prepare_embedded
from workers.liveness import give_busy_sign, give_sign, give_work_sign
from workers.supervisor import LOOK_EVERY_S
from workers.watch import LOOK_WITHIN_S, Seen, Watch, Watcher, inbox_waits, is_at_work, look_around, pause_after_look

WANTED = Seen(jobs_wait=True)
NOTHING = Seen()


class Subject:
    """A part whose sign and clock a test holds in its hand."""

    def __init__(self, every_s: float = 0.0) -> None:
        self.sign: object = 1
        self.asked = 0
        self._watcher = Watcher(Watch("silent", self._look, lambda seen: seen.jobs_wait, 15, every_s), now_s=0)

    def _look(self, _seen: Seen) -> object:
        self.asked += 1
        return self.sign

    def complains(self, until_s: int, seen: Seen, from_s: int = 0) -> bool:
        """Look every other second; return whether the last look complained."""
        return [self._watcher.complains(seen, float(now)) for now in range(from_s + 2, until_s + 1, 2)][-1] is not None


def test_silence_counts_only_when_it_lasted_and_something_was_wanted_for_a_third_of_it() -> None:
    assert not Subject().complains(16, WANTED), "the first look saw a sign"
    assert Subject().complains(18, WANTED)
    assert not Subject().complains(600, NOTHING)

    late = Subject()
    assert not late.complains(100, NOTHING)
    assert not late.complains(104, WANTED, 100), "what came just now cannot have been done"
    assert late.complains(106, WANTED, 104)


def test_a_sign_ends_the_silence_and_none_is_no_sign() -> None:
    subject = Subject()
    assert not subject.complains(14, WANTED)
    subject.sign = 2
    assert not subject.complains(30, WANTED, 14)
    subject.sign = None
    assert subject.complains(32, WANTED, 30)


def test_who_was_stopped_itself_complains_of_nobody() -> None:
    subject = Subject()
    assert not subject.complains(12, WANTED)
    assert not subject.complains(326, WANTED, 312)
    assert subject.complains(330, WANTED, 326)


@pytest.mark.parametrize("took_s", [0.0, 0.5, 1.0, 2.0, 5.0])
def test_looks_that_take_long_come_often_enough_to_find_a_silence(took_s: float) -> None:
    between_s = took_s + pause_after_look(took_s, LOOK_EVERY_S)
    watcher = Watcher(Watch("silent", lambda _seen: None, lambda _seen: True, 30), now_s=0)
    now_s = 0.0
    while not watcher.complains(WANTED, now_s):
        now_s += between_s
        assert now_s < 45, "silence is found in time"
    assert took_s / between_s <= 0.5


def test_a_sign_that_costs_something_is_looked_at_less_often() -> None:
    subject = Subject(every_s=20)
    subject.complains(60, WANTED)
    assert subject.asked == 3


def test_a_look_tells_what_waits_whatever_its_priority(tmp_path: Path) -> None:
    (tmp_path / "inbox").mkdir()
    broker = prepare_embedded(tmp_path)
    with subprocess.Popen(broker.command, stdout=subprocess.DEVNULL) as process:
        try:
            await_that(lambda: look_around(broker.url, tmp_path).broker_answers, "the broker answers")
            assert look_around(broker.url, tmp_path).jobs_wait is False
            with redis.Redis(unix_socket_path=str(tmp_path / "run" / "broker.sock")) as client:
                client.lpush("probe-short", "a ring is no job")
                seen = look_around(broker.url, tmp_path)
                assert (seen.waits_for("worker-short"), seen.waits_for("worker-long"), seen.jobs_wait) == (True, False, False)
                for queue in ("short", "short\x06\x163", "short\x06\x166", "short\x06\x169"):
                    client.lpush(queue, "job")
                seen = look_around(broker.url, tmp_path)
                assert (seen.messages["short"], seen.waits_for("worker-long"), seen.jobs_wait) == (4, False, True)
                client.flushall()
                client.hset("unacked", "tag", "job")
                assert look_around(broker.url, tmp_path).jobs_wait is True
                client.flushall()
                assert look_around(broker.url, tmp_path).jobs_wait is False
                (tmp_path / "inbox" / "accepted.inbox").touch()
                assert look_around(broker.url, tmp_path).jobs_wait is True, "whatever the broker forgot"
        finally:
            process.kill()


def test_with_the_broker_gone_the_inbox_tells_whether_jobs_wait(tmp_path: Path) -> None:
    gone = "redis+socket:///nowhere/broker.sock?virtual_host=0"
    assert not inbox_waits(tmp_path), "there may be none yet"
    (tmp_path / "inbox" / "failed").mkdir(parents=True)
    (tmp_path / "inbox" / "begun.1234.part").touch()
    assert look_around(gone, tmp_path) == Seen(False, False, {}, jobs_wait=False)
    (tmp_path / "inbox" / "accepted.inbox").touch()
    assert look_around(gone, tmp_path) == Seen(False, False, {}, jobs_wait=True)


def test_a_look_at_a_frozen_broker_takes_no_longer_than_it_may(tmp_path: Path) -> None:
    broker = prepare_embedded(tmp_path)
    with subprocess.Popen(broker.command, stdout=subprocess.DEVNULL) as process:
        try:
            await_that(lambda: look_around(broker.url, tmp_path).broker_answers, "the broker answers")
            process.send_signal(signal.SIGSTOP)
            started = time.monotonic()
            seen = look_around(broker.url, tmp_path)
            assert time.monotonic() - started < 2 * LOOK_WITHIN_S
            assert (seen.broker_answers, seen.broker_lives) == (False, False)
        finally:
            process.kill()


def test_a_broker_that_still_loads_its_data_lives_though_it_does_not_answer(tmp_path: Path) -> None:
    broker = prepare_embedded(tmp_path)
    with subprocess.Popen(broker.command, stdout=subprocess.DEVNULL) as process:
        await_that(lambda: look_around(broker.url, tmp_path).broker_answers, "the broker answers")
        with redis.Redis(unix_socket_path=str(tmp_path / "run" / "broker.sock")) as client:
            client.mset({f"key-{number}": "x" * 100 for number in range(2000)})
            client.bgrewriteaof()
            await_that(lambda: not client.info("persistence")["aof_rewrite_in_progress"], "its file is written")
        process.kill()
    slowly = ("--key-load-delay", "1000", "--loading-process-events-interval-bytes", "1024")
    with subprocess.Popen([*broker.command, *slowly], stdout=subprocess.DEVNULL) as process:
        try:
            await_that(lambda: look_around(broker.url, tmp_path).broker_lives, "it is heard of")
            assert look_around(broker.url, tmp_path).broker_answers is False
            await_that(lambda: look_around(broker.url, tmp_path).broker_answers, "it has loaded")
        finally:
            process.kill()


@pytest.mark.parametrize("password", ["", ":wrong@"])
def test_a_broker_that_refuses_us_lives(tmp_path: Path, password: str) -> None:
    far = tmp_path / ("x" * 120)  # too long for a socket: this broker asks for a password
    broker = prepare_embedded(far)
    with subprocess.Popen(broker.command, stdout=subprocess.DEVNULL) as process:
        try:
            await_that(lambda: look_around(broker.url, far).broker_answers, "the broker answers")
            seen = look_around(f"redis://{password}{broker.url.rpartition('@')[2]}", far)
            assert (seen.broker_answers, seen.broker_lives) == (False, True)
        finally:
            process.kill()


@pytest.fixture
def worker(tmp_path: Path) -> Path:
    """The folder of a worker whose loop turns, and that finished its last task a minute ago."""
    (tmp_path / "run").mkdir()
    give_sign(tmp_path, "worker-short")
    give_work_sign(tmp_path, "worker-short")
    age(tmp_path / "run" / "worker-short.worked", 60)
    return tmp_path


def age(sign: Path, by_s: float) -> None:
    now = sign.stat().st_mtime
    os.utime(sign, (now - by_s, now - by_s))


def at_work(folder: Path, *, waiting: int, answers: bool = True) -> bool:
    return is_at_work(folder, "worker-short", Seen(answers, answers, {"short": waiting}))


def test_a_worker_that_does_nothing_is_at_work_only_while_nothing_waits_for_it(worker: Path) -> None:
    assert at_work(worker, waiting=0)
    assert not at_work(worker, waiting=1)
    assert not at_work(worker, waiting=0, answers=False), "who knows what waits"
    age(worker / "run" / "worker-short.alive", 60)
    assert not at_work(worker, waiting=0), "its loop stands still"


def test_a_worker_that_finished_or_was_busy_a_moment_ago_is_at_work_whatever_waits(worker: Path) -> None:
    give_busy_sign(worker, "worker-short")
    assert at_work(worker, waiting=1)
    age(worker / "run" / "worker-short.busy", 60)
    assert not at_work(worker, waiting=1)
    give_work_sign(worker, "worker-short")
    assert at_work(worker, waiting=1)
    age(worker / "run" / "worker-short.worked", -3600)
    assert not at_work(worker, waiting=1), "a sign from the future is from before the clock was set back"
