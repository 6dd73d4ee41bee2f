"""The commands that people change versions with: rollback, pin, unpin, label. No service needs to run."""

from __future__ import annotations

from dataclasses import asdict
from typing import TYPE_CHECKING, Annotated

import typer

from strongroom.errors import InvalidRequest
from workers.cli.output import AsJson, Data, console, engine_on, print_json, reported, told
from workers.cli.read import Library
from workers.cli.styled import joined
from workers.cli.who import Why, actor

if TYPE_CHECKING:
    from storage.rollback import Rollback

Version = Annotated[str, typer.Argument(metavar="VERSION", help="A version, or `latest`.")]


def register(app: typer.Typer) -> None:
    """Add the commands to ``app``."""
    app.command("rollback")(roll_back)
    app.command("pin")(pin_version)
    app.command("unpin")(unpin_version)
    app.command("label")(label_version)


def roll_back(
    library: Library,
    version: Annotated[str, typer.Argument(metavar="[VERSION]", help="The version to go back to.")] = "",
    to: Annotated[
        int | None, typer.Option("--to", min=1, help="Give VERSION the content of its revision of this number.")
    ] = None,
    newest: Annotated[bool, typer.Option("--newest", help="`latest` means the newest version again; name no VERSION.")] = False,
    why: Why = "",
    data: Data = None,
    as_json: AsJson = False,
) -> None:
    """Go back to an older state, in one step for readers. Nothing is lost: another rollback undoes it.

    `latest` means VERSION again, until a version newer than all is stored or --newest is said. If `latest` means VERSION
    already, since it is the newest, its content goes back by one revision, and said again comes back: to go further back,
    name the revision with --to, which leaves `latest` alone. Content that comes back is a further revision, for which a
    quota must have room.

    Exit codes: 0 it is so now, 1 it cannot be.
    """
    with reported(as_json=as_json), engine_on(data) as engine:
        if newest == bool(version) or (newest and to is not None):
            raise InvalidRequest(
                "Name the VERSION to go back to, or say --newest.", "`strongroom rollback --help` tells the rest."
            )
        if newest:
            done = engine.follow_newest(library, actor(why))
            fields: dict[str, object] = {"kind": "latest" if done.changed else "unchanged", **asdict(done)}
            words = f"`latest` means {done.version}" + ("" if done.changed else ", as before")
        else:
            went = engine.rollback(library, version, actor(why), to)
            fields, words = asdict(went), _words(went)
        if as_json:
            print_json(fields)
        else:
            console().print(joined(told(library, "bold"), "  ", told(words)), soft_wrap=True)


def _words(went: Rollback) -> str:
    if went.kind == "latest":
        return f"`latest` means {went.version}; it meant {went.latest_before}"
    if went.kind == "content":
        return f"{went.version} has the content of revision {went.to_revision} again, as revision {went.revision}"
    return f"{went.version} is at revision {went.revision} and `latest` means {went.latest_before}, as before"


def pin_version(library: Library, version: Version, why: Why = "", data: Data = None, as_json: AsJson = False) -> None:
    """Keep a version and its revisions from every cleanup.

    Exit codes: 0 it is pinned, 1 it is not stored.
    """
    from storage.versions import pin  # noqa: PLC0415 - see output.engine_on

    with reported(as_json=as_json), engine_on(data) as engine:
        done = pin(engine.archive, library, version, actor(why))
        _tell(asdict(done) | {"pinned": True}, "is pinned" if done.changed else "is pinned already", as_json=as_json)


def unpin_version(library: Library, version: Version, why: Why = "", data: Data = None, as_json: AsJson = False) -> None:
    """Leave a version to the cleanup's policy again.

    Exit codes: 0 it is not pinned, 1 it is not stored.
    """
    from storage.versions import unpin  # noqa: PLC0415 - see output.engine_on

    with reported(as_json=as_json), engine_on(data) as engine:
        done = unpin(engine.archive, library, version, actor(why))
        _tell(asdict(done) | {"pinned": False}, "is no longer pinned" if done.changed else "was not pinned", as_json=as_json)


def label_version(
    library: Library,
    label: Annotated[str, typer.Argument(metavar="LABEL", help="A name, such as production.")],
    version: Annotated[str, typer.Argument(metavar="[VERSION]", help="The version that it names from now on.")] = "",
    remove: Annotated[bool, typer.Option("--remove", help="Remove the label; name no VERSION.")] = False,
    why: Why = "",
    data: Data = None,
    as_json: AsJson = False,
) -> None:
    """Give a version a name of your own. A label names one version of its library, and moves when it is given to another.

    Exit codes: 0 it names the version, or is gone; 1 there is no such version or label.
    """
    from storage.versions import label as give_label  # noqa: PLC0415 - see output.engine_on

    with reported(as_json=as_json), engine_on(data) as engine:
        if remove == bool(version):
            raise InvalidRequest("Name the VERSION that the label is to name, or say --remove.")
        done = give_label(engine.archive, library, label, version or None, actor(why))
        words = "is removed" if remove else f"names {done.version}" + ("" if done.changed else ", as before")
        _tell(
            asdict(done) | {"label": label, "version": done.version or None}, f"{label} {words}", as_json=as_json, of_library=True
        )


def _tell(fields: dict[str, object], words: str, *, as_json: bool, of_library: bool = False) -> None:
    if as_json:
        print_json(fields)
        return
    subject = str(fields["library_id"]) if of_library else f"{fields['library_id']} {fields['version']}"
    console().print(joined(told(subject, "bold"), "  ", told(words)), soft_wrap=True)
