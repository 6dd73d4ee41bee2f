"""Verify: read stored bytes again and compare them with what was promised. Never repairs, never writes."""

from __future__ import annotations

from collections.abc import Collection, Iterator
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass, field
from functools import partial
from pathlib import Path

from models.catalogue import (
    count_versions,
    find_version,
    list_libraries,
    list_places,
    list_segments,
    list_versions,
    segment_bytes,
    versions_without_place,
)
from models.database import Database
from models.mending import is_known
from models.rows import StoredVersion
from storage.damage import segment_is_whole
from storage.harm import Harm
from storage.index import read_index
from storage.journal import damaged_lines
from storage.layout import DataFolder
from storage.progress import Progress, silent
from storage.tree import Mode
from storage.treecheck import is_shown, tree_finding
from strongroom import durable
from strongroom.contracts import Damage, Finding, VerifyReceipt
from strongroom.errors import IntegrityError, NotFound

_THREADS = 2  # hashing lets go of the interpreter's lock; the disk is read in order all the same
_AT_ONCE = 64  # segments that are under way before anybody may interrupt

Subject = tuple[str | None, str | None]
"""A library and a version of it; None stands for all."""


def verify(
    folder: DataFolder,
    database: Database,
    mode: Mode,
    subject: Subject = (None, None),
    progress: Progress = silent,
) -> VerifyReceipt:
    """Verify everything, the versions of a library, or one version, older revisions included.

    Everything: each segment is read once, in the order of the disk, and compared with its name; its index with its own digest
    and with the catalogue; the journal. A part: the bytes of each version. Then the tree's files that are copies. Nothing is
    reported that a second look does not find again.

    Raises:
        NotFound: no such library or version.
        TransientIO, PermissionRefused: the operating system refused, for a reason that is no damage.
    """
    return Verification(folder, database, mode, progress).run(subject)


@dataclass(slots=True)
class Verification:
    """One run and what it has found so far."""

    folder: DataFolder
    database: Database
    mode: Mode
    progress: Progress
    checked: int = 0
    read_bytes: int = 0
    findings: list[Finding] = field(default_factory=list)
    harm: Harm = field(init=False)

    def __post_init__(self) -> None:
        self.harm = Harm(self.folder, self.database)

    @property
    def damaged(self) -> list[Damage]:
        """The versions that are hurt."""
        return list(self.harm.damaged.values())

    def run(self, subject: Subject) -> VerifyReceipt:
        """Verify everything or a part; see ``verify``."""
        if subject[0] is None:
            self._verify_segments()
            self._verify_catalogue()
            self._verify_journal()
        else:
            self._verify_versions(subject)
        self._verify_tree(subject)
        return VerifyReceipt(checked=self.checked, read_bytes=self.read_bytes, damaged=self.damaged, findings=self.findings)

    def again(self, segments: Collection[str], libraries: Collection[str]) -> None:
        """Look again at what a repair touched: these segments and indexes, the tree of these libraries, the rest as a whole."""
        for name in sorted(segments):
            self.blame(name)
            self._verify_index(name)
        self._verify_catalogue()
        self._verify_journal()
        for library_id in sorted(libraries):
            self._verify_tree((library_id, None))

    def blame(self, name: str) -> bool:
        """Whether a segment that the catalogue knows is damaged; then note what that hurts."""
        if not self._is_known(name) or segment_is_whole(self.folder, name):
            return False
        self._blame_segment(name)
        return True

    def _verify_segments(self) -> None:
        with self.database.read() as connection:
            total = segment_bytes(connection)
        with ThreadPoolExecutor(_THREADS, "verify") as threads:
            for segments in self._segments():
                names = [name for name, _ in segments]
                whole = threads.map(partial(segment_is_whole, self.folder), names)
                for (name, size), fine in zip(segments, whole, strict=True):
                    if not fine:
                        self._blame_segment(name)
                    self._verify_index(name)
                    self.read_bytes += size
                    self.progress(self.read_bytes, max(total, self.read_bytes))

    def _segments(self) -> Iterator[list[tuple[str, int]]]:
        """Yield all segments in parts, each read in a short transaction of its own."""
        after = ""
        while True:
            with self.database.read() as connection:
                segments = list_segments(connection, after, _AT_ONCE)
            if not segments:
                return
            yield segments
            after = segments[-1][0]

    def _blame_segment(self, name: str) -> None:
        """Find out which versions a damaged segment has hurt; damage that hurts none is a finding."""
        if not self.harm.of_segment(name) and not segment_is_whole(self.folder, name) and self._is_known(name):
            self._find("segment_damaged", self.folder.segment(name), "The segment does not hash to its name.")

    def _verify_index(self, name: str) -> None:
        path = self.folder.index(name)
        try:
            index = read_index(path, bad_sectors=True)
        except IntegrityError as error:
            if self._is_known(name):  # else a sweep has taken it meanwhile
                self._find(error.context.get("damage", "index_damaged"), path, error.message)
            return
        with self.database.read() as connection:
            places = list_places(connection, name)
        if not set(places) <= set(index.places):
            self._find("index_out_of_step", path, "The catalogue places objects where the index does not.")

    def _verify_catalogue(self) -> None:
        with self.database.read() as connection:
            self.checked = count_versions(connection)
            lost = versions_without_place(connection)
        self.harm.unfounded()
        for library_id, version, revision in lost:
            message = f"{library_id} {version} (revision {revision}) has no place in any segment."
            self.findings.append(Finding(code="catalogue_out_of_step", path="metadata", message=message))

    def _verify_journal(self) -> None:
        with durable.os_errors("cannot read the journal"):
            damaged = damaged_lines(self.folder.journal)
            if damaged:  # one that was being written is whole by now
                damaged = sorted(set(damaged) & set(damaged_lines(self.folder.journal)))
        if damaged:
            lines = ", ".join(map(str, damaged[:20]))
            self._find("journal_damaged", self.folder.journal, f"These lines do not hash to their digest: {lines}.")

    def _verify_versions(self, subject: Subject) -> None:
        with self.database.read() as connection:
            versions = list(list_versions(connection, *subject, history=True))
        if not versions:
            raise NotFound(f"{' '.join(part for part in subject if part)} is not stored.")
        total = sum(one.place.length for one in versions)
        for one in versions:
            self.harm.of_versions([one])
            self.checked += one.current
            self.read_bytes += one.place.length
            self.progress(self.read_bytes, total)

    def _is_known(self, name: str) -> bool:
        with self.database.read() as connection:
            return is_known(connection, name)

    def _verify_tree(self, subject: Subject) -> None:
        with self.database.read() as connection:
            libraries = [one.library_id for one in list_libraries(connection)] if subject[0] is None else [subject[0]]
        for library_id in libraries:
            with self.database.read() as connection:
                versions = list(list_versions(connection, library_id, subject[1]))
            for one in versions:
                if is_shown(one, self.mode) and tree_finding(self.folder, one) is not None:
                    self._look_again(one)

    def _look_again(self, one: StoredVersion) -> None:
        """Report what is wrong with a version of the tree, unless another revision is taking its place meanwhile."""
        before, finding = self._current(one), None
        if before is not None and is_shown(before, self.mode):
            finding = tree_finding(self.folder, before)
        if finding is not None and self._current(one) == before:
            self.findings.append(finding)

    def _current(self, one: StoredVersion) -> StoredVersion | None:
        with self.database.read() as connection:
            return find_version(connection, one.library_id, one.file_path)

    def _find(self, code: str, path: Path, message: str) -> None:
        self.findings.append(Finding(code=code, path=self.folder.relative(path), message=message))
