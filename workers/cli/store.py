"""The command ``store``: documents go to the service through the queue."""

from __future__ import annotations

import sys
from collections.abc import Iterable, Iterator, Mapping, Sequence
from contextlib import suppress
from dataclasses import replace
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer

from strongroom.client import Client
from strongroom.contracts import DocumentReceipt, IfExists
from strongroom.errors import BrokerUnavailable, DataFolderError, InvalidRequest, WaitTimeout
from strongroom.outgoing import Outgoing
from strongroom.result import Err, Problem, Result
from strongroom.routes import Priority
from strongroom.ticket import Ticket
from workers.cli.output import (
    FAILED,
    NOT_RUNNING,
    TIMED_OUT,
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
from workers.cli.store_files import find_documents
from workers.cli.store_view import failed_documents, left_out, print_end, unfinished
from workers.cli.styled import in_numbers, styled
from workers.processes import is_running
from workers.service_state import load_state

if TYPE_CHECKING:
    from rich.progress import ProgressColumn
    from rich.text import Text

_LATER = "Accepted, and stored when workers are there."


def register(app: typer.Typer) -> None:
    """Add the command to ``app``."""
    app.command()(store)


def store(
    files: Annotated[list[str], typer.Argument(metavar="FILE...", help="Documents, folders of them, or - for standard input.")],
    library: Annotated[str | None, typer.Option(help="The library, such as /owner/name; else the document's own.")] = None,
    version: Annotated[str | None, typer.Option(help="The version, such as 3.1.3; else the document's own.")] = None,
    sort_as: Annotated[str | None, typer.Option(help="Order this version as if it had this name.")] = None,
    if_exists: Annotated[
        IfExists, typer.Option(help="When the version is there with other content: revise or refuse.")
    ] = "revise",
    priority: Annotated[Priority, typer.Option(help="Which of the waiting jobs goes first: high, normal or low.")] = "normal",
    wait: Annotated[bool, typer.Option("--wait", help="Return when everything is stored, and say what became of it.")] = False,
    timeout: Annotated[float, typer.Option(help="Seconds to wait at most, for a full queue or receipts.", min=0.0)] = 3600.0,
    data: Data = None,
    quiet: Quiet = False,
    as_json: AsJson = False,
) -> None:
    """Store documents through the queue: .json or .json.gz, single files or whole folders.

    Without --wait the command returns when every document is durably accepted; without a service it is, too, and is stored when
    one starts. Storing the same content again changes nothing. More waiting jobs than the service allows hold the command up.

    A document's name ends in .json or .json.gz, in any case. What else a folder holds is skipped, and said to be; so are
    linked folders inside it.

    Exit codes: 0 everything was accepted (with --wait: stored), 1 something failed, 2 a name is empty, 3 no service runs: with
    --wait what was given is accepted, and stored later; on a folder where none ever ran it is not; 5 the time was over.
    """
    _check_words({"FILE": files, "--library": [library], "--version": [version], "--sort-as": [sort_as]})
    with reported(as_json=as_json):
        found = find_documents(files)
        if version is not None and found.named > 1:
            raise InvalidRequest("--version names one version, but several files are given.", "Store them one by one.")
        outgoing = _outgoing(found.documents, library, version, sort_as, if_exists)
        folder = settings_of(data).data_dir
        notice = _Notice()
        with Client.of_service(folder, patience_s=timeout, on_full=notice.show) as client:
            run = _Run(client, len(found.documents), notice, shown=not (quiet or as_json))
            tickets, problem = run.send(outgoing, wait=wait, priority=priority)
            held = next((ticket.undelivered for ticket in tickets if ticket.undelivered), None)
            absent = _absent(held, folder) if wait else None
            receipts, late = run.wait(tickets, timeout) if wait and absent is None else (_unsent(tickets), absent)
    failed = found.failed + failed_documents(receipts)
    failed += left_out(problem, found.documents, _given(tickets))
    if late is not None:
        failed += unfinished(data, late, tickets, [one.name for one in receipts])
    fields: dict[str, Any] = dict(_counts(receipts)) if wait else {}
    if absent is not None or not wait:
        fields["accepted"] = sum(len(one.names) for one in tickets)
    fields |= {"delivered": held is None, "failed": failed, "skipped": found.skipped_fields()}
    fields["jobs"] = [ticket.request_id for ticket in tickets if ticket.sent]
    if as_json:
        print_json(fields)
    elif not quiet or failed or found.skipped:
        print_end(fields)
        if held is not None and not wait:
            console().print(told(f"{_LATER} {held.message} {held.hint}", "yellow"), soft_wrap=True)
    if failed:
        raise typer.Exit(_exit_code(problem or late, folder))


def _check_words(given: Mapping[str, Sequence[str | None]]) -> None:
    """Refuse what a variable that was not set leaves behind: an empty word is no folder, and no name."""
    for name, words in given.items():
        if "" in words:
            raise typer.BadParameter(f"{name} is empty: was a variable not set?")


def _exit_code(problem: Problem | None, folder: Path) -> int:
    if problem is None:
        return FAILED
    if problem.code == BrokerUnavailable.code or (problem.code == DataFolderError.code and not folder.exists()):
        return NOT_RUNNING
    return TIMED_OUT if problem.code == WaitTimeout.code else FAILED


def _given(tickets: Iterable[Ticket]) -> Iterator[str]:
    """Yield the names of documents that were sent, or failed by themselves before that."""
    for ticket in tickets:
        yield from ticket.names
        yield from (one.name for one in ticket.failed)


def _absent(held: Problem | None, folder: Path) -> Problem | None:
    """Return why there is nothing to wait for: no service, which alone brings a broker back that did not answer."""
    if held is None:
        return None
    with suppress(KeyError, TypeError, ValueError):  # a service file of another release: there is a service, then
        state = load_state(folder)
        if state is None or (state.supervised and not is_running(state.pid, state.birth)):
            return replace(held, message=f"{_LATER} {held.message}")
    return None


class _Notice:
    """What a progress bar says beside its numbers while the queue is full."""

    def __init__(self) -> None:
        self._text = ""

    def show(self, _problem: Problem) -> None:
        """Say that it is; until the bar moves on."""
        self._text = "waiting: the queue is full"

    def clear(self) -> None:
        """Say nothing."""
        self._text = ""

    def __rich__(self) -> Text:
        """Return what it says now."""
        return styled(self._text, "yellow")

    def beside_numbers(self) -> Sequence[ProgressColumn]:
        """Return a bar's columns."""
        from rich.progress import RenderableColumn  # noqa: PLC0415 - see workers/cli/styled.py

        return (*in_numbers(), RenderableColumn(self))


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
        with progress_bar("sending", self._notice.beside_numbers, shown=self._shown) as tick:
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
