"""Who runs a command, and why: what the journal and the audit trail keep of a change."""

from __future__ import annotations

import os
import pwd
import socket
from typing import TYPE_CHECKING, Annotated

import typer

if TYPE_CHECKING:
    from storage.trail import Actor

Why = Annotated[str, typer.Option("--why", "-w", help="The reason, kept with the change.")]


def actor(why: str) -> Actor:
    """Return the person at this terminal, as person:user@host."""
    from storage.trail import Actor  # noqa: PLC0415 - see output.engine_on

    return Actor(asker(), why)


def asker() -> str:
    """Return the person at this terminal as the journal, the audit trail and the ledger of jobs name one."""
    return f"person:{person()}"


def person() -> str:
    """Return who runs this command: user@host."""
    try:
        name = pwd.getpwuid(os.getuid()).pw_name
    except KeyError:  # a container's user needs no entry
        name = f"user {os.getuid()}"
    return f"{name}@{socket.gethostname()}"
