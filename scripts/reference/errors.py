"""The page of error codes, from strongroom/errors.py and from what verify reports."""

from __future__ import annotations

import importlib
from collections.abc import Iterator

from scripts.reference.markdown import MADE, code, sentence, table
from strongroom.errors import StorageError

HOMES = ("strongroom.refusals", "strongroom.errors", "strongroom.passing", "workers.supervisor", "workers.preparation")
"""Modules that define errors. Those of workers reach nobody but the command line."""

FOUND = {
    "catalogue_out_of_step": "The catalogue knows a version whose bytes it places nowhere.",
    "damaged": "The stored bytes do not hash to the recorded digest.",
    "index_damaged": "A segment's index does not hash to its own last line, or is another segment's.",
    "index_missing": "A segment has no index.",
    "index_out_of_step": "The catalogue places objects where the segment's index does not.",
    "journal_damaged": "Lines of the journal hold something else than was written.",
    "missing": "The segment is not there.",
    "reference_damaged": "What the version's stored bytes refer to is damaged: without that it cannot be read.",
    "reference_missing": "What the version's stored bytes refer to is nowhere.",
    "segment_damaged": "A segment does not hash to its name, though no version that is stored is hurt.",
    "tree_damaged": "A copy in the tree does not hash to its `checksum.sha256`. The original is whole.",
    "tree_missing": "The tree does not show a version that it should show.",
    "tree_out_of_step": "The tree shows another content, or another latest, than the catalogue.",
    "tree_stale": "The tree shows another content of a version than the current one.",
    "truncated": "The segment ends before the object does.",
    "untold": "The catalogue knows a version that the disk does not tell of: a rebuild would lose it.",
    "unreadable": "The operating system refuses to read the segment.",
}
"""The codes of damage and findings; a test holds them against the literals in storage/."""

_INTRODUCTION = """\
# Errors

Every error has a code that does not change, a category, and a hint that says what to do. Codes stand in receipts, in the
ledger of jobs (`strongroom jobs show`), in `--json` output and in `Err.problem` of the client. *Retried* means that waiting can
heal it: a job is tried again by itself, and a caller may call again. A class that is indented is a special case of the one above.

"""
_FINDINGS = """
## What verify finds

`damaged` in the answer of `verify` lists versions that are hurt, in their own bytes or in what these refer to, `findings`
what else is out of step. Both have codes:

"""


def page() -> str:
    """Return docs/reference/errors.md."""
    rows = [_row(depth, kind) for depth, kind in _tree(StorageError, 0)]
    head = ("Code", "Class", "Category", "Retried", "What happened", "What to do")
    found = [(code(name), text) for name, text in FOUND.items()]
    return MADE + _INTRODUCTION + table(head, rows) + _FINDINGS + table(("Code", "What was found"), found)


def _tree(kind: type[StorageError], depth: int) -> Iterator[tuple[int, type[StorageError]]]:
    yield depth, kind
    for home in HOMES:  # an order that does not depend on what was imported first
        importlib.import_module(home)
        for child in kind.__subclasses__():
            if child.__module__ == home:
                yield from _tree(child, depth + 1)


def _row(depth: int, kind: type[StorageError]) -> tuple[str, ...]:
    retried = "yes" if kind.retryable else ""
    return (code(kind.code), "&ensp;" * depth + code(kind.__name__), kind.category, retried, _what(kind), _hint(kind))


def _what(kind: type[StorageError]) -> str:
    return "Any error of strongroom's that is none of those below." if kind is StorageError else sentence(kind.__doc__)


def _hint(kind: type[StorageError]) -> str:
    return sentence(kind.default_hint)
