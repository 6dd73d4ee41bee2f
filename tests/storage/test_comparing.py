"""storage/comparing.py: which two documents are compared."""

from __future__ import annotations

import pytest

from storage.comparing import compare
from storage.engine import Engine
from storage.trail import Actor
from strongroom.errors import IntegrityError, NotFound
from tests.support.archive import body, document

LIBRARY = "/a/b"


@pytest.fixture
def stored(engine: Engine) -> Engine:
    for version, text in (("1.0", "first"), ("1.0", "second"), ("2.0", "third"), ("odd@1", "fourth")):
        engine.store([document(LIBRARY, version, body(text=text))])
    return engine


@pytest.mark.parametrize(
    ("before", "after", "lines"),
    [
        ("1.0", "2.0", ("-second", "+third")),
        ("2.0", "1.0", ("-third", "+second")),
        ("1.0@1", "1.0", ("-first", "+second")),
        ("1.0@1", "latest", ("-first", "+third")),
        ("1.0", "odd@1", ("-second", "+fourth")),
        ("latest@1", "odd@1@1", ("-third", "+fourth")),
    ],
)
def test_versions_and_their_revisions_are_compared(stored: Engine, before: str, after: str, lines: tuple[str, ...]) -> None:
    (change,) = compare(stored, LIBRARY, before, after).diff.changed
    assert change.text is not None
    assert change.text.lines is not None
    assert change.text.lines[1:] == lines


def test_equal_content_is_not_even_read(stored: Engine) -> None:
    stored.rollback(LIBRARY, "1.0", Actor("person:ada"), to=1)
    found = compare(stored, LIBRARY, "1.0@1", "1.0")
    assert (found.diff.empty, found.before.revision, found.after.revision) == (True, 1, 3)


@pytest.mark.parametrize("name", ["3.0", "1.0@7", "3.0@1", "1.0@x"])
def test_what_is_not_stored_is_told(stored: Engine, name: str) -> None:
    with pytest.raises(NotFound):
        compare(stored, LIBRARY, "1.0", name)


def test_damage_that_has_a_good_source_is_mended_and_compared(stored: Engine) -> None:
    stored.tree.catch_up()
    segment = stored.folder.segment(stored.find(LIBRARY, "2.0").place.segment_sha256)
    whole = segment.read_bytes()
    segment.unlink()  # the tree's name for it stays
    assert not compare(stored, LIBRARY, "1.0@1", "2.0").diff.empty
    assert segment.read_bytes() == whole


def test_damaged_bytes_are_not_compared(stored: Engine) -> None:
    segment = stored.folder.segment(stored.find(LIBRARY, "1.0").place.segment_sha256)
    segment.write_bytes(b"\0" + segment.read_bytes()[1:])
    with pytest.raises(IntegrityError):
        compare(stored, LIBRARY, "1.0", "2.0")
