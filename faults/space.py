"""A small disk that is full and free again, round after round, under a whole service: what was accepted waits, and goes on."""

from __future__ import annotations

import hashlib
import json
import os
import random
import shutil
import subprocess
import time
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from dataclasses import dataclass, field
from datetime import UTC, datetime, timedelta
from pathlib import Path

from faults.audit import Audit, audit, compare
from faults.book import opened
from faults.processes import NeverCameTrue, await_that
from faults.rows import Row
from faults.senders import Sent
from faults.service import Service, scratch, service
from faults.sizes import Sizes
from faults.tell import Tell
from storage.governor import Governor
from storage.layout import DataFolder
from storage.tidy import tidy
from strongroom.client import Client
from strongroom.result import Err

_DISK_MB = 160
_RESERVE_BYTES = 24 << 20
"""More than producers want to be free: they are let in when jobs are not."""

_DOCUMENTS = 4
_TEXT_BYTES = 400_000
_TOO_LITTLE = 300_000
"""What is left above the reserve when documents come. They are staged, which takes from the reserve; none is let in."""

_USED_AFTER = timedelta(minutes=1)
"""By then used files of the inbox are removed."""

_PARKED_WITHIN_S = 30.0
_GOES_ON_WITHIN_S = 90.0
_SWEEP_EVERY = 5


class NoSmallDisk(Exception):
    """No file system of a known size can be made here."""


@dataclass
class _Outcome:
    sent: list[Sent] = field(default_factory=list)
    parked: int = 0
    stuffed: int = 0
    """Rounds in which not even a byte was free."""
    refused: int = 0
    sweeps: int = 0
    explained: int = 0
    went_on_s: list[float] = field(default_factory=list)
    wrong: list[str] = field(default_factory=list)


def run(sizes: Sizes, seed: int, tell: Tell) -> list[Row]:
    """Fill the disk and free it, again and again; each time documents are accepted that there is no room for."""
    outcome = _Outcome()
    with scratch(keep=sizes.keep) as folder:
        try:
            with (
                small_disk(folder / "disk") as disk,
                service(disk, STRONGROOM_RESERVE_BYTES=str(_RESERVE_BYTES)) as running,
                Client.of_service(running.data) as client,
            ):
                _Rounds(running, client, disk, seed, outcome).run(sizes.rounds, tell)
                found = _look(running, outcome, sizes)
        except NoSmallDisk as reason:
            tell(f"NOT RUN: {reason}")
            return [Row("a small disk, full and free again", "every job finishes", f"NOT RUN: {reason}", met=True)]
    for line in [*found.told(), *outcome.wrong]:
        tell(f"WRONG: {line}")
    return _rows(sizes, outcome, found)


def _look(running: Service, outcome: _Outcome, sizes: Sizes) -> Audit:
    """Compare what is there with what was accepted. A short run leaves out what only costs time: other scenarios do it, too."""
    if sizes.rounds < _SWEEP_EVERY:
        return compare(running.data, outcome.sent)
    running.stop()
    return audit(running, outcome.sent)


@contextmanager
def small_disk(place: Path) -> Iterator[Path]:
    """Mount a file system of its own with little space.

    Raises:
        NoSmallDisk: that is not allowed, or cannot be done, here.
    """
    if shutil.which("mount") is None:
        raise NoSmallDisk("there is no mount command")
    place.mkdir()
    made = subprocess.run(
        ["mount", "-t", "tmpfs", "-o", f"size={_DISK_MB}m", "none", place], capture_output=True, text=True, check=False
    )
    if made.returncode != 0:
        raise NoSmallDisk(f"no small disk can be mounted: {made.stderr.strip()}")
    try:
        yield place
    finally:
        subprocess.run(["umount", "--lazy", place], check=True)


