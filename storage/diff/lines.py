"""Unified differences of texts, within bounds: texts that would take long are counted and not shown."""

from __future__ import annotations

import difflib
from collections.abc import Sequence
from dataclasses import dataclass

TEXT_BYTES = 1 << 20
"""Characters of a text that is compared line by line."""
TEXT_LINES = 5000
"""Lines between the first and the last difference: difflib's time may grow with their square."""
ALL_LINES = 100_000
"""Such lines of a whole document: 6 s where they are hard to compare, 0.3 s where they are as they come."""


@dataclass(frozen=True, slots=True)
class LineDiff:
    """The lines of a unified diff without its file names; None when the texts are over a bound, and why."""

    lines: tuple[str, ...] | None
    added: int
    removed: int
    omitted: str = ""


class LineDiffs:
    """Compares the texts of one document, up to so many lines in all: the sum of what it does is bounded."""

    def __init__(self, lines: int = ALL_LINES) -> None:
        self._left = lines

    def of(self, before: str, after: str) -> LineDiff:
        """Return how one text became the other."""
        if max(len(before), len(after)) > TEXT_BYTES:
            return LineDiff(None, 0, 0, f"longer than {TEXT_BYTES:,} characters")
        old, new = before.splitlines(), after.splitlines()
        head, tail = _common_ends(old, new)
        lines = max(len(old), len(new)) - head - tail
        if lines > TEXT_LINES:
            return LineDiff(None, len(new) - head - tail, len(old) - head - tail, f"more than {TEXT_LINES:,} lines in between")
        if lines > self._left:
            return LineDiff(None, len(new) - head - tail, len(old) - head - tail, "the sections before it had many lines already")
        self._left -= lines
        return _unified(old, new, head, tail)


def _common_ends(old: Sequence[str], new: Sequence[str]) -> tuple[int, int]:
    shorter = min(len(old), len(new))
    head = 0
    while head < shorter and old[head] == new[head]:
        head += 1
    tail = 0
    while tail < shorter - head and old[-1 - tail] == new[-1 - tail]:
        tail += 1
    return head, tail


_CONTEXT = 3


def _unified(old: list[str], new: list[str], head: int, tail: int) -> LineDiff:
    """Compare what lies between the common ends, with three lines of each: difflib gives context then as it always does."""
    skipped = max(0, head - _CONTEXT)
    first, second = (text[skipped : len(text) - max(0, tail - _CONTEXT)] for text in (old, new))
    lines: list[str] = []
    added = removed = 0
    for group in difflib.SequenceMatcher(None, first, second).get_grouped_opcodes(_CONTEXT):
        lines.append(_heading(group[0][1], group[-1][2], group[0][3], group[-1][4], skipped))
        for tag, i, j, k, m in group:
            if tag == "equal":
                lines += [f" {line}" for line in first[i:j]]
                continue
            lines += [f"-{line}" for line in first[i:j]] + [f"+{line}" for line in second[k:m]]
            removed, added = removed + j - i, added + m - k
    return LineDiff(tuple(lines), added, removed)


def _heading(i: int, j: int, k: int, m: int, skipped: int) -> str:
    return f"@@ -{i + skipped + 1},{j - i} +{k + skipped + 1},{m - k} @@"
