"""Markdown for pages that are made from code."""

from __future__ import annotations

import json
from collections.abc import Iterable, Sequence

MADE = "<!-- Made from the code by `make docs`: change that, not this page. -->\n"


def table(head: Sequence[str], rows: Iterable[Sequence[str]]) -> str:
    """Return a table; cells hold Markdown of one line."""
    lines = [head, ["---"] * len(head), *rows]
    return "".join(f"| {' | '.join(cell.replace('|', '&#124;') for cell in line)} |\n" for line in lines)


def code(text: str) -> str:
    """Return text in code style; nothing for none."""
    return f"`{text}`" if text else ""


def sentence(docstring: str | None) -> str:
    """Return a docstring as one line of Markdown."""
    return " ".join((docstring or "").split()).replace("``", "`")


def json_block(value: object) -> str:
    """Return a fenced block of JSON."""
    return f"```json\n{json.dumps(value, indent=2, ensure_ascii=False)}\n```\n"
