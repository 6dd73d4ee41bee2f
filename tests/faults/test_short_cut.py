"""Every scenario of ``make faults`` in its short form, side by side: the same code, a few hundred jobs, each kind of fault once."""

from __future__ import annotations

import json
import subprocess
import sys
import tempfile
from collections.abc import Iterator
from typing import IO

import pytest

from faults.__main__ import SCENARIOS
from workers.parts import CHECKOUT
from workers.processes import death_bond

pytestmark = pytest.mark.slow

Run = tuple["subprocess.Popen[bytes]", IO[bytes], IO[bytes]]


@pytest.fixture(scope="module")
def runs() -> Iterator[dict[str, Run]]:
    """Every scenario, started at once: mostly they wait, for a freeze to pass or a broker to come back."""
    with tempfile.TemporaryFile() as nothing:
        started = {name: _start(name, nothing) for name in SCENARIOS}
        yield started
        for process, *files in started.values():
            process.terminate()  # it ends what it started
            process.wait(30)
            for file in files:
                file.close()


def _start(name: str, nothing: IO[bytes]) -> Run:
    out, said = tempfile.TemporaryFile(), tempfile.TemporaryFile()
    command = [sys.executable, "-m", "faults", "--short", "--json", "--only", name]
    process = subprocess.Popen(command, cwd=CHECKOUT, stdin=nothing, stdout=out, stderr=said, preexec_fn=death_bond())
    return process, out, said


@pytest.mark.parametrize("name", sorted(SCENARIOS))
def test_a_short_run_of_the_scenario_meets_every_goal(runs: dict[str, Run], name: str) -> None:
    process, out, said = runs[name]
    code = process.wait(100)
    for file in (out, said):
        file.seek(0)
    rows = json.loads(out.read())["rows"]
    assert (code, [f"{row['what']}: {row['measured']}" for row in rows if not row["met"]]) == (0, []), said.read().decode()
    assert rows
