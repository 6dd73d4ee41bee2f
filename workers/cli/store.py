"""The command ``store``: documents go to the service through the queue."""

from __future__ import annotations

import sys
from collections.abc import Iterable, Iterator, Sequence
from contextlib import suppress
from dataclasses import replace
from pathlib import Path
from typing import Annotated, Any

import typer
from rich.progress import MofNCompleteColumn, ProgressColumn, Task
from rich.table import Table
from rich.text import Text

from strongroom.client import Client
from strongroom.contracts import DocumentReceipt, IfExists
from strongroom.errors import InvalidRequest, NotFound
from strongroom.outgoing import Outgoing
from strongroom.result import Err, Problem, Result
from strongroom.routes import PRIORITIES, Priority
from strongroom.ticket import Ticket
from workers.cli.output import (
    FAILED,
    NOT_RUNNING,
    AsJson,
    Data,
    Quiet,
    console,
    print_json,
    progress_bar,
    reported,
    settings_of,
    told,
)
from workers.processes import is_running
from workers.service_state import load_state

SUFFIXES = (".json", ".json.gz")
_LATER = "Accepted, and stored when workers are there."
_SHOWN = 20
"""Failures shown to people; --json names all."""


def register(app: typer.Typer) -> None:
    """Add the command to ``app``."""
    app.command()(store)


def store(
    files: Annotated[list[str], typer.Argument(metavar="FILE...", help="Documents, folders of them, or - for standard input.")],
    library: Annotated[str | None, typer.Option(help="The library, such as /owner/name; else the document's own.")] = None,
    version: Annotated[str | None, typer.Option(help="The version, such as 3.1.3; else the document's own.")] = None,
    sort_as: Annotated[str | None, typer.Option(help="Order this version as if it had this name.")] = None,
    if_exists: Annotated[str, typer.Option(help="When the version is there with other content: revise or refuse.")] = "revise",
    priority: Annotated[str, typer.Option(help="Which of the waiting jobs goes first: high, normal or low.")] = "normal",
    wait: Annotated[bool, typer.Option("--wait", help="Return when everything is stored, and say what became of it.")] = False,
    timeout: Annotated[float, typer.Option(help="Seconds to wait at most, for a full queue or receipts.", min=0.0)] = 3600.0,
    data: Data = None,
    quiet: Quiet = False,
    as_json: AsJson = False,
) -> None:
    """Store documents through the queue: .json or .json.gz, single files or whole folders.

    Without --wait the command returns when every document is durably accepted; without a service it is, too, and is stored when
    one starts. Storing the same content again changes nothing. More waiting jobs than the service allows hold the command up.

    Exit codes: 0 everything was accepted (with --wait: stored), 1 something failed, 3 no service runs: with --wait what was given
    is accepted, and stored later; on a folder where none ever ran it is not.
    """
    with reported(as_json=as_json):
        paths, missing = _paths(files)
        if if_exists not in {"revise", "refuse"}:
            raise InvalidRequest(f"--if-exists is revise or refuse, not {if_exists}.")
        rank = _priority(priority)
        if version is not None and len(paths) + len(missing) > 1:
            raise InvalidRequest("--version names one version, but several files are given.", "Store them one by one.")
        outgoing = _outgoing(paths, library, version, sort_as, "refuse" if if_exists == "refuse" else "revise")
        folder = settings_of(data).data_dir
        notice = _Notice()
        with Client.of_service(folder, patience_s=timeout, on_full=notice.show) as client:
            run = _Run(client, len(paths), notice, shown=not (quiet or as_json))
            tickets, problem = run.send(outgoing, wait=wait, priority=rank)
            held = next((ticket.undelivered for ticket in tickets if ticket.undelivered), None)
            absent = _absent(held, folder) if wait else None
            receipts, late = run.wait(tickets, timeout) if wait and absent is None else (_unsent(tickets), absent)
    problem = problem or late
    failed = missing + [_failure(one) for one in receipts if one.error is not None]
    fields: dict[str, Any] = dict(_counts(receipts)) if wait else {}
    if absent is not None or not wait:
        fields["accepted"] = sum(len(one.names) for one in tickets)
    fields["delivered"] = held is None
    fields["failed"] = failed + ([_problem(problem)] if problem else [])
    fields["jobs"] = [ticket.request_id for ticket in tickets if ticket.sent]
    if as_json:
        print_json(fields)
    elif not quiet or fields["failed"]:
        _show(fields)
        if held is not None and not wait:
            console().print(told(f"{_LATER} {held.message} {held.hint}", "yellow"), soft_wrap=True)
    if fields["failed"]:
        raise typer.Exit(NOT_RUNNING if problem is not None and problem.code == "broker_unavailable" else FAILED)


def _absent(held: Problem | None, folder: Path) -> Problem | None:
    """Return why there is nothing to wait for: no service, which alone brings a broker back that did not answer."""
    if held is None:
        return None
    with suppress(KeyError, TypeError, ValueError):  # a service file of another release: there is a service, then
        state = load_state(folder)
        if state is None or (state.supervised and not is_running(state.pid, state.birth)):
            return replace(held, message=f"{_LATER} {held.message}")
    return None


