"""``make faults``: run every scenario and print one table."""

from __future__ import annotations

import argparse
import json
import signal
import sys
from collections.abc import Callable, Sequence
from dataclasses import asdict, replace

from faults import cost, damage, frozen, history, kill, outage, slots, space, states, storm
from faults.rows import Row, print_rows
from faults.sizes import LONG, SHORT, Sizes
from faults.tell import Tell, teller
from strongroom.errors import StorageError
from strongroom.result import UnwrapError

SCENARIOS: dict[str, Callable[[Sizes, int, Tell], list[Row]]] = {
    "storm": storm.run,
    "kill": kill.run,
    "frozen": frozen.run,
    "outage": outage.run,
    "slots": slots.run,
    "ledger": cost.run,
    "history": history.run,
    "damage": damage.run,
    "space": space.run,
    "states": states.run,
}

_INTERRUPTED = 130


def main() -> None:
    """Run, print, and exit with 1 when a goal was missed."""
    options = argparse.ArgumentParser(prog="python -m faults", description=__doc__)
    options.add_argument("--only", choices=sorted(SCENARIOS), action="append", help="run only this scenario; may be given again")
    options.add_argument("--seed", type=int, default=1, help="what all chance is made of")
    options.add_argument("--short", action="store_true", help="the sizes of the short cut that is part of the tests")
    options.add_argument("--jobs", type=int, help="store jobs of the storm")
    options.add_argument("--trials", type=int, help="workers killed with a job in hand")
    options.add_argument("--freezes", type=int, help="workers frozen with a job in hand")
    options.add_argument("--slots", type=int, help="simulated slots")
    options.add_argument("--history", type=int, help="rows of the job history")
    options.add_argument("--steps", type=int, help="steps of the state machines")
    options.add_argument("--rounds", type=int, help="how often a small disk is full and free again")
    options.add_argument("--keep", action="store_true", default=None, help="leave the data folders, to be looked at")
    options.add_argument("--json", action="store_true", help="JSON on standard output")
    asked = options.parse_args()
    signal.signal(signal.SIGTERM, signal.default_int_handler)  # what was started is ended then too
    try:
        rows = run(asked.only or list(SCENARIOS), _sizes(asked), asked.seed)
    except KeyboardInterrupt:
        sys.exit(_INTERRUPTED)
    if asked.json:
        json.dump({"seed": asked.seed, "rows": [asdict(row) for row in rows]}, sys.stdout, indent=1)
    else:
        sys.stdout.write(f"seed {asked.seed}\n")
        print_rows(rows)
    sys.exit(0 if all(row.met for row in rows) else 1)


def run(names: Sequence[str], sizes: Sizes, seed: int) -> list[Row]:
    """Run scenarios one after the other: they would disturb each other."""
    rows: list[Row] = []
    for name in names:
        tell = teller(name)
        tell(f"seed {seed}")
        try:
            rows += SCENARIOS[name](sizes, seed, tell)
        except (AssertionError, StorageError, UnwrapError) as error:
            tell(f"WRONG: {error}")
            rows.append(Row(name, "the scenario itself goes through", f"{error}", met=False))
    return rows


def _sizes(asked: argparse.Namespace) -> Sizes:
    given = {name: value for name, value in vars(asked).items() if name in Sizes.__slots__ and value is not None}
    return replace(SHORT if asked.short else LONG, **given)


if __name__ == "__main__":
    main()
