"""A target: where backups are kept. What every one must promise, and the proof that it does."""

from __future__ import annotations

import re
import secrets
from collections.abc import Iterable, Iterator, Sequence
from contextlib import suppress
from dataclasses import dataclass
from datetime import datetime
from typing import Protocol

from strongroom.errors import InvalidRequest, NameTaken, NotFound, StorageError, TargetUnfit

PIECE_BYTES = 1 << 20
_NAME = re.compile(r"[A-Za-z0-9_-][A-Za-z0-9._-]*(/[A-Za-z0-9_-][A-Za-z0-9._-]*)*")
_PROBES = "probes/"


@dataclass(frozen=True, slots=True)
class Stored:
    """What a target lists: a name, how many bytes it holds, and when the target says that it was made."""

    name: str
    size_bytes: int
    at: datetime


class Target(Protocol):
    """Keeps immutable files under relative names: ASCII letters, digits, ``.``, ``_``, ``-``, with ``/`` between the parts.

    Every method may raise what the place answers: DiskFull, TransientIO, PermissionRefused, or another StorageError. A method
    that failed may be called again. Safe for use by several processes and machines at once.
    """

    @property
    def url(self) -> str:
        """What it is called in logs and on screens: without any secret."""

    def create(self, name: str, pieces: Iterable[bytes]) -> None:
        """Keep the pieces, one after another, under a new name: durable on return, and all of them or nothing.

        Takes the pieces as they come and holds few of them. What ``pieces`` itself raises goes through, and nothing is kept.

        Raises:
            NameTaken: the name exists. Its bytes are as they were.
        """

    def read(self, name: str, offset: int = 0, length: int | None = None) -> Iterator[bytes]:
        """Yield the bytes from ``offset`` on, ``length`` of them or all; fewer when it holds fewer. In pieces of bounded size.

        Raises:
            NotFound: there is nothing of that name.
        """

    def names(self, prefix: str = "") -> Iterator[Stored]:
        """Yield what is kept under names that begin with ``prefix``, in no order. Nothing unfinished is among them."""

    def remove(self, name: str) -> None:
        """Remove what is kept under a name. Nothing happens when there is nothing."""

    def ways(self) -> Sequence[Target]:
        """Return a target for each way in which it keeps things, itself among them: each has to be proven."""

    def tidy(self, before: datetime) -> int:
        """Remove what creates that began before then and were killed left unfinished; return how many there were."""


def checked(name: str) -> str:
    """Return a name that any target can keep.

    Raises:
        InvalidRequest: it has other characters, an empty part, or one that begins with a dot.
    """
    if len(name) > 200 or not _NAME.fullmatch(name):
        raise InvalidRequest(f"{name!r} is no name for a file of a backup.")
    return name


def prove(target: Target, now: datetime) -> None:
    """Have a target show that it keeps its promises, on a probe for each of its ways that is removed again.

    Raises:
        TargetUnfit: it does not keep one of them; the message says which.
        StorageError: it cannot be reached or refuses to be written to.
    """
    for one in target.ways():
        _prove(one, now)


def _prove(target: Target, now: datetime) -> None:
    name = f"{_PROBES}{now:%Y%m%dT%H%M%S}-{secrets.token_hex(8)}"
    bytes_ = secrets.token_bytes(3 * 1024 + 1)
    target.create(name, (bytes_[at : at + 1000] for at in range(0, len(bytes_), 1000)))
    try:
        _prove_reads(target, name, bytes_)
        _prove_refusals(target, name, bytes_)
    finally:
        target.remove(name)
    with suppress(NotFound):
        b"".join(target.read(name))
        raise _unfit(target, "still gives what was removed")


def _prove_reads(target: Target, name: str, bytes_: bytes) -> None:
    if b"".join(target.read(name)) != bytes_:
        raise _unfit(target, "gives back other bytes than it was given")
    if b"".join(target.read(name, 1000, 7)) != bytes_[1000:1007] or b"".join(target.read(name, 3000)) != bytes_[3000:]:
        raise _unfit(target, "does not give parts of what it keeps")
    if [one.size_bytes for one in target.names(name)] != [len(bytes_)]:
        raise _unfit(target, "does not list what it keeps")
    if [one for one in target.names(_PROBES) if one.name == name] == []:
        raise _unfit(target, "does not list by the beginning of a name")


def _prove_refusals(target: Target, name: str, bytes_: bytes) -> None:
    try:
        target.create(name, [b"other"])
    except NameTaken:
        pass
    else:
        raise _unfit(target, "overwrites what exists")
    if b"".join(target.read(name)) != bytes_:
        raise _unfit(target, "changes what exists")
    broken = f"{name}-broken"
    with suppress(_Broken):
        target.create(broken, _break_off())
    if list(target.names(broken)):
        target.remove(broken)
        raise _unfit(target, "keeps what was never finished")


class _Broken(Exception):
    pass


def _break_off() -> Iterator[bytes]:
    yield b"begun"
    raise _Broken


def _unfit(target: Target, what: str) -> StorageError:
    return TargetUnfit(f"{target.url} {what}: backups are not safe there.")
