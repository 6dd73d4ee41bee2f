"""storage/replay.py: a removal means what was removed, whatever the times of stores that met say."""

from __future__ import annotations

from dataclasses import replace
from datetime import UTC, datetime, timedelta

import orjson

from storage.events import REDACTED, Event, Purged, Removed, Restored, as_entry, parse_entry
from storage.index import VersionRecord
from storage.replay import replay
from storage.replayed import Replayed

NOW = datetime(2026, 11, 22, tzinfo=UTC)
FIRST, SECOND = "a" * 64, "b" * 64
RECORDS = [VersionRecord("/a/b", "1.0", content, NOW + timedelta(hours=hour)) for hour, content in enumerate((FIRST, SECOND))]
LATER = NOW + timedelta(days=1)


def _removed(hour: int, content: str = "") -> Removed:
    return Removed("/a/b", "1.0", NOW + timedelta(hours=hour), 1, LATER, "schedule", content_sha256=content)


def _left(*events: Event) -> list[str]:
    return _contents(replay(RECORDS, events))


def _contents(found: Replayed) -> list[str]:
    revisions = found.libraries["/a/b"].versions["1.0"].revisions
    return [one.record.content_sha256 for one in revisions if one.removed is None]


def test_a_removal_means_the_revision_that_held_its_content() -> None:
    assert _left(_removed(0, FIRST)) == [SECOND]
    assert _left(_removed(1, FIRST)) == [SECOND], "the time is another store's"
    assert _left(_removed(5, SECOND)) == [FIRST], "the time is nobody's"


def test_a_removal_that_tells_no_content_goes_by_its_time() -> None:
    assert _left(_removed(1)) == [FIRST]


def test_what_such_a_removal_took_is_restored_by_its_time() -> None:
    removed = _removed(1, FIRST)
    back = Restored("/a/b", "1.0", removed.stored_at, 1, LATER + timedelta(hours=1), "person:ann")
    assert _left(removed, back) == [FIRST, SECOND]


def test_a_removal_of_what_no_record_holds_removes_nothing() -> None:
    assert _contents(replay(RECORDS, [_removed(0, "c" * 64)])) == [FIRST, SECOND]


def test_two_revisions_that_were_given_up_and_whose_contents_were_erased_are_still_two() -> None:
    records = [replace(one, content_sha256=REDACTED) for one in RECORDS]
    removed = [replace(_removed(hour, REDACTED), revision=hour + 1) for hour in (0, 1)]
    purged = [Purged("/a/b", "1.0", one.stored_at, one.revision, LATER + timedelta(days=1)) for one in removed]
    found = replay(records, [*removed, *purged]).libraries["/a/b"].versions["1.0"]
    assert [(one.number, one.removed is not None, one.forgotten) for one in found.revisions] == [
        (1, True, True),
        (2, True, False),
    ]


def test_an_entry_without_the_content_is_read_and_written_as_before() -> None:
    entry = as_entry(_removed(0))
    assert "content_sha256" not in entry["removed"]
    for removed in (_removed(0), _removed(0, FIRST)):
        assert parse_entry(orjson.loads(orjson.dumps(as_entry(removed)))) == removed
