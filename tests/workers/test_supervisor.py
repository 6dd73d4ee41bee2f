from __future__ import annotations

import json
import os
import signal
import subprocess
import sys
from collections.abc import Iterator
from contextlib import contextmanager
from itertools import pairwise
from pathlib import Path
from typing import Any

from tests.support.processes import await_that, processes_of

SCRIPT = Path(__file__).with_name("tiny_service.py")
CHECKOUT = Path(__file__).parents[2]

SLEEPER = "touch $READY; exec sleep 600"
DEAF = "trap '' TERM; touch $READY; while :; do sleep 0.05; done"


class Tiny:
    """A supervisor of shell scripts, in a process of its own."""

    def __init__(self, folder: Path, *parts: dict[str, Any]) -> None:
        self.folder = folder
        self.process = subprocess.Popen(
            [sys.executable, str(SCRIPT), str(folder)],
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            cwd=CHECKOUT,
            env={**os.environ, "PYTHONPATH": str(CHECKOUT)},
            text=True,
        )
        assert self.process.stdin is not None
        self.process.stdin.write(json.dumps(parts))
        self.process.stdin.close()

    def said(self) -> str:
        assert self.process.stdout is not None
        return self.process.stdout.readline().strip()

    def states(self) -> list[dict[str, Any]]:
        try:
            return [json.loads(line) for line in (self.folder / "published").read_text().splitlines()]
        except FileNotFoundError:
            return []

    def now(self, part: str) -> tuple[str, int, int]:
        word, pid, restarts = self.states()[-1]["parts"][part]
        return word, pid, restarts

    def history(self) -> list[str]:
        return (self.folder / "history").read_text().split()

    def ask_to_stop(self, number: signal.Signals = signal.SIGTERM) -> None:
        self.process.send_signal(number)

    def end(self) -> int:
        return self.process.wait(60)


@contextmanager
def tiny(folder: Path, *parts: dict[str, Any]) -> Iterator[Tiny]:
    service = Tiny(folder, *parts)
    try:
        yield service
    finally:
        service.process.kill()
        service.process.wait()
        assert service.process.stdout is not None
        service.process.stdout.close()
        await_that(lambda: not processes_of(folder), "no process is left behind")


def note(text: str) -> str:
    return f"echo {text} >> $HISTORY"


def test_parts_start_after_the_one_they_wait_for_and_stop_in_waves(tmp_path: Path) -> None:
    def part(name: str, wave: int, after: str | None = None) -> dict[str, Any]:
        end = f"sleep 0.{3 - wave}; {note('-' + name)}; exit 0"  # asked at once, the last to stop would be the first to go
        script = f"{note('+' + name)}; trap '{end}' TERM; touch $READY; while :; do sleep 0.05; done"
        return {"name": name, "script": script, "wave": wave, "after": after}

    with tiny(tmp_path, part("flower", 0, "worker"), part("worker", 1, "broker"), part("broker", 2)) as service:
        assert service.said() == "READY"
        service.ask_to_stop()
        assert service.end() == 0
        assert service.history() == ["+broker", "+worker", "+flower", "-flower", "-worker", "-broker"]
        assert not processes_of(tmp_path)


def test_a_killed_part_is_started_again_at_once_and_the_others_stay(tmp_path: Path) -> None:
    parts = [{"name": name, "script": SLEEPER} for name in ("one", "two")]
    with tiny(tmp_path, *parts) as service:
        assert service.said() == "READY"
        _, other, _ = service.now("two")
        _, killed, _ = service.now("one")
        os.kill(killed, signal.SIGKILL)
        await_that(lambda: service.now("one")[2] == 1, "the part is back")
        assert service.now("one")[1] != killed
        assert service.now("two") == ("ready", other, 0)


def test_a_part_that_has_ended_leaves_no_sign_of_life(tmp_path: Path) -> None:
    sign = tmp_path / "run" / "worker.alive"
    with tiny(tmp_path, {"name": "worker", "script": f"touch {sign} $READY; exec sleep 600"}) as service:
        assert service.said() == "READY"
        assert sign.exists()
        service.ask_to_stop()
        assert service.end() == 0
        assert not sign.exists()


