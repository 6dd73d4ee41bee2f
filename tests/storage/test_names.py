"""storage/names.py: a library gets another id or one more, and what was stored, told and shown follows."""

from __future__ import annotations

import errno
from collections.abc import Callable
from contextlib import suppress
from dataclasses import replace
from datetime import UTC, datetime, timedelta

import pytest

from models.curation import list_labels, list_pins
from storage.cleanup import make_plan
from storage.engine import Engine
from storage.events import Labelled, LatestHeld, Unpinned, append_events
from storage.history import read_history
from storage.journal import read_journal
from storage.names import Renaming, alias, aliases, rename, unalias
from storage.policies import parse_policies
from storage.reconcile import Scene, reconcile
from storage.removal import Removal
from storage.rollback import rollback
from storage.tidy import tidy
from storage.trail import Actor
from storage.versions import label, pin
from strongroom.errors import InvalidIdentifier, InvalidRequest, NotFound, StorageError
from tests.storage.test_rebuild import rebuilt, tables
from tests.support.archive import body, check_promises, document, shown, view
from tests.support.crash import crash_at, observed, steps_of
from tests.support.faults import faults
from tests.support.on_disk import rows_on_disk
from tests.support.thorough import crash_places, stride

ADA = Actor("person:ada", "the owner has moved")
OLD, NEW = "/old/name", "/New/name"


@pytest.fixture
def prepared(engine: Engine) -> Engine:
    """A library with two revisions, a removed version, a pin, a label, and content that another library shares."""
    engine.store([document(OLD, f"{number}.0", body(n=number)) for number in (1, 2, 3)])
    engine.store([document(OLD, "3.0", body(n=33)), document("/other/one", "1", body(n=2))])
    policies = parse_policies({OLD: {"keep_last": 2}})
    Removal(engine.folder, engine.database).apply(make_plan(engine.database, policies, now()), "schedule", now())
    pin(engine.archive, OLD, "2.0", ADA)
    label(engine.archive, OLD, "stable", "2.0", ADA)
    rollback(engine.archive, OLD, "2.0", ADA)
    engine.tree.catch_up()
    return engine


def now() -> datetime:
    return datetime.now(UTC)


def both(engine: Engine, old: str = OLD, new: str = NEW) -> Renaming:
    done = rename(engine.archive, old, new, ADA)
    engine.tree.catch_up()
    return done


def test_a_renamed_library_is_read_stored_and_changed_under_both_names(prepared: Engine) -> None:
    before = {one.version: prepared.read(OLD, one.version) for one in prepared.versions(OLD)}
    assert both(prepared) == Renaming(NEW, OLD, changed=True)
    for name in (OLD, NEW):
        assert {one.version: prepared.read(name, one.version) for one in prepared.versions(name)} == before
        assert (prepared.find(name).library_id, prepared.find(name).version) == (NEW, "2.0")
    assert [one.library_id for one in prepared.libraries()] == [NEW, "/other/one"]
    (receipt,) = prepared.store([document(OLD, "4.0", body(n=4))])
    assert (receipt.library_id, receipt.status) == (NEW, "stored")
    assert pin(prepared.archive, OLD, "4.0", ADA).library_id == NEW
    assert [one.action for one in read_history(prepared.database, OLD).trail][:2] == ["pinned", "renamed"]
    prepared.tree.catch_up()
    check_promises(prepared)


def test_the_tree_shows_it_under_both_names_and_a_path_that_was_resolved_before_stays_good(prepared: Engine) -> None:
    old = prepared.folder.documentation / "+old+name"
    resolved = (old / "3.0").resolve() / "documentation.json.gz"
    sent = resolved.read_bytes()
    both(prepared)
    assert old.is_symlink()
    assert str(old.readlink()) == "+^new+name"
    assert (old / "latest" / "documentation.json.gz").exists()
    assert b'"library_id": "/New/name"' in (old / "2.0" / "metadata.json").read_bytes()
    assert {path.partition("/")[0] for path in shown(prepared)} == {"+old+name", "+^new+name", "+other+one"}
    assert resolved.read_bytes() == sent
    for late in (30, 120):
        tidy(prepared.folder, now() + timedelta(minutes=late))
    assert not resolved.exists()
    assert [path.name for path in prepared.folder.trash.iterdir()] == []
    assert prepared.read(NEW, "3.0")
    assert reconcile(Scene(prepared.folder, prepared.database, "all", now())) == []


