"""How the service looks: the summary of ``up``, the table of ``status``, the progress of ``down``; as JSON or for people."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from dataclasses import asdict
from pathlib import Path
from types import MappingProxyType
from typing import TYPE_CHECKING, Any

from strongroom.errors import StorageError
from workers.broker import masked
from workers.cli.output import console, print_error, stderr, told
from workers.cli.styled import joined, new_table, styled
from workers.liveness import SILENT_AFTER_S, worked_s_ago
from workers.service_state import ServiceState

if TYPE_CHECKING:
    from rich.text import Text

_NOT_WRITABLE = "cannot be written: it does not answer, or another program holds its write lock"

Tick = Callable[[ServiceState | None], None]

_DISK_STYLES = {"low": "yellow", "critical": "bold red"}
_STATE_STYLES = {
    "ready": "green",
    "silent": "bold red",
    "starting": "yellow",
    "restarting": "bold red",
    "waiting": "dim",
    "stopping": "yellow",
}


def as_fields(state: ServiceState, *, database: bool = True, wrong: Mapping[str, str] = MappingProxyType({})) -> dict[str, Any]:
    """Return what programs may know: everything but secrets. ``database`` tells whether that could be written."""
    return {
        "ready": state.ready and database,
        "running": True,
        "supervised": state.supervised,
        "data": state.data,
        "pid": state.pid,
        "started_at": state.started_at,
        "broker": masked(state.broker_url),
        "database": database,
        "flower": asdict(state.flower),
        "alarms": [{"code": code, "message": message} for code, message in wrong.items()],
        "parts": [asdict(part) | {"worked_s_ago": _worked_s_ago(state, part.name)} for part in state.parts],
    }


def absent_fields(data: Path, pid: int | None) -> dict[str, Any]:
    """Return the same fields for a service that does not run, or has just begun to start (``pid``)."""
    empty: dict[str, Any] = {"started_at": None, "broker": None, "database": None, "flower": None, "alarms": [], "parts": []}
    return {"ready": False, "running": pid is not None, "supervised": pid is not None, "data": str(data), "pid": pid, **empty}


def print_summary(state: ServiceState, took_s: float, *, detached: bool) -> None:
    """Tell that the service is ready, and what to do next."""
    stop = _command(state, "down")
    lines = {
        "data": styled(state.data),
        **_flower_lines(state),
        "stop": styled(stop if detached else f"Ctrl-C, or {stop}"),
        "next": styled(_command(state, "store FILE.json --wait"), "bold"),
    }
    _print_lines(joined("\n", ("strongroom is ready", "bold green"), f" after {took_s:.1f} s"), lines)
    console().print()


def print_status(state: ServiceState, *, database: bool, wrong: Mapping[str, str]) -> None:
    """Show a running service as a table of its parts. ``database`` tells whether that could be written."""
    word = (
        styled("ready", "bold green")
        if state.ready and database
        else styled("stopping" if state.stopping else "not ready", "bold yellow")
    )
    how = f"process {state.pid}" if state.supervised else "parts started one by one"
    title = joined("strongroom is ", word, f", {how}, since {state.started_at}")
    lines = {"data": styled(state.data), "broker": styled(masked(state.broker_url)), **_flower_lines(state)}
    if not database:
        lines["database"] = styled(_NOT_WRITABLE, "bold red")
    if wrong:
        lines["wrong"] = told("; ".join(f"{code}: {message}" for code, message in wrong.items()), "bold red")
    _print_lines(title, lines)
    parts = new_table("part", "state", "process", "restarts", "last worked")
    for part in state.parts:
        state_text = styled(part.state, _STATE_STYLES.get(part.state, ""))
        restarts = styled(str(part.restarts), "red" if part.restarts else "")
        parts.add_row(part.name, state_text, str(part.pid or ""), restarts, _ago(_worked_s_ago(state, part.name)))
    console().print("", parts, sep="\n")


def print_disk(words: str, fields: dict[str, Any]) -> None:
    """Tell how full the disk is."""
    console().print("", styled(f"disk: {words}", _DISK_STYLES.get(str(fields["level"]), "")), sep="\n", soft_wrap=True)


def _worked_s_ago(state: ServiceState, part: str) -> float | None:
    """Whole seconds and a tenth; None of a part that is no worker, or has done nothing yet."""
    ago_s = worked_s_ago(Path(state.data), part)
    return None if ago_s is None else round(max(0.0, ago_s), 1)


def _ago(seconds: float | None) -> Text:
    if seconds is None:
        return styled()
    return styled(f"{seconds:.0f} s ago", "bold red" if seconds > SILENT_AFTER_S else "")


def _print_lines(title: Text, lines: dict[str, Text]) -> None:
    """Never folded: a path or address that is cut in two cannot be copied."""
    console().print(title, soft_wrap=True)
    for name, value in lines.items():
        console().print(joined((f"  {name:<10}", "dim"), value), soft_wrap=True)


def _flower_lines(state: ServiceState) -> dict[str, Text]:
    file = state.flower.password_file
    return {
        "Flower": styled(state.flower.address, "cyan underline"),
        "user": styled(state.flower.user),
        "password": styled(f"in {file}" if file else "as in STRONGROOM_FLOWER_PASSWORD"),
    }


def print_absent(data: Path, pid: int | None) -> None:
    """Tell that no service runs, or that it has just begun to start."""
    if pid is None:
        text = f"No service runs on {data}. Start one: strongroom up --data {data}"
    else:
        text = f"The service on {data} is starting (process {pid})."
    console().print(text, soft_wrap=True)


def print_stopped(data: Path, pid: int | None, stopped: bool) -> None:
    """Tell how ``down`` ended."""
    if pid is None:
        text = f"No service runs on {data}."
    elif stopped:
        text = f"The service on {data} has stopped."
    else:
        text = f"The service on {data} still runs (process {pid}). `strongroom down --now` does not wait for running jobs."
    console().print(text, soft_wrap=True)


def print_failure(error: StorageError, *, as_json: bool) -> None:
    """Show why the service did not start: the end of the log that tells, when there is one, then the error."""
    if not as_json:
        for line in error.context.get("log", ()):
            stderr().print(styled(f"  {line}", "dim"), soft_wrap=True)
    print_error(error, as_json=as_json)


@contextmanager
def progress_of_stop(silent: bool) -> Iterator[Tick]:
    """Show what a stopping service still waits for, while entered."""
    if silent:
        yield lambda _state: None
        return
    with stderr().status("stopping") as spinner:

        def tick(state: ServiceState | None) -> None:
            alive = ", ".join(part.name for part in state.parts if part.pid) if state else "the last files"
            spinner.update(f"stopping: waiting for {alive}")

        yield tick


def _command(state: ServiceState, words: str) -> str:
    verb, _, rest = words.partition(" ")
    data = "" if Path(state.data) == Path("data").absolute() else f" --data {state.data}"
    return f"strongroom {verb}{data} {rest}".rstrip()
