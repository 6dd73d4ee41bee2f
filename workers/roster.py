"""The service file of parts that were started one by one (Procfile, containers): each signs in, nobody supervises."""

from __future__ import annotations

import fcntl
import os
from dataclasses import replace
from datetime import UTC, datetime
from pathlib import Path
from urllib.parse import urlsplit

from config.settings import Settings
from workers.loopback import page_answers
from workers.processes import birth_of, pid_space
from workers.service_state import FlowerState, PartState, ServiceState, load_state, write_state
from workers.watch import Seen, is_at_work, look_around

_NO_FLOWER = FlowerState("", "", None)


def sign_in(settings: Settings, part: str, broker_url: str, flower: FlowerState | None = None) -> None:
    """Enter this process as ``part``, so that clients and ``strongroom status`` find the service."""
    data = settings.data_dir
    with open(data / "run" / "roster.lock", "w", encoding="ascii") as lock:
        fcntl.flock(lock, fcntl.LOCK_EX)
        before = load_state(data)
        state = before if before is not None and not before.supervised else _fresh(data, broker_url)
        others = tuple(other for other in state.parts if other.name != part)
        mine = PartState(part, os.getpid(), "starting", 0)
        space = state.pid_space if state.pid_space == pid_space() else ""
        told = replace(state, broker_url=broker_url, max_waiting=settings.max_waiting, pid_space=space)
        write_state(replace(told, parts=(*others, mine), flower=flower or state.flower))


def looked_at(state: ServiceState) -> ServiceState | None:
    """Return the state with each part as it is found now; None when no worker, beat or Flower is at work.

    A part that has ended is noticed at once where its process can be looked for, which is on the same host and in the same
    container; else when its last sign has grown old: a worker after 15 s, beat after 30 s.
    """
    seen = look_around(state.broker_url, Path(state.data))
    flower_answers = page_answers(urlsplit(state.flower.address).port or 0, "/healthcheck")
    parts = judged(state, seen, flower_answers=flower_answers)
    if not any(part.state == "ready" for part in parts if part.name != "broker"):
        return None
    return replace(state, parts=parts, ready=all(part.state == "ready" for part in parts))


def judged(state: ServiceState, seen: Seen, *, flower_answers: bool) -> tuple[PartState, ...]:
    """Return the parts as they are found now: ready or silent. A supervisor's word that one is anything but ready holds."""
    looked_for = not state.supervised and state.pid_space and state.pid_space == pid_space()
    at_work = {"flower": flower_answers, "broker": seen.broker_answers}

    def judge(part: PartState) -> PartState:
        if state.supervised and part.state != "ready":
            return part
        if looked_for and part.pid is not None and birth_of(part.pid) is None:
            return replace(part, state="silent")
        works = at_work[part.name] if part.name in at_work else is_at_work(Path(state.data), part.name, seen)
        return replace(part, state="ready" if works else "silent")

    return tuple(map(judge, state.parts))


def _fresh(data: Path, broker_url: str) -> ServiceState:
    pid = os.getpid()
    started_at = datetime.now(UTC).isoformat(timespec="milliseconds")
    return ServiceState(
        pid,
        birth_of(pid) or "",
        started_at,
        str(data),
        broker_url,
        _NO_FLOWER,
        (),
        ready=False,
        supervised=False,
        pid_space=pid_space(),
    )
