"""The command line as a user has it: processes, their output, and the service that they start."""

from __future__ import annotations

import json
import os
import shutil
import signal
import subprocess
import sys
import tempfile
import traceback
from collections.abc import Iterable, Iterator, Mapping, Sequence
from contextlib import contextmanager, suppress
from dataclasses import dataclass
from importlib import import_module
from pathlib import Path
from typing import Any

from tests.support.processes import CHECKOUT, ENVIRON, await_that
from workers.cli import main
from workers.cli.homes import BACKUP, COMMANDS
from workers.liveness import is_alive
from workers.processes import birth_of

for _home in {*COMMANDS.values(), *BACKUP.values()}:
    import_module(f"workers.cli.{_home}")  # once, and not in each fork
for _name in ("console", "progress", "table", "text"):
    import_module(f"rich.{_name}")


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

    def run(self, *words: str | Path, stdin: bytes = b"") -> Answer:
        """Run a command to its end, in a fork of this process: what a command imports, it need not import again (0.5 s)."""
        with tempfile.TemporaryFile() as given, tempfile.TemporaryFile() as out, tempfile.TemporaryFile() as error:
            given.write(stdin)
            given.seek(0)
            pid = os.fork()
            if pid == 0:
                streams = (given.fileno(), out.fileno(), error.fileno())
                os._exit(be_the_command(["strongroom", *map(str, words)], CHECKOUT, self.environment, streams))
            code = os.waitstatus_to_exitcode(os.waitpid(pid, 0)[1])
            out.seek(0)
            error.seek(0)
            return Answer(code, out.read(), error.read().decode("utf-8", "replace"))

    def run_fresh(self, *words: str | Path, before: Sequence[str] = ()) -> Answer:
        """Run a command as a shell does; ``before`` is put in front of it."""
        command = [*before, *self.command(*words)]
        done = subprocess.run(command, cwd=CHECKOUT, env=self.environment, capture_output=True, timeout=100, check=False)
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
        return list(self.run("jobs", "--json", *chosen).fields)

    @property
    def waiting(self) -> list[Path]:
        """Accepted jobs that have not ended."""
        return list((self.path / "inbox").glob("*.inbox"))

    @property
    def kept(self) -> list[Path]:
        """Payloads of jobs that failed."""
        return list((self.path / "inbox" / "failed").glob("*.inbox"))


def be_the_command(words: Sequence[str], folder: str | Path, environment: Mapping[str, str], streams: Iterable[int]) -> int:
    """Run a command in this copy of a process; return its exit code. ``streams`` become the three standard ones."""
    code: object = 70
    try:
        for target, stream in enumerate(streams):
            os.dup2(stream, target)
        sys.stdin, sys.stdout, sys.stderr = (os.fdopen(number, mode) for number, mode in enumerate("rww"))
        os.environ.clear()
        os.environ.update(environment)
        os.chdir(folder)
        sys.argv = list(words)
        main()
        code = 0
    except SystemExit as end:
        code = end.code or 0
    except BaseException:  # noqa: BLE001  # the copy of a process ends here, whatever it was
        traceback.print_exc()
    finally:
        with suppress(Exception):
            sys.stdout.flush()
            sys.stderr.flush()
    return code if isinstance(code, int) else 1


@contextmanager
def service(path: Path | None = None, **settings: str) -> Iterator[Folder]:
    """Run a service on a folder, short enough in its name for a socket, until the block is left; then it is killed."""
    made = Path(tempfile.mkdtemp(prefix="sr-")) if path is None else None
    folder = Folder(path or made or Path(), settings)
    answer = folder.run_fresh("up", "--detach", "--quiet")
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
