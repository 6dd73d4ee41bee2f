from __future__ import annotations

import subprocess
import sys

from workers.parts import CHECKOUT

PROGRAM = """
import gc
from workers import garbage
garbage.hold()
searches = []
gc.callbacks.append(lambda phase, _: searches.append(phase))
import models.tables
assert not searches, "while it starts"
garbage.resume()
frozen = gc.get_freeze_count()
assert frozen > 10_000
gc.collect()
assert searches.pop() == "stop", "from now on"


class Circle:
    def __del__(self):
        print("collected")


for _ in range(2):
    circle = Circle()
    circle.itself = circle
    del circle
    {while_it_runs}
"""


def _printed(while_it_runs: str) -> list[str]:
    command = [sys.executable, "-c", PROGRAM.replace("{while_it_runs}", while_it_runs)]
    return subprocess.run(command, cwd=CHECKOUT, check=True, capture_output=True, text=True).stdout.split()


def test_garbage_is_looked_for_while_a_process_runs_and_not_while_it_starts() -> None:
    assert _printed("gc.collect()") == ["collected"] * 2


def test_the_end_of_a_process_looks_for_none() -> None:
    assert _printed("pass") == []
