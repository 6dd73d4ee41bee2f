"""The minute's look at the disk and at the quotas: what is about to run out becomes a finding, which people are told of."""

from __future__ import annotations

from collections.abc import Iterator
from datetime import datetime, timedelta

from models.findings import Observation, OpenFinding, open_findings
from storage.findings import keep_findings
from storage.sizes import in_words
from storage.spare import SPARE_BYTES, keep_spare
from storage.usage import Usage, report_quotas
from storage.watermarks import Level, SpaceReport, daily_bytes, report_space, what_helps
from tasks.services import Services

SEEN_BY = "governor"
_CODES = {"low": "space_low", "critical": "space_critical"}
_OWN = frozenset({*_CODES.values(), "quota_near", "quota_full"})
_SEEN_AGAIN = timedelta(hours=1)


def watch_space(services: Services, now: datetime) -> SpaceReport:
    """Look once: record what is low, and what is no more. On a disk that fills up, set aside what a sweep will need.

    Raises:
        StorageError: the catalogue cannot be read or written; nothing is lost by looking again.
    """
    engine = services.engine
    with engine.database.read() as connection:
        lasting = {(one.code, one.subject, one.path): one for one in open_findings(connection) if one.code in _OWN}
    report = report_space(engine.governor, engine.options.watermarks, daily_bytes(engine.database, now), before=_before(lasting))
    if report.level != "fine" and report.room_bytes > SPARE_BYTES:
        keep_spare(engine.folder)
    observed = [*_of_disk(services, report), *_of_quotas(services)]
    fresh = all(now - one.last_seen < _SEEN_AGAIN for one in lasting.values())
    if lasting.keys() != {one.key for one in observed} or not fresh:
        keep_findings(engine.folder, engine.database, SEEN_BY, observed, now)
    return report


def _before(lasting: dict[tuple[str, str, str], OpenFinding]) -> Level:
    codes = {code for code, _, _ in lasting}
    return "critical" if _CODES["critical"] in codes else "low" if _CODES["low"] in codes else "fine"


def _of_disk(services: Services, report: SpaceReport) -> Iterator[Observation]:
    if report.level != "fine":
        helps = what_helps(services.engine.folder)
        yield Observation(_CODES[report.level], "", "", f"the disk of the data folder is {report.words()}: {helps}")


def _of_quotas(services: Services) -> Iterator[Observation]:
    quotas = services.engine.options.quotas
    if not quotas:
        return
    for one in report_quotas(services.engine.database, quotas).tight:
        yield Observation(f"quota_{one.state}", one.library_id, "", _quota_words(one))


def _quota_words(one: Usage) -> str:
    who = "it takes" if one.library_id else "all libraries together take"
    return f"{who} {in_words(one.used_bytes)} of {in_words(one.limit_bytes or 0)}"
