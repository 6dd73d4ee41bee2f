"""The parts that `make test` runs side by side: every test file is in exactly one, and a failure of any is told."""

from __future__ import annotations

import os
import shlex
import subprocess
from collections import Counter
from pathlib import Path

import pytest

ROOT = Path(__file__).parents[1]
# What make tells the makes below it: this one is below none.
ENVIRON = {name: value for name, value in os.environ.items() if name not in {"MAKEFLAGS", "MFLAGS", "MAKELEVEL", "GNUMAKEFLAGS"}}


def make(*arguments: str) -> subprocess.CompletedProcess[str]:
    """Run make without ever setting up the environment: this very test runs in it."""
    command = ["make", "--assume-old=.venv/.made-from", *arguments]
    return subprocess.run(command, cwd=ROOT, env=ENVIRON, capture_output=True, text=True, timeout=60, check=False)


def parts(target: str) -> list[tuple[list[Path], list[Path]]]:
    """Return what each pytest of a target is told to run and to leave out."""
    told = []
    for line in make("--dry-run", target).stdout.splitlines():
        if " -m pytest " not in line:
            continue
        words = shlex.split(line.partition(" -m pytest ")[2])
        paths = [ROOT / word for word in words if word.startswith("tests")]
        ignored = [ROOT / word.removeprefix("--ignore=") for word in words if word.startswith("--ignore=")]
        others = [word for word in words if not word.startswith(("tests", "--ignore="))]
        assert [others[0], others[1], len(others)] == ["-q", "-o", 3], f"does this leave out tests? {others}"
        told.append((paths, ignored))
    return told


@pytest.mark.parametrize("target", ["test", "unit"])
def test_every_test_file_is_in_exactly_one_part(target: str) -> None:
    told = parts(target)
    assert len(told) == 5
    assert [path for paths, ignored in told for path in paths + ignored if not path.exists()] == [], "no such folder or file"
    times = Counter[Path]()
    for file in (ROOT / "tests").rglob("test_*.py"):
        for paths, ignored in told:
            above = {file, *file.parents}
            times[file] += bool(above & set(paths)) and not above & set(ignored)
    assert len(times) > 50
    assert {file: count for file, count in times.items() if count != 1} == {}


@pytest.mark.parametrize(("fails", "code"), [("--ignore", 2), ("tests/workers ", 2), ("tests/storage ", 2), ("none", 0)])
def test_make_fails_when_any_part_fails_and_runs_the_others_all_the_same(tmp_path: Path, fails: str, code: int) -> None:
    stand_in = tmp_path / "pytest"
    stand_in.write_text(f'#!/bin/sh\necho "ran $*"\ncase "$*" in *"{fails}"*) exit 1;; esac\n')
    stand_in.chmod(0o700)
    done = make("unit", f"PYTEST={stand_in}")
    assert done.returncode == code, done.stderr
    assert done.stdout.count("ran ") == 5


def test_make_test_runs_every_kind_of_check() -> None:
    said = make("--dry-run", "test").stdout
    assert [tool for tool in ("ruff check", "ruff format --check", "mypy", "lint-imports") if tool not in said] == []
