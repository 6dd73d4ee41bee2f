"""Admission of jobs: one that there is no room for is parked, and goes on by itself when there is.

Space is promised in the transaction that gives the lease. Whoever reconciles looks every two seconds who may go on: a disk that
is emptied, or a quota that is raised, is noticed without anybody being told. Who has waited long is not overtaken for ever: see
tasks/turns.py.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterator, Sequence
from datetime import datetime, timedelta

from sqlalchemy import Connection

from models.admission import parked_jobs, promised_bytes, sent_again, wake_jobs
from models.leases import postpone_job
from models.ledger import JobRow
from storage.governor import store_peak
from strongroom.contracts import DocumentReceipt, ErrorInfo
from strongroom.errors import NotEnoughSpace, QuotaExceeded
from strongroom.result import Problem
from tasks.services import Services
from tasks.turns import GROWTH, Name, growth_of, has_turn, kept_bytes, may_fit, place_in_line, wanted_by

LOOK_AGAIN = timedelta(minutes=5)
"""When a parked job is tried in any case, should nobody have seen that there is room."""


def admit(services: Services, connection: Connection, row: JobRow, now: datetime) -> bool:
    """Promise a job what it needs, in the transaction that leased it; park it when that is not free, and return False."""
    if not row.needs_bytes:
        return True
    promised = promised_bytes(connection) - row.needs_bytes
    try:
        services.engine.governor.admit(row.needs_bytes, promised, kept_bytes(services, connection, now, row))
    except NotEnoughSpace as error:
        info = ErrorInfo.of(Problem.of(error)).model_dump()
        postpone_job(connection, row.lease, now + LOOK_AGAIN, info, counted=False)
        return False
    return True


def needs_of_store(services: Services, payload: str) -> int:
    """Return the most that storing an accepted file may need; 0 of one that is not there."""
    try:
        return store_peak((services.inbox / payload).lstat().st_size)
    except OSError:  # whoever opens it says what is wrong
        return 0


def refuse_over_quota(receipts: Sequence[DocumentReceipt]) -> None:
    """Have a job wait as a whole when one of its documents would be over a quota. In the transaction that stored the others.

    To store the others and try again was rejected: what came in between would be undone by the second attempt.

    Raises:
        QuotaExceeded: the first document's error; its context says by how much each library would grow.
    """
    over = [one.error for one in receipts if one.error is not None and one.error.code == QuotaExceeded.code]
    if not over:
        return
    growth = growth_of(receipts)
    for one in over:
        growth[one.context["library_id"]] += one.context["needs_bytes"]
    raise QuotaExceeded(over[0].message, over[0].hint, {**over[0].context, GROWTH: dict(growth)})


def wake_parked(services: Services) -> int:
    """Have those parked jobs be due for which there is room now, the oldest first; return how many."""
    now = services.clock()
    with services.database.read() as connection:
        # Those that were woken already have their room, until they run.
        rows = parked_jobs(connection)
        rows = sorted([*rows, *sent_again(connection)], key=place_in_line) if rows else []
        ready = list(_with_space(services, connection, [row for row in rows if _code(row) == NotEnoughSpace.code], now))
        ready += _under_quota(services, connection, [row for row in rows if _code(row) == QuotaExceeded.code], now)
    if not ready:
        return 0
    with services.database.write("ledger") as connection:
        return wake_jobs(connection, ready, now)


def _with_space(services: Services, connection: Connection, rows: Sequence[JobRow], now: datetime) -> Iterator[str]:
    if rows:
        kept = {place for place, row in enumerate(rows) if has_turn(row, now) and may_fit(services, row)}
        fits = services.engine.governor.fitting([row.needs_bytes for row in rows], promised_bytes(connection), kept)
        yield from (row.job_id for row, one in zip(rows, fits, strict=True) if one and row.state == "parked")


def _under_quota(services: Services, connection: Connection, rows: Sequence[JobRow], now: datetime) -> Iterator[str]:
    """Yield the jobs that fit under the quotas beside those before them, and beside what is kept."""
    taken: Counter[Name] = Counter()
    for row in rows:
        wanted = wanted_by(row)
        if services.engine.allowance.has_room(connection, {name: taken[name] + needed for name, needed in wanted.items()}):
            taken.update(wanted)
            if row.state == "parked":
                yield row.job_id
        elif has_turn(row, now) and may_fit(services, row):
            taken.update(wanted)


def _code(row: JobRow) -> str:
    return str((row.error or {}).get("code", ""))
