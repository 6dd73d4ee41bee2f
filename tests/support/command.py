"""The command line as a user has it: processes, their output, and the service that they start."""

from __future__ import annotations

import json
import os
import shutil
import signal
import subprocess
import sys
import tempfile
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager, suppress
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from tests.support.processes import CHECKOUT, ENVIRON, await_that
from workers.liveness import is_alive
from workers.processes import birth_of


@dataclass(frozen=True)
class Answer:
    """What a command did."""

    code: int
    out: bytes
    error: str

    @property
    def fields(self) -> Any:
        """The JSON that it printed."""
        return json.loads(self.out)


@dataclass(frozen=True)
class Folder:
    """A data folder and the settings that its commands run with."""

    path: Path
    settings: Mapping[str, str]

    @property
    def environment(self) -> dict[str, str]:
        return {**ENVIRON, **self.settings, "STRONGROOM_DATA_DIR": str(self.path)}

    def command(self, *words: str | Path) -> list[str]:
        return [sys.executable, "-m", "workers", *map(str, words)]

    def run(self, *words: str | Path, stdin: bytes = b"", before: Sequence[str] = (), within_s: float = 100.0) -> Answer:
        """Run a command to its end; ``before`` is put in front of it."""
        done = subprocess.run(
            [*before, *self.command(*words)],
            cwd=CHECKOUT,
            env=self.environment,
            input=stdin,
            capture_output=True,
            timeout=within_s,
            check=False,
        )
        return Answer(done.returncode, done.stdout, done.stderr.decode("utf-8", "replace"))

    def store(self, *words: str | Path, stdin: bytes = b"") -> Answer:
        """Store documents and wait for them."""
        return self.run("store", "--wait", "--json", *words, stdin=stdin)

    @property
    def state(self) -> dict[str, Any]:
        """What its supervisor says."""
        return dict(json.loads((self.path / "run" / "service.json").read_bytes()))

    def pid(self, part: str) -> int:
        """The process of a part."""
        return int(next(one["pid"] for one in self.state["parts"] if one["name"] == part))

    def jobs(self, *states: str) -> list[dict[str, Any]]:
        """The ledger's rows, newest first."""
        chosen = [word for state in states for word in ("--state", state)]
        return list(self.run("jobs", "--json", "--limit", "10000", *chosen).fields)

    @property
    def waiting(self) -> list[Path]:
        """Accepted jobs that have not ended."""
        return list((self.path / "inbox").glob("*.inbox"))

    @property
    def kept(self) -> list[Path]:
        """Payloads of jobs that failed."""
        return list((self.path / "inbox" / "failed").glob("*.inbox"))


@contextmanager
def service(path: Path | None = None, **settings: str) -> Iterator[Folder]:
    """Run a service on a folder, short enough in its name for a socket, until the block is left; then it is killed."""
    made = Path(tempfile.mkdtemp(prefix="sr-")) if path is None else None
    folder = Folder(path or made or Path(), settings)
    answer = folder.run("up", "--detach", "--quiet")
    assert answer.code == 0, answer.error
    try:
        await_that(lambda: is_alive(folder.path, "worker-long"), "the service is at work")
        yield folder
    finally:
        _kill(int(folder.state["pid"]), [int(one["pid"]) for one in folder.state["parts"] if one["pid"]])
        if made is not None:
            shutil.rmtree(made)


def _kill(supervisor: int, parts: Sequence[int]) -> None:
    """Kill a supervisor; its parts are bound to die with it. An orderly stop takes seconds, and is tested elsewhere."""
    with suppress(ProcessLookupError):
        os.kill(supervisor, signal.SIGKILL)
    await_that(lambda: not any(birth_of(pid) for pid in (supervisor, *parts)), "every part died with the supervisor")


def document(library_id: str = "/a/b", version: object = "1.0", **more: Any) -> bytes:
    """Return a small document."""
    return json.dumps({"library_id": library_id, "version_id": f"{version}", **more}).encode()
