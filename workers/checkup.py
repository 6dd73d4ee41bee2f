"""What doctor says of one thing; and what he says of backups, and of the way to people."""

from __future__ import annotations

from dataclasses import dataclass, replace
from typing import TYPE_CHECKING, Literal

from models.backups import BackupRow
from strongroom.errors import BackupKeyError, StorageError
from workers.alarm_view import AlarmFacts
from workers.durations import span

if TYPE_CHECKING:
    from storage.backup.place import Place

State = Literal["fine", "note", "trouble"]
_SOON_S = 10.0
"""How long a target may take that backups are to be looked for at: a page is waited for."""


@dataclass(frozen=True, slots=True)
class Check:
    """What was looked at, and what was seen. ``mend`` is empty when nothing needs to be done."""

    name: str
    state: State
    told: str
    mend: str = ""


def check_backups(facts: AlarmFacts, place: Place, taken: BackupRow | None, *, named: bool) -> Check:
    """Look whether the last good backup, which is ``taken``, is young enough, and still where it was taken to.

    ``named``: whether somebody said where to. Else it lies in the data folder, which is said each time.
    """
    last = facts.last_backup_at
    told = f"the last good one began {span(facts.now - last)} ago" if last else "there is none yet"
    lost = None if taken is None else _lost(place, taken)
    if lost is not None:
        return Check("backups", "trouble", f"{told}, and is not to be had: {lost.message}", lost.hint)
    if facts.backup_late:
        return Check("backups", "trouble", told, "strongroom backup create --wait")
    where = "" if named or not last else ", in the data folder, and is lost with its disk: set STRONGROOM_BACKUP_TARGET"
    return Check("backups", "fine" if last else "note", told + where)


def _lost(place: Place, taken: BackupRow) -> StorageError | None:
    """Return why a backup cannot be used any more; None also where nobody can tell: elsewhere, or sealed for another key."""
    from storage.backup.manifest import read_manifest  # noqa: PLC0415 - who has no backup starts without

    soon = place if place.access is None else replace(place, access=replace(place.access, tries=1, timeout_s=_SOON_S))
    if soon.target().url != taken.target:
        return None
    try:
        read_manifest(soon.open(), taken.backup_id)
    except BackupKeyError:
        return None
    except StorageError as error:
        return error
    return None


def check_drills(facts: AlarmFacts) -> Check:
    """Look whether backups were proven lately by restoring them."""
    last = facts.drill
    if last is None:
        mend = "strongroom backup drill --wait" if facts.last_backup_at else ""
        return Check("drills", "note", "no backup was proven yet by restoring it", mend)
    told = f"{facts.drill_verdict}: the last one was made {span(facts.now - last.at)} ago, and found {last.verdict}"
    if facts.drill_verdict != "fresh":
        problems = "; ".join(map(str, last.details.get("problems", [])[:3]))
        return Check("drills", "trouble", f"{told}. {problems}".strip(), "strongroom backup drill --wait")
    return Check("drills", "fine", f"{told}; restored in {last.rto_s:.1f} s")


def check_alerts(facts: AlarmFacts) -> Check:
    """Look whether people would be told."""
    if not facts.services:
        return Check("alerts", "note", "Nobody is told of what is wrong: STRONGROOM_NOTIFY_URLS is not set.")
    if facts.state.failed:
        told = f"The last message did not arrive at {', '.join(facts.state.failed)}."
        return Check("alerts", "trouble", told, "strongroom notify test")
    if facts.tested_at is None:
        return Check("alerts", "note", "Not tested yet: a running service does so within a minute, and then each day.")
    told = f"the last message arrived {span(facts.now - facts.tested_at)} ago"
    return Check("alerts", "fine", told) if facts.arrive else Check("alerts", "trouble", told, "strongroom notify test")
