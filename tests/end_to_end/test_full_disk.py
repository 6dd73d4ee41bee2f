"""A disk that is really full, under a whole service: what was accepted waits, and is stored once when there is space again."""

from __future__ import annotations

import os
import secrets
import shutil
import signal
import subprocess
import tempfile
import time
from collections.abc import Callable, Iterator
from contextlib import suppress
from pathlib import Path

import pytest

from models.catalogue import list_versions
from models.listing import newest_jobs
from storage.engine import Engine
from tests.support.command import Folder, document, service
from tests.support.processes import await_that, children_of

SPACE = "48m"
COUNT = 4


@pytest.fixture
def small_disk() -> Iterator[Path]:
    """A file system of its own with little space."""
    if shutil.which("mount") is None:
        pytest.skip("there is no mount command to make a small disk with")
    folder = Path(tempfile.mkdtemp(prefix="sr-"))
    made = subprocess.run(
        ["mount", "-t", "tmpfs", "-o", f"size={SPACE}", "none", folder], capture_output=True, text=True, check=False
    )
    if made.returncode != 0:
        folder.rmdir()
        pytest.skip(f"no small disk can be mounted here: {made.stderr.strip()}")
    yield folder
    subprocess.run(["umount", "--lazy", folder], check=True)
    folder.rmdir()


def _fill(path: Path) -> None:
    """Write until nothing fits any more, not even a byte."""
    with path.open("ab", buffering=0) as file:
        for size in (1 << 20, 4096, 1):
            with suppress(OSError):
                while True:
                    file.write(b"x" * size)


def _workers(folder: Folder) -> list[int]:
    mains = [folder.pid("worker-short"), folder.pid("worker-long")]
    return [*mains, *(child for main in mains for child in children_of(main))]


def test_accepted_documents_wait_for_space_and_nothing_is_half_accepted(small_disk: Path, papers: Path) -> None:
    many = [document("/full/disk", number, text=secrets.token_hex(1 << 19)) for number in range(COUNT)]
    for number, data in enumerate(many):
        (papers / f"{number}.json").write_bytes(data)
    with service(small_disk / "data") as folder, Engine(folder.path).open() as engine:
        workers = _workers(folder)
        for pid in workers:
            os.kill(pid, signal.SIGSTOP)
        assert folder.run("store", "--json", papers).fields["accepted"] == COUNT
        _fill(small_disk / "ballast")

        refused = folder.run("store", "--json", "--library", "/full/refused", papers / "0.json")
        assert refused.code == 1
        assert [(one["code"], "Free some space" in one["hint"]) for one in refused.fields["failed"]] == [("disk_full", True)]
        assert len(folder.waiting) == 1

        for pid in workers:
            os.kill(pid, signal.SIGCONT)
        _look_on(lambda: _states(engine) == {"parked"})
        assert engine.versions() == []
        assert len(folder.waiting) == 1, "an accepted job was given up"
        (small_disk / "ballast").unlink()

        await_that(lambda: len(engine.versions("/full/disk")) == COUNT, "all are stored when there is space", within_s=60)
        await_that(lambda: not folder.waiting, "the inbox is empty")
        with engine.database.read() as connection:
            assert [one.revision for one in list_versions(connection, history=True)] == [1] * COUNT
        for number, data in enumerate(many):
            assert engine.read("/full/disk", str(number)) == data
        assert _states(engine) == {"done"}, folder.jobs("failed")
        assert folder.run("verify", "--json").code == 0
        assert folder.kept == []


def _states(engine: Engine) -> set[str]:
    with engine.database.read() as connection:
        return {row.state for row in newest_jobs(connection) if row.kind == "store"}


def _look_on(until: Callable[[], bool]) -> None:
    """Give the full disk time to do harm. Which part meets it first is chance: a broker that cannot log refuses to hand out."""
    deadline = time.monotonic() + 3
    while time.monotonic() < deadline and not until():
        time.sleep(0.05)
