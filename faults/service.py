"""A real service on a folder of its own, found and ended by what /proc says."""

from __future__ import annotations

import json
import os
import shutil
import signal
import subprocess
import sys
import tempfile
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from pathlib import Path
from typing import Any

from faults.processes import await_that, children_of, end_all, is_alive
from workers.liveness import has_given_sign
from workers.parts import CHECKOUT
from workers.processes import death_bond

_FOREIGN = ("STRONGROOM_", "CELERY_", "FLOWER_")
WORKERS = ("worker-short", "worker-long")


class Service:
    """``strongroom up`` in the foreground. ``app`` is the module of its Celery application, when it is not the usual one."""

    def __init__(self, data: Path, app: str | None, settings: dict[str, str]) -> None:
        self.data = data
        inherited = os.environ.items()  # noqa: TID251  # the suite is a composition root of its own
        own = {name: value for name, value in inherited if not name.startswith(_FOREIGN)}
        self.environment = {**own, **settings, "STRONGROOM_DATA_DIR": str(data)}
        self._command = ["-m", "faults.up", app] if app else ["-m", "workers", "up", "--quiet"]
        self._process: subprocess.Popen[bytes] | None = None

    def start(self) -> None:
        """Start it; return when every part is ready."""
        with (self.data.parent / "service.log").open("ab") as log:
            self._process = subprocess.Popen(
                [sys.executable, *self._command],
                cwd=CHECKOUT,
                env=self.environment,
                stdin=subprocess.DEVNULL,
                stdout=log,
                stderr=log,
                start_new_session=True,  # a Ctrl-C is the suite's: it ends its services itself
                preexec_fn=death_bond(),  # noqa: PLW1509  # the library it calls is loaded before the fork
            )
        await_that(self._is_ready, "the service is ready", 60)

    def _is_ready(self) -> bool:
        assert self._process is not None
        assert self._process.poll() is None, (
            f"the service did not start:\n{(self.data.parent / 'service.log').read_text()[-2000:]}"
        )
        return bool(self.state.get("ready")) and all(has_given_sign(self.data, name) for name in WORKERS)

    def stop(self) -> None:
        """Stop it in order, as ``strongroom down`` does; fail when it does not end cleanly."""
        assert self._process is not None
        self._process.send_signal(signal.SIGTERM)
        code = self._process.wait(180)
        assert code == 0, f"the service ended with exit code {code}"

    def end(self) -> None:
        """Leave no process of it."""
        if self._process is not None:
            with suppress(ProcessLookupError):
                self._process.kill()
            self._process.wait()
        end_all(self.data)

    @property
    def state(self) -> dict[str, Any]:
        """What its supervisor says; empty before it says anything."""
        try:
            return dict(json.loads((self.data / "run" / "service.json").read_bytes()))
        except FileNotFoundError:
            return {}

    def pid(self, part: str) -> int | None:
        """The process of a part, while it lives."""
        for one in self.state.get("parts", []):
            if one["name"] == part and one["pid"] and is_alive(one["pid"]):
                return int(one["pid"])
        return None

    def pool(self, worker: str) -> list[int]:
        """The pool processes of a worker."""
        pid = self.pid(worker)
        return children_of(pid) if pid is not None else []

    def command(self, *words: str) -> subprocess.CompletedProcess[bytes]:
        """Run a command on its data folder."""
        command = [sys.executable, "-m", "workers", *words]
        return subprocess.run(command, cwd=CHECKOUT, env=self.environment, capture_output=True, check=False)


@contextmanager
def scratch(*, keep: bool = False, parent: Path | None = None) -> Iterator[Path]:
    """Make a folder whose name leaves room for a socket's path; nothing that lives in it outlives the block."""
    folder = Path(tempfile.mkdtemp(prefix="srf-", dir=parent))
    try:
        yield folder
    finally:
        end_all(folder)
        if keep:
            sys.stderr.write(f"kept: {folder}\n")
        else:
            sys.stderr.write(f"removing {folder}\n")  # hundreds of thousands of files take minutes
            shutil.rmtree(folder)


@contextmanager
def service(folder: Path, app: str | None = None, **settings: str) -> Iterator[Service]:
    """Run a service in ``folder`` until the block is left; then none of its processes is left either."""
    made = Service(folder / "data", app, settings)
    try:
        made.start()
        yield made
    finally:
        made.end()
