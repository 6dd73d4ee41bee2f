"""Which module each command is in. The one that runs is imported and made, not all of them: a quarter of a command's time."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from importlib import import_module
from typing import Any, ClassVar

import typer
from typer.core import TyperGroup

from workers.garbage import held

COMMANDS = {
    "up": "service",
    "down": "service",
    "status": "service",
    "store": "store",
    "get": "read",
    "list": "read",
    "show": "read",
    "verify": "verify",
    "coverage": "coverage",
    "quota": "quota",
    "rollback": "versions",
    "pin": "versions",
    "unpin": "versions",
    "label": "versions",
    "rename": "names",
    "alias": "names",
    "export": "portable",
    "import": "portable",
    "history": "history",
    "diff": "diff",
    "erase": "erase",
    "compress": "compress",
    "rebuild": "rebuild",
    "doctor": "doctor",
    "cleanup": "cleanup",
    "backup": "backup",
    "jobs": "jobs",
    "schedule": "schedule",
    "notify": "notify",
    "outbox": "outbox",
}
"""The commands of ``strongroom``, as help shows them."""

BACKUP = {
    "verify": "backup_restore",
    "restore": "backup_restore",
    "restore-in-place": "backup_in_place",
    "undo-restore": "backup_in_place",
    "drill": "backup_drill",
    "prune": "backup_prune",
    "erase": "backup_erase",
    "key": "backup_key",
}
"""Those of ``strongroom backup`` that have modules of their own."""


class Homes(Mapping[str, Any]):  # commands of typer's own parser, which has no public types
    """Commands by name: some that are made, and those of other modules, which are made when they are asked for."""

    def __init__(self, made: Mapping[str, Any], homes: Mapping[str, str]) -> None:
        """Know the modules of those that are not made."""
        self._made, self._homes = dict(made), homes
        self._names = (*made, *homes)

    def __getitem__(self, name: str) -> Any:
        if name not in self._made and name in self._homes:
            self._made |= commands_in(self._homes[name])
        return self._made[name]

    def __iter__(self) -> Iterator[str]:
        return iter(self._names)

    def __len__(self) -> int:
        return len(self._names)


def commands_in(home: str) -> dict[str, Any]:
    """Import a module of this package and return the commands that it registers, by name."""
    part = typer.Typer()
    with held():
        import_module(f"workers.cli.{home}").register(part)
    return dict(typer.main.get_group(part).commands)


class Group(TyperGroup):
    """Commands that are told by a table where they are."""

    homes: ClassVar[Mapping[str, str]]

    def __init__(self, **told: Any) -> None:
        """Take what typer tells of a group: the commands that it made itself among it."""
        super().__init__(**told)
        self.commands = Homes(self.commands, self.homes)  # type: ignore[assignment]  # typer changes none


class BackupGroup(Group):
    """The commands of ``strongroom backup``."""

    homes = BACKUP
