"""Erasure: a version, a library or several are gone from everything that this folder holds, at once and without a way back.

In this order: what refers to an erased content is encoded anew; a note makes the intent durable; the journal and one commit
forget the versions; segments that held them are written anew without them and deleted; then every other place is searched. A
crash at any step leaves the note, and the next erasure, or ``resume``, goes on.
"""

from __future__ import annotations

import hashlib
import secrets
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, field, replace

from models.erasing import (
    doomed_revisions,
    drop_objects,
    erase_rows,
    erase_trail,
    forget_digests,
    is_empty_without,
    redact_purged,
    referring_places,
    segments_with,
    settle_erased,
)
from models.names import AliasRow, last_change, put_alias
from models.recompress import Shown
from storage import compress, sweep
from storage.backup import resume
from storage.documents import Limits
from storage.encodings import Plain, encode_alone
from storage.erase.files import scrub_lines, scrub_payloads, scrub_strays, scrub_trash, scrub_tree
from storage.erase.holders import Holders, Holding
from storage.erase.indexes import empty_segments, forget_records, survey, told_contents
from storage.erase.needles import Gone
from storage.erase.note import Note, Target, drop_note, pending_notes, write_note
from storage.erase.plan import Plan, StillHeld, make_plan, still_held
from storage.erase.proof import Proof, prove
from storage.erase.scope import Scope, names_told, scope_of
from storage.erase.words import ends_of, erased, what_is_left, wipe_told
from storage.events import REDACTED
from storage.name_events import Unaliased
from storage.naming import Names
from storage.pending import changing
from storage.read import read_content
from storage.rewrite import Rewrite
from storage.trail import Actor, Archive, behind, record_events
from storage.tree import Tree
from strongroom import durable
from strongroom.errors import CatalogueBusy, IntegrityError, InvalidRequest, StalePlan, TransientIO
from strongroom.locks import locked_if_free

ATTEMPTS = 3
_AGAIN = "Look at the new plan with `strongroom erase`, then apply that."


@dataclass(frozen=True, slots=True)
class Done:
    """What was erased. ``still_held_by`` names revisions that keep a content, ``backups`` what else holds something of it."""

    erasure_id: str
    targets: tuple[Target, ...]
    contents: tuple[str, ...]
    still_held_by: tuple[StillHeld, ...]
    backups: tuple[Holding, ...]
    proof: Proof
    """What was searched; ``left`` are files that still hold it: then the erasure is not over."""


