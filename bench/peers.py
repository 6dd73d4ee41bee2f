"""The others: restic, the requirements' blueprint done naively, sha256sum, the disk itself."""

from __future__ import annotations

import gzip
import hashlib
import json
import os
import shutil
import subprocess
from collections.abc import Sequence
from datetime import UTC, datetime
from pathlib import Path

from bench.rows import seconds


def restic(folder: Path, scratch: Path) -> float | None:
    """Return the seconds of ``restic backup`` of a folder into a fresh repository; None when restic is not installed."""
    if shutil.which("restic") is None:
        return None
    repository = scratch / "restic"
    shutil.rmtree(repository, ignore_errors=True)
    environment = {
        "RESTIC_PASSWORD": "bench",
        "RESTIC_REPOSITORY": str(repository),
        "PATH": os.environ["PATH"],
        "HOME": str(scratch),
    }

    def run(*arguments: str) -> None:
        subprocess.run(["restic", "--quiet", *arguments], env=environment, check=True, stdout=subprocess.DEVNULL)

    run("init")
    return seconds(lambda: run("backup", str(folder)))


def restic_version() -> str:
    """Return restic's version line."""
    return subprocess.run(["restic", "version"], check=True, capture_output=True, text=True).stdout.split(" compiled")[0].strip()


def blueprint(paths: Sequence[Path], target: Path) -> float:
    """Store documents as the requirements' blueprint does, each file and folder synced: the same durability, done naively."""
    shutil.rmtree(target, ignore_errors=True)

    def store() -> None:
        for path in paths:
            _store_naively(json.loads(path.read_bytes()), target)

    return seconds(store)


def _store_naively(content: dict[str, object], target: Path) -> None:
    folder = target / str(content["library_id"]).strip("/").replace("/", "_") / str(content["version_id"])
    folder.mkdir(parents=True)
    plain = json.dumps(content, ensure_ascii=False).encode()
    packed = gzip.compress(plain, compresslevel=6)
    checksum = hashlib.sha256(packed).hexdigest()
    facts = {"size": len(plain), "packed": len(packed), "checksum": checksum, "at": datetime.now(UTC).isoformat()}
    _write(folder / "documentation.json.gz", packed)
    _write(folder / "checksum.sha256", f"{checksum}  documentation.json.gz\n".encode())
    _write(folder / "metadata.json", json.dumps(facts, indent=2).encode())
    for place in (folder, folder.parent, target):
        _sync(place, os.O_RDONLY | os.O_DIRECTORY)


def _write(path: Path, data: bytes) -> None:
    path.write_bytes(data)
    _sync(path, os.O_RDONLY)


def _sync(path: Path, flags: int) -> None:
    descriptor = os.open(path, flags)
    try:
        os.fsync(descriptor)
    finally:
        os.close(descriptor)


def sha256sum(paths: Sequence[Path]) -> float:
    """Return the seconds of ``sha256sum`` over files."""
    command = ["xargs", "-0", "sha256sum"]
    names = b"\0".join(os.fsencode(path) for path in paths)
    return seconds(lambda: subprocess.run(command, input=names, check=True, stdout=subprocess.DEVNULL))


def synced_files(folder: Path, count: int, size: int) -> float:
    """Return how many files of ``size`` bytes the disk takes a second, each written and synced."""
    folder.mkdir(parents=True, exist_ok=True)
    data = os.urandom(size)

    def write_all() -> None:
        for number in range(count):
            _write(folder / str(number), data)

    rate = count / seconds(write_all)
    shutil.rmtree(folder)
    return rate
