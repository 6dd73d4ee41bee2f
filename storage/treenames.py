"""Aliases in the tree: ``documentation/{alias}`` is a link to the library's folder, and so is the path from before a rename."""

from __future__ import annotations

import os
import secrets
from contextlib import suppress
from pathlib import Path

from models.database import Database
from models.names import AliasRow, list_aliases, mark_linked, unlinked_aliases
from storage.layout import DataFolder
from storage.paths import encode_component
from storage.shelve import SHELF, exchange
from storage.tidy import mark_superseded
from storage.treesync import GENERATIONS
from strongroom import durable


def is_linked(folder: DataFolder, one: AliasRow) -> bool:
    """Whether the tree shows an alias as it should."""
    link = folder.documentation / encode_component(one.alias)
    return link.is_symlink() and str(link.readlink()) == encode_component(one.library_id)


def lost_links(folder: DataFolder, database: Database) -> list[AliasRow]:
    """Return the aliases that the tree has shown and shows no more, or shows wrongly."""
    with database.read() as connection:
        waiting = {one.alias for one in unlinked_aliases(connection)}
        return [one for one in list_aliases(connection) if one.alias not in waiting and not is_linked(folder, one)]


def unlink_former(folder: DataFolder, database: Database) -> None:
    """Take names out of the tree that are no alias any more: a library may be called so by now. Hold the lock of the tree.

    Raises:
        OSError: the operating system refused.
    """
    _follow(folder, database, [one for one in _waiting(database) if not one.library_id])


def link_aliases(folder: DataFolder, database: Database) -> None:
    """Have the tree show every alias. Hold the lock of the tree; whoever read an old path goes on reading it for a while.

    Raises:
        OSError: the operating system refused; calling again goes on.
    """
    _follow(folder, database, _waiting(database))


def _waiting(database: Database) -> list[AliasRow]:
    with database.read() as connection:
        return unlinked_aliases(connection)


def _follow(folder: DataFolder, database: Database, aliases: list[AliasRow]) -> None:
    if not aliases:
        return
    for one in aliases:
        link = folder.documentation / encode_component(one.alias)
        if one.library_id:
            _link(folder, link, encode_component(one.library_id))
        elif link.is_symlink():
            durable.step("alias: unlink")
            link.unlink()
    if folder.documentation.is_dir():
        durable.fsync_folder(folder.documentation, "alias")
    with database.write("alias") as connection:
        mark_linked(connection, aliases)


def _keep_resolved(folder: DataFolder, old: Path, new: Path, shelf: Path) -> None:
    """Have the generations of the old folder be found in the new one, too: paths that were resolved before stay good."""
    generations = new / GENERATIONS
    if not generations.is_dir() or not (old / GENERATIONS).is_dir():
        return
    for generation in sorted((old / GENERATIONS).iterdir()):
        kept = generations / generation.name
        with suppress(FileExistsError):
            kept.symlink_to(os.path.relpath(shelf / GENERATIONS / generation.name, generations))
            mark_superseded(folder, kept)


def _link(folder: DataFolder, link: Path, target: str) -> None:
    """Make the link in one step; a folder of that name, from before a rename, is shelved."""
    part = folder.tmp / f"{secrets.token_hex(8)}.part"
    part.symlink_to(target)
    try:
        if link.is_symlink() or not link.exists():
            durable.rename(part, link, "alias")
            return
        shelf = folder.trash / f"{SHELF}{secrets.token_hex(8)}"
        _keep_resolved(folder, link, link.with_name(target), shelf)
        durable.step("alias: exchange")
        if not exchange(part, link):
            durable.rename(link, shelf, "alias")
            durable.rename(part, link, "alias")
        else:
            durable.rename(part, shelf, "alias")
        mark_superseded(folder, shelf)
    finally:
        with suppress(OSError):
            part.unlink()