def test_what_a_killed_part_had_started_dies_before_its_successor_starts(tmp_path: Path) -> None:
    script = "echo $$ >> $HISTORY; sleep 600 & echo $! >> $HISTORY; touch $READY; wait"
    with tiny(tmp_path, {"name": "worker", "script": script}) as service:
        assert service.said() == "READY"
        parent, child = map(int, service.history())
        os.kill(parent, signal.SIGKILL)
        await_that(lambda: len(service.history()) == 4, "the part is back")
        assert child not in processes_of(tmp_path)
        service.ask_to_stop()
        assert service.end() == 0


def test_a_part_that_keeps_dying_is_started_again_with_growing_pauses(tmp_path: Path) -> None:
    script = f"{note('$(date +%s.%N)')}; test -e $READY && exit 1; touch $READY; exec sleep 600"
    with tiny(tmp_path, {"name": "broken", "script": script}) as service:
        assert service.said() == "READY"
        os.kill(service.now("broken")[1], signal.SIGKILL)
        await_that(lambda: len(service.history()) >= 4, "it is tried three times more")
        await_that(lambda: service.states()[-1]["ready"] is False, "it is known not to work")
        first, second, third, fourth = map(float, service.history()[:4])
        assert second - first < 10
        assert third - second > 0.9
        assert fourth - third > 1.9


def test_while_jobs_wait_a_part_that_keeps_dying_never_rests_for_long(tmp_path: Path) -> None:
    script = f"{note('$(date +%s.%N)')}; test -e $READY && exit 1; touch $READY; exec sleep 600"
    with tiny(tmp_path, {"name": "broken", "script": script}) as service:
        assert service.said() == "READY"
        (tmp_path / "jobs").touch()
        os.kill(service.now("broken")[1], signal.SIGKILL)
        await_that(lambda: len(service.history()) >= 7, "it is tried six times more")
        starts = [float(start) for start in service.history()[:7]]
        assert max(later - earlier for earlier, later in pairwise(starts[1:])) < 3


def test_a_part_rests_no_longer_when_jobs_come(tmp_path: Path) -> None:
    script = f"{note('$(date +%s.%N)')}; test -e $READY && exit 1; touch $READY; exec sleep 600"
    with tiny(tmp_path, {"name": "broken", "script": script}) as service:
        assert service.said() == "READY"
        os.kill(service.now("broken")[1], signal.SIGKILL)
        await_that(lambda: len(service.history()) == 5, "the next pause is of 8 s")
        (tmp_path / "jobs").touch()
        await_that(lambda: len(service.history()) == 6, "it is tried again", within_s=6)


def test_a_part_that_runs_but_does_not_work_is_killed_with_all_that_it_started_and_started_again(tmp_path: Path) -> None:
    script = "echo $$ >> $HISTORY; sleep 600 & echo $! >> $HISTORY; touch $READY; wait"
    with tiny(tmp_path, {"name": "idle", "script": script, "silent_after_s": 1}, {"name": "other", "script": SLEEPER}) as service:
        assert service.said() == "READY"
        _, other, _ = service.now("other")
        parent, child = map(int, service.history())
        (tmp_path / "jobs").touch()
        os.kill(parent, signal.SIGSTOP)
        await_that(lambda: service.now("idle")[2] == 1, "it is started again")
        assert ["silent", parent, 0] in [state["parts"]["idle"] for state in service.states()]
        assert not {parent, child} & set(processes_of(tmp_path))
        assert service.now("other") == ("ready", other, 0)
        service.ask_to_stop()
        assert service.end() == 0


