"""storage/events.py: what the journal says is read back as it was meant, by this release and by the next."""

from __future__ import annotations

from dataclasses import fields
from datetime import UTC, datetime
from pathlib import Path

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from storage.events import (
    Event,
    Labelled,
    LatestHeld,
    Pinned,
    Removed,
    Restored,
    RolledBack,
    Unpinned,
    Void,
    append_events,
    as_entry,
    parse_entry,
    read_events,
)
from storage.index import VersionRecord
from storage.journal import append_journal, read_journal

AT = datetime(2026, 11, 22, 1, 2, 3, 456789, tzinfo=UTC)
TEXT = st.text(st.characters(exclude_categories=["Cs"]), max_size=20)
TIME = st.datetimes(datetime(1970, 1, 1), timezones=st.just(UTC))  # noqa: DTZ001 - the zone is given beside it
KINDS = (Void, Removed, Restored, Pinned, Unpinned, Labelled, LatestHeld, RolledBack)


def events() -> st.SearchStrategy[Event]:
    """Every kind, every field, empty texts and missing versions included."""
    by_type = {"str": TEXT, "str | None": st.none() | TEXT.filter(bool), "int": st.integers(1, 9), "datetime": TIME}
    return st.one_of(*(st.builds(kind, **{one.name: by_type[str(one.type)] for one in fields(kind)}) for kind in KINDS))


@settings(max_examples=50)
@given(st.lists(events(), max_size=5))
def test_what_is_written_to_the_journal_is_what_is_read(memory: Path, told: list[Event]) -> None:
    journal = memory / "journal of events"
    journal.unlink(missing_ok=True)
    told = [one for one in told if all(getattr(one, name.name) != "" for name in fields(one) if name.default != "")]
    append_events(journal, told)
    assert list(read_events(journal)) == told


def test_an_entry_has_one_key_and_no_empty_text_but_keeps_a_null(tmp_path: Path) -> None:
    assert as_entry(LatestHeld("/a/b", None, AT, "person:ada")) == {
        "latest": {"library_id": "/a/b", "version": None, "at": AT, "by": "person:ada"}
    }
    record = VersionRecord("/a/b", "1.0", "0" * 64, AT)
    append_events(tmp_path / "journal", [record, Pinned("/a/b", "1.0", AT, "schedule", "release")])
    assert [list(entry) for entry in read_journal(tmp_path / "journal")] == [["version"], ["pinned"]]
    assert next(read_events(tmp_path / "journal")) == record


def test_kinds_and_fields_of_a_later_release_are_passed_over(tmp_path: Path) -> None:
    pinned = as_entry(Pinned("/a/b", "1.0", AT, "schedule"))["pinned"] | {"until": "2027"}
    append_journal(tmp_path / "journal", [{"someday": {"a": 1}}, {"pinned": pinned}])
    assert list(read_events(tmp_path / "journal")) == [Pinned("/a/b", "1.0", AT, "schedule")]


def test_an_entry_that_lacks_a_field_is_refused() -> None:
    with pytest.raises(TypeError):
        parse_entry({"pinned": {"library_id": "/a/b", "at": AT.isoformat(), "by": "schedule"}})
