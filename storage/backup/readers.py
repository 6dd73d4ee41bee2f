"""Readers: for which keys all of a backup is sealed, its packs included, and not its manifest alone."""

from __future__ import annotations

from typing import Any

from storage.backup.manifest import Manifest
from storage.backup.repository import Repository

_MARK = "sealed for"


def told_readers(repository: Repository) -> dict[str, Any]:  # JSON
    """Return what a manifest tells of who can open all of a backup: those of its seal, since nothing less is built on."""
    return {_MARK: list(repository.seal.recipients)} if repository.seal.recipients else {}


def is_for_all(repository: Repository, manifest: Manifest) -> bool:
    """Whether everybody for whom is sealed now can open all of a backup, as far as it tells; else as the mark of the place does.

    A key that came later opens no pack from before: what builds on one would claim to be good, and that key would not restore it.
    """
    return set(repository.seal.recipients) <= set(manifest.marks.get(_MARK, repository.sealed_for))