def test_a_part_that_works_or_has_nothing_to_do_is_left_alone(tmp_path: Path) -> None:
    worker = (
        "touch $READY; for i in 1 2 3 4 5 6 7 8 9 10; do sleep 0.3; touch $READY; done; echo enough >> $HISTORY; exec sleep 600"
    )
    busy = {"name": "busy", "script": worker, "silent_after_s": 1.5}
    with tiny(tmp_path, busy, {"name": "idle", "script": SLEEPER, "silent_after_s": 600}) as service:
        assert service.said() == "READY"
        (tmp_path / "jobs").touch()
        await_that((tmp_path / "history").exists, "it works for twice its time")
        (tmp_path / "jobs").unlink()
        assert service.now("busy")[2] == service.now("idle")[2] == 0
        service.ask_to_stop()
        assert service.end() == 0
        assert "silent" not in (tmp_path / "published").read_text()


def test_a_part_that_will_not_stop_is_killed_when_its_patience_is_over(tmp_path: Path) -> None:
    with tiny(tmp_path, {"name": "deaf", "script": DEAF, "steps": [["SIGTERM", 0.3]]}) as service:
        assert service.said() == "READY"
        service.ask_to_stop(signal.SIGINT)
        assert service.end() == 0
        assert not processes_of(tmp_path)


def test_a_second_and_a_third_ctrl_c_hurry(tmp_path: Path) -> None:
    # Told by the loop, not by the trap: a signal that comes while another one's trap runs may be lost by the shell.
    tell = f'test -n "$got" && {note("$got")}; got='
    deaf = f"trap 'got=asked' TERM; trap 'got=hurried' QUIT; touch $READY; while :; do sleep 0.05; {tell}; done"
    with tiny(tmp_path, {"name": "worker", "script": deaf, "steps": [["SIGTERM", 600], ["SIGQUIT", 600]]}) as service:
        assert service.said() == "READY"
        service.ask_to_stop(signal.SIGINT)
        await_that(lambda: (tmp_path / "history").exists() and "asked" in service.history(), "it is asked to stop")
        service.ask_to_stop(signal.SIGINT)
        await_that(lambda: "hurried" in service.history(), "it is hurried")
        assert service.process.poll() is None
        service.ask_to_stop(signal.SIGINT)
        assert service.end() == 0


def test_a_part_that_cannot_start_fails_the_service_with_the_end_of_its_log(tmp_path: Path) -> None:
    broken = {"name": "flower", "script": "echo the port is taken; exit 3", "after": "broker"}
    with tiny(tmp_path, {"name": "broker", "script": SLEEPER}, broken) as service:
        said = service.said()
        assert said.startswith("service_failed: flower ends as soon as it starts.")
        assert "the port is taken" in said
        assert service.end() == 1
        assert not processes_of(tmp_path)


def test_every_part_holds_the_lock_on_the_folder(tmp_path: Path) -> None:
    with tiny(tmp_path, {"name": "one", "script": SLEEPER}, {"name": "two", "script": SLEEPER}) as service:
        assert service.said() == "READY"
        for part in ("one", "two"):
            files = {str(link.readlink()) for link in Path(f"/proc/{service.now(part)[1]}/fd").iterdir()}
            assert str(tmp_path / "metadata" / "service.lock") in files


def test_nothing_outlives_a_supervisor_that_is_killed(tmp_path: Path) -> None:
    with tiny(tmp_path, {"name": "worker", "script": SLEEPER}, {"name": "deaf", "script": DEAF}) as service:
        assert service.said() == "READY"
        service.process.kill()
        service.process.wait()
        await_that(lambda: not processes_of(tmp_path), "nothing remains")


def test_a_part_writes_its_log_while_the_supervisor_is_stopped(tmp_path: Path) -> None:
    chatty = "touch $READY; read go < $HISTORY; yes | head -c 500000; touch $READY.done; exec sleep 600"
    os.mkfifo(tmp_path / "history")
    with tiny(tmp_path, {"name": "chatty", "script": chatty}) as service:
        assert service.said() == "READY"
        os.kill(service.process.pid, signal.SIGSTOP)
        (tmp_path / "history").write_text("go\n")
        await_that((tmp_path / "chatty.ready.done").exists, "half a megabyte is written")
        os.kill(service.process.pid, signal.SIGCONT)
        assert (tmp_path / "logs" / "chatty.log").stat().st_size == 500000
