"""Which part of a store a profiler's functions belong to."""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

READING, CHECKING, NAMING = "opening and reading", "checking JSON", "naming and ordering"
HASHING, ENCODING = "SHA-256: plain, stored, segment", "encoding by isal, level 3"
FILES, CATALOGUE, REST = "segment and index, syncs", "catalogue: rows, commit", "the rest"
PARTS = (READING, CHECKING, NAMING, HASHING, ENCODING, FILES, CATALOGUE, REST)

_BY_FUNCTION = {
    ("storage/intake.py", "incoming"): READING,
    ("storage/intake.py", "_read"): READING,
    ("storage/intake.py", "name_of"): NAMING,
    ("storage/intake.py", "tree_path"): NAMING,
    ("storage/intake.py", "_check_kept"): NAMING,
}
_BY_MODULE = {
    "bench/engine.py": READING,
    **dict.fromkeys(("storage/documents.py", "storage/identity.py", "storage/scanner.py", "storage/grammar.py"), CHECKING),
    **dict.fromkeys(("storage/ordering.py", "storage/paths.py"), NAMING),
    **dict.fromkeys(("storage/segments.py", "storage/index.py", "storage/batch.py", "storage/journal.py"), FILES),
    **dict.fromkeys(("strongroom/durable.py", "storage/layout.py"), FILES),
    **dict.fromkeys(("storage/store.py", "storage/writing.py", "storage/outcome.py", "storage/intake.py"), REST),
    "storage/codecs.py": ENCODING,
}
_BY_FOLDER = {"/models/": CATALOGUE, "/sqlalchemy/": CATALOGUE}
_BY_BUILTIN = {"isal_zlib": ENCODING, "_hashlib": HASHING, "sqlite3": CATALOGUE, "posix.fsync": FILES}
_LETTING_GO = ("isal_zlib", "openssl_sha256", "HASH", "posix.", "_io.", "'commit' of 'sqlite3")
"""Built-in functions that let go of the interpreter's lock. SQLite's others do so now and then: they count as holding it."""

Function = tuple[str, int, str]
"""File, line and name, as cProfile has them; the file of a built-in function is ``~``."""


@dataclass(frozen=True, slots=True)
class Part:
    """What a document costs in one part of the program, in microseconds; ``free_us`` of it without the interpreter's lock."""

    what: str
    us: float
    free_us: float


def parts_of(stats: Mapping[Function, Any], alone_s: float, documents: int) -> list[Part]:  # entries are cProfile's tuples
    """Sum up by part. The profiler's own cost, known from the seconds of a run without it, is taken off each call alike."""
    shares = _shares_of(stats)
    surplus = max(0.0, sum(entry[2] for entry in stats.values()) - alone_s) / sum(entry[1] for entry in stats.values())
    sums: dict[str, float] = defaultdict(float)
    free: dict[str, float] = defaultdict(float)
    for function, entry in stats.items():
        own = (entry[2] - entry[1] * surplus) / documents * 1e6  # below 0 where a call costs less than most: the sum is right
        for part, share in shares[function].items():
            sums[part] += own * share
            if function[0] == "~" and any(name in function[2] for name in _LETTING_GO):
                free[part] += own * share
    return [Part(part, sums[part], free[part]) for part in PARTS]


def _shares_of(stats: Mapping[Function, Any]) -> dict[Function, dict[str, float]]:
    """Return to which parts each function's time belongs. What is no part's own (the standard library) is its callers'.

    From our own functions inwards, one step of the longest chains of calls at a time: functions may call each other.
    """
    own = {function: {part: 1.0} for function in stats if (part := _part_of(function))}
    shares = dict(own)
    for _ in range(_STEPS):
        for function, entry in stats.items():
            if function not in own and (found := _of_callers(entry[4], shares)):
                shares[function] = found
    return {function: shares.get(function, {REST: 1.0}) for function in stats}


_STEPS = 20


def _of_callers(callers: Mapping[Function, Any], shares: Mapping[Function, Mapping[str, float]]) -> dict[str, float]:
    weights = {caller: entry[2] + entry[1] * 1e-9 for caller, entry in callers.items() if caller in shares}
    total = sum(weights.values())
    found: dict[str, float] = defaultdict(float)
    for caller, weight in weights.items():
        for part, share in shares[caller].items():
            found[part] += share * weight / total
    return found


def _part_of(function: Function) -> str | None:
    file, _, name = function
    if file == "~":
        return next((part for known, part in _BY_BUILTIN.items() if known in name), None)
    module = "/".join(Path(file).parts[-2:])
    by_folder = next((part for folder, part in _BY_FOLDER.items() if folder in file), None)
    return _BY_FUNCTION.get((module, name)) or _BY_MODULE.get(module) or by_folder
