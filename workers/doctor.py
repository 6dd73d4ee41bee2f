"""Doctor: every dependency is looked at once, and each trouble comes with the command that mends it."""

from __future__ import annotations

import os
import platform
import sqlite3
from collections.abc import Callable, Iterator
from datetime import datetime, timedelta
from pathlib import Path

from sqlalchemy import text

from config.settings import Settings
from models import consistency
from models.backups import BackupRow, remembered_backups
from models.census import active_jobs, ended_jobs
from models.database import Database
from models.migrate import check_revision
from storage.coverage import WARN
from storage.erase.note import pending_notes
from storage.layout import DataFolder
from storage.pending import LOCK
from storage.switch import refuse_without_catalogue
from strongroom.errors import BrokerUnavailable, StorageError
from strongroom.locks import locked_if_free
from workers.alarm_view import AlarmFacts, view_alarms
from workers.backups import backup_place
from workers.broker import broker_url_of, masked, ping
from workers.checkup import Check, check_alerts, check_backups, check_drills
from workers.roster import looked_at
from workers.schedule_view import view_schedules
from workers.schedules import plans
from workers.service_lock import supervisor_of
from workers.service_state import load_state, read_state
from workers.space_view import judge_quotas, judge_space

_NETWORK = ("nfs", "nfs4", "cifs", "smb3", "smbfs", "9p", "fuse.sshfs", "glusterfs", "ceph")
_BY_CATALOGUE = frozenset({"clock", "schedules", "jobs", "quotas", "coverage", "backups", "drills", "alerts"})
_CLOCK_OFF = timedelta(minutes=5)
_QUICK_CHECK_BYTES = 1 << 30
"""A larger catalogue is not read through: that would take longer than a look may."""


def examine(settings: Settings, database: Database, now: datetime) -> Iterator[Check]:
    """Yield what was seen of each dependency. Never raises: what cannot be looked at is a trouble of its own."""
    looks: list[tuple[str, Callable[[], Check]]] = [
        ("python", _python),
        ("data folder", lambda: _folder(settings.data_dir)),
        ("file system", lambda: _file_system(settings.data_dir)),
        ("disk space", lambda: Check("disk space", *judge_space(settings, database, now))),
        ("permissions", lambda: _permissions(settings.data_dir)),
        ("catalogue", lambda: _catalogue(settings, database)),
        ("clock", lambda: _clock(database, now)),
        ("service", lambda: _service(settings.data_dir)),
        ("broker", lambda: _broker(settings)),
        ("schedules", lambda: _schedules(settings, database, now)),
        ("jobs", lambda: _jobs(database)),
        ("erasures", lambda: _erasures(settings.data_dir)),
        ("quotas", lambda: Check("quotas", *judge_quotas(settings, database))),
        ("coverage", lambda: _coverage(database, now, timedelta(days=settings.coverage_days))),
        ("backups", lambda: _backups(settings, database, now)),
        ("drills", lambda: check_drills(_alarms(settings, database, now))),
        ("alerts", lambda: check_alerts(_alarms(settings, database, now))),
    ]
    lost = False
    for name, look in looks:
        if lost and name in _BY_CATALOGUE:
            continue  # each would name a mend of its own, and none of them is one
        try:
            seen = look()
            yield seen
            lost = lost or (name == "catalogue" and seen.state == "trouble")
        except StorageError as error:
            yield Check(name, "trouble", error.message, error.hint)
            lost = lost or name == "catalogue"
        except OSError as error:
            yield Check(
                name, "trouble", f"It cannot be looked at: {error}.", "Look at the path named; run this as the service's user."
            )


def _python() -> Check:
    told = f"{platform.python_implementation()} {platform.python_version()}, SQLite {sqlite3.sqlite_version}"
    return Check("python", "fine", told)


def _folder(data: Path) -> Check:
    DataFolder(data).check()
    return Check("data folder", "fine", str(data))


def _file_system(data: Path) -> Check:
    kind, mounted = _mount_of(data.resolve())
    told = f"{kind} on {mounted}"
    if kind in _NETWORK:
        return Check(
            "file system",
            "trouble",
            f"{told}: locks and syncs are not to be relied on there.",
            "Move the folder to a local disk.",
        )
    if kind in {"tmpfs", "ramfs"}:
        return Check("file system", "note", f"{told}: it is gone when the machine is switched off.")
    return Check("file system", "fine", told)


def _mount_of(path: Path) -> tuple[str, str]:
    """Return kind and place of the file system that holds a path (proc(5): mountinfo)."""
    best = ("unknown", "/")
    try:
        lines = Path("/proc/self/mountinfo").read_text("utf-8").splitlines()
    except OSError:
        return best
    for line in lines:
        before, _, after = line.partition(" - ")
        place = before.split()[4].replace("\\040", " ")
        if path.is_relative_to(place) and len(place) >= len(best[1]):
            best = (after.split()[0], place)
    return best


def _permissions(data: Path) -> Check:
    names = ("segments", "metadata", "inbox", "tmp", "trash", "documentation", "run")
    refused = [name for name in names if (data / name).exists() and not os.access(data / name, os.R_OK | os.W_OK | os.X_OK)]
    gone = [name for name in names if not (data / name).is_dir()]
    if refused:
        return Check("permissions", "trouble", f"No access to {', '.join(refused)}.", f"chown -R USER {data}")
    if gone:
        return Check("permissions", "trouble", f"Not there: {', '.join(gone)}.", "strongroom up --detach")
    return Check("permissions", "fine", "every folder can be read and written")


