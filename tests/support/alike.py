"""Documents that are alike, as the versions of one library are."""

from __future__ import annotations

from collections.abc import Sequence
from random import Random

from storage.engine import Engine
from tests.support.archive import body, document

_WORDS = [f"word{number}" for number in range(400)]


def text(seed: int, changes: Sequence[int] = (), words: int = 1500) -> bytes:
    """Return a document; ``changes`` replace some of its twenty parts."""
    random = Random(seed)
    parts = [" ".join(random.choices(_WORDS, k=words // 20)) for _ in range(20)]
    for change in changes:
        parts[change % 20] = " ".join(Random(change + 1000).choices(_WORDS, k=words // 20))
    return body(chunks=parts)


def store_versions(engine: Engine, library: str, count: int, seed: int = 1) -> None:
    """Store versions 1.0 to ``count``.0, each with one part more that differs from the first."""
    engine.store([document(library, f"{one + 1}.0", text(seed, range(one))) for one in range(count)])
