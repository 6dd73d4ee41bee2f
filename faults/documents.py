"""The documents of a run: small, each different, made again from the seed alone."""

from __future__ import annotations

import json
import random
from dataclasses import dataclass

_WORDS = (
    "ledger",
    "lease",
    "token",
    "fence",
    "slot",
    "inbox",
    "segment",
    "digest",
    "journal",
    "worker",
    "broker",
    "message",
    "room",
)
SHARE_OF_TEN = 3
"""Of ten documents three are of one and the same version: its revisions."""


@dataclass(frozen=True, slots=True)
class Paper:
    """One document: which, of what, and its bytes (about 1 KB)."""

    number: int
    library_id: str
    version: str
    data: bytes


def paper(seed: int, number: int, attempt: int, libraries: int) -> Paper:
    """Return document ``number`` of a run. Another attempt has other content: what was perhaps stored can be told apart."""
    ten, place = divmod(number, 10)
    shared = place < SHARE_OF_TEN
    library_id = f"/storm/library-{(ten if shared else number) % libraries}"
    version = f"s{ten}" if shared else f"v{number}"
    chooser = random.Random(f"{seed}:{number}:{attempt}")  # noqa: S311  # to be repeated, not to be secret
    text = " ".join(chooser.choices(_WORDS, k=150))
    fields = {"library_id": library_id, "version_id": version, "number": number, "attempt": attempt, "text": text}
    return Paper(number, library_id, version, json.dumps(fields).encode())