class _Rounds:
    """The rounds of one run."""

    def __init__(self, running: Service, client: Client, disk: Path, seed: int, outcome: _Outcome) -> None:
        self._running, self._client, self._outcome = running, client, outcome
        self._ballast, self._seed = disk / "ballast", seed
        self._governor = Governor(running.data, _RESERVE_BYTES)

    def run(self, rounds: int, tell: Tell) -> None:
        """Do so many rounds."""
        if rounds > _SWEEP_EVERY:
            self._sweep("at first, to set room aside")
        for number in range(rounds):
            self._one(number)
            tell(f"round {number + 1}: went on after {self._outcome.went_on_s[-1]:.1f} s")

    def _one(self, number: int) -> None:
        outcome = self._outcome
        staged = [self._document(number, index) for index in range(_DOCUMENTS)]
        self._fill(_TOO_LITTLE)
        jobs = [self._store(number, index, data) for index, data in enumerate(staged)]
        self._await_parked(jobs)
        outcome.explained += self._explains(jobs[0])
        if number % _SWEEP_EVERY in {0, 2, 4}:
            self._stuff(number)
        self._ballast.unlink()
        freed_s = time.monotonic()
        self._await_done(jobs, number)
        outcome.went_on_s.append(time.monotonic() - freed_s)
        if number % _SWEEP_EVERY == _SWEEP_EVERY - 1:
            self._sweep("with room, to set some aside again")

    def _fill(self, leave: int) -> None:
        """Take the disk's space but so much above the reserve. What tidying would free in a moment is freed before."""
        tidy(DataFolder(self._running.data), datetime.now(UTC) + _USED_AFTER)
        take = self._governor.room_bytes() - leave
        assert take > 0, f"the disk has only {self._governor.room_bytes()} bytes of room: nothing is to be filled"
        with self._ballast.open("wb") as file:
            os.posix_fallocate(file.fileno(), 0, take)

    def _stuff(self, number: int) -> None:
        """Take the last byte; nobody can be accepted then, what is stored can be read, and a sweep works."""
        outcome = self._outcome
        with self._ballast.open("ab", buffering=0) as file:
            for size in (1 << 20, 4096, 1):
                with suppress(OSError):
                    while True:
                        file.write(b"x" * size)
        assert self._governor.space().free_bytes == 0, "the disk is not full: this round proves nothing"
        outcome.stuffed += 1
        refused = self._client.store(self._document(number, _DOCUMENTS))
        outcome.refused += isinstance(refused, Err) and refused.problem.code == "disk_full"
        if number:
            one = outcome.sent[0]
            got = self._running.command("get", one.library_id, one.version)
            if hashlib.sha256(got.stdout).hexdigest() != one.sha256:
                outcome.wrong.append(f"round {number}: {one.library_id} {one.version} cannot be read: {got.stderr.decode()}")
        if number % _SWEEP_EVERY == _SWEEP_EVERY - 1:
            self._sweep(f"on the full disk of round {number}")

    def _sweep(self, when: str) -> None:
        done = self._running.command("cleanup", "sweep", "--json")
        self._outcome.sweeps += 1
        if done.returncode != 0:
            self._outcome.wrong.append(f"a sweep {when}: {done.stdout.decode()} {done.stderr.decode()[-500:]}")

    def _document(self, number: int, index: int) -> bytes:
        chooser = random.Random(f"{self._seed}:space:{number}:{index}")  # noqa: S311  # to be repeated, not to be secret
        fields = {"library_id": f"/space/{index}", "version_id": f"v{number}", "text": chooser.randbytes(_TEXT_BYTES // 2).hex()}
        return json.dumps(fields).encode()

    def _store(self, number: int, index: int, data: bytes) -> str:
        ticket = self._client.store(data, receipt=False).unwrap()
        digest = hashlib.sha256(data).hexdigest()
        self._outcome.sent.append(Sent(ticket.request_id, f"/space/{index}", f"v{number}", digest, "yes", receipt=False))
        return ticket.request_id

    def _await_parked(self, jobs: list[str]) -> None:
        with opened(self._running.data) as book:

            def states() -> list[str]:
                return [one.state if (one := book.entry(job)) is not None else "unknown" for job in jobs]

            try:
                await_that(lambda: set(states()) == {"parked"}, "every job that has no room is parked", _PARKED_WITHIN_S)
            except NeverCameTrue as error:
                raise NeverCameTrue(f"{error}: {states()}, room {self._governor.room_bytes():,}") from None
        self._outcome.parked += len(jobs)

    def _explains(self, job: str) -> bool:
        """Whether `why` says how much the job needs and what helps."""
        said = self._running.command("jobs", "why", job).stdout.decode()
        return "It needs" in said and "strongroom cleanup" in said

    def _await_done(self, jobs: list[str], number: int) -> None:
        with opened(self._running.data) as book:

            def all_done() -> bool:
                entries = [book.entry(job) for job in jobs]
                return all(one is not None and one.state == "done" for one in entries)

            try:
                await_that(all_done, "parked jobs go on by themselves", _GOES_ON_WITHIN_S)
            except NeverCameTrue as error:
                raise NeverCameTrue(f"round {number}: {error}: {book.counts()}") from None


def _rows(sizes: Sizes, outcome: _Outcome, found: Audit) -> list[Row]:
    longest = max(outcome.went_on_s, default=float("inf"))
    median = sorted(outcome.went_on_s)[len(outcome.went_on_s) // 2] if outcome.went_on_s else float("inf")
    wrong = sum(len(cases) for cases in found.complaints.values()) + len(outcome.wrong)
    fired = outcome.parked == len(outcome.sent) == sizes.rounds * _DOCUMENTS and outcome.stuffed >= sizes.rounds / 2
    counts = f"{outcome.parked} jobs parked, {outcome.stuffed} rounds without a byte free, {outcome.sweeps} sweeps"
    return [
        Row(
            f"a disk full and free again, {sizes.rounds} times: everything accepted is stored once",
            "all, nothing lost",
            f"{found.read} of {found.accepted} read back, {wrong} wrong; {counts}",
            wrong == 0 and fired and found.read == found.revisions == found.accepted > 0,
        ),
        Row(
            "from space being free to every parked job done",
            f"by itself, in {_GOES_ON_WITHIN_S:.0f} s",
            f"{longest:.1f} s at most, median {median:.1f} s",
            longest <= _GOES_ON_WITHIN_S,
        ),
        Row(
            "on a disk without a byte free: what producers are told; what `why` says of a parked job",
            "disk_full; need and remedy",
            f"{outcome.refused} of {outcome.stuffed}; {outcome.explained} of {sizes.rounds}",
            outcome.refused == outcome.stuffed and outcome.explained == sizes.rounds,
        ),
    ]
