"""Which documents the arguments of ``store`` name, and what is wrong with the others. Nothing is passed over in silence."""

from __future__ import annotations

import os
import stat
from collections.abc import Sequence
from dataclasses import dataclass, field
from typing import Any

from strongroom import durable
from strongroom.errors import NotFound, StorageError

SUFFIXES = (".json", ".json.gz")
Failure = dict[str, Any]  # JSON: file, code, message, hint
LINKED, OTHER = "a linked folder: name it to have it searched", "its name ends in neither .json nor .json.gz"


@dataclass(slots=True)
class Found:
    """What arguments come to: documents in a fixed order, failures, and what folders hold besides, by why it was skipped."""

    documents: list[str] = field(default_factory=list)
    failed: list[Failure] = field(default_factory=list)
    skipped: dict[str, list[str]] = field(default_factory=dict)

    @property
    def named(self) -> int:
        """How many documents were meant, as far as anybody can tell."""
        return len(self.documents) + len(self.failed)

    def skipped_fields(self) -> list[dict[str, str]]:
        """Return what was skipped, as programs are told (JSON)."""
        return [{"file": name, "why": why} for why, names in self.skipped.items() for name in names]


def find_documents(arguments: Sequence[str]) -> Found:
    """Return the documents that the arguments name, folders searched.

    Links to files are documents as files are; one that leads nowhere is one that cannot be read. A linked folder is searched
    when it is named, and skipped inside another: it may lead back to where it stands.
    """
    found = Found()
    for name in arguments:
        if name == "-":
            found.documents.append(name)
            continue
        try:
            with durable.os_errors(f"cannot read {name}"):
                is_folder = stat.S_ISDIR(os.stat(name).st_mode)
        except StorageError as error:
            found.failed.append(_unreadable(name, error))
            continue
        if is_folder:
            _search(name, found)
        else:
            found.documents.append(name)
    return found


def failure(name: str, code: str, message: str, hint: str) -> Failure:
    """Return what programs are told of one document that was not stored."""
    return {"file": name, "code": code, "message": message, "hint": hint}


def _search(top: str, found: Found) -> None:
    before = found.named

    def unreadable(error: OSError) -> None:
        try:
            with durable.os_errors(f"cannot search {error.filename}"):
                raise error
        except StorageError as refused:
            found.failed.append(_unreadable(str(error.filename), refused))

    for folder, folders, files in os.walk(top, onerror=unreadable):
        folders.sort()
        for name in folders:
            if os.path.islink(path := os.path.join(folder, name)):  # noqa: PTH114 - strings are what os.walk speaks
                found.skipped.setdefault(LINKED, []).append(path)
        for name in sorted(files):
            path = os.path.join(folder, name)
            if name.lower().endswith(SUFFIXES):
                found.documents.append(path)
            else:
                found.skipped.setdefault(OTHER, []).append(path)
    if found.named == before:
        hint = "A document's name ends in .json or .json.gz."
        found.failed.append(failure(top, NotFound.code, f"{top} holds no documents.", hint))


def _unreadable(name: str, error: StorageError) -> Failure:
    if isinstance(error.__cause__, FileNotFoundError | NotADirectoryError):
        return failure(name, NotFound.code, f"There is no file {name}.", "Check the name; - reads standard input.")
    return failure(name, error.code, error.message, error.hint)
