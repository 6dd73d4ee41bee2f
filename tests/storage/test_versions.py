"""storage/versions.py: what people say of versions is kept on the disk and in the catalogue, once."""

from __future__ import annotations

import errno
from collections.abc import Callable

import pytest

from models.curation import LabelRow, list_audit, list_labels, list_pins, put_label
from storage.engine import Engine
from storage.events import Labelled, Pinned, Unpinned, read_events
from storage.history import read_history
from storage.trail import Actor
from storage.versions import Changed, label, pin, unpin
from strongroom.errors import InvalidIdentifier, NotFound, StorageError
from tests.support.archive import body, check_promises, document
from tests.support.crash import crash_at, steps_of
from tests.support.faults import faults

ADA = Actor("person:ada", "the release that customers have")
LIBRARY = "/a/b"


@pytest.fixture
def prepared(engine: Engine) -> Engine:
    engine.store([document(LIBRARY, "1.0", body(n=1)), document(LIBRARY, "2.0", body(n=2))])
    engine.tree.catch_up()
    return engine


def said(engine: Engine) -> tuple[list[str], dict[str, str], list[str]]:
    """What is pinned, what is labelled, and what the audit trail says, oldest first."""
    with engine.database.read() as connection:
        labels = {one.label: one.version for one in list_labels(connection)}
        return [one.version for one in list_pins(connection)], labels, [one.action for one in list_audit(connection)][::-1]


def test_a_pin_is_kept_with_who_and_why_and_the_second_changes_nothing(prepared: Engine) -> None:
    assert pin(prepared.archive, LIBRARY, "1.0", ADA) == Changed(LIBRARY, "1.0", changed=True)
    assert pin(prepared.archive, LIBRARY, "1.0", Actor("person:bob")) == Changed(LIBRARY, "1.0", changed=False)
    (event,) = read_events(prepared.folder.journal)
    assert isinstance(event, Pinned)
    assert (event.by, event.why) == ("person:ada", ADA.why)
    history = read_history(prepared.database, LIBRARY)
    assert [(one.version, one.pin and one.pin.by) for one in history.versions] == [("2.0", None), ("1.0", "person:ada")]
    assert [(one.action, one.by, one.why) for one in history.trail] == [("pinned", "person:ada", ADA.why)]


def test_what_is_unpinned_can_be_pinned_again(prepared: Engine) -> None:
    assert unpin(prepared.archive, LIBRARY, "1.0", ADA).changed is False
    for change in (pin, unpin, pin):
        assert change(prepared.archive, LIBRARY, "1.0", ADA).changed
    assert said(prepared) == (["1.0"], {}, ["pinned", "unpinned", "pinned"])
    assert [type(one) for one in read_events(prepared.folder.journal)] == [Pinned, Unpinned, Pinned]


def test_latest_names_the_version_that_it_means_now(prepared: Engine) -> None:
    assert pin(prepared.archive, LIBRARY, "latest", ADA).version == "2.0"


def test_a_label_is_read_like_a_version_unless_a_version_has_its_name(prepared: Engine) -> None:
    label(prepared.archive, LIBRARY, "production", "1.0", ADA)
    assert prepared.find(LIBRARY, "production") == prepared.find(LIBRARY, "1.0")
    assert prepared.read(LIBRARY, "production") == prepared.read(LIBRARY, "1.0")
    label(prepared.archive, LIBRARY, "2.0", "1.0", ADA)
    assert prepared.find(LIBRARY, "2.0").version == "2.0"
    label(prepared.archive, LIBRARY, "production", None, ADA)
    with pytest.raises(NotFound):
        prepared.find(LIBRARY, "production")


def test_no_label_is_called_latest_since_nobody_could_read_it(prepared: Engine) -> None:
    with pytest.raises(InvalidIdentifier, match="label cannot be called 'latest'") as refused:
        label(prepared.archive, LIBRARY, "latest", "1.0", ADA)
    assert "strongroom rollback" in refused.value.hint
    with prepared.database.write("test") as connection:  # as earlier releases allowed
        put_label(connection, LabelRow(LIBRARY, "latest", "1.0", prepared.archive.clock(), "person:ada", ""))
    assert label(prepared.archive, LIBRARY, "latest", None, ADA).changed
    assert said(prepared)[1] == {}


def test_a_label_names_one_version_and_moves(prepared: Engine) -> None:
    assert label(prepared.archive, LIBRARY, "production", "1.0", ADA).changed
    assert not label(prepared.archive, LIBRARY, "production", "1.0", ADA).changed
    assert label(prepared.archive, LIBRARY, "production", "2.0", ADA).changed
    assert label(prepared.archive, LIBRARY, "tested", "2.0", ADA).changed
    assert said(prepared)[1] == {"production": "2.0", "tested": "2.0"}
    assert label(prepared.archive, LIBRARY, "tested", None, ADA).changed
    assert said(prepared)[1] == {"production": "2.0"}
    told = [one.version for one in read_events(prepared.folder.journal) if isinstance(one, Labelled)]
    assert told == ["1.0", "2.0", "2.0", None]


def test_what_is_not_there_is_refused_and_nothing_is_written(prepared: Engine) -> None:
    attempts: list[Callable[[], object]] = [
        lambda: pin(prepared.archive, LIBRARY, "3.0", ADA),
        lambda: unpin(prepared.archive, LIBRARY, "3.0", ADA),
        lambda: label(prepared.archive, "/no/such", "x", "1.0", ADA),
        lambda: label(prepared.archive, LIBRARY, "no such label", None, ADA),
    ]
    for attempt in attempts:
        with pytest.raises(NotFound):
            attempt()
    with pytest.raises(InvalidIdentifier):
        label(prepared.archive, LIBRARY, "two\nlines", "1.0", ADA)
    assert said(prepared) == ([], {}, [])
    assert not prepared.folder.journal.exists()


CHANGES = [
    lambda engine: pin(engine.archive, LIBRARY, "1.0", ADA),
    lambda engine: label(engine.archive, LIBRARY, "production", "1.0", ADA),
]


@pytest.mark.parametrize("change", CHANGES)
def test_a_crash_anywhere_leaves_all_or_nothing_and_the_rerun_heals(
    copy: Callable[[], Engine], change: Callable[[Engine], Changed]
) -> None:
    engine = copy()
    steps = steps_of(lambda: change(engine))
    after = said(engine)
    assert "journal: fsync" in steps
    for number, step in enumerate(steps, 1):
        engine = copy()
        with crash_at(number):
            change(engine)
        assert said(engine) == (after if "catalogue: committed" in steps[:number] else ([], {}, [])), step
        change(engine)
        assert said(engine) == after
        check_promises(engine)


def test_a_disk_that_refuses_a_write_is_told_and_the_next_run_succeeds(prepared: Engine) -> None:
    with faults() as counted:
        pin(prepared.archive, LIBRARY, "1.0", ADA)
    unpin(prepared.archive, LIBRARY, "1.0", ADA)
    assert counted.calls
    for number in range(1, len(counted.calls) + 1):
        for code in (errno.ENOSPC, errno.EIO):
            with faults(number, code) as injected, pytest.raises(StorageError):
                pin(prepared.archive, LIBRARY, "1.0", ADA)
            assert injected.fired
            assert said(prepared)[0] == []
    assert pin(prepared.archive, LIBRARY, "1.0", ADA).changed
    check_promises(prepared)
