"""The commands that show and deliver what was accepted and that no worker has taken yet: outbox, outbox flush."""

from __future__ import annotations

import math
import os
import re
from collections.abc import Sequence
from contextlib import suppress
from dataclasses import dataclass, replace
from datetime import UTC, datetime
from pathlib import Path
from typing import Annotated, Any

import typer

from config.settings import Settings
from strongroom import durable
from strongroom.errors import DataFolderError, StorageError
from strongroom.gate import MAX_WAITING, Gate
from strongroom.inbox import InboxFile
from strongroom.keeping import delivery_by
from strongroom.message import Message, doorbell
from strongroom.outbox import Outbox
from strongroom.publisher import Publisher
from strongroom.routes import store_queue
from strongroom.service import INBOX, service_broker_url
from workers.cli.output import AsJson, Data, console, counted, engine_on, hand_down, print_json, reported, settings_of, size, told
from workers.cli.styled import new_table, styled

TIMEOUT_S = 5.0
_SHOWN = 50
_JOB_FILE = re.compile(r"[0-9A-Za-z][0-9A-Za-z_-]{7,63}\.inbox")
"""As strongroom.contracts.InboxName has it."""

Folder = Annotated[Path | None, typer.Option(help="A client's own outbox folder, in place of the data folder's inbox.")]

outbox_app = typer.Typer(help="What was accepted and not yet taken by a worker.", invoke_without_command=True)


@dataclass(frozen=True, slots=True)
class Row:
    """A job that waits. ``documents`` is None when its file cannot be read: the worker that takes it says why."""

    job: str
    documents: int | None
    size_bytes: int
    since: datetime


def register(app: typer.Typer) -> None:
    """Add the commands to ``app``."""
    app.add_typer(outbox_app, name="outbox")


@outbox_app.callback()
def outbox(context: typer.Context, folder: Folder = None, data: Data = None, as_json: AsJson = False) -> None:
    """Show what was accepted and not yet taken by a worker, oldest first. Works without a service.

    That heals by itself once a service runs; `strongroom outbox flush` does it now.
    """
    if context.invoked_subcommand is not None:
        hand_down(context, data)
        if folder is not None:
            flush = context.default_map.get("flush", {}) if context.default_map else {}
            context.default_map = {"flush": {**flush, "folder": str(folder)}}
        return
    with reported(as_json=as_json):
        settings = settings_of(data)
        rows = _kept(folder) if folder is not None else _waiting(settings)
        if folder is None:
            shown = len(rows) if as_json else _SHOWN
            rows[:shown] = [_opened(settings, row) for row in rows[:shown]]
        silence = _silence(settings)
        if as_json:
            print_json([_fields(row, broker_answers=silence is None) for row in rows])
        else:
            _show(rows, silence)


@outbox_app.command("flush")
def flush_outbox(folder: Folder = None, data: Data = None, as_json: AsJson = False) -> None:
    """Tell the broker now of everything that `strongroom outbox` shows.

    Exit codes: 0 it was told of everything, 1 something failed, 3 it does not answer.
    """
    with reported(as_json=as_json):
        settings = settings_of(data)
        publisher = Publisher(lambda: _address(settings), TIMEOUT_S)
        try:
            if folder is not None:
                _kept(folder)
                gate = Gate(None, lambda: MAX_WAITING, None)
                count = delivery_by(publisher, None, Outbox(folder.absolute()), gate, TIMEOUT_S).flush(within_s=math.inf)
            else:
                count = _ring(settings, publisher)
        finally:
            publisher.close()
        if as_json:
            print_json({"delivered": count})
        else:
            console().print(f"The broker was told of {counted(count, 'job')}.")


def _ring(settings: Settings, publisher: Publisher) -> int:
    rows = _waiting(settings)
    publisher.check()
    for row in rows:
        publisher.send(_bell(settings, row))
    return len(rows)


def _bell(settings: Settings, row: Row) -> Message:
    name = f"{row.job}.inbox"
    with suppress(StorageError), InboxFile(settings.data_dir / INBOX / name) as file:
        said = file.manifest
        queue = store_queue(max((one.length for one in said.documents), default=0))
        return doorbell(name, receipt=said.receipt, queue=queue, priority=said.priority)
    return doorbell(name, receipt=False, queue=store_queue(row.size_bytes), priority="normal")


