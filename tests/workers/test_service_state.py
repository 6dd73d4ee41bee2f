from __future__ import annotations

import os
import stat
import subprocess
from dataclasses import replace
from pathlib import Path

from config.settings import Settings
from workers.liveness import give_sign, give_work_sign, is_alive, remove_sign, sign_of
from workers.processes import birth_of, is_running
from workers.roster import looked_at, sign_in
from workers.service_state import FlowerState, PartState, ServiceState, load_state, read_state, remove_state, write_state

FLOWER = FlowerState("http://127.0.0.1:5555", "strongroom", None)


def state_of(data: Path, pid: int, birth: str | None = None) -> ServiceState:
    parts = (PartState("beat", 12, "ready", 1),)
    return ServiceState(
        pid, birth or birth_of(pid) or "", "2026-11-22T00:00:00+00:00", str(data), "redis://x", FLOWER, parts, ready=True
    )


def test_what_is_written_is_read_while_its_supervisor_lives(tmp_path: Path) -> None:
    assert read_state(tmp_path) is None
    state = state_of(tmp_path, os.getpid())
    write_state(state)
    assert read_state(tmp_path) == state
    assert stat.S_IMODE((tmp_path / "run" / "service.json").stat().st_mode) == 0o600
    remove_state(tmp_path)
    assert read_state(tmp_path) is None


def test_the_file_of_a_dead_supervisor_tells_of_no_service(tmp_path: Path) -> None:
    with subprocess.Popen(["sleep", "600"]) as process:
        try:
            write_state(state_of(tmp_path, process.pid))
            assert read_state(tmp_path) is not None
        finally:
            process.kill()
    assert read_state(tmp_path) is None


def test_another_process_with_the_number_of_a_dead_supervisor_is_not_taken_for_it(tmp_path: Path) -> None:
    write_state(state_of(tmp_path, os.getpid(), birth="1"))
    assert read_state(tmp_path) is None


def test_a_zombie_does_not_run() -> None:
    process = subprocess.Popen(["true"])
    os.waitid(os.P_PID, process.pid, os.WEXITED | os.WNOWAIT)
    assert birth_of(process.pid) is None
    process.wait()
    assert birth_of(os.getpid()) is not None
    assert is_running(os.getpid(), birth_of(os.getpid()) or "")


def test_parts_that_sign_in_one_by_one_are_found_by_their_signs_of_life(tmp_path: Path) -> None:
    (tmp_path / "run").mkdir()
    for part in ("worker-short", "beat"):
        sign_in(Settings(data_dir=tmp_path), part, "redis+socket:///x")
    state = load_state(tmp_path)
    assert state is not None
    assert read_state(tmp_path) is None, "nobody supervises them"
    assert looked_at(state) is None, "none has given a sign yet"
    give_sign(tmp_path, "beat")
    seen = looked_at(state)
    assert seen is not None
    assert {part.name: part.state for part in seen.parts} == {"worker-short": "silent", "beat": "ready"}
    assert seen.ready is False
    give_sign(tmp_path, "worker-short")
    seen = looked_at(state)
    assert seen is not None
    assert seen.ready is False, "its loop turns, and with no broker that answers nobody knows what waits for it"
    give_work_sign(tmp_path, "worker-short")
    whole = looked_at(state)
    assert whole is not None
    assert whole.ready is True


def test_a_sign_of_life_grows_old(tmp_path: Path) -> None:
    (tmp_path / "run").mkdir()
    assert not is_alive(tmp_path, "beat")
    give_sign(tmp_path, "beat")
    assert is_alive(tmp_path, "beat")
    now = sign_of(tmp_path, "beat").stat().st_mtime
    os.utime(sign_of(tmp_path, "beat"), (now - 31, now - 31))
    assert not is_alive(tmp_path, "beat")
    give_sign(tmp_path, "beat")
    assert is_alive(tmp_path, "beat")
    remove_sign(tmp_path, "beat")
    assert not is_alive(tmp_path, "beat")


def test_a_sign_that_cannot_be_given_stops_nobody(tmp_path: Path) -> None:
    give_sign(tmp_path / "gone", "beat")


def test_a_part_that_has_ended_is_silent_at_once_though_its_last_sign_is_young(tmp_path: Path) -> None:
    (tmp_path / "run").mkdir()
    for part in ("worker-short", "beat"):
        sign_in(Settings(data_dir=tmp_path), part, "redis+socket:///x")
        give_sign(tmp_path, part)
        give_work_sign(tmp_path, part)
    state = load_state(tmp_path)
    assert state is not None
    with subprocess.Popen(["true"]) as ended:
        pass
    beat, worker = (next(part for part in state.parts if part.name == name) for name in ("beat", "worker-short"))
    stopped = replace(state, parts=(beat, replace(worker, pid=ended.pid)))
    seen = looked_at(stopped)
    assert seen is not None
    assert {part.name: part.state for part in seen.parts} == {"beat": "ready", "worker-short": "silent"}
    everything = replace(state, parts=tuple(replace(part, pid=ended.pid) for part in state.parts))
    assert looked_at(everything) is None, "no service runs any more"
    elsewhere = looked_at(replace(everything, pid_space="another container"))
    assert elsewhere is not None, "its process ids say nothing here"
    assert elsewhere.ready
