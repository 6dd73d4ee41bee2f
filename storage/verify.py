"""Verify: read stored bytes again and compare them with what was promised. Never repairs, never writes."""

from __future__ import annotations

import hashlib
from collections.abc import Callable, Iterable
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass, field

from models.catalogue import count_versions, list_places, list_segments, list_versions, versions_in_segment
from models.database import Database
from models.rows import Place, StoredVersion
from storage.index import read_index
from storage.layout import DataFolder
from storage.read import file_sha256, stored_blocks
from storage.tree import Mode
from storage.treecheck import tree_findings
from strongroom.contracts import Damage, Finding, VerifyReceipt
from strongroom.errors import IntegrityError, NotFound

_THREADS = 2  # hashing lets go of the interpreter's lock; the disk is read in order all the same

Progress = Callable[[int, int], None]
"""Told after each step how many bytes of how many have been read."""


def silent(_done: int, _total: int) -> None:
    """Take progress that nobody looks at."""


Subject = tuple[str | None, str | None]
"""A library and a version of it; None stands for all."""


@dataclass(slots=True)
class _Report:
    checked: int = 0
    read_bytes: int = 0
    damaged: dict[str, Damage] = field(default_factory=dict)
    findings: list[Finding] = field(default_factory=list)

    def receipt(self) -> VerifyReceipt:
        return VerifyReceipt(
            checked=self.checked, read_bytes=self.read_bytes, damaged=list(self.damaged.values()), findings=self.findings
        )


def verify(
    folder: DataFolder,
    database: Database,
    mode: Mode,
    subject: Subject = (None, None),
    progress: Progress = silent,
) -> VerifyReceipt:
    """Verify everything, the versions of a library, or one version, older revisions included.

    Everything: each segment is read once, in the order of the disk, and compared with its name; its index with its own digest
    and with the catalogue. A part: the bytes of each version. Then the tree's files that are copies.

    Raises:
        NotFound: no such library or version.
    """
    report = _Report()
    if subject[0] is None:
        _verify_segments(folder, database, report, progress)
    else:
        _verify_versions(folder, database, report, subject, progress)
    with database.read() as connection:
        report.findings.extend(tree_findings(folder, list_versions(connection, *subject), mode))
    return report.receipt()


def _verify_segments(folder: DataFolder, database: Database, report: _Report, progress: Progress) -> None:
    with database.read() as connection:
        segments = list_segments(connection)
        report.checked = count_versions(connection)
    total = sum(size for _, size in segments)
    with ThreadPoolExecutor(_THREADS, "verify") as threads:
        names = (name for name, _ in segments)
        for (name, size), whole in zip(segments, threads.map(lambda one: _segment_is_whole(folder, one), names), strict=True):
            report.read_bytes += size
            if not whole:
                _blame_segment(folder, database, report, name)
            _check_index(folder, database, report, name)
            progress(report.read_bytes, total)


def _segment_is_whole(folder: DataFolder, name: str) -> bool:
    try:
        return file_sha256(folder.segment(name)) == name
    except OSError:
        return False


def _blame_segment(folder: DataFolder, database: Database, report: _Report, name: str) -> None:
    """Find out which versions a damaged segment has hurt; damage that hurts none is a finding."""
    before = len(report.damaged)
    with database.read() as connection:
        versions = versions_in_segment(connection, name)
    _check_versions(folder, report, versions)
    if len(report.damaged) == before:
        path = folder.relative(folder.segment(name))
        report.findings.append(Finding(code="segment_damaged", path=path, message="The segment does not hash to its name."))


def _check_index(folder: DataFolder, database: Database, report: _Report, name: str) -> None:
    path = folder.index(name)
    try:
        index = read_index(path)
    except IntegrityError as error:
        report.findings.append(
            Finding(code=error.context.get("damage", "index_damaged"), path=folder.relative(path), message=error.message)
        )
        return
    with database.read() as connection:
        places = set(list_places(connection, name))
    if not places <= set(index.places):
        message = "The catalogue places objects where the index does not."
        report.findings.append(Finding(code="index_out_of_step", path=folder.relative(path), message=message))


def _verify_versions(
    folder: DataFolder, database: Database, report: _Report, subject: Subject, progress: Progress
) -> None:
    with database.read() as connection:
        versions = list(list_versions(connection, *subject, history=True))
    if not versions:
        raise NotFound(f"{' '.join(part for part in subject if part)} is not stored.")
    total = sum(one.place.length for one in versions)
    for one in versions:
        _check_versions(folder, report, [one])
        report.checked += one.current
        report.read_bytes += one.place.length
        progress(report.read_bytes, total)


def _check_versions(folder: DataFolder, report: _Report, versions: Iterable[StoredVersion]) -> None:
    outcomes: dict[Place, IntegrityError | None] = {}
    for one in versions:
        if one.place not in outcomes:
            outcomes[one.place] = _check_place(folder, one.place)
        error = outcomes[one.place]
        if error is not None:
            report.damaged[one.version_id] = _damage(folder, one, error)


def _check_place(folder: DataFolder, place: Place) -> IntegrityError | None:
    digest = hashlib.sha256()
    try:
        for block in stored_blocks(folder, place):
            digest.update(block)
    except IntegrityError as error:
        return error
    if digest.hexdigest() != place.stored_sha256:
        return IntegrityError("The stored bytes do not hash to the recorded digest.", None, {"damage": "damaged"})
    return None


def _damage(folder: DataFolder, one: StoredVersion, error: IntegrityError) -> Damage:
    return Damage(
        library_id=one.library_id,
        version=one.version,
        revision=one.revision,
        code=error.context.get("damage", error.code),
        message=error.message,
        segment=folder.relative(folder.segment(one.place.segment_sha256)),
        offset=one.place.offset,
        length=one.place.length,
    )
