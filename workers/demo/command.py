"""Running ``strongroom`` as a person would, and looking at what it answers."""

from __future__ import annotations

import subprocess
import sys
import time
from collections.abc import Mapping, Sequence
from dataclasses import dataclass

from workers.demo.interruption import Interruption
from workers.parts import CHECKOUT


@dataclass(frozen=True, slots=True)
class Answer:
    """What a command answered, and how long it took from start to end."""

    code: int
    output: bytes
    errors: str
    took_s: float


def run_command(arguments: Sequence[str], environ: Mapping[str, str], interruption: Interruption) -> Answer:
    """Run ``strongroom`` with these arguments; an interruption kills it."""
    started_s = time.monotonic()
    process = subprocess.Popen(
        (sys.executable, "-m", "workers", *arguments),
        env={**environ, "PYTHONIOENCODING": "utf-8"},  # whatever the terminal speaks: the answer is for us
        cwd=CHECKOUT,
        stdin=subprocess.DEVNULL,
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        start_new_session=True,
    )
    try:
        output, errors = _communicate(process, interruption)
    finally:
        if process.poll() is None:
            process.kill()
            process.wait()
    return Answer(process.returncode, output, errors.decode("utf-8", "replace"), time.monotonic() - started_s)


def _communicate(process: subprocess.Popen[bytes], interruption: Interruption) -> tuple[bytes, bytes]:
    while True:
        interruption.check()
        try:
            return process.communicate(timeout=0.1)
        except subprocess.TimeoutExpired:
            continue
