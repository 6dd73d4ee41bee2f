"""The reference pages that are made from the code: what is in them is true because nobody wrote it twice."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

from scripts.reference import cli, errors, settings, tasks

ROOT = Path(__file__).resolve().parents[2]

PAGES: dict[str, Callable[[], str]] = {
    ".env.example": settings.env_example,
    "docs/reference/cli.md": cli.page,
    "docs/reference/errors.md": errors.page,
    "docs/reference/settings.md": settings.page,
    "docs/reference/tasks.md": tasks.page,
}
"""Files below the checkout, and what writes them."""

COMMAND = "make docs"
"""What a person runs to bring them up to date."""


def stale(root: Path = ROOT) -> dict[str, str]:
    """Return the files that differ from what the code says, with what they should hold."""
    wanted = {name: render() for name, render in PAGES.items()}
    return {name: text for name, text in wanted.items() if _read(root / name) != text}


def _read(path: Path) -> str | None:
    return path.read_text("utf-8") if path.exists() else None
