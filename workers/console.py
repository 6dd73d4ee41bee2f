"""What the person at the terminal sees of a running service: its own events, and the parts' lines that matter."""

from __future__ import annotations

import re
from enum import IntEnum

from rich.console import Console as Terminal
from rich.text import Text

_COLOURS = {"broker": "magenta", "worker-short": "green", "worker-long": "blue", "beat": "yellow", "flower": "cyan"}
_MATTERS = re.compile(r'\b(ERROR|CRITICAL)\b|\[(error|critical) *\]|"level": ?"(error|critical)"')


class Loudness(IntEnum):
    """QUIET: nothing but failures. NORMAL: events, and the errors of the parts. VERBOSE: every line of every part."""

    QUIET = 0
    NORMAL = 1
    VERBOSE = 2


class Console:
    """Writes to standard error. A terminal that has gone away is no reason to stop a service: it is written to no more."""

    def __init__(self, loudness: Loudness = Loudness.NORMAL) -> None:
        self.loudness = loudness
        self._terminal = Terminal(stderr=True, highlight=False)

    @property
    def follows(self) -> bool:
        """Whether lines are of any use to it."""
        return self.loudness > Loudness.QUIET

    def event(self, part: str, text: str, style: str = "") -> None:
        """Show something that happened to a part."""
        if self.follows:
            self._print(part, Text(text, style))

    def line(self, part: str, line: str) -> None:
        """Show a line of a part's log, if it is one to show."""
        if self.shows(line):
            self._print(part, Text(line.rstrip()))

    def shows(self, line: str) -> bool:
        """Tell whether such a line is shown."""
        return self.loudness is Loudness.VERBOSE or (self.loudness is Loudness.NORMAL and _MATTERS.search(line) is not None)

    def _print(self, part: str, text: Text) -> None:
        try:
            self._terminal.print(Text.assemble((f"{part:>12} ", _COLOURS.get(part, "bold")), text), soft_wrap=True)
        except (OSError, ValueError):
            self.loudness = Loudness.QUIET
