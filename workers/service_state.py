"""What a running service tells about itself: one private file in the run folder, replaced in one step at each change."""

from __future__ import annotations

import json
from collections.abc import Mapping
from dataclasses import asdict, dataclass, field
from pathlib import Path
from typing import Any

from workers.private_files import write_private
from workers.processes import is_running


@dataclass(frozen=True, slots=True)
class PartState:
    """One part: ``state`` is waiting, starting, ready, silent, restarting or stopping; ``pid`` is None when it does not run."""

    name: str
    pid: int | None
    state: str
    restarts: int


@dataclass(frozen=True, slots=True)
class FlowerState:
    """Where Flower answers, whom it lets in, and where the password lies (None: it came from the settings)."""

    address: str
    user: str
    password_file: str | None


@dataclass(frozen=True, slots=True)
class ServiceState:
    """A service. ``birth`` with ``pid`` names the supervisor's process for good; ``broker_url`` may hold a password.

    ``max_waiting`` is what producers on this host are told (strongroom/service.py reads it). ``supervised`` is False when its
    parts were started one by one (workers/roster.py): then nobody keeps the file up to date, and ``pid_space`` names where the
    parts' process ids hold; it is empty when they are of several containers.
    """

    pid: int
    birth: str
    started_at: str
    data: str
    broker_url: str = field(repr=False)
    flower: FlowerState
    parts: tuple[PartState, ...]
    ready: bool
    stopping: bool = False
    supervised: bool = True
    max_waiting: int | None = None
    pid_space: str = ""


def write_state(state: ServiceState) -> None:
    """Replace the state file, mode 0600."""
    write_private(_file(Path(state.data)), json.dumps(asdict(state)))


def remove_state(data: Path) -> None:
    """Remove the state file: the service has ended."""
    _file(data).unlink(missing_ok=True)


def load_state(data: Path) -> ServiceState | None:
    """Return what the file says, true or not; None when there is none."""
    try:
        fields = json.loads(_file(data).read_text("utf-8"))
    except (FileNotFoundError, NotADirectoryError):
        return None
    return _from_fields(fields)


def read_state(data: Path) -> ServiceState | None:
    """Return the state of the supervised service on ``data``, or None when none runs.

    A file that a killed service left behind is none.
    """
    state = load_state(data)
    return state if state is not None and state.supervised and is_running(state.pid, state.birth) else None


def _from_fields(fields: Mapping[str, Any]) -> ServiceState:
    parts = tuple(PartState(**part) for part in fields["parts"])
    return ServiceState(**{**fields, "flower": FlowerState(**fields["flower"]), "parts": parts})


def _file(data: Path) -> Path:
    return data / "run" / "service.json"
