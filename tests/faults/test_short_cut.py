"""Every scenario of ``make faults`` in its short form, side by side: the same code, fewer jobs, each kind of fault once."""

from __future__ import annotations

import json
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path

import pytest

from faults.__main__ import SCENARIOS
from workers.parts import CHECKOUT
from workers.processes import death_bond

pytestmark = pytest.mark.slow

_WAITING = ("storm", "frozen", "outage", "space")

Runs = dict[str, "subprocess.Popen[bytes]"]


@pytest.fixture(scope="module")
def folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Where the scenarios say what they have to say."""
    return tmp_path_factory.mktemp("faults")


@pytest.fixture(scope="module")
def runs(folder: Path) -> Iterator[Runs]:
    """Those that mostly wait, for a freeze to pass or a broker to come back, started at once; the others in their turn."""
    started = {name: _start(name, folder) for name in _WAITING}
    yield started
    for process in started.values():
        process.terminate()  # it ends what it started
        process.wait(60)


def _start(name: str, folder: Path) -> subprocess.Popen[bytes]:
    command = [sys.executable, "-m", "faults", "--short", "--json", "--only", name]
    with (folder / f"{name}.json").open("wb") as out, (folder / f"{name}.log").open("wb") as said:
        return subprocess.Popen(
            command,
            cwd=CHECKOUT,
            stdin=subprocess.DEVNULL,
            stdout=out,
            stderr=said,
            preexec_fn=death_bond(),  # noqa: PLW1509 # the library it calls is loaded before the fork
        )


@pytest.mark.parametrize("name", sorted(SCENARIOS))
def test_a_short_run_of_the_scenario_meets_every_goal(runs: Runs, folder: Path, name: str) -> None:
    process = runs.get(name) or runs.setdefault(name, _start(name, folder))
    code = process.wait(110)
    said = (folder / f"{name}.log").read_text("utf-8")
    rows = json.loads((folder / f"{name}.json").read_bytes() or b'{"rows": []}')["rows"]
    missed = [f"{row['what']}: {row['measured']}" for row in rows if not row["met"]]
    assert (code, missed) == (0, []), said
    assert rows, said
