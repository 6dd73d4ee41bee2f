"""A document of 200 MB passes through in constant memory: every process that touches it stays under 150 MB."""

from __future__ import annotations

import hashlib
import itertools
import json
import subprocess
import sysconfig
import threading
from collections.abc import Iterator
from pathlib import Path

import pytest

from tests.support.command import Folder
from tests.support.processes import CHECKOUT, children_of

DOCUMENT_BYTES = 200_000_000
LIMIT_BYTES = 150_000_000


def _chunks() -> Iterator[bytes]:
    """Documentation as the downloader chunks it: the standard library's sources, over and over."""
    texts = [path.read_text("utf-8", "replace") for path in sorted(Path(sysconfig.get_paths()["stdlib"]).glob("*.py"))]
    pieces = [json.dumps(text[at : at + 2000]).encode() for text in texts for at in range(0, len(text), 2000)]
    for number, piece in enumerate(itertools.cycle(pieces)):
        yield b'{"chunk_id":"c_%06d","content":%b,"token_count":%d,"metadata":{"source":"/a/b"}}' % (
            number,
            piece,
            len(piece) // 4,
        )


@pytest.fixture(scope="module")
def large(tmp_path_factory: pytest.TempPathFactory) -> Path:
    path = tmp_path_factory.mktemp("large") / "documentation.json"
    with path.open("wb", buffering=1 << 20) as file:
        size = file.write(b'{"library_id":"/large/one","version_id":"1.0","chunks":[')
        for chunk in _chunks():
            size += file.write(chunk)
            if size > DOCUMENT_BYTES:
                break
            size += file.write(b",")
        file.write(b"]}")
    return path


def peak_bytes(pid: int) -> int:
    """Return the most that a process ever had resident (VmHWM, proc_pid_status(5)); 0 when it is gone."""
    try:
        lines = Path(f"/proc/{pid}/status").read_text().splitlines()
    except (FileNotFoundError, ProcessLookupError):
        return 0
    return next((1024 * int(line.split()[1]) for line in lines if line.startswith("VmHWM")), 0)


def run_measured(folder: Folder, *words: str | Path) -> tuple[int, str]:
    """Run a command; return its peak and the digest of what it wrote."""
    process = subprocess.Popen(folder.command(*words), cwd=CHECKOUT, env=folder.environment, stdout=subprocess.PIPE)
    assert process.stdout is not None
    stdout, peaks, ended = process.stdout, [0], threading.Event()

    def watch() -> None:
        while not ended.wait(0.01):
            peaks.append(peak_bytes(process.pid))

    watcher = threading.Thread(target=watch)
    watcher.start()
    digest = hashlib.sha256()
    while piece := stdout.read(1 << 16):
        digest.update(piece)
    # It has closed its output and is about to exit: a zombie has no memory to look at.
    peaks.append(peak_bytes(process.pid))
    code = process.wait()
    ended.set()
    watcher.join()
    stdout.close()
    assert code == 0
    return max(peaks), digest.hexdigest()


def test_a_document_of_200_mb_needs_less_than_150_mb_in_every_process_that_touches_it(
    running: Folder, large: Path, record_property: pytest.RecordProperty
) -> None:
    with large.open("rb") as file:
        expected = hashlib.file_digest(file, "sha256").hexdigest()
    peaks: dict[str, int] = {}
    peaks["store"], _ = run_measured(running, "store", "--wait", "--json", large)
    peaks["get"], digest = run_measured(running, "get", "/large/one", "1.0")
    assert digest == expected
    peaks["verify"], _ = run_measured(running, "verify", "--json", "/large/one", "1.0")
    for part in ("broker", "worker-long", "beat", "flower"):
        peaks[part] = peak_bytes(running.pid(part))
    long = children_of(running.pid("worker-long"))
    peaks |= {f"worker-long, process {number}": peak_bytes(pid) for number, pid in enumerate(long, 1)}
    peaks["supervisor"] = peak_bytes(int(running.state["pid"]))

    (row,) = [one for one in running.jobs("done") if one["subject"] == "/large/one 1.0"]
    assert long, "nobody stored it"
    assert row["attempts"] == 1
    record_property("peaks", peaks)
    assert {name: peak for name, peak in peaks.items() if not 0 < peak < LIMIT_BYTES} == {}, peaks
