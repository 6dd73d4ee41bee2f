"""In place: in a store that goes on a library, or a version of it, becomes what it was in a backup. Planned first; can be undone.

Nothing is removed and nothing overwritten: a version that is gone is stored again, one with another content gets a further
revision. What was changed is noted before it is, so that it can be undone after a crash as well.
"""

from __future__ import annotations

import json
import secrets
from dataclasses import asdict, dataclass
from datetime import datetime
from pathlib import Path
from typing import Literal

from models.catalogue import list_versions
from models.rows import StoredVersion
from storage.backup.part import RestorePart
from storage.bring_in import import_file
from storage.cleanup import plan_removal
from storage.engine import Engine
from storage.layout import DataFolder
from storage.removal import Removal
from storage.scratch import scratch_space
from storage.trail import Actor
from strongroom import durable
from strongroom.errors import NotFound, QuotaExceeded

What = Literal["gone", "other", "same"]
Undone = Literal["removed", "rolled back", "changed since"]


@dataclass(frozen=True, slots=True)
class Change:
    """A version of the backup, and what it is now: gone, of another content (in revision ``before``), or the same."""

    version: str
    now: What
    content_sha256: str
    before: int | None = None


@dataclass(frozen=True, slots=True)
class InPlace:
    """What a restore in place would do, or has done: then ``restore_id`` undoes it."""

    restore_id: str | None
    backup_id: str
    library_id: str
    changes: tuple[Change, ...]


@dataclass(frozen=True, slots=True)
class RestoreInPlace:
    """Restores a part of a backup into the engine's own data folder. Any number may run; writers and readers go on."""

    engine: Engine
    part: RestorePart

    def run(self, actor: Actor, now: datetime, *, apply: bool) -> InPlace:
        """Return the plan, or carry it out: then all of it is durable on return, by one commit.

        Raises:
            NotFound: the backup does not have it.
            BackupDamaged: the backup does not hold what it promised; nothing was changed.
            QuotaExceeded: a quota has no room for all of it; likewise.
            DiskFull, TransientIO, PermissionRefused: the operating system refused; likewise.
        """
        with scratch_space(self.engine.folder) as then:
            file = self.part.unpacked(then, actor, now, bare=True).file
            with Engine(then).open() as engine:
                wanted = _current(engine, self.part.library_id)
            library_id = self.engine.real_name(next(iter(wanted.values())).library_id)
            if self.part.version is not None:
                wanted = {name: one for name, one in wanted.items() if name == self.part.version}
            there = _current(self.engine, library_id)
            changes = tuple(_change(one, there.get(name)) for name, one in wanted.items())
            planned = InPlace(None, self.part.manifest.backup_id, library_id, changes)
            if not apply or all(one.now == "same" for one in changes):
                return planned
            restore_id = f"{now:%Y%m%dT%H%M%SZ}-{secrets.token_hex(4)}"
            _note(self.engine.folder, restore_id, planned)
            try:
                import_file(self.engine, file, actor)
            except QuotaExceeded:  # nothing is stored for certain: there was no such restore
                _path(self.engine.folder, restore_id).unlink()
                raise
        return InPlace(restore_id, planned.backup_id, library_id, changes)


def undo_restore(engine: Engine, restore_id: str, actor: Actor, now: datetime) -> dict[str, Undone]:
    """Undo a restore in place: what it brought back is removed, what it replaced is current again. Says what became of each.

    A version that has another content by now was changed since, and is left as it is. Called again, it finishes what is left.

    Raises:
        NotFound: nothing is noted of such a restore.
        QuotaExceeded: a quota has no room for the further revisions; nothing was changed.
        StorageError: as a removal and a rollback; calling again goes on.
    """
    done = _noted(engine.folder, restore_id)
    library_id = engine.real_name(done.library_id)
    there = _current(engine, library_id)
    undone: dict[str, Undone] = {}
    brought: list[StoredVersion] = []
    replaced: dict[str, int] = {}
    for one in done.changes:
        found = there.get(one.version)
        if one.now == "same" or found is None:
            continue
        if found.place.content_sha256 != one.content_sha256:
            undone[one.version] = "changed since"
        elif one.before is not None:
            replaced[one.version] = one.before
            undone[one.version] = "rolled back"
        elif len(revisions := _revisions(engine, library_id, one.version)) > 1:  # somebody stored it meanwhile, too
            undone[one.version] = "changed since"
        else:
            brought += revisions
            undone[one.version] = "removed"
    _refuse_over_quota(engine, library_id, brought, replaced)
    if brought:  # first: it makes room for the others
        ids = [one.version_id for one in brought]
        plan = plan_removal(engine.database, library_id, ids, f"undo of the restore {restore_id}")
        Removal(engine.folder, engine.database).apply(plan, actor.by, now)
        engine.tree.catch_up()
    for version, revision in replaced.items():
        engine.rollback(library_id, version, actor, to=revision)
    return undone


def _refuse_over_quota(engine: Engine, library_id: str, brought: list[StoredVersion], replaced: dict[str, int]) -> None:
    """Look before anything is changed: each step looks once more, but a step that is refused would leave the others done."""
    again = [
        one for version, number in replaced.items() for one in _revisions(engine, library_id, version) if one.revision == number
    ]
    growth = sum(one.place.length for one in again) - sum(one.place.length for one in brought)
    with engine.database.read() as connection:
        engine.allowance.require(connection, {library_id: growth})


def _revisions(engine: Engine, library_id: str, version: str) -> list[StoredVersion]:
    with engine.database.read() as connection:
        return list(list_versions(connection, library_id, version, history=True))


def _current(engine: Engine, library_id: str) -> dict[str, StoredVersion]:
    return {one.version: one for one in engine.versions(library_id)}


def _change(then: StoredVersion, now: StoredVersion | None) -> Change:
    content = then.place.content_sha256
    if now is None:
        return Change(then.version, "gone", content)
    if now.place.content_sha256 == content:
        return Change(then.version, "same", content, now.revision)
    return Change(then.version, "other", content, now.revision)


def _path(folder: DataFolder, restore_id: str) -> Path:
    return folder.restores / f"{restore_id}.json"


def _note(folder: DataFolder, restore_id: str, planned: InPlace) -> None:
    path = _path(folder, restore_id)
    with durable.os_errors("cannot note what is restored"):
        durable.make_folder(path.parent, "in place")
        part = path.with_suffix(".part")
        with part.open("x", encoding="utf-8") as file:
            json.dump(asdict(planned), file)
            file.flush()
            durable.fsync_file(file.fileno(), "in place")
        durable.rename(part, path, "in place")
        durable.fsync_folder(path.parent, "in place")


def _noted(folder: DataFolder, restore_id: str) -> InPlace:
    known = [path.stem for path in folder.restores.glob("*.json")]
    if restore_id not in known:
        hint = f"Those that there were: {', '.join(sorted(known)) or 'none'}."
        raise NotFound(f"There was no restore in place {restore_id!r}.", hint)
    told = json.loads(_path(folder, restore_id).read_text("utf-8"))
    changes = tuple(Change(**one) for one in told["changes"])
    return InPlace(restore_id, told["backup_id"], told["library_id"], changes)
