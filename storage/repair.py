"""Repair: what a verification found is seen to, from the best source that there is, and looked at again. Never guesses."""

from __future__ import annotations

from collections.abc import Callable, Collection, Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, field, replace
from datetime import UTC, datetime
from functools import partial
from pathlib import Path

from models.catalogue import list_versions, versions_without_place
from models.circles import break_circles
from models.database import Database
from models.mending import content_of, libraries_at, show_paths_again
from models.names import unlink_all
from storage.casework import Means
from storage.codecs import Encoder
from storage.damage import segment_is_whole, whole_place
from storage.documents import Limits
from storage.fetches import Fetches
from storage.harm import is_by_reference
from storage.layout import DataFolder
from storage.mend import Mending
from storage.mend_journal import mend_journal, retell
from storage.paths import encode_component
from storage.progress import Progress, silent
from storage.quarantine import keep_damaged
from storage.read import READABLE_DEPTH
from storage.tree import Mode, Tree
from storage.treecheck import is_in_tree, is_shown
from storage.treemode import shown_mode
from storage.treenames import lost_links
from storage.verify import Subject, Verification, verify
from strongroom import durable
from strongroom.contracts import Damage, Finding, Mended, Repaired, VerifyReceipt
from strongroom.locks import locked

LOCK = "repair.lock"
_INDEXES = frozenset({"index_missing", "index_damaged", "index_out_of_step"})
_FROM = {
    "tree": "the catalogue and the segments",
    "index": "the catalogue and the segment",
    "journal": "the catalogue",
    "untold": "the catalogue",
}
_NOTHING = "the segment's own objects"
_BASE = "what it refers to"


def _now() -> datetime:
    return datetime.now(UTC)


