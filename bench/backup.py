"""Backups beside restic and borg: the same documents, the same disk, one after another in one run.

restic and borg back up the documents as files; ours are in a data folder, stored beforehand. Each with its defaults: restic 0.14
encrypts and compresses always, borg compresses by lz4 and is told not to encrypt, ours are compressed as they are stored and not
sealed. Ours run in this process, as in a worker that is up; the command's start is measured by itself.
"""

from __future__ import annotations

import hashlib
import json
import math
import os
import shutil
import statistics
import subprocess
import sys
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from datetime import UTC, datetime
from pathlib import Path

from bench.engine import store_in_batches
from bench.rows import Row, seconds
from storage.backup.choice import find_manifest
from storage.backup.create import Create
from storage.backup.local import LocalTarget
from storage.backup.manifest import Manifest
from storage.backup.repository import Repository, make_repository
from storage.backup.restore import Restore
from storage.backup.seal import Unsealed
from storage.backup.verify import verify_backup
from storage.engine import Engine

CHECKOUT = Path(__file__).resolve().parents[1]
CHANGED = 100
"""One of so many documents is changed before an incremental backup."""
_MANY = 20_000
"""Above, each thing is measured once, below three times: the median counts."""
STEPS = ("first", "incremental", "verify", "restore")


class Ours:
    """Strongroom: a data folder, and a repository beside it."""

    name = "strongroom"

    def __init__(self, scratch: Path) -> None:
        self._scratch = scratch
        self.engine = Engine(scratch / "store").create()

    def store(self, paths: Sequence[Path]) -> None:
        """Store documents, new ones or changed ones."""
        store_in_batches(self.engine.store, paths)

    def prepare(self) -> None:
        """Begin a repository."""
        shutil.rmtree(self._scratch / "ours", ignore_errors=True)
        self._repository: Repository = make_repository(LocalTarget(self._scratch / "ours"), Unsealed(), datetime.now(UTC))

    def first(self) -> None:
        """Take a backup."""
        self.made: Manifest = Create(self.engine, self._repository).run()

    incremental = first

    def verify(self) -> None:
        """Read all of the newest backup back."""
        assert verify_backup(self._repository, find_manifest(self._repository, "latest")).problems == ()

    def restore(self) -> None:
        """Make a data folder of the newest backup."""
        done = Restore(self._repository, find_manifest(self._repository, "latest")).run(self.restored, datetime.now(UTC))
        assert done.differences == ()

    @property
    def restored(self) -> Path:
        """Where it is restored to."""
        return self._scratch / "ours-restored"

    def compare(self, paths: Sequence[Path]) -> None:
        """Hold all restored documents against the files that were stored."""
        with Engine(self.restored).open() as engine:
            for path in paths:
                content = path.read_bytes()
                told = json.loads(content)
                read = engine.read(told["library_id"], told["version_id"])
                assert hashlib.sha256(read).digest() == hashlib.sha256(content).digest(), path


@dataclass(slots=True)
class Peer:
    """Another program: its commands."""

    name: str
    version: str
    scratch: Path
    environment: dict[str, str]
    commands: dict[str, list[str]]
    numbered: int = field(default=0)

    @property
    def restored(self) -> Path:
        """Where it is restored to."""
        return self.scratch / f"{self.name}-restored"

    def prepare(self) -> None:
        """Begin a repository."""
        shutil.rmtree(self.scratch / self.name, ignore_errors=True)
        self.run("init")

    def run(self, step: str) -> None:
        """Run a command; ``{number}`` in it is a new one each time."""
        self.numbered += 1
        words = [word.format(number=self.numbered, last=self.numbered - 1) for word in self.commands[step]]
        self.restored.mkdir(exist_ok=True)
        done = subprocess.run(
            words, env=self.environment, cwd=self.restored, stdout=subprocess.DEVNULL, stderr=subprocess.PIPE, check=False
        )
        assert done.returncode == 0, done.stderr[-2000:]


def peers(documents: Path, scratch: Path) -> list[Peer]:
    """Return those that are installed; a line says which are not."""
    environment = {"PATH": os.environ["PATH"], "HOME": str(scratch), "RESTIC_PASSWORD": "bench"}
    restic, borg = ["restic", "--quiet", "--repo", str(scratch / "restic")], str(scratch / "borg")
    told = {
        "restic": (
            ["restic", "version"],
            {
                "init": [*restic, "init"],
                **{key: [*restic, "backup", str(documents)] for key in ("first", "incremental")},
                "verify": [*restic, "check", "--read-data"],
                "restore": [*restic, "restore", "latest", "--target", "."],
            },
        ),
        "borg": (
            ["borg", "--version"],
            {
                "init": ["borg", "init", "--encryption", "none", borg],
                **{key: ["borg", "create", f"{borg}::{{number}}", str(documents)] for key in ("first", "incremental")},
                "verify": ["borg", "check", "--verify-data", borg],
                "restore": ["sh", "-c", f'borg extract "{borg}::$(borg list --last 1 --format "{{{{archive}}}}" {borg})"'],
            },
        ),
    }
    found = []
    for name, (version, commands) in told.items():
        if shutil.which(name) is None:
            sys.stderr.write(f"{name} is not installed: not measured beside\n")
            continue
        said = subprocess.run(version, capture_output=True, text=True, check=True).stdout.split(" compiled")[0].strip()
        found.append(Peer(name, said, scratch, environment, commands))
    return found


