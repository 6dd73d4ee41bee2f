"""bench/parts.py: each function's time goes to the part that it serves, without what the profiler itself costs."""

from __future__ import annotations

from typing import Any

import pytest

from bench.parts import CATALOGUE, CHECKING, ENCODING, HASHING, NAMING, PARTS, READING, REST, Function, parts_of

CHECK = ("/x/storage/intake.py", 1, "check_small")
JSON = ("/x/storage/documents.py", 1, "check_document")
ORDER = ("/x/storage/ordering.py", 1, "order_of")
COMMIT = ("/x/models/commit.py", 1, "commit_store")
ENCODE = ("/x/storage/codecs.py", 1, "<lambda>")
READ = ("/x/storage/intake.py", 9, "_read")


def _entry(own: float, callers: dict[Function, float] | None = None, calls: int = 1) -> tuple[Any, ...]:
    """An entry as cProfile has it: calls twice, own time, time with what was called, and the same by caller."""
    return (calls, calls, own, own, {caller: (1, 1, time, time) for caller, time in (callers or {}).items()})


def _us(stats: dict[Function, Any], alone_s: float = 1e9) -> dict[str, float]:
    return {part.what: part.us for part in parts_of(stats, alone_s, documents=1_000_000) if part.us}


def test_a_function_of_our_own_is_its_modules_part() -> None:
    stats = {JSON: _entry(1), ORDER: _entry(2), COMMIT: _entry(4), ENCODE: _entry(8), READ: _entry(16), CHECK: _entry(32)}
    assert _us(stats) == {CHECKING: 1, NAMING: 2, CATALOGUE: 4, ENCODING: 8, READING: 16, REST: 32}


def test_a_builtin_is_its_callers_part_in_proportion_to_the_time_for_each() -> None:
    length = ("~", 0, "<built-in method builtins.len>")
    inner = ("/usr/lib/python3.11/json/encoder.py", 1, "encode")
    stats = {JSON: _entry(0), COMMIT: _entry(0), length: _entry(4, {JSON: 1, inner: 3}), inner: _entry(2, {COMMIT: 2})}
    assert _us(stats) == pytest.approx({CHECKING: 1, CATALOGUE: 5})


def test_hashing_and_packing_are_parts_wherever_they_are_called_and_let_go_of_the_lock() -> None:
    digest, pack = ("~", 0, "<built-in method _hashlib.openssl_sha256>"), ("~", 0, "<built-in method isal.isal_zlib.compress>")
    stats = {CHECK: _entry(1), digest: _entry(2, {CHECK: 2}), pack: _entry(4, {ENCODE: 4}), ENCODE: _entry(8)}
    found = {part.what: part for part in parts_of(stats, 1e9, documents=1_000_000)}
    assert list(found) == list(PARTS)
    assert (found[HASHING].us, found[HASHING].free_us) == (2, 2)
    assert (found[ENCODING].us, found[ENCODING].free_us) == (12, 4)
    assert (found[REST].us, found[REST].free_us) == (1, 0)


def test_functions_that_call_each_other_end_at_those_who_called_them() -> None:
    one, other = ("/lib/a.py", 1, "one"), ("/lib/a.py", 2, "other")
    stats = {ORDER: _entry(0), one: _entry(3, {other: 1, ORDER: 2}), other: _entry(5, {one: 5})}
    assert _us(stats) == pytest.approx({NAMING: 8})


def test_what_nobody_of_ours_called_is_the_rest() -> None:
    assert _us({("~", 0, "<method 'disable' of '_lsprof.Profiler' objects>"): _entry(3)}) == {REST: 3}


def test_what_the_profiler_costs_is_taken_off_each_call() -> None:
    stats = {JSON: _entry(5, calls=1), COMMIT: _entry(15, calls=9)}
    assert _us(stats, alone_s=10.0) == {CHECKING: 4, CATALOGUE: 6}  # 20 s with it, 10 without: one for each call
