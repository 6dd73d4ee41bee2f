"""The commands that run the service: up, down, status."""

from __future__ import annotations

import os
import signal
import time
from contextlib import suppress
from datetime import UTC, datetime
from pathlib import Path
from typing import Annotated, Any

import typer

from config.settings import Settings
from storage.layout import DataFolder
from strongroom import durable
from strongroom.errors import PermissionRefused, StorageError
from workers.alarm_state import load_alarms
from workers.cli import service_view as view
from workers.cli.output import FAILED, NOT_RUNNING, AsJson, Data, Quiet, print_json, reported, settings_of
from workers.console import Console, Loudness
from workers.detach import Send, run_detached
from workers.garbage import held
from workers.logs import tail
from workers.private_files import make_folder
from workers.reported_errors import pack, unpack
from workers.roster import looked_at
from workers.service import Order, run_service
from workers.service_lock import supervisor_of
from workers.service_state import ServiceState, load_state, read_state
from workers.supervisor import ServiceFailed

NOT_READY, INTERRUPTED = 4, 130
"""Exit codes: the service runs, and is not (or no longer) ready; Ctrl-C came before it was ready."""


def register(app: typer.Typer) -> None:
    """Add the commands to ``app``."""
    app.command()(up)
    app.command()(down)
    app.command()(status)


def up(
    data: Data = None,
    detach: Annotated[bool, typer.Option("--detach", help="Return when the service is ready, and leave it running.")] = False,
    verbose: Annotated[bool, typer.Option("--verbose", "-v", help="Show every line that the parts log.")] = False,
    quiet: Quiet = False,
    as_json: AsJson = False,
) -> None:
    """Start the service: broker, workers, beat and Flower.

    It runs in the foreground until Ctrl-C (running jobs finish, or go back to the queue when the grace period is over; a
    second Ctrl-C hurries). With --detach it runs in the background until `strongroom down`.

    Exit codes: 0 stopped cleanly (with --detach: ready), 1 it could not start, 130 Ctrl-C while --detach waited.
    """
    started = time.monotonic()
    with reported(as_json=as_json):
        settings = settings_of(data)
    loudness = Loudness.QUIET if quiet else Loudness.VERBOSE if verbose else Loudness.NORMAL

    def show(state: ServiceState) -> None:
        if as_json:
            print_json(view.as_fields(state))
        elif not quiet:
            view.print_summary(state, time.monotonic() - started, detached=detach)

    try:
        with durable.os_errors(f"cannot run a service on {settings.data_dir}"):
            if detach:
                show(_start_detached(settings, loudness))
            else:
                run_service(_order(settings, Console(loudness)), show)
    except StorageError as error:
        view.print_failure(error, as_json=as_json)
        raise typer.Exit(FAILED) from None
    except KeyboardInterrupt:
        raise typer.Exit(INTERRUPTED) from None


def down(
    data: Data = None,
    now: Annotated[bool, typer.Option("--now", help="Do not wait for running jobs: they go back to the queue.")] = False,
    quiet: Quiet = False,
    as_json: AsJson = False,
) -> None:
    """Stop the service and return when it has stopped.

    Running jobs finish, or go back to the queue when the grace period is over. Nothing is lost either way.

    Exit codes: 0 it has stopped or was not running, 1 it still runs.
    """
    with reported(as_json=as_json), view.progress_of_stop(silent=quiet or as_json) as tick:
        settings = settings_of(data)
        pid = supervisor_of(settings.data_dir)
        if pid is None and _one_by_one(settings.data_dir):
            raise ServiceFailed(
                "The parts were started one by one.", "Stop them where they were started: honcho, docker compose."
            )
        stopped = pid is None or _stop(settings, pid, now, tick)
    if as_json:
        print_json({"stopped": stopped, "was_running": pid is not None, "data": str(settings.data_dir)})
    elif not quiet:
        view.print_stopped(settings.data_dir, pid, stopped)
    if not stopped:
        raise typer.Exit(FAILED)