@dataclass(slots=True)
class Erasure:
    """Erases from one data folder. One process at a time does; stores and reads go on beside it."""

    archive: Archive
    tree: Tree
    shown: Shown
    limits: Limits = field(default_factory=Limits)
    others: Sequence[Holders] = ()

    def plan(self, targets: Sequence[Target]) -> Plan:
        """Return what erasing these would do."""
        return make_plan(self.archive, targets, self.others, self.limits)

    def apply(self, plan: Plan, actor: Actor) -> Done:
        """Erase what a plan says; on return it is gone, and that is proven. Nothing brings it back.

        Raises:
            InvalidRequest: no reason is given, or an accepted job would bring it back.
            StalePlan: something was stored or removed since; nothing was erased.
            IntegrityError: what refers to it, or lies in a segment with it, is damaged: a repair has to go first.
            TransientIO: a sweep, a compression or a backup is under way; what was begun is finished by the next call.
            DiskFull, PermissionRefused: likewise.
        """
        if not actor.why.strip():
            raise InvalidRequest("An erasure needs a reason, which is kept.", "Say --why, such as --why 'request 4711'.")
        with self._alone():
            for note in list(pending_notes(self.archive.folder)):
                self._carry_out(note)
            now = self.plan(plan.targets)
            if now.plan_id != plan.plan_id:
                raise StalePlan("What is to be erased has changed since the plan was made.", _AGAIN)
            if now.waiting:
                raise InvalidRequest(
                    f"{len(now.waiting)} accepted jobs would bring it back: {', '.join(now.waiting[:3])}.",
                    "Let them end, or cancel them with `strongroom jobs cancel`; then erase again.",
                )
            self._recode(now.contents)
            note = self._note(now, actor)
            contents, since = told_contents(self.archive.folder, scope_of(note, self._names()), now.revisions)
            note = replace(note, contents=tuple(sorted(contents)), since=since)
            with durable.os_errors("cannot begin to erase"):
                write_note(self.archive.folder, note)
            return self._carry_out(note)

    def resume(self) -> list[Done]:
        """Finish what a crash, or what was in use, has left.

        Raises:
            IntegrityError, TransientIO, DiskFull, PermissionRefused: as ``apply``.
        """
        with self._alone():
            return [self._carry_out(note) for note in list(pending_notes(self.archive.folder))]

    @contextmanager
    def _alone(self) -> Iterator[None]:
        metadata = self.archive.folder.metadata
        with (
            durable.os_errors("cannot erase"),
            changing(self.archive.folder, self.archive.database, self.archive.clock()),
            locked_if_free(metadata / sweep.LOCK) as no_sweep,
            locked_if_free(metadata / compress.LOCK) as no_compress,
            locked_if_free(metadata / resume.LOCK) as no_backup,
        ):
            if not (no_sweep and no_compress and no_backup):
                raise TransientIO("A sweep, a compression or a backup is under way.", "Call again when it has ended.")
            yield

    def _note(self, plan: Plan, actor: Actor) -> Note:
        told = (plan.targets, tuple(one.version_id for one in plan.revisions), (), plan.names)
        with self.archive.database.read() as connection:  # behind all that is told of them, whatever the clock says
            now = self.archive.clock()
            at = max(behind(now, last_change(connection, library_id)) for library_id, _ in plan.targets)
        return Note(secrets.token_hex(8), at, actor.by, actor.why, *told)

    def _carry_out(self, note: Note) -> Done:
        folder, database = self.archive.folder, self.archive.database
        self._forget(note)
        with database.read() as connection:
            held = {one.content_sha256 for one in still_held(connection, note.contents, ())}
        self._recode(sorted(set(note.contents) - held))
        with database.write("erase") as connection:  # what is stored meanwhile comes before, and counts, or writes it anew
            kept = still_held(connection, note.contents, ())
            stored = {(one.library_id, one.version) for name, _ in note.targets for one in doomed_revisions(connection, name)}
            going = set(note.contents) - {one.content_sha256 for one in kept}
            holding = segments_with(connection, going)
            drop_objects(connection, going)
        scope = scope_of(note, self._names())
        holding |= survey(folder, going)
        backups = tuple(held for one in self.others for held in one.holding(scope, going))
        gone = Gone(frozenset(going), frozenset(holding))
        empty_segments(self.archive, sorted(holding))
        forget_records(self.archive, scope, gone)
        with durable.os_errors("cannot erase"):
            self._scrub(note, gone, scope, stored)
            proof = prove(folder, note, gone)
            if not database.is_within(folder.root):
                proof = replace(proof, not_searched=(*proof.not_searched, "the database's own files"))
            if not proof.left:
                drop_note(folder, note)
        return Done(note.erasure_id, note.targets, tuple(sorted(going)), tuple(kept), backups, proof)

    def _names(self) -> Names:
        return names_told(self.archive.folder.journal)

    def _scrub(self, note: Note, gone: Gone, scope: Scope, stored: set[tuple[str, str]]) -> None:
        folder = self.archive.folder
        wipe_told(folder.journal, scope, gone.redacted, damaged_too=note.again)
        scrub_tree(folder, note, gone, stored)
        self.tree.catch_up()
        scrub_trash(folder, gone)
        scrub_payloads(folder, gone, self.limits)
        scrub_strays(folder, gone)
        scrub_lines(folder.metadata / "integrity_log.jsonl", gone)
        with self.archive.database.write("erase") as connection:
            forget_digests(connection, gone.contents)
            redact_purged(connection, gone.contents, REDACTED)
        self.archive.database.scrub()

    def _recode(self, contents: Sequence[str]) -> None:
        """Encode anew what refers to one of these contents, so that it needs none of them."""
        folder, database = self.archive.folder, self.archive.database
        for _ in range(ATTEMPTS):
            with database.read() as connection:
                places = referring_places(connection, contents)
            if not places:
                return
            batch = Rewrite(folder, database, self.shown)
            try:
                for place in places:
                    data = read_content(folder, place)
                    if hashlib.sha256(data).hexdigest() != place.content_sha256:
                        raise IntegrityError(
                            f"The content {place.content_sha256} is damaged, and refers to what is to be erased."
                        )
                    batch.add(place, encode_alone(Plain(place.content_sha256, data), "zstd"), own=False)
                    if batch.is_full:
                        batch.commit(self.archive.clock())
                batch.commit(self.archive.clock())
            finally:
                batch.abort()
        raise CatalogueBusy("What refers to it is being changed by others, again and again.")

    def _forget(self, note: Note) -> None:
        """Have journal and catalogue know nothing of it any more but that it was erased."""
        folder, database = self.archive.folder, self.archive.database
        names = self._names()
        ever = {name for library_id, _ in note.targets for name in names.ever(library_id)}
        told = {library_id: what_is_left(self.archive, library_id, note) for library_id, _ in note.targets}
        with database.write("erase") as connection:
            rows = [one for library_id, version in note.targets for one in doomed_revisions(connection, library_id, version)]
            there = {one.version_id for one in rows}
            if not there & set(note.version_ids):
                return  # done before; what is there now was stored afterwards
            if there - set(note.version_ids):
                drop_note(folder, note)
                raise StalePlan("Something was stored into it meanwhile: nothing was erased.", _AGAIN)
            events = [event for target in note.targets for event in ends_of(connection, target, note)]
            for library_id, version in note.targets:
                empty = is_empty_without(connection, library_id, version)
                erase_rows(connection, library_id, version)
                settle_erased(connection, library_id, None if empty else told[library_id])
            erase_trail(connection, ever, lambda name, version, at: note.hits(names.today(name, at), version or None))
            counts = [erased(target, rows, note) for target in note.targets]
            record_events(folder.journal, connection, [*events, *counts])
            for one in events:
                if isinstance(one, Unaliased):
                    put_alias(connection, AliasRow(one.alias, "", note.at, note.by, note.why))
