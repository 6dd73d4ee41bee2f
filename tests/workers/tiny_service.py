"""Run a supervisor over parts that are shell scripts: ``python tiny_service.py FOLDER < parts.json``.

Jobs wait as long as there is a file ``jobs`` in the folder.
"""

from __future__ import annotations

import json
import os
import sys
from pathlib import Path
from signal import Signals as Number

from strongroom.errors import StorageError
from workers.console import Console, Loudness
from workers.parts import Part
from workers.service_lock import lock_service
from workers.service_state import PartState
from workers.signals import Signals
from workers.supervisor import Supervisor
from workers.watch import Seen, Watch

folder = Path(sys.argv[1])
(folder / "logs").mkdir(exist_ok=True)
(folder / "run").mkdir(exist_ok=True)


def part_of(fields: dict[str, object]) -> Part:
    """Read a part from JSON. Its script may touch $READY to say that it is ready and at work, and write to $HISTORY."""
    name = str(fields["name"])
    environment = {"PATH": os.environ["PATH"], "READY": str(folder / f"{name}.ready"), "HISTORY": str(folder / "history")}
    steps = tuple((Number[signal], float(wait)) for signal, wait in fields.get("steps", [["SIGTERM", 5]]))  # type: ignore[attr-defined]
    return Part(
        name,
        ("sh", "-c", str(fields["script"])),
        environment,
        (folder / f"{name}.ready").exists,
        after=fields.get("after"),  # type: ignore[arg-type]
        stop_wave=int(fields.get("wave", 0)),  # type: ignore[call-overload]
        stop_steps=steps,
        watches=(watch(name, float(fields["silent_after_s"])),) if "silent_after_s" in fields else (),  # type: ignore[arg-type]
    )


def watch(name: str, after_s: float) -> Watch:
    """Watch for touches of $READY."""

    def touched(_seen: Seen) -> object:
        file = folder / f"{name}.ready"
        return file.stat().st_mtime_ns if file.exists() else None

    return Watch("is silent", touched, lambda seen: seen.jobs_wait, after_s)


def look() -> Seen:
    """Look whether jobs wait."""
    return Seen(jobs_wait=(folder / "jobs").exists())


def publish(parts: tuple[PartState, ...], ready: bool, stopping: bool) -> None:
    """Append each state to a file."""
    with open(folder / "published", "a", encoding="utf-8") as file:
        words = {part.name: [part.state, part.pid, part.restarts] for part in parts}
        file.write(json.dumps({"ready": ready, "stopping": stopping, "parts": words}) + "\n")


parts = [part_of(fields) for fields in json.load(sys.stdin)]
try:
    with Signals() as signals:
        supervisor = Supervisor(
            parts,
            folder,
            lock_service(folder),
            signals=signals,
            console=Console(Loudness.QUIET),
            publish=publish,
            look=look,
            look_every_s=0.2,
        )
        supervisor.run(lambda: print("READY", flush=True))
except StorageError as error:
    print(f"{error.code}: {error.message} {error.context}", flush=True)
    sys.exit(1)