class _Notice(ProgressColumn):
    """What a progress bar says beside its numbers while the queue is full."""

    def __init__(self) -> None:
        super().__init__()
        self._text = ""

    def show(self, _problem: Problem) -> None:
        """Say that it is; until the bar moves on."""
        self._text = "waiting: the queue is full"

    def clear(self) -> None:
        """Say nothing."""
        self._text = ""

    def render(self, _task: Task) -> Text:
        """Return the column's text."""
        return Text(self._text, "yellow")


class _Run:
    """Sends documents and waits for what becomes of them, with a progress bar."""

    def __init__(self, client: Client, total: int, notice: _Notice, *, shown: bool) -> None:
        self._client = client
        self._notice = notice
        self._total = total
        self._shown = shown

    def send(self, outgoing: Iterable[Outgoing], *, wait: bool, priority: Priority) -> tuple[list[Ticket], Problem | None]:
        """Send everything; stop at the first error that concerns more than one document."""
        tickets: list[Ticket] = []
        with progress_bar("sending", MofNCompleteColumn(), self._notice, shown=self._shown) as tick:
            done = 0
            for result in self._client.store_iter(outgoing, receipt=wait, priority=priority):
                if isinstance(result, Err):
                    return tickets, result.problem
                tickets.append(result.value)
                done += result.value.documents
                self._notice.clear()
                tick(done, self._total)
        return tickets, None

    def wait(self, tickets: Sequence[Ticket], timeout_s: float) -> tuple[list[DocumentReceipt], Problem | None]:
        """Return a receipt for each document that has ended in time."""
        receipts: list[DocumentReceipt] = []
        total = sum(ticket.documents for ticket in tickets)
        with progress_bar("storing", shown=self._shown) as tick:
            result: Result[DocumentReceipt]
            for result in self._client.wait_each(tickets, timeout_s):
                if isinstance(result, Err):
                    return receipts, result.problem
                receipts.append(result.value)
                tick(len(receipts), total)
        return receipts, None


def _priority(name: str) -> Priority:
    for known in PRIORITIES:
        if known == name:
            return known
    raise InvalidRequest(f"--priority is {', '.join(PRIORITIES)}, not {name}.")


def _paths(files: Sequence[str]) -> tuple[list[str], list[dict[str, str]]]:
    """Return the documents that the arguments name, folders searched, in a fixed order; and what is wrong with the others."""
    found: list[str] = []
    missing: list[dict[str, str]] = []
    for name in files:
        path = Path(name)
        if name == "-" or (path.exists() and not path.is_dir()):
            found.append(name)
        elif path.is_dir():
            inside = sorted(str(one) for one in path.rglob("*") if one.name.endswith(SUFFIXES) and one.is_file())
            found.extend(inside)
            if not inside:
                missing.append(_missing(name, f"{name} holds no documents.", "A document's name ends in .json or .json.gz."))
        else:
            missing.append(_missing(name, f"There is no file {name}.", "Check the name; - reads standard input."))
    return found, missing


def _missing(name: str, message: str, hint: str) -> dict[str, str]:
    return {"file": name, "code": NotFound.code, "message": message, "hint": hint}


def _outgoing(
    paths: Sequence[str], library: str | None, version: str | None, sort_as: str | None, if_exists: IfExists
) -> Iterator[Outgoing]:
    for path in paths:
        document = sys.stdin.buffer if path == "-" else Path(path)
        yield Outgoing(document, library, version, sort_as, if_exists, name=path)


def _unsent(tickets: Iterable[Ticket]) -> list[DocumentReceipt]:
    return [failure for ticket in tickets for failure in ticket.failed]


def _counts(receipts: Sequence[DocumentReceipt]) -> dict[str, int]:
    return {status: sum(one.status == status for one in receipts) for status in ("stored", "unchanged")}


def _failure(receipt: DocumentReceipt) -> dict[str, str]:
    assert receipt.error is not None
    return {
        "file": receipt.name,
        "code": receipt.error.code,
        "message": receipt.error.message,
        "hint": receipt.error.hint,
    }


def _problem(problem: Problem) -> dict[str, str]:
    return {"file": "", "code": problem.code, "message": problem.message, "hint": problem.hint}


def _show(fields: dict[str, Any]) -> None:
    failed = fields["failed"]
    parts = [Text(f"{fields[name]} {name}", "green") for name in ("stored", "unchanged", "accepted") if name in fields]
    parts += [Text(f"{len(failed)} failed", "bold red")] if failed else []
    out = console()
    out.print(Text(", ").join(parts))
    if failed:
        table = Table("file", "code", "what happened", "what to do", box=None, header_style="dim", padding=(0, 2, 0, 0))
        for one in failed[:_SHOWN]:
            table.add_row(*(told(one[name]) for name in ("file", "code", "message", "hint")))
        out.print(table)
        if len(failed) > _SHOWN:
            out.print(Text(f"and {len(failed) - _SHOWN} more: --json names them all", "dim"))