def _kept(folder: Path) -> list[Row]:
    if not folder.is_dir():
        raise DataFolderError(f"There is no outbox at {folder}.", "Name the folder that the client was given as outbox=...")
    return [Row(one.request_id, one.documents, one.size_bytes, one.since) for one in Outbox(folder.absolute()).kept()]


def _waiting(settings: Settings) -> list[Row]:
    """Return the inbox's files that no worker has taken, oldest first, not opened."""
    if not settings.data_dir.is_dir():
        raise DataFolderError(f"There is no data folder at {settings.data_dir}.")
    rows = {row.job: row for row in _files(settings.data_dir / INBOX)}
    for job in _taken(settings, list(rows)):
        del rows[job]
    return sorted(rows.values(), key=lambda row: (row.since, row.job))


def _files(inbox: Path) -> list[Row]:
    rows: list[Row] = []
    with durable.os_errors("cannot look into the inbox"), suppress(FileNotFoundError), os.scandir(inbox) as entries:
        for entry in entries:
            if _JOB_FILE.fullmatch(entry.name):
                with suppress(FileNotFoundError):  # a worker was quicker
                    status = entry.stat(follow_symlinks=False)
                    since = datetime.fromtimestamp(status.st_mtime, UTC)
                    rows.append(Row(entry.name.removesuffix(".inbox"), None, status.st_size, since))
    return rows


def _taken(settings: Settings, jobs: Sequence[str]) -> list[str]:
    """Return which of these jobs a worker has taken at least once. Without a catalogue none was."""
    from models.ledger import find_jobs  # noqa: PLC0415 - see output.engine_on

    kind, _, path = settings.catalogue_url.partition(":///")
    if kind == "sqlite" and not Path(path).exists():
        return []
    try:
        with engine_on(settings.data_dir) as engine, engine.database.read() as connection:
            known = find_jobs(connection, jobs)
    except DataFolderError:  # no service has run here yet, or not this release
        return []
    return [row.job_id for row in known.values() if row.state != "queued" or row.attempts]


def _opened(settings: Settings, row: Row) -> Row:
    with suppress(StorageError), InboxFile(settings.data_dir / INBOX / f"{row.job}.inbox") as file:
        return replace(row, documents=len(file.manifest.documents))
    return row


def _address(settings: Settings) -> str:
    return settings.broker_url.get_secret_value() if settings.broker_url else service_broker_url(settings.data_dir)


def _silence(settings: Settings) -> StorageError | None:
    """Return why the broker does not answer; None when it does."""
    from workers.broker import ping  # noqa: PLC0415 - redis costs 50 ms, which no other command here pays

    try:
        ping(_address(settings), 1.0)
    except StorageError as error:
        return error
    return None


def _fields(row: Row, *, broker_answers: bool) -> dict[str, Any]:  # JSON, printed as it is
    return {
        "job": row.job,
        "documents": row.documents,
        "bytes": row.size_bytes,
        "waiting_since": row.since.isoformat(),
        "broker_answers": broker_answers,
    }


def _show(rows: Sequence[Row], silence: StorageError | None) -> None:
    out = console()
    if not rows:
        out.print("Nothing waits to be taken.")
    else:
        table = new_table("job", "documents", "size", "waiting for")
        table.columns[0].min_width = max(len(row.job) for row in rows[:_SHOWN])  # to be copied, so never cut
        now = datetime.now(UTC)
        for row in rows[:_SHOWN]:
            documents = "unreadable" if row.documents is None else f"{row.documents:,}"
            table.add_row(row.job, documents, size(row.size_bytes), f"{max(0, (now - row.since).total_seconds()):,.0f} s")
        out.print(table)
        if len(rows) > _SHOWN:
            out.print(styled(f"and {len(rows) - _SHOWN:,} more: --json names them all", "dim"))
        out.print(f"{counted(len(rows), 'job')}, {size(sum(row.size_bytes for row in rows))}.")
    if silence is None:
        out.print("The broker answers.")
    else:
        out.print(told(f"{silence.message} {silence.hint}", "yellow"), soft_wrap=True)