def backup_rows(paths: Sequence[Path], scratch: Path) -> list[Row]:
    """Measure the four things, each in turn by all programs."""
    scratch = scratch / "backup"
    scratch.mkdir()
    ours, others = Ours(scratch), peers(paths[0].parent, scratch)
    ours.store(paths)
    runs: dict[str, dict[str, Callable[[], None]]] = {
        step: {
            ours.name: getattr(ours, step),
            **{peer.name: (lambda peer=peer, step=step: peer.run(step)) for peer in others},  # type: ignore[misc]  # bound now
        }
        for step in STEPS
    }
    took: dict[str, dict[str, list[float]]] = {step: {name: [] for name in runs[step]} for step in STEPS}
    everyone: list[Ours | Peer] = [ours, *others]
    for number in range(1 if len(paths) > _MANY else 3):
        for step in STEPS:
            if step == "incremental":
                ours.store(change(paths, number))
            for one in everyone:
                if step == "first":
                    one.prepare()
                if step == "restore":
                    shutil.rmtree(one.restored, ignore_errors=True)
                os.sync()  # what others have written is not waited for by the next one
                took[step][one.name].append(seconds(runs[step][one.name]))
    ours.compare(paths)
    rows = [
        _row(step, len(paths), {name: statistics.median(times) for name, times in took[step].items()}, others) for step in STEPS
    ]
    incremental = {peer.version: statistics.median(took["incremental"][peer.name]) for peer in others}
    rows.append(_by_command(paths, ours, incremental))
    ours.engine.close()
    return rows


_GOALS = {"first": 1.0, "incremental": 10.0, "verify": 1.0, "restore": 1.0}
_WHAT = {
    "first": "first backup of {count:,} documents of 30 KB",
    "incremental": "incremental backup after 1 % of {count:,} changed",
    "verify": "verify of a whole backup, {count:,} documents (restic check --read-data, borg check --verify-data)",
    "restore": "restore of everything, {count:,} documents; digests compared afterwards",
}


def _row(step: str, count: int, took: dict[str, float], others: Sequence[Peer]) -> Row:
    ours = took["strongroom"]
    peer = "; ".join(f"{one.version}: {took[one.name]:.2f} s, ratio {took[one.name] / ours:.2f}" for one in others)
    compared = [one for one in others if step != "verify" or one.name == "restic"]
    best = min((took[one.name] for one in compared), default=math.nan)
    goal = f"{_GOALS[step]:g} times {'restic' if step == 'verify' else 'the faster of the two'}"
    return Row(
        _WHAT[step].format(count=count),
        f"{ours:.2f} s",
        peer or "neither restic nor borg is installed",
        goal,
        best / ours >= _GOALS[step] if compared else None,
    )


def change(paths: Sequence[Path], number: int) -> list[Path]:
    """Change one document of a hundred, others each time."""
    return rewrite(paths[number::CHANGED], number)


def rewrite(paths: Sequence[Path], number: int) -> list[Path]:
    """Change all of these."""
    for path in paths:
        told = json.loads(path.read_bytes())
        told["chunks"].insert(0, {"content": f"changed {number} {path.name}"})
        path.write_text(json.dumps(told, ensure_ascii=False, indent=2), "utf-8")
    return list(paths)


def _by_command(paths: Sequence[Path], ours: Ours, others: Mapping[str, float]) -> Row:
    """Measure the command as a user has it: compiled, which the first run sees to, and behind what others have written."""
    target = {"STRONGROOM_BACKUP_TARGET": str(ours.restored.parent / "ours")}
    environment = {name: value for name, value in os.environ.items() if name != "PYTHONDONTWRITEBYTECODE"} | target
    command = [sys.executable, "-m", "workers", "--data", str(ours.engine.folder.root), "backup", "create", "--wait", "--json"]
    took, quiet = [], subprocess.DEVNULL
    for number in range(50, 54):
        ours.store(change(paths, number))
        os.sync()
        took.append(seconds(lambda: subprocess.run(command, env=environment, cwd=CHECKOUT, check=True, stdout=quiet)))
    median = statistics.median(took[1:])
    peer = "; ".join(f"{name}: {other / median:.1f} times that" for name, other in others.items())
    return Row("the same incremental backup by the command, with its start", f"{median:.2f} s", peer, "printed", None)
