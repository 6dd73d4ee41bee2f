from __future__ import annotations

import os
import signal
from collections.abc import Callable
from functools import partial
from pathlib import Path

import pytest

from tasks.owner import DENIAL_S, Presence, mark_leaving, this_process


def test_a_run_is_alive_until_it_ends(tmp_path: Path) -> None:
    presence = Presence(tmp_path, "me")
    with presence.at_work() as owner, presence.at_work() as other:
        assert owner != other
        assert presence.is_alive(owner)
        assert presence.is_alive(other)
    assert not presence.is_alive(owner)
    presence.close()


def test_a_run_of_another_process_is_alive_as_long_as_the_process(tmp_path: Path) -> None:
    mine, other = Presence(tmp_path, "me"), Presence(tmp_path, "other")
    with other.at_work() as owner:
        assert mine.is_alive(owner)
        other.close()
        assert not mine.is_alive(owner)
    mine.close()


def test_a_process_that_is_killed_is_dead_before_it_is_reaped_and_a_frozen_one_lives(tmp_path: Path) -> None:
    presence = Presence(tmp_path, "me")
    read, write = os.pipe()
    pid = os.fork()
    if pid == 0:
        try:
            with Presence(tmp_path, this_process()).at_work() as owner:
                os.write(write, owner.encode())
                signal.pause()
        finally:
            os._exit(0)
    owner = os.read(read, 100).decode()
    os.kill(pid, signal.SIGSTOP)
    assert presence.is_alive(owner)
    os.kill(pid, signal.SIGKILL)
    os.waitid(os.P_PID, pid, os.WEXITED | os.WNOWAIT)
    assert not presence.is_alive(owner)
    os.waitpid(pid, 0)
    assert not Path(tmp_path / owner.split(":")[3]).exists() or not presence.is_alive(owner)
    os.close(read)
    os.close(write)
    presence.close()


def test_host_names_and_process_numbers_mean_nothing(tmp_path: Path) -> None:
    """Two containers may have the same of both, and one container another name tomorrow."""
    one, other = Presence(tmp_path, "host:7"), Presence(tmp_path, "host:7")
    with one.at_work() as owner:
        one.close()
        assert not other.is_alive(owner)
    other.close()


def test_a_run_whose_worker_was_stopped_by_its_operator_did_not_just_die(tmp_path: Path) -> None:
    one, other, third = Presence(tmp_path, "a:1", "worker1"), Presence(tmp_path, "a:2", "worker2"), Presence(tmp_path, "a:3")
    with one.at_work() as stopped, other.at_work() as died:
        mark_leaving(tmp_path, "worker1")
        assert third.fate(stopped) == "alive"
        one.close()
        other.close()
        assert (third.fate(stopped), third.fate(died)) == ("stopped", "dead")
    third.close()


def test_what_a_stopped_worker_left_is_forgotten_after_a_day(tmp_path: Path) -> None:
    mark_leaving(tmp_path, "worker1")
    mark_leaving(tmp_path, "worker2")
    os.utime(tmp_path / "worker1.leaving", (0, 0))
    Presence(tmp_path, "a:1").close()
    assert {path.name for path in tmp_path.glob("*.leaving")} == {"worker2.leaving"}


def test_runs_are_known_by_their_age(tmp_path: Path) -> None:
    presence = Presence(tmp_path, "me")
    with presence.at_work() as owner:
        assert presence.runs_older_than(0.0) == [owner]
        assert presence.runs_older_than(60.0) == []
    assert presence.runs_older_than(0.0) == []
    presence.close()


def _fork(run: Callable[[], object]) -> int:
    pid = os.fork()
    if pid == 0:
        try:
            run()
        finally:
            os._exit(0)
    return pid


@pytest.mark.parametrize(("worker", "killed"), [("worker1", True), ("worker2", False)])
def test_only_a_sibling_that_others_call_frozen_is_killed(tmp_path: Path, worker: str, killed: bool) -> None:
    read, write = os.pipe()

    def hold() -> None:
        with Presence(tmp_path, this_process(), "worker1").at_work() as owner:
            os.write(write, owner.encode())
            signal.pause()

    def look() -> None:
        now = [100.0]
        presence = Presence(tmp_path, this_process(), worker, clock=lambda: now[0])
        assert presence.kill_frozen_siblings() == []
        now[0] += DENIAL_S
        os.write(write, repr(presence.kill_frozen_siblings()).encode())

    frozen = _fork(hold)
    owner = os.read(read, 200).decode()
    os.kill(frozen, signal.SIGSTOP)
    os.waitpid(_fork(look), 0)
    assert os.read(read, 200) == b"[]", "nobody called it frozen yet"
    accuser = Presence(tmp_path, "other:1", "worker3")
    accuser.accuse(owner)
    os.waitpid(_fork(look), 0)
    assert os.read(read, 200).decode() == repr([owner] if killed else [])
    os.kill(frozen, signal.SIGKILL)
    os.waitpid(frozen, 0)
    accuser.kill_frozen_siblings()
    assert not list(tmp_path.glob("*.frozen")), "the note goes with the process"
    accuser.close()
    os.close(read)
    os.close(write)


