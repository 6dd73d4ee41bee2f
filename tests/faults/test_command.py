from __future__ import annotations

import json
import sys

import pytest

from faults import __main__ as command
from faults.kill import histogram
from faults.rows import Row
from faults.sizes import LONG, SHORT, Sizes

MET, MISSED = Row("one", "0", "0", met=True), Row("another", "0", "3", met=False)


def run(monkeypatch: pytest.MonkeyPatch, rows: list[Row], *words: str) -> tuple[int, list[Sizes]]:
    seen: list[Sizes] = []

    def scenario(sizes: Sizes, seed: int, tell: object) -> list[Row]:
        seen.append(sizes)
        return rows

    monkeypatch.setattr(command, "SCENARIOS", {"only": scenario})
    monkeypatch.setattr(sys, "argv", ["faults", *words])
    with pytest.raises(SystemExit) as end:
        command.main()
    return int(str(end.value.code)), seen


def test_a_goal_that_is_missed_is_exit_code_1(monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]) -> None:
    assert run(monkeypatch, [MET], "--seed", "7")[0] == 0
    assert "seed 7" in capsys.readouterr().out
    assert run(monkeypatch, [MET, MISSED])[0] == 1
    assert "MISSED" in capsys.readouterr().out


def test_json_tells_the_seed_and_every_row(monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]) -> None:
    run(monkeypatch, [MET, MISSED], "--json", "--seed", "5")
    said = json.loads(capsys.readouterr().out)
    assert said["seed"] == 5
    assert [row["met"] for row in said["rows"]] == [True, False]


def test_a_scenario_that_falls_over_is_a_missed_goal(monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]) -> None:
    def fall(sizes: Sizes, seed: int, tell: object) -> list[Row]:
        raise AssertionError("no worker lives")

    monkeypatch.setattr(command, "SCENARIOS", {"only": fall})
    (row,) = command.run(["only"], SHORT, 1)
    assert (row.met, row.measured) == (False, "no worker lives")


def test_sizes_are_taken_from_the_command_line(monkeypatch: pytest.MonkeyPatch) -> None:
    (seen,) = run(monkeypatch, [MET], "--jobs", "12", "--trials", "3")[1]
    assert (seen.jobs, seen.trials, seen.history) == (12, 3, LONG.history)


def test_every_time_is_in_the_histogram_once() -> None:
    lines = histogram([0.5, 1.0, 1.5, 29.9, 30.0, 99.0])
    assert sum(int(line.split(" s ")[1].split()[0]) for line in lines) == 6
    assert lines[-1].split() == ["over", "30", "s", "2"]
