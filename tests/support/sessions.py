"""Runs the shell examples of a Markdown page, as a reader would type them, and compares what they print.

Fenced blocks marked ``console`` hold commands (``$ ``, continued by ``> ``) and what they print. All blocks of a page run in one
bash, in their order. ``...`` stands for any text within a line, and alone in a line for any lines. A command must succeed; show a
failure as ``command; echo "exit code $?"``. Before a block, ``<!-- not executed: reason -->`` leaves it out. A comment that
begins with ``<!-- run:`` holds commands that the reader does not see.
"""

from __future__ import annotations

import os
import re
import secrets
import select
import signal
import subprocess
import time
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from pathlib import Path

SHELLS = frozenset({"console", "sh", "bash", "shell"})
_FENCE = re.compile(
    r"(?:^<!-- not executed: (?P<reason>[^\n]+) -->\n+)?"
    r"^(?P<indent> *)```(?P<language>[a-z]*)\n(?P<text>.*?)^(?P=indent)```$"
    r"|^<!-- run:\n(?P<hidden>.*?)^-->$",
    re.MULTILINE | re.DOTALL,
)


@dataclass(frozen=True, slots=True)
class Block:
    """A fenced block. ``reason`` says why it is not executed; empty when it is."""

    line: int
    language: str
    text: str
    reason: str = ""


@dataclass(frozen=True, slots=True)
class Step:
    """A command and what it should print."""

    line: int
    command: str
    expected: str


class Mismatch(AssertionError):
    """An example that does not do what its page says."""


def blocks_of(page: Path) -> Iterator[Block]:
    """Yield the fenced blocks and hidden runs of a page."""
    text = page.read_text("utf-8")
    for found in _FENCE.finditer(text):
        hidden = found["hidden"]
        body = hidden if hidden is not None else re.sub(rf"^{found['indent']}", "", found["text"], flags=re.MULTILINE)
        start = found.start("hidden" if hidden is not None else "text")
        yield Block(
            text.count("\n", 0, start) + 1, found["language"] or ("console" if hidden else ""), body, found["reason"] or ""
        )


def steps_of(block: Block) -> list[Step]:
    """Return the commands of a console block."""
    steps: list[Step] = []
    for number, line in enumerate(block.text.splitlines(), block.line):
        if line.startswith("$ "):
            steps.append(Step(number, line[2:], ""))
        elif not steps:
            raise Mismatch(f"line {number}: a console block begins with `$ `, not with {line!r}")
        elif (line == ">" or line.startswith("> ")) and not steps[-1].expected:
            steps[-1] = Step(steps[-1].line, f"{steps[-1].command}\n{line[2:]}", "")
        else:
            steps[-1] = Step(steps[-1].line, steps[-1].command, f"{steps[-1].expected}{line}\n")
    return steps


def matches(expected: str, printed: str) -> bool:
    """Whether what was printed is what the page shows, blanks at the ends of lines and blank lines around it apart."""
    pattern = ""
    for line in expected.strip("\n").splitlines():
        inline = r"[^\n]*".join(re.escape(part.rstrip() if last else part) for part, last in _parts(line))
        pattern += r"(?:[^\n]*\n)*" if line.strip() == "..." else inline + "\n"
    lines = [line.rstrip() for line in printed.strip("\n").splitlines()]
    return re.fullmatch(pattern, "".join(f"{line}\n" for line in lines)) is not None


def _parts(line: str) -> list[tuple[str, bool]]:
    parts = line.split("...")
    return [(part, number == len(parts)) for number, part in enumerate(parts, 1)]


class Shell:
    """One bash, alive across pages. Its standard error goes where its output goes, as at a terminal."""

    def __init__(self, folder: Path, environ: Mapping[str, str]) -> None:
        self._mark = secrets.token_hex(8)
        self._bash = subprocess.Popen(
            ["bash", "--noprofile", "--norc"],
            cwd=folder,
            env=dict(environ),
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            stderr=subprocess.STDOUT,
            start_new_session=True,
        )

    def run(self, command: str, timeout_s: float = 40.0) -> tuple[str, int]:
        """Run a command; return what it printed and its exit code."""
        assert self._bash.stdin is not None
        self._bash.stdin.write(f"{command}\nprintf '\\n%s %s\\n' {self._mark} $?\n".encode())
        self._bash.stdin.flush()
        printed, _, code = self._until_mark(time.monotonic() + timeout_s, command).rpartition(f"\n{self._mark} ")
        return printed, int(code)

    def _until_mark(self, deadline: float, command: str) -> str:
        assert self._bash.stdout is not None
        printed = b""
        while not re.search(rf"\n{self._mark} \d+\n$".encode(), printed):
            ready, _, _ = select.select([self._bash.stdout], [], [], max(0.0, deadline - time.monotonic()))
            piece = os.read(self._bash.stdout.fileno(), 1 << 16) if ready else b""
            if not piece:
                raise Mismatch(f"`{command}` does not end; so far it printed: {printed.decode(errors='replace')}")
            printed += piece
        return printed.decode(errors="replace")

    def run_page(self, page: Path) -> int:
        """Run a page's examples; return how many commands that were.

        Raises:
            Mismatch: a command failed or printed something else.
        """
        blocks = [block for block in blocks_of(page) if block.language == "console" and not block.reason]
        steps = [step for block in blocks for step in steps_of(block)]
        for step in steps:
            printed, code = self.run(step.command)
            where = f"{page.name}, line {step.line}: {step.command}"
            if code != 0:
                raise Mismatch(f"{where}\nended with exit code {code}:\n{printed}")
            if not matches(step.expected, printed):
                raise Mismatch(f"{where}\nshould print\n{step.expected}\nand printed\n{printed}")
        return len(steps)

    def close(self) -> None:
        """End bash and what it started; a service that it detached is not of its group."""
        os.killpg(self._bash.pid, signal.SIGKILL)
        self._bash.wait()
        for stream in (self._bash.stdin, self._bash.stdout):
            assert stream is not None
            stream.close()
