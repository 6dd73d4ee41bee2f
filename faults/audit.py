"""What a run left behind, against what its senders noted: the reading is done through the engine, the counting is our own."""

from __future__ import annotations

import hashlib
import json
from collections import Counter, defaultdict
from collections.abc import Iterable, Sequence
from dataclasses import dataclass, field
from pathlib import Path

from faults.book import accepted_files, opened
from faults.senders import Sent
from faults.service import Service
from models.catalogue import list_versions
from models.rows import StoredVersion
from storage.engine import Engine
from storage.read import read_content
from strongroom.client import Client
from strongroom.errors import StorageError
from strongroom.result import Ok
from strongroom.ticket import Ticket

_NAMED = 5
"""Cases of one complaint that are named."""


@dataclass
class Audit:
    """Complaints by kind, and how many things were looked at."""

    accepted: int = 0
    perhaps: int = 0
    revisions: int = 0
    read: int = 0
    receipts: int = 0
    repeated: int = 0
    """Jobs that needed more than one attempt."""
    complaints: dict[str, list[str]] = field(default_factory=lambda: defaultdict(list))

    def complain(self, kind: str, case: str) -> None:
        """Note what should not be."""
        self.complaints[kind].append(case)

    def count(self, *kinds: str) -> int:
        """Return how many complaints there are of these kinds."""
        return sum(len(self.complaints.get(kind, [])) for kind in kinds)

    def told(self) -> list[str]:
        """Return a line for each kind of complaint."""
        return [
            f"{kind}: {len(cases)}, such as {'; '.join(cases[:_NAMED])}"
            for kind, cases in sorted(self.complaints.items())
            if cases
        ]


def audit(service: Service, sent: Sequence[Sent]) -> Audit:
    """Look at everything, and ask the service's own commands. It may have stopped."""
    found = compare(service.data, sent)
    _wait_for_all(found, service)
    _verify(found, service)
    return found


def compare(data: Path, sent: Sequence[Sent]) -> Audit:
    """Compare what lies in a data folder with what its senders noted."""
    found = Audit(sum(one.said == "yes" for one in sent), sum(one.said != "yes" for one in sent))
    with Engine(data).open() as engine:
        with engine.database.read() as connection:
            versions = list(list_versions(connection, history=True))
        _compare(found, versions, sent)
        _number(found, versions)
        _read(found, engine, versions)
        if engine.totals().versions != len({(one.library_id, one.version) for one in versions}):
            found.complain("sums", f"the libraries' sums say {engine.totals().versions} versions")
    _look_into_ledger(found, data, sent)
    _take_receipts(found, data, sent)
    return found


def _compare(found: Audit, versions: Iterable[StoredVersion], sent: Iterable[Sent]) -> None:
    """Each accepted content is one revision of its version, each that was perhaps accepted at most one; there is nothing else."""
    stored = Counter((one.library_id, one.version, one.place.content_sha256) for one in versions)
    found.revisions = stored.total()
    for one in sent:
        there = stored.pop((one.library_id, one.version, one.sha256), 0)
        if there == 0 and one.said == "yes":
            found.complain("lost", f"{one.library_id} {one.version} of job {one.job_id}")
        if there > 1:
            found.complain("stored twice", f"{one.library_id} {one.version} has {there} revisions of one content")
    for library_id, version, _ in stored:
        found.complain("never sent", f"{library_id} {version}")


def _number(found: Audit, versions: Iterable[StoredVersion]) -> None:
    """Revisions are numbered from 1 without a gap, and the last one is the current one."""
    by_version: dict[tuple[str, str], list[StoredVersion]] = defaultdict(list)
    for one in versions:
        by_version[one.library_id, one.version].append(one)
    for (library_id, version), revisions in by_version.items():
        revisions.sort(key=lambda one: one.revision)
        numbers = [one.revision for one in revisions]
        current = [one.revision for one in revisions if one.current]
        if numbers != list(range(1, len(numbers) + 1)) or current != [len(numbers)]:
            found.complain("revisions", f"{library_id} {version} has {numbers}, current {current}")


def _read(found: Audit, engine: Engine, versions: Iterable[StoredVersion]) -> None:
    """Every revision is read and hashed here; the current ones as any program would, by library and version."""
    for one in versions:
        try:
            data = engine.read(one.library_id, one.version) if one.current else read_content(engine.folder, one.place)
        except StorageError as error:
            found.complain("unreadable", f"{one.library_id} {one.version}: {error}")
            continue
        found.read += 1
        if hashlib.sha256(data).hexdigest() != one.place.content_sha256:
            found.complain("unreadable", f"{one.library_id} {one.version} has another digest")


def _look_into_ledger(found: Audit, data: Path, sent: Iterable[Sent]) -> None:
    accepted = {one.job_id for one in sent if one.said == "yes"}
    with opened(data) as book:
        rows = book.every()
    states = {one.job_id: one.state for one in rows}
    found.repeated = sum(one.attempts > 1 for one in rows)
    for job_id in accepted - states.keys():
        found.complain("no row", job_id)
    for one in rows:
        if one.state != "done":
            found.complain(f"job {one.state}", f"{one.job_id}, {one.attempts} attempts: {one.error}")
    # A job that was perhaps accepted has no id that the sender knows: there can be no more of them than attempts.
    strangers = len(states.keys() - accepted)
    if strangers > found.perhaps:
        found.complain("phantom jobs", f"{strangers} rows of jobs that nobody sent")
    for what, count in (("in the inbox", accepted_files(data)), ("in inbox/failed", _kept(data))):
        if count:
            found.complain("left", f"{count} files {what}")


def _wait_for_all(found: Audit, service: Service) -> None:
    """Ask as any program would whether something is left to be done."""
    done = service.command("jobs", "wait", "--all", "--timeout", "1")
    if done.returncode != 0:
        found.complain("left", f"`jobs wait --all` ends with {done.returncode}: {done.stderr.decode('utf-8', 'replace')[-300:]}")


def _kept(data: Path) -> int:
    return sum(1 for _ in (data / "inbox" / "failed").glob("*.inbox"))


def _take_receipts(found: Audit, data: Path, sent: Iterable[Sent]) -> None:
    with Client.of_service(data) as client:
        for one in sent:
            if one.receipt and one.said == "yes":
                answer = client.wait(Ticket(one.job_id, (one.version,)), 1.0)
                if isinstance(answer, Ok) and [receipt.status for receipt in answer.value] == ["stored"]:
                    found.receipts += 1
                else:
                    found.complain("receipts", f"job {one.job_id}: {answer}")


def _verify(found: Audit, service: Service) -> None:
    done = service.command("verify", "--json")
    try:
        said = json.loads(done.stdout)
    except ValueError:
        found.complain("verify", done.stderr.decode("utf-8", "replace")[-500:])
        return
    for one in [*said["damaged"], *said["findings"]]:
        found.complain("verify", json.dumps(one))
    if done.returncode != 0 and not found.count("verify"):
        found.complain("verify", f"exit code {done.returncode}")