@dataclass(frozen=True, slots=True)
class Repair:
    """Repairs one data folder. Any number of processes may: one at a time does.

    ``fetches`` are sources beyond the folder. No network is used unless one is given that does.
    """

    folder: DataFolder
    database: Database
    tree: Tree
    mode: Mode
    encoder: Encoder
    limits: Limits = field(default_factory=Limits)
    fetches: Fetches = field(default_factory=Fetches)
    clock: Callable[[], datetime] = _now

    def verify(self, subject: Subject = (None, None), progress: Progress = silent, by: str = "person") -> VerifyReceipt:
        """Verify, repair what is damaged, and verify that again; return what was repaired and what remains.

        Run twice, the second changes nothing.

        Raises:
            NotFound: no such library or version.
            DiskFull, TransientIO, PermissionRefused: the operating system refused; nothing is worse than before.
        """
        mode = shown_mode(self.folder, self.mode)
        before = verify(self.folder, self.database, mode, subject, progress)
        found = bool(before.damaged or before.findings)
        repaired = self._see_to_damage(before, by) if found else []
        rest = self._see_to_the_rest(by) if subject[0] is None else []
        if not found and not rest:
            return before
        names = {Path(one.segment).name for one in before.damaged} | _names(before.findings)
        libraries = {one.library_id for one in before.damaged} | {one.library_id for one in repaired}
        after = Verification(self.folder, self.database, mode, silent)
        after.again(names, libraries | self._libraries([*before.findings, *rest]))
        damaged = after.damaged
        remain = {(one.library_id, one.version, one.revision) for one in damaged}
        repaired += _with_their_base(before.damaged, repaired)
        return before.model_copy(
            update={
                "damaged": damaged,
                "findings": after.findings,
                "repaired": [one for one in repaired if (one.library_id, one.version, one.revision) not in remain],
                "mended": _mended([*before.findings, *rest], after.findings),
            }
        )

    def _see_to_damage(self, before: VerifyReceipt, by: str) -> list[Repaired]:
        if any(is_by_reference(one.code) for one in before.damaged):
            with self.database.write("repair") as connection:
                break_circles(connection, READABLE_DEPTH)
        names = {Path(one.segment).name for one in before.damaged} | _names(before.findings)
        return self.see_to(names, before.findings, by)

    def see_to(
        self, segments: Collection[str], findings: Sequence[Finding] = (), by: str = "person", *, show: bool = True
    ) -> list[Repaired]:
        """Mend segments and what findings name; return what is whole again. With ``show`` the tree shows at once what changed.

        Raises:
            DiskFull, TransientIO, PermissionRefused: as ``verify``.
        """
        with self._alone(by) as mending:
            done = self._mend_segments(mending, sorted(segments))
            codes = {one.code for one in findings}
            if "catalogue_out_of_step" in codes:
                done += self._place(mending)
            for name in sorted(_names(one for one in findings if one.code in _INDEXES)):
                mending.index(name)
            if "journal_damaged" in codes:
                mend_journal(self.folder, self.database, self.clock())
            self._mend_tree([one for one in findings if one.code.startswith("tree_")])
        if show:
            self.tree.catch_up()
        return done

    def _mend_segments(self, mending: Mending, names: Sequence[str]) -> list[Repaired]:
        """Mend segments; those that are still damaged again, as long as that helps: one may hold what another one refers to."""
        done: list[Repaired] = []
        for _ in range(READABLE_DEPTH):
            more = [one for name in names for one in mending.segment(name)]
            done += more
            names = [name for name in names if not segment_is_whole(self.folder, name)] if more else []
            if not names:
                break
        return done

    def _see_to_the_rest(self, by: str) -> list[Finding]:
        """See to what no single file shows: versions that the disk does not tell of, and what the tree shows otherwise."""
        done: list[Finding] = []
        with self._alone(by):
            told = retell(self.folder, self.database, self.clock())
            if told:
                journal = self.folder.relative(self.folder.journal)
                done.append(Finding(code="untold", path=journal, message=f"The disk did not tell of {told} things."))
            paths = self._shown_otherwise()
            links = self._lost_links()
            if paths or links:
                with self.database.write("repair") as connection:
                    show_paths_again(connection, paths)
                    if links:
                        unlink_all(connection)
        if paths or links:
            self.tree.catch_up()
        message = "The tree showed something else than the catalogue."
        return done + [Finding(code="tree_out_of_step", path=path, message=message) for path in [*paths, *links]]

    def _lost_links(self) -> list[str]:
        lost = [] if shown_mode(self.folder, self.mode) == "none" else lost_links(self.folder, self.database)
        return [f"documentation/{encode_component(one.alias)}" for one in lost]

    def _shown_otherwise(self) -> list[str]:
        mode = shown_mode(self.folder, self.mode)
        with self.database.read() as connection:
            versions = [one for one in list_versions(connection) if is_shown(one, mode)]
        shown = (
            (one.file_path, is_in_tree(self.folder, one.file_path, one.place.content_sha256, latest=one.latest))
            for one in versions
        )
        return [path for path, right in shown if not right]

    @contextmanager
    def _alone(self, by: str) -> Iterator[Mending]:
        folder = replace(self.folder, find_place=partial(whole_place, self.folder, self.database))
        means = Means(folder, self.database, self.encoder, self.limits, by, self.clock(), self.fetches)
        with durable.os_errors("cannot repair"), locked(self.folder.metadata / LOCK):
            self.folder.create()  # the folders that are gone themselves
            yield Mending(means)

    def _place(self, mending: Mending) -> list[Repaired]:
        with self.database.read() as connection:
            contents = {content_of(connection, *lost) for lost in versions_without_place(connection)}
        return [one for content in sorted(contents) for one in mending.content(content)]

    def _mend_tree(self, findings: Sequence[Finding]) -> None:
        paths = [one.path for one in findings]
        for one in findings:
            path = self.folder.root / one.path
            if one.code == "tree_damaged" and path.is_file():
                keep_damaged(self.folder, path, one.message, self.clock())
        if paths:
            with self.database.write("repair") as connection:
                show_paths_again(connection, paths)

    def _libraries(self, findings: Sequence[Finding]) -> set[str]:
        paths = {one.path for one in findings if one.code.startswith("tree_")}
        with self.database.read() as connection:
            return libraries_at(connection, paths)


def _with_their_base(damaged: Sequence[Damage], repaired: Sequence[Repaired]) -> list[Repaired]:
    """Return the versions that were only damaged in what they refer to: they are whole when that is."""
    named = {(one.library_id, one.version, one.revision) for one in repaired}
    others = [one for one in damaged if (one.library_id, one.version, one.revision) not in named and is_by_reference(one.code)]
    return [
        Repaired(library_id=one.library_id, version=one.version, revision=one.revision, code=one.code, source=_BASE)
        for one in others
    ]


def _names(findings: Iterator[Finding] | Sequence[Finding]) -> set[str]:
    """Return the segments that findings name: by their own path, or by their index's."""
    return {Path(one.path).name.removesuffix(".index") for one in findings if one.path.startswith("segments/")}


def _mended(before: Sequence[Finding], after: Sequence[Finding]) -> list[Mended]:
    left = {(one.code, one.path) for one in after}
    return [
        Mended(code=one.code, path=one.path, source=_FROM.get(one.code.partition("_")[0], _NOTHING))
        for one in before
        if (one.code, one.path) not in left
    ]
