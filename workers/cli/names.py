"""The commands that change what libraries are called: rename, alias. No service needs to run."""

from __future__ import annotations

from dataclasses import asdict
from typing import TYPE_CHECKING, Annotated

import typer

from strongroom.errors import InvalidRequest
from workers.cli.output import AsJson, Data, console, engine_on, print_json, reported, told
from workers.cli.styled import joined, new_table, styled
from workers.cli.who import Why, actor

if TYPE_CHECKING:
    from storage.trail import Archive


def register(app: typer.Typer) -> None:
    """Add the commands to ``app``."""
    app.command("rename")(rename_library)
    app.command("alias")(alias_library)


def rename_library(
    old: Annotated[str, typer.Argument(metavar="OLD", help="What the library is called.")],
    new: Annotated[str, typer.Argument(metavar="NEW", help="What it is to be called.")],
    why: Why = "",
    data: Data = None,
    as_json: AsJson = False,
) -> None:
    """Give a library another id. The old one stays as an alias: who reads or stores under it reaches the library.

    JSON: an object with `library_id` (the new id), `name` (the old one) and `changed`.

    Exit codes: 0 it is called so, 1 there is no such library or the name is taken.
    """
    from storage.names import rename  # noqa: PLC0415 - see output.engine_on

    with reported(as_json=as_json), engine_on(data) as engine:
        done = rename(engine.archive, old, new, actor(why))
        engine.tree.catch_up()
    if as_json:
        print_json({"library_id": done.library_id, "name": done.name, "changed": done.changed})
        return
    words = f"  was {done.name}, which is an alias of it now" if done.changed else "  is called so already"
    console().print(joined(told(done.library_id, "bold"), told(words)), soft_wrap=True)


def alias_library(
    name: Annotated[str | None, typer.Argument(metavar="[NAME]", help="The other name.")] = None,
    library: Annotated[str | None, typer.Argument(metavar="[LIBRARY]", help="The library that it means.")] = None,
    remove: Annotated[bool, typer.Option("--remove", help="NAME means nothing any more; name no LIBRARY.")] = False,
    why: Why = "",
    data: Data = None,
    as_json: AsJson = False,
) -> None:
    """Have a name mean a library, wherever one is named and under documentation/. Without NAME: list the aliases.

    JSON: an object with `library_id`, `name` and `changed`; of a list an array of objects with `alias`, `library_id`, `at`, `by`
    and `why`.

    Exit codes: 0 done, 1 there is no such library or alias, or a library is called so.
    """
    from storage.names import alias, unalias  # noqa: PLC0415 - see output.engine_on

    with reported(as_json=as_json), engine_on(data) as engine:
        if name is None:
            _list(engine.archive, as_json=as_json)
            return
        if remove == (library is not None):
            raise InvalidRequest("Name the LIBRARY that NAME is to mean, or say --remove.")
        done = alias(engine.archive, name, library, actor(why)) if library else unalias(engine.archive, name, actor(why))
        engine.tree.catch_up()
    if as_json:
        print_json({"library_id": done.library_id, "name": done.name, "changed": done.changed})
        return
    words = f"  is no alias of {done.library_id} any more" if remove else f"  means {done.library_id}"
    console().print(joined(told(done.name, "bold"), told(words + ("" if done.changed else ", as before"))), soft_wrap=True)


def _list(archive: Archive, *, as_json: bool) -> None:
    from storage.names import aliases  # noqa: PLC0415 - see output.engine_on

    found = aliases(archive)
    if as_json:
        print_json([{**asdict(one), "at": one.at.isoformat()} for one in found])
        return
    table = new_table("alias", "library", "since", "by", "why")
    for one in found:
        when = styled(f"{one.at:%Y-%m-%d %H:%M}", "dim")
        table.add_row(told(one.alias, "bold"), told(one.library_id), when, told(one.by), told(one.why))
    console().print(table if found else "No library has another name.")