def _catalogue(settings: Settings, database: Database) -> Check:
    refuse_without_catalogue(DataFolder(settings.data_dir), database)
    check_revision(database)
    file = settings.data_dir / "metadata" / "catalogue.db"
    if not database.is_sqlite:
        return Check("catalogue", "fine", "PostgreSQL answers")
    size_bytes = file.stat().st_size if file.exists() else 0
    if size_bytes <= _QUICK_CHECK_BYTES:
        with database.read() as connection:
            said = connection.execute(text("PRAGMA quick_check(1)")).scalar()
        if said != "ok":
            return Check("catalogue", "trouble", f"It is damaged: {said}", "strongroom down && strongroom rebuild")
    return Check("catalogue", "fine", f"SQLite, {size_bytes / 1e6:.1f} MB")


def _clock(database: Database, now: datetime) -> Check:
    with database.read() as connection:
        last = consistency.last_stored(connection)
    if last is not None and last - now > _CLOCK_OFF:
        told = f"Something was stored {last - now} from now: this clock, or the other one, is wrong."
        return Check("clock", "trouble", told, "timedatectl set-ntp true")
    return Check("clock", "fine", f"{now:%Y-%m-%d %H:%M:%S} UTC")


def _service(data: Path) -> Check:
    state = read_state(data)
    if state is None:
        loose = load_state(data)
        state = looked_at(loose) if loose is not None and not loose.supervised else None
    if state is None:
        starting = supervisor_of(data)
        told = f"It is starting (process {starting})." if starting else "No service runs: what is accepted waits."
        return Check("service", "note", told, "" if starting else "strongroom up --detach")
    weak = [f"{part.name} {part.state}" for part in state.parts if part.state != "ready"]
    if weak:
        return Check("service", "trouble", f"Not at work: {', '.join(weak)}.", "strongroom down && strongroom up --detach")
    return Check("service", "fine", f"{len(state.parts)} parts at work since {state.started_at}")


def _broker(settings: Settings) -> Check:
    if settings.broker_url is None and supervisor_of(settings.data_dir) is None:
        return Check("broker", "note", "The embedded one runs with the service.")
    try:
        url = broker_url_of(settings)
        ping(url, 2.0)
    except BrokerUnavailable as error:
        mend = (
            "strongroom down && strongroom up --detach"
            if settings.broker_url is None
            else "Start it, or set STRONGROOM_BROKER_URL."
        )
        return Check("broker", "trouble", error.message, mend)
    return Check("broker", "fine", masked(url))


def _schedules(settings: Settings, database: Database, now: datetime) -> Check:
    with database.read() as connection:
        views = view_schedules(connection, plans(settings), now)
    if read_state(settings.data_dir) is None:
        return Check("schedules", "note", "Nobody looks at them while no service runs; what is missed is caught up once.")
    troubles = [f"{view.plan.name}: {trouble}" for view in views for trouble in view.troubles]
    if troubles:
        return Check("schedules", "trouble", "; ".join(troubles), "strongroom schedule")
    return Check("schedules", "fine", f"{sum(view.cron is not None for view in views)} looked after")


def _jobs(database: Database) -> Check:
    with database.read() as connection:
        ended, active = ended_jobs(connection), active_jobs(connection)
    bad = {state: sum(count for (_, one), count in ended.items() if one == state) for state in ("failed", "quarantined")}
    parked = sum(count for (_, state), count in active.items() if state == "parked")
    waiting = sum(active.values()) - parked
    told = ", ".join(f"{count} {state}" for state, count in (*bad.items(), ("parked", parked), ("under way", waiting)) if count)
    if any(bad.values()):
        worst = "quarantined" if bad["quarantined"] else "failed"
        return Check("jobs", "trouble", told, f"strongroom jobs --state {worst}")
    if parked:
        return Check("jobs", "trouble", told, "strongroom jobs --state parked")
    return Check("jobs", "fine", told or "none waits")


def _erasures(data: Path) -> Check:
    notes = list(pending_notes(DataFolder(data)))
    if not notes:
        return Check("erasures", "fine", "none was cut short")
    meant = ", ".join(" ".join(filter(None, target)) for note in notes for target in note.targets)
    with locked_if_free(data / "metadata" / LOCK) as nobody:
        if not nobody:
            return Check("erasures", "note", f"That of {meant} is under way.")
    return Check("erasures", "trouble", f"Cut short: that of {meant}. Something of it may be left.", "strongroom erase --resume")


def _coverage(database: Database, now: datetime, period: timedelta) -> Check:
    with database.read() as connection:
        oldest = consistency.longest_unread(connection)
    if oldest is None:
        return Check("coverage", "fine", "nothing is stored")
    told = f"the segment that has waited longest was read, or written, {(now - oldest).days} days ago"
    if now - oldest > period * WARN:
        return Check("coverage", "trouble", f"{told}; {period.days} are promised", "strongroom schedule run integrity-sweep")
    return Check("coverage", "fine", told)


def _backups(settings: Settings, database: Database, now: datetime) -> Check:
    facts, place = _alarms(settings, database, now), backup_place(settings)
    return check_backups(facts, place, _last_backup(database), named=bool(settings.backup_target))


def _last_backup(database: Database) -> BackupRow | None:
    with database.read() as connection:
        return next((one for one in remembered_backups(connection) if one.state == "done" and one.verdict != "damaged"), None)


def _alarms(settings: Settings, database: Database, now: datetime) -> AlarmFacts:
    with database.read() as connection:
        return view_alarms(connection, settings, now)