def status(data: Data = None, as_json: AsJson = False) -> None:
    """Show whether the service runs: its parts, and where Flower answers.

    Exit codes: 0 ready, 3 not running, 4 running but not (or no longer) ready.
    """
    with reported(as_json=as_json):
        settings = settings_of(data)
        folder = settings.data_dir
        state = read_state(folder) or _one_by_one(folder)
        pid = state.pid if state else supervisor_of(folder)
        writable = state is not None and _takes_writes(settings)
        wrong = load_alarms(folder).wrong
        disk = _disk(settings) if state is not None else None
    if as_json:
        fields = view.as_fields(state, database=writable, wrong=wrong) if state else view.absent_fields(folder, pid)
        print_json({**fields, "disk": disk[1] if disk else None})
    elif state:
        view.print_status(state, database=writable, wrong=wrong)
        if disk:
            view.print_disk(*disk)
    else:
        view.print_absent(folder, pid)
    if pid is None:
        raise typer.Exit(NOT_RUNNING)
    if state is None or not (state.ready and writable):
        raise typer.Exit(NOT_READY)


def _disk(settings: Settings) -> tuple[str, dict[str, Any]] | None:
    """Return how full the disk is, in words and for programs; None when the operating system does not say."""
    from workers.space_view import space_fields, view_space  # noqa: PLC0415 - SQLAlchemy costs 0.3 s, see below

    with suppress(StorageError):
        report = view_space(settings, None, datetime.now(UTC))
        return report.words(), space_fields(report)
    return None


def _takes_writes(settings: Settings) -> bool:
    from workers.writable import takes_writes  # noqa: PLC0415 - SQLAlchemy costs 0.3 s, which `up` and `down` need not pay

    return takes_writes(settings)


def _prepare(settings: Settings) -> None:
    """Run in a child of its own (workers/preparation.py): what it imports does not weigh on the supervisor."""
    with held():
        from workers.prepare import prepare  # noqa: PLC0415

    prepare(settings)


def _order(settings: Settings, console: Console) -> Order:
    environ = dict(os.environ)  # noqa: TID251  # what the parts inherit: handed on, not read
    return Order(settings, environ, _prepare, console)


def _start_detached(settings: Settings, loudness: Loudness) -> ServiceState:
    DataFolder(settings.data_dir).refuse_foreign()  # before the log: it is a file in there
    log = settings.data_dir / "logs" / "service.log"
    make_folder(log.parent)

    def work(send: Send) -> None:
        try:
            # Its console is a log, where restarts belong however little the one who started it wants to hear.
            run_service(_order(settings, Console(max(loudness, Loudness.NORMAL))), lambda _state: send({"ready": True}))
        except StorageError as error:
            send(pack(error))

    report = run_detached(work, log)
    state = read_state(settings.data_dir)
    if report is not None and "code" in report:
        raise unpack(report)
    if report is None or state is None:
        raise ServiceFailed("The service ended before it was ready.", f"The end of {log} says why.", {"log": tail(log)})
    return state


def _one_by_one(folder: Path) -> ServiceState | None:
    state = load_state(folder)
    return looked_at(state) if state is not None and not state.supervised else None


def _stop(settings: Settings, pid: int, now: bool, tick: view.Tick) -> bool:
    _ask_to_stop(pid)
    deadline = time.monotonic() + settings.grace_period_s + 45.0
    while supervisor_of(settings.data_dir) == pid:
        state = read_state(settings.data_dir)
        if now and state is not None and state.stopping:
            _ask_to_stop(pid)
            now = False
        if time.monotonic() > deadline:
            return False
        tick(state)
        time.sleep(0.05)
    return True


def _ask_to_stop(pid: int) -> None:
    try:
        os.kill(pid, signal.SIGTERM)
    except ProcessLookupError:
        return
    except PermissionError:
        raise PermissionRefused(f"Process {pid} belongs to another user.", "Stop it as that user.") from None
