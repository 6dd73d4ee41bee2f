"""How large, deep and wide a document may be."""

from __future__ import annotations

from dataclasses import dataclass

MIB, GIB = 1024**2, 1024**3


@dataclass(frozen=True, slots=True)
class Limits:
    """The limits of one document. A value equal to its limit is accepted, one more is refused.

    ``document_bytes`` counts plain bytes. ``scalar_bytes`` counts a string (keys included) between its quotes, or a number, as
    they are spelled. The root object has depth 1. ``open_keys`` bounds the keys of all objects that are open at one place: 512
    nested objects of 100,000 keys each fit into 1 GiB, and remembering them would take several.
    """

    document_bytes: int = GIB
    whole_bytes: int = 4 * MIB
    depth: int = 512
    scalar_bytes: int = 16 * MIB
    object_keys: int = 100_000
    open_keys: int = 400_000
