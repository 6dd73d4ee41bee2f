"""storage/journal.py: appended, never changed; a torn line is no damage, a changed one is."""

from __future__ import annotations

import fcntl
from pathlib import Path

import pytest

from storage.journal import append_journal, damaged_lines, read_journal
from tests.support.crash import crash_at, observed, start_child, wait_for

ENTRIES = [{"version": {"library_id": "/a/b", "n": number, "text": "文档\n"}} for number in range(3)]


@pytest.fixture
def path(scratch: Path) -> Path:
    path = scratch / "journal"
    append_journal(path, ENTRIES)
    return path


def test_what_is_appended_is_read_in_its_order(path: Path) -> None:
    assert list(read_journal(path)) == ENTRIES
    append_journal(path, [{"more": 1}])
    assert list(read_journal(path)) == [*ENTRIES, {"more": 1}]
    assert damaged_lines(path) == []


def test_a_journal_that_is_not_there_is_empty(scratch: Path) -> None:
    assert list(read_journal(scratch / "none")) == []
    assert damaged_lines(scratch / "none") == []


def test_a_line_torn_anywhere_is_passed_over_and_no_damage(path: Path) -> None:
    whole = path.read_bytes()
    start = whole.rindex(b"\n", 0, -1) + 1
    for cut in range(start, len(whole)):
        path.write_bytes(whole[:cut])
        kept = ENTRIES if cut == len(whole) - 1 else ENTRIES[:2]
        assert list(read_journal(path)) == kept
        assert damaged_lines(path) == []
        append_journal(path, [{"after": cut}])
        assert list(read_journal(path)) == [*kept, {"after": cut}]
        assert damaged_lines(path) == []


def test_every_flipped_byte_but_the_last_is_damage_and_harms_its_own_lines_only(path: Path) -> None:
    whole = path.read_bytes()
    for at in range(len(whole) - 1):
        path.write_bytes(whole[:at] + bytes([whole[at] ^ 1]) + whole[at + 1 :])
        kept = list(read_journal(path))
        assert damaged_lines(path), at
        assert len(kept) >= 1
        assert all(entry in ENTRIES for entry in kept)


def test_a_crash_before_the_write_leaves_the_journal_as_it_was(path: Path) -> None:
    with crash_at("journal: write"):
        append_journal(path, [{"lost": 1}])
    assert list(read_journal(path)) == ENTRIES


def test_a_writer_has_the_journal_to_itself_between_looking_at_its_end_and_writing(path: Path) -> None:
    refused: list[str] = []

    def try_to_lock(step: str) -> None:
        if step in {"journal: write", "journal: fsync"}:
            with path.open() as file, pytest.raises(BlockingIOError):
                fcntl.flock(file, fcntl.LOCK_EX | fcntl.LOCK_NB)
            refused.append(step)

    with observed(try_to_lock):
        append_journal(path, [{"n": 1}])
    assert refused == ["journal: write", "journal: fsync"]


def test_processes_that_append_at_once_keep_their_lines_whole(path: Path) -> None:
    def append(name: int) -> None:
        for number in range(30):
            append_journal(path, [{"by": name, "n": number, "text": "x" * 3000}, {"by": name, "second": number}])

    assert [wait_for(child) for child in [start_child(lambda n=n: append(n)) for n in range(3)]] == [0, 0, 0]  # type: ignore[misc]
    entries = list(read_journal(path))[3:]
    assert damaged_lines(path) == []
    assert len(entries) == 180
    for name in range(3):
        mine = [entry for entry in entries if entry["by"] == name]
        assert [entry["n"] for entry in mine if "n" in entry] == list(range(30))
    assert all(two["second"] == one["n"] and one["by"] == two["by"] for one, two in zip(entries[::2], entries[1::2], strict=True))
