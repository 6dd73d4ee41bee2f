"""Canaries: segments that are damaged on purpose, one of each kind, and a whole one. Who does not report them reads nothing."""

from __future__ import annotations

import hashlib
import os
import secrets
import shutil
from collections.abc import Collection
from dataclasses import dataclass

from storage.layout import DataFolder

SIZE_BYTES = 4096
CAGES = "canaries"


@dataclass(frozen=True, slots=True)
class Canary:
    """A planted segment: it lies in a small data folder of its own, below ``run/``, and no row names it."""

    folder: DataFolder
    name: str
    kind: str

    @property
    def damaged(self) -> bool:
        """Whether it must be reported; the whole one must not."""
        return self.kind != "whole"


KINDS = ("whole", "a bit", "cut short", "gone on", "missing")


def plant(folder: DataFolder) -> list[Canary]:
    """Plant a canary of each kind. Nothing of it is data of anybody; what a sweep that died left is removed by tidy.

    Raises:
        OSError: the operating system refused.
    """
    cages = folder.run / CAGES
    cages.mkdir(mode=0o700, parents=True, exist_ok=True)
    cage = DataFolder(cages / f"{os.getpid()}.{secrets.token_hex(4)}")
    try:
        return [_plant(cage, kind) for kind in KINDS]
    except BaseException:
        shutil.rmtree(cage.root, ignore_errors=True)
        raise


def clear(canaries: Collection[Canary]) -> None:
    """Remove canaries."""
    for root in {one.folder.root for one in canaries}:
        shutil.rmtree(root, ignore_errors=True)


def missed(canaries: Collection[Canary], reported: Collection[str]) -> list[str]:
    """Return the kinds that were not reported as they should have been; a whole one that was is among them."""
    return [one.kind for one in canaries if (one.name in reported) != one.damaged]


def _plant(cage: DataFolder, kind: str) -> Canary:
    data = bytearray(secrets.token_bytes(SIZE_BYTES))
    name = hashlib.sha256(data).hexdigest()
    if kind == "a bit":
        data[secrets.randbelow(SIZE_BYTES)] ^= 1 << secrets.randbelow(8)
    elif kind == "cut short":
        del data[-1]
    elif kind == "gone on":
        data += b"\0"
    path = cage.segment(name)
    path.parent.mkdir(mode=0o700, parents=True, exist_ok=True)
    if kind != "missing":
        path.write_bytes(data)
    return Canary(cage, name, kind)
