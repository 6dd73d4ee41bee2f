"""What ``store`` says at its end: which documents were not stored, each with its own reason; as JSON or for people."""

from __future__ import annotations

from collections import Counter
from collections.abc import Collection, Iterable, Mapping, Sequence
from contextlib import suppress
from dataclasses import replace
from pathlib import Path
from typing import TYPE_CHECKING, Any

from strongroom.contracts import DocumentReceipt
from strongroom.errors import StorageError, WaitTimeout
from strongroom.outgoing import Outgoing
from strongroom.result import Problem
from strongroom.ticket import Ticket
from workers.cli.output import console, counted, engine_on, fold, told
from workers.cli.store_files import Failure, failure
from workers.cli.styled import new_table, styled

if TYPE_CHECKING:
    from models.ledger import JobRow

_SHOWN = 20
"""Failures shown to people; --json names all."""


def failed_documents(receipts: Iterable[DocumentReceipt]) -> list[Failure]:
    """Return what programs are told of the documents that a worker, or this process, could not do anything with."""
    return [failure(one.name, one.error.code, one.error.message, one.error.hint) for one in receipts if one.error is not None]


def left_out(problem: Problem | None, paths: Iterable[str], ended: Iterable[str]) -> list[Failure]:
    """Return a failure for each document that a problem kept from its end; for none in particular when all have ended."""
    if problem is None:
        return []
    rest = Counter(Outgoing("", name=path).label for path in paths)
    rest.subtract(ended)
    names = [name for name, count in rest.items() for _ in range(count)] or [""]
    return [failure(name, problem.code, problem.message, problem.hint) for name in names]


def unfinished(data: Path | None, problem: Problem, tickets: Sequence[Ticket], ended: Collection[str]) -> list[Failure]:
    """Return a failure for each document whose job had not ended in time. A job that is parked says what it waits for."""
    late = problem.code == WaitTimeout.code
    parked = _parked(data, [ticket.request_id for ticket in tickets if ticket.sent]) if late else {}
    rest = Counter(ended)
    failed: list[Failure] = []
    for ticket in tickets:
        why = parked.get(ticket.request_id, problem)
        for name in ticket.names:
            rest[name] -= 1
            if rest[name] < 0:
                failed.append(failure(name, why.code, why.message, why.hint))
    return failed or [failure("", problem.code, problem.message, problem.hint)]


def _parked(data: Path | None, job_ids: Sequence[str]) -> dict[str, Problem]:
    """Return why jobs are parked, those that are. The ledger may be out of reach: then the time was over, and that is all."""
    found: dict[str, Problem] = {}
    with suppress(StorageError), engine_on(data) as engine:
        from workers.intervene import known_jobs  # noqa: PLC0415 - see output.engine_on

        for job_id, row in known_jobs(engine, job_ids).items():
            if row.state == "parked":
                found[job_id] = _why_parked(row)
    return found


def _why_parked(row: JobRow) -> Problem:
    error: Mapping[str, Any] = row.error or {}
    late = Problem.of(WaitTimeout())
    said = f"Accepted, and parked: {error.get('message', 'it waits')}"
    return replace(late, code=str(error.get("code", late.code)), message=said, hint=str(error.get("hint", late.hint)))


def print_end(fields: Mapping[str, Any]) -> None:
    """Show people the counts, what was skipped, and the first failures."""
    failed, skipped = fields["failed"], fields["skipped"]
    parts = [styled(f"{fields[name]} {name}", "green") for name in ("stored", "unchanged", "accepted") if name in fields]
    parts += [styled(f"{len(skipped)} skipped", "yellow")] if skipped else []
    parts += [styled(f"{len(failed)} failed", "bold red")] if failed else []
    out = console()
    out.print(styled(", ").join(parts))
    for why, count in Counter(one["why"] for one in skipped).items():
        first = next(one["file"] for one in skipped if one["why"] == why)
        more = f" and {counted(count - 1, 'other')}" if count > 1 else ""
        out.print(told(f"skipped {first}{more}: {why}", "yellow"), soft_wrap=True)
    if failed:
        table = new_table("file", "code", "what happened", "what to do")
        fold(table, 0, 1)
        for one in failed[:_SHOWN]:
            table.add_row(*(told(one[name]) for name in ("file", "code", "message", "hint")))
        out.print(table)
        if len(failed) > _SHOWN:
            out.print(styled(f"and {len(failed) - _SHOWN} more: --json names them all", "dim"))