def test_an_idle_sibling_that_stays_stopped_is_killed_and_nobody_else(tmp_path: Path) -> None:
    """It holds no lease that could tell of it, and would keep its slot for ever."""
    read, write = os.pipe()

    def idle(worker: str) -> None:
        presence = Presence(tmp_path, this_process(), worker)
        os.write(write, b".")
        signal.pause()
        presence.close()

    def look() -> None:
        now = [100.0]
        presence = Presence(tmp_path, this_process(), "worker1", clock=lambda: now[0])
        killed = [presence.kill_stopped_siblings()]
        for pause_s in (4.0, 4.0, 4.0, 2.9, 0.1, 0.1):
            now[0] += pause_s
            killed.append(presence.kill_stopped_siblings())
        now[0] += 100.0
        os.write(write, repr([[int(one.split(":")[1]) for one in names] for names in killed]).encode())

    stopped, works, other = (_fork(partial(idle, name)) for name in ("worker1", "worker1", "worker2"))
    assert [os.read(read, 1) for _ in range(3)] == [b"."] * 3
    for pid in (stopped, other):
        os.kill(pid, signal.SIGSTOP)
        os.waitpid(pid, os.WUNTRACED)
    os.waitpid(_fork(look), 0)
    assert os.read(read, 500).decode() == repr([[], [], [], [], [], [stopped], []])
    assert os.waitpid(stopped, 0)[1] == signal.SIGKILL
    for pid in (works, other):
        assert os.waitpid(pid, os.WNOHANG) == (0, 0)
        os.kill(pid, signal.SIGKILL)
        os.waitpid(pid, 0)
    os.close(read)
    os.close(write)


def test_who_stood_still_itself_kills_nobody_that_was_stopped_with_it(tmp_path: Path) -> None:
    now = [100.0]
    onlooker = Presence(tmp_path, this_process(), "worker1", clock=lambda: now[0])

    def stop() -> None:
        presence = Presence(tmp_path, this_process(), "worker1")
        os.kill(os.getpid(), signal.SIGSTOP)
        presence.close()

    pid = _fork(stop)
    os.waitpid(pid, os.WUNTRACED)
    for now[0] in (100.0, 104.0, 1000.0):
        assert onlooker.kill_stopped_siblings() == []
        assert len(onlooker._stopped) == 1
    assert set(onlooker._stopped.values()) == {1000.0}
    os.kill(pid, signal.SIGKILL)
    os.waitpid(pid, 0)
    onlooker.close()


def test_a_process_that_merely_waited_has_time_to_deny_that_it_is_frozen(tmp_path: Path) -> None:
    """Its heart waited for the database as long as that of whoever took its lease."""
    read, write = os.pipe()

    def wait() -> None:
        with Presence(tmp_path, this_process(), "worker1").at_work() as owner:
            os.write(write, owner.encode())
            signal.pause()

    def look() -> None:
        now = [100.0]
        presence = Presence(tmp_path, this_process(), "worker1", clock=lambda: now[0])
        presence.accuse(owner)
        killed = presence.kill_frozen_siblings()
        now[0] += DENIAL_S - 0.1
        killed += presence.kill_frozen_siblings()
        (tmp_path / f"{owner.split(':')[3]}.frozen").unlink()  # it denies
        now[0] += DENIAL_S
        killed += presence.kill_frozen_siblings()
        presence.accuse(owner)
        os.write(write, repr(killed + presence.kill_frozen_siblings()).encode())

    waiting = _fork(wait)
    owner = os.read(read, 200).decode()
    os.waitpid(_fork(look), 0)
    assert os.read(read, 200) == b"[]"
    os.kill(waiting, signal.SIGKILL)
    os.waitpid(waiting, 0)
    os.close(read)
    os.close(write)


def test_a_process_that_goes_on_takes_back_what_was_noted_of_it(tmp_path: Path) -> None:
    one, other = Presence(tmp_path, this_process(), "worker1"), Presence(tmp_path, "b:1", "worker1")
    with one.at_work() as owner:
        other.accuse(owner)
        one.deny()
        assert other.kill_frozen_siblings() == []
    one.close()
    other.close()


def test_nobody_is_killed_for_a_name(tmp_path: Path) -> None:
    presence = Presence(tmp_path, "me:1", "worker1")
    for owner in ("a:1:worker1:0123456789abcdef:1", f"a:{os.getpid()}:worker1:0123456789abcdef:1", "a:x:worker1:y:1", "::::"):
        presence.accuse(owner)
        (tmp_path / "0123456789abcdef.frozen").write_text(owner)
        assert presence.kill_frozen_siblings() == []
    presence.close()


def test_locks_of_the_dead_are_removed_and_those_of_the_living_are_not(tmp_path: Path) -> None:
    living, dead = Presence(tmp_path, "living"), Presence(tmp_path, "dead")
    dead.close()
    another = Presence(tmp_path, "another")
    assert len(list(tmp_path.iterdir())) == 2
    with living.at_work() as owner:
        assert another.is_alive(owner)
    living.close()
    another.close()


def test_a_name_that_is_none_is_nobody(tmp_path: Path) -> None:
    presence = Presence(tmp_path, "me")
    for owner in ("", "x", ":::", "me:1:../../etc/passwd:1", "me:1:0123456789abcdef:1"):
        assert not presence.is_alive(owner)
    presence.close()


def test_processes_that_start_together_never_take_each_other_for_dead(tmp_path: Path) -> None:
    count, rounds = 8, 5
    for _ in range(rounds):
        read, write = os.pipe()
        pids = []
        for _ in range(count):
            pid = os.fork()
            if pid == 0:
                try:
                    with Presence(tmp_path, this_process()).at_work() as owner:
                        os.write(write, f"{owner}\n".encode())
                        signal.pause()
                finally:
                    os._exit(0)
            pids.append(pid)
        owners = b""
        while owners.count(b"\n") < count:
            owners += os.read(read, 4096)
        presence = Presence(tmp_path, "me")
        assert [presence.is_alive(owner) for owner in owners.decode().split()] == [True] * count
        for pid in pids:
            os.kill(pid, signal.SIGKILL)
            os.waitpid(pid, 0)
        assert [presence.is_alive(owner) for owner in owners.decode().split()] == [False] * count
        presence.close()
        os.close(read)
        os.close(write)
