"""Every shell example of the documentation does what its page says."""

from __future__ import annotations

import os
import subprocess
from collections.abc import Iterator
from pathlib import Path

import pytest

from tests.support.sessions import SHELLS, Mismatch, Shell, blocks_of, matches

ROOT = Path(__file__).resolve().parents[2]
PAGES = sorted([*ROOT.glob("*.md"), *ROOT.glob("docs/**/*.md")])

SESSIONS = {
    "no service": ["docs/reference/disk-format.md"],
}
"""Pages that are read in one sitting: each session has a folder of its own, and its pages run in this order."""


@pytest.fixture
def folder(tmp_path: Path) -> Iterator[Path]:
    """A checkout as far as examples can see: the environment, the documentation, nothing stored."""
    for name in (".venv", "docs", "changelog.d"):
        (tmp_path / name).symlink_to(ROOT / name)
    yield tmp_path
    if (tmp_path / "data" / "run" / "service.json").exists():
        command = [ROOT / ".venv" / "bin" / "strongroom", "down", "--now", "--quiet", "--data", tmp_path / "data"]
        subprocess.run(command, check=True, timeout=60)


@pytest.fixture
def shell(folder: Path) -> Iterator[Shell]:
    plain = {name: value for name, value in os.environ.items() if name in {"PATH", "USER", "TMPDIR"}}
    outside = os.pathsep.join(part for part in plain["PATH"].split(os.pathsep) if "/.venv/" not in f"{part}/")
    here = {"HOME": str(folder), "CHECKOUT": str(ROOT), "PATH": outside, "LC_ALL": "C.UTF-8", "TERM": "dumb", "COLUMNS": "130"}
    shell = Shell(folder, plain | here)
    try:
        yield shell
    finally:
        shell.close()


@pytest.mark.parametrize("name", SESSIONS)
def test_the_examples_of_a_session_do_what_their_pages_say(name: str, shell: Shell) -> None:
    assert all(shell.run_page(ROOT / page) > 0 for page in SESSIONS[name])


@pytest.mark.parametrize("page", PAGES, ids=lambda page: str(page.relative_to(ROOT)))
def test_every_shell_example_is_executed_or_says_why_not(page: Path) -> None:
    executed = any(str(page.relative_to(ROOT)) in pages for pages in SESSIONS.values())
    blocks = [block for block in blocks_of(page) if block.language in SHELLS and not block.reason]
    assert all(executed and block.language == "console" for block in blocks), [block.line for block in blocks]


def page_of(folder: Path, text: str) -> Path:
    page = folder / "page.md"
    page.write_text(text, "utf-8")
    return page


@pytest.mark.parametrize(
    "example",
    [
        "```console\n$ echo one\ntwo\n```\n",
        "```console\n$ echo one\none\ntwo\n```\n",
        "```console\n$ echo one; echo two\none\n```\n",
        "```console\n$ echo one\n```\n",
        "```console\n$ false\n```\n",
        "```console\n$ nosuchcommand\n...\n```\n",
        "<!-- run:\n$ false\n-->\n",
        "```console\nno prompt\n```\n",
    ],
)
def test_an_example_that_does_something_else_is_found(example: str, shell: Shell, tmp_path: Path) -> None:
    with pytest.raises(Mismatch):
        shell.run_page(page_of(tmp_path, example))


def test_blocks_of_one_page_share_one_shell_and_hidden_runs_come_in_their_place(shell: Shell, tmp_path: Path) -> None:
    page = page_of(
        tmp_path,
        "```console\n$ a=1\n```\n\n<!-- run:\n$ b=2\n-->\n\n"
        "1. in a list\n   ```console\n   $ cat <<END\n   > $a $b $((a + b))\n   > END\n   1 ... 3\n   ```\n\n"
        "<!-- not executed: it never ends -->\n```console\n$ sleep infinity\n```\n",
    )
    assert shell.run_page(page) == 3


def test_a_command_that_does_not_end_is_given_up(shell: Shell) -> None:
    with pytest.raises(Mismatch, match="does not end"):
        shell.run("echo before; sleep 60", timeout_s=0.2)


@pytest.mark.parametrize(
    ("expected", "printed", "same"),
    [
        ("", "", True),
        ("", "\n", True),
        ("a", "a  \n", True),
        ("a...c", "abc\n", True),
        ("a...c", "a\nc\n", False),
        ("a\n...\nc", "a\n1\n2\nc\n", True),
        ("a\n...\nc", "a\nc\n", True),
        ("...", "", True),
        ("a.c", "abc\n", False),
        ("a  b...", "a  b\n", True),
        ("a\n\nb", "a\n\nb\n", True),
    ],
)
def test_dots_stand_for_text_in_a_line_and_for_lines(expected: str, printed: str, same: bool) -> None:
    assert matches(expected, printed) is same
