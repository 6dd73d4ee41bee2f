"""`make setup` heals what an interrupted run left behind. Real make; the interpreter that makes environments is a stand-in."""

from __future__ import annotations

import shutil
import subprocess
from pathlib import Path

import pytest

ROOT = Path(__file__).resolve().parents[1]

MAKES_ENVIRONMENTS = """#!/bin/sh
# python -m venv --clear .venv: half of one while ./break is there
echo "$@" >> made
mkdir -p .venv/bin
cp pip-less .venv/bin/python
if test -e break; then echo "ensurepip is not available" >&2; exit 1; fi
cp whole .venv/bin/python
"""
PIP_LESS = "#!/bin/sh\nexit 1\n"
WHOLE = """#!/bin/sh
echo "$@" >> ran
case "$*" in *install*) test ! -e break-install ;; esac
"""


@pytest.fixture
def checkout(tmp_path: Path) -> Path:
    shutil.copy(ROOT / "Makefile", tmp_path)
    for name, text in (("python", MAKES_ENVIRONMENTS), ("pip-less", PIP_LESS), ("whole", WHOLE)):
        (tmp_path / name).write_text(text)
        (tmp_path / name).chmod(0o755)
    for name in ("requirements/dev.lock", "scripts/write_command.py"):
        (tmp_path / name).parent.mkdir()
        (tmp_path / name).write_text("")
    return tmp_path


def setup(checkout: Path) -> subprocess.CompletedProcess[str]:
    return subprocess.run(
        ["make", "--no-print-directory", "setup", "PYTHON=./python"], cwd=checkout, capture_output=True, text=True, check=False
    )


def made(checkout: Path) -> int:
    return len((checkout / "made").read_text().splitlines())


def test_an_environment_that_was_half_made_is_made_anew(checkout: Path) -> None:
    (checkout / "break").touch()
    failed = setup(checkout)
    assert failed.returncode != 0
    assert "apt install python3-venv" in failed.stderr
    assert (checkout / ".venv" / "bin" / "python").exists(), "nothing was left half done: this checks nothing"
    (checkout / "break").unlink()
    assert setup(checkout).returncode == 0
    assert (made(checkout), "-m venv --clear .venv" in (checkout / "made").read_text()) == (2, True)
    setup(checkout)
    assert made(checkout) == 2


def test_an_installation_that_was_interrupted_is_begun_anew(checkout: Path) -> None:
    (checkout / "break-install").touch()
    assert setup(checkout).returncode != 0
    (checkout / "break-install").unlink()
    assert setup(checkout).returncode == 0
    assert made(checkout) == 2


def test_a_new_lock_is_installed_into_the_environment_that_is_there(checkout: Path) -> None:
    assert setup(checkout).returncode == 0
    (checkout / "requirements" / "dev.lock").write_text("# newer\n")
    assert setup(checkout).returncode == 0
    assert (made(checkout), (checkout / "ran").read_text().count("install")) == (1, 2)