@pytest.mark.parametrize("target", [None, "+other+one"])
def test_a_link_of_an_alias_that_is_lost_or_leads_elsewhere_is_found_and_put_right(prepared: Engine, target: str | None) -> None:
    both(prepared)
    link = prepared.folder.documentation / "+old+name"
    right = str(link.readlink())
    link.unlink()
    if target is not None:
        link.symlink_to(target)
    scene = Scene(prepared.folder, prepared.database, "all", now())
    assert [(one.code, one.subject, one.path) for one in reconcile(scene)] == [
        ("tree_out_of_step", OLD, "documentation/+old+name")
    ]
    assert [one.path for one in prepared.repair.verify().mended] == ["documentation/+old+name"]
    assert str(link.readlink()) == right
    assert reconcile(scene) == []


def test_renamed_back_it_is_as_it_was(prepared: Engine) -> None:
    before = view(prepared)
    both(prepared)
    both(prepared, NEW, OLD)
    assert view(prepared) == before
    assert not (prepared.folder.documentation / "+old+name").is_symlink()
    assert (prepared.folder.documentation / "+^new+name").is_symlink()
    assert [(one.alias, one.library_id) for one in aliases(prepared.archive)] == [(NEW, OLD)]
    check_promises(prepared)


def test_an_alias_is_one_more_name_until_it_is_removed(prepared: Engine) -> None:
    assert alias(prepared.archive, "/short", OLD, ADA).changed
    assert not alias(prepared.archive, "/short", OLD, ADA).changed
    both(prepared)
    assert prepared.find("/short").library_id == NEW
    assert (prepared.folder.documentation / "+short" / "latest").exists()
    assert unalias(prepared.archive, "/short", ADA) == Renaming(NEW, "/short", changed=True)
    prepared.store([document("/short", "1", body(n=1))])
    prepared.tree.catch_up()
    assert prepared.find("/short").library_id == "/short"
    assert not (prepared.folder.documentation / "+short").is_symlink()
    assert reconcile(Scene(prepared.folder, prepared.database, "all", now())) == []
    check_promises(prepared)


def test_a_name_that_is_removed_is_free_for_a_library_before_the_tree_has_followed(prepared: Engine) -> None:
    alias(prepared.archive, "/short", OLD, ADA)
    prepared.tree.catch_up()
    unalias(prepared.archive, "/short", ADA)
    prepared.show(prepared.store([document("/short", "9", body(n=9))]))
    assert sorted(path.name for path in (prepared.folder.documentation / "+old+name").glob("9*")) == []
    assert (prepared.folder.documentation / "+short" / "9").exists()


def test_what_cannot_be_a_new_name_is_refused_and_nothing_is_written(prepared: Engine) -> None:
    alias(prepared.archive, "/short", "/other/one", ADA)
    journal = list(read_journal(prepared.folder.journal))
    for attempt, error in (
        (lambda: rename(prepared.archive, OLD, "/other/one", ADA), InvalidRequest),
        (lambda: rename(prepared.archive, OLD, "/short", ADA), InvalidRequest),
        (lambda: rename(prepared.archive, OLD, "a\nb", ADA), InvalidIdentifier),
        (lambda: rename(prepared.archive, "/no/such", NEW, ADA), NotFound),
        (lambda: alias(prepared.archive, OLD, "/other/one", ADA), InvalidRequest),
        (lambda: alias(prepared.archive, "/x", "/no/such", ADA), NotFound),
        (lambda: unalias(prepared.archive, "/x", ADA), NotFound),
    ):
        with pytest.raises(error):
            attempt()
    assert not rename(prepared.archive, OLD, OLD, ADA).changed
    assert list(read_journal(prepared.folder.journal)) == journal


def test_a_name_that_was_another_library_is_not_given_again(prepared: Engine) -> None:
    both(prepared)
    unalias(prepared.archive, OLD, ADA)
    with pytest.raises(InvalidRequest, match="was another library"):
        rename(prepared.archive, "/other/one", OLD, ADA)
    assert both(prepared, NEW, OLD).changed


def test_a_rebuild_and_the_stand_alone_reader_tell_the_same(prepared: Engine) -> None:
    both(prepared)
    alias(prepared.archive, "/short", OLD, ADA)
    prepared.store([document("/short", "5.0", body(n=5)), document(OLD, "3.0", body(n=333))])
    both(prepared, "/other/one", "/other/two")
    unalias(prepared.archive, "/other/one", ADA)
    prepared.store([document("/other/one", "1", body(n=7))])
    prepared.tree.catch_up()
    before, seen = tables(prepared), view(prepared)
    assert {tuple(row[:3]) for row in rows_on_disk(prepared.folder.root)} == {
        (library, version, str(number)) for library, version, number in seen["versions"]
    }
    assert rebuilt(prepared).findings == ()
    prepared.open()
    assert tables(prepared) == before
    check_promises(prepared)


