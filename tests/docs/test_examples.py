"""Every shell example of the documentation does what its page says."""

from __future__ import annotations

import os
import subprocess
from collections.abc import Iterator
from concurrent.futures import Future, ThreadPoolExecutor
from contextlib import closing, contextmanager
from pathlib import Path

import pytest

from tests.support.processes import await_that
from tests.support.sessions import SHELLS, Mismatch, Shell, blocks_of, matches
from tests.support.warm import make_command, warm_process
from workers.processes import birth_of, is_running

ROOT = Path(__file__).resolve().parents[2]
PAGES = sorted([*ROOT.glob("*.md"), *ROOT.glob("docs/**/*.md")])

SESSIONS = {
    "README": ["README.md"],
    "tutorial": ["docs/tutorial.md"],
    "how-to": [
        "docs/how-to/broker-and-database.md",
        "docs/how-to/read-the-tree.md",
        "docs/how-to/failed-jobs.md",
        "docs/how-to/disk-full.md",
        "docs/how-to/quotas.md",
    ],
    "no service": [
        "docs/how-to/settings.md",
        "docs/how-to/shell-completion.md",
        "docs/reference/disk-format.md",
        "docs/how-to/versions.md",
        "docs/how-to/cleanup.md",
    ],
    "mending": ["docs/how-to/alerts.md", "docs/how-to/doctor.md", "docs/how-to/rebuild.md"],
    "names": ["docs/how-to/rename.md", "docs/how-to/export.md", "docs/how-to/erase.md"],
    "backups": ["docs/how-to/backup-encryption.md"],
}
"""Pages that are read in one sitting: each session has a folder of its own, and its pages run in this order."""

SEEN = (".env.example", "docs", "strongroom")
"""What of the checkout an example may use, beside its environment."""


@pytest.fixture(scope="module")
def warm(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Path]:
    """A process that runs the examples' commands."""
    address = tmp_path_factory.mktemp("w") / "s"
    with warm_process(address):
        yield address


def make_checkout(folder: Path, warm: Path) -> None:
    """Make something like a fresh checkout, whose command need not import everything each time."""
    (folder / ".venv" / "bin").mkdir(parents=True)
    for name in SEEN:
        (folder / name).symlink_to(ROOT / name)
    environment = ROOT / ".venv"
    for one in (*environment.iterdir(), *(environment / "bin").iterdir()):
        if one.name not in {"bin", "strongroom"}:
            (folder / one.relative_to(ROOT)).symlink_to(one)
    make_command(folder / ".venv/bin/strongroom", warm)


@contextmanager
def sitting(folder: Path, warm: Path) -> Iterator[Shell]:
    """A shell in something like a fresh checkout. No service is left behind."""
    make_checkout(folder, warm)
    outside = os.pathsep.join(part for part in os.environ["PATH"].split(os.pathsep) if "/.venv/" not in f"{part}/")
    here = {"HOME": str(folder), "CHECKOUT": str(ROOT), "PATH": outside, "LC_ALL": "C.UTF-8", "TERM": "dumb", "COLUMNS": "130"}
    shell = Shell(folder, here)
    with closing(shell):  # whatever becomes of the service: a page may have started other things
        try:
            yield shell
        finally:
            if (folder / "data" / "run" / "service.json").exists():
                down = [ROOT / ".venv/bin/strongroom", "down", "--now", "--quiet"]
                subprocess.run(down, cwd=folder, env=here, check=True, timeout=60)


@pytest.fixture(scope="module")
def outcomes(tmp_path_factory: pytest.TempPathFactory, warm: Path) -> Iterator[dict[str, Future[int]]]:
    """Every session, side by side: they wait more than they compute."""

    base = tmp_path_factory.mktemp("sessions")

    def read(name: str) -> int:
        with sitting(base / name.replace(" ", "-"), warm) as shell:
            return sum(shell.run_page(ROOT / page) for page in SESSIONS[name])

    with ThreadPoolExecutor(len(SESSIONS)) as threads:
        yield {name: threads.submit(read, name) for name in SESSIONS}


@pytest.fixture
def shell(tmp_path: Path, warm: Path) -> Iterator[Shell]:
    with sitting(tmp_path / "checkout", warm) as shell:
        yield shell


@pytest.mark.parametrize("name", SESSIONS)
def test_the_examples_of_a_session_do_what_their_pages_say(name: str, outcomes: dict[str, Future[int]]) -> None:
    assert outcomes[name].result() > len(SESSIONS[name])


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
        "1. in a list\n   ```console\n"
        "   $ cat <<END\n   > $a $b $((a + b))\n   >\n   > .\n   > END\n   1 ... 3\n\n   .\n   ```\n\n"
        "<!-- not executed: it never ends -->\n```console\n$ sleep infinity\n```\n",
    )
    assert shell.run_page(page) == 3


def test_what_a_page_left_in_the_background_ends_with_its_shell(tmp_path: Path, warm: Path) -> None:
    with sitting(tmp_path / "checkout", warm) as shell:
        pid = int(shell.run("sleep 600 > sleep.log 2>&1 &\necho $!")[0])
        birth = birth_of(pid)
        assert birth is not None
    await_that(lambda: not is_running(pid, birth), "it has ended")


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