def test_a_repair_after_a_rename_has_nothing_to_tell_and_takes_no_pin_away(prepared: Engine) -> None:
    both(prepared)
    prepared.store([document(OLD, "4.0", body(n=4))])
    prepared.tree.catch_up()
    before, journal = tables(prepared), prepared.folder.journal.read_bytes()
    assert prepared.repair.verify().mended == []
    assert prepared.folder.journal.read_bytes() == journal
    rebuilt(prepared)
    prepared.open()
    assert tables(prepared) == before


def test_a_repair_takes_back_what_was_told_of_an_old_name_though_the_catalogue_says_otherwise(prepared: Engine) -> None:
    both(prepared)
    wrong = [Unpinned(OLD, "2.0", now(), "repair"), Labelled(OLD, "stable", None, now(), "repair")]
    append_events(prepared.folder.journal, [*wrong, LatestHeld(OLD, None, now(), "repair")])
    assert [one.code for one in prepared.repair.verify().mended] == ["untold"]
    assert prepared.repair.verify().mended == []
    rebuilt(prepared)
    prepared.open()
    with prepared.database.read() as connection:
        assert [(one.version, one.by) for one in list_pins(connection, NEW)] == [("2.0", "person:ada")]
        assert [(one.label, one.version) for one in list_labels(connection, NEW)] == [("stable", "2.0")]
    assert prepared.find(OLD).version == "2.0"


def test_names_that_a_lost_journal_told_are_told_again(prepared: Engine) -> None:
    both(prepared)
    alias(prepared.archive, "/short", NEW, ADA)
    alias(prepared.archive, "/gone", NEW, ADA)
    unalias(prepared.archive, "/gone", ADA)
    prepared.tree.catch_up()
    before = view(prepared), aliases(prepared.archive)
    prepared.folder.journal.unlink()
    assert [one.code for one in prepared.repair.verify().mended] == ["untold"]
    assert prepared.repair.verify().mended == []
    rebuilt(prepared)
    prepared.open()
    assert (view(prepared), aliases(prepared.archive)) == before
    check_promises(prepared)


def test_a_store_that_a_rename_overtakes_is_stored_under_the_new_name(prepared: Engine) -> None:
    def renames_when_the_segment_is_written(step: str) -> None:
        if step == "segment: flush" and not aliases(prepared.archive):
            rename(prepared.archive, OLD, NEW, ADA)

    with observed(renames_when_the_segment_is_written):
        (receipt,) = prepared.store([document(OLD, "5.0", body(n=5))])
    assert (receipt.library_id, receipt.status, receipt.revision) == (NEW, "stored", 1)
    prepared.tree.catch_up()
    before = tables(prepared)
    assert ["void" in entry for entry in read_journal(prepared.folder.journal)].count(True) == 1
    rebuilt(prepared)
    prepared.open()
    assert tables(prepared) == before


def test_a_crash_anywhere_leaves_one_name_or_the_other_and_the_rerun_heals(copy: Callable[[], Engine]) -> None:
    engine = copy()
    before = view(engine)
    steps = steps_of(lambda: both(engine))
    after = view(engine)
    assert {"journal: fsync", "rename: commit", "alias: exchange"} <= set(steps)
    for number in crash_places(steps):
        step, engine = steps[number - 1], copy()
        with crash_at(number):
            both(engine)
        assert view(engine) == (after if "rename: committed" in steps[:number] else before), step
        assert engine.read(OLD, "3.0")
        both(engine)
        assert view(engine) == after
    assert engine.verify().findings == []
    assert reconcile(Scene(engine.folder, engine.database, "all", now())) == []


def test_a_disk_that_refuses_a_write_is_told_and_the_next_run_succeeds(copy: Callable[[], Engine]) -> None:
    engine = copy()
    with faults() as counted:
        both(engine)
    for number in range(1, len(counted.calls) + 1, stride(3)):
        engine = copy()
        with faults(number, errno.ENOSPC) as injected, suppress(StorageError):  # what is left over may stay for now
            both(engine)
        assert injected.fired
        both(engine)
        assert engine.find(OLD).library_id == NEW
    check_promises(engine)


def test_a_clock_that_goes_back_does_not_put_a_rename_before_what_it_renames(prepared: Engine) -> None:
    early = replace(prepared.archive, clock=lambda: now() - timedelta(days=3))
    rename(early, OLD, NEW, ADA)
    prepared.tree.catch_up()
    before = tables(prepared)
    rebuilt(prepared)
    prepared.open()
    assert tables(prepared) == before
