"""storage/erase: what is erased is nowhere any more, what others need stays, and a crash anywhere is healed by the rerun."""

from __future__ import annotations

import errno
import gzip
import hashlib
import shutil
from collections.abc import Callable, Iterator
from contextlib import suppress
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any

import orjson
import pytest
from sqlalchemy import delete
from sqlalchemy import text as sql

from models.curation import AuditRow, add_audit, list_audit
from models.names import list_aliases
from models.tables import Version, table_of
from storage.cleanup import make_plan
from storage.compress import Compress
from storage.engine import Engine
from storage.erase import needles
from storage.erase.files import scrub_tree
from storage.erase.holders import Holding
from storage.erase.needles import Gone
from storage.erase.note import Note
from storage.erase.plan import find_targets
from storage.erase.run import Done, Erasure
from storage.index import read_index
from storage.journal import damaged_lines
from storage.names import rename, unalias
from storage.policies import parse_policies
from storage.reconcile import Scene, reconcile
from storage.removal import Removal
from storage.rollback import rollback
from storage.sweep import Sweep
from storage.trail import Actor
from storage.versions import label, pin
from strongroom.errors import InvalidRequest, NotFound, StalePlan, StorageError
from strongroom.inbox import InboxFile, InboxWriter
from tests.storage.test_rebuild import rebuilt, tables
from tests.support.alike import text
from tests.support.archive import body, check_promises, document, view
from tests.support.crash import crash_at, die_at, steps_of
from tests.support.faults import faults
from tests.support.on_disk import rows_on_disk
from tests.support.thorough import crash_places, stride

ADA = Actor("person:ada", "request 4711")
SECRET, OTHER, FORMER = "/secret/lib", "/other/lib", "/former/name"


def now() -> datetime:
    return datetime.now(UTC)


@pytest.fixture
def filled(engine: Engine) -> Engine:
    """A library in every place that a data folder has, and another one that shares a content and refers to it."""
    fill(engine)
    return engine


def fill(engine: Engine) -> None:
    engine.store([document(FORMER, f"{one}.0", text(1, range(one)), metadata={"who": "zoe"}) for one in range(1, 4)])
    engine.store([document(OTHER, "1.0", text(1, range(1))), document(OTHER, "2.0", body(n=2))])
    engine.tree.catch_up()
    rename(engine.archive, FORMER, SECRET, ADA)
    engine.store([document(SECRET, "3.0", text(1, range(9))), document(SECRET, "4.0", text(2))])
    engine.store([document(OTHER, "3.0", text(2, [1])), document(SECRET, "0.1", text(7))])
    policies = parse_policies({SECRET: {"keep_last": 4}})
    Removal(engine.folder, engine.database).apply(make_plan(engine.database, policies, now()), "schedule", now())
    pin(engine.archive, SECRET, "3.0", ADA)
    label(engine.archive, SECRET, "stable", "3.0", ADA)
    label(engine.archive, SECRET, "stable", "4.0", ADA)
    rollback(engine.archive, SECRET, "3.0", ADA)
    rollback(engine.archive, SECRET, "4.0", ADA)
    engine.tree.catch_up()


def erasure(engine: Engine, *others: Any) -> Erasure:
    return Erasure(engine.archive, engine.tree, "all", engine.options.limits, others)


def erase(engine: Engine, version: str | None = None, *, library: str = SECRET) -> Done:
    work = erasure(engine)
    return work.apply(work.plan(find_targets(engine.database, library, version)), ADA)


def everything(engine: Engine) -> bytes:
    """All bytes below the data folder, those of freed pages too."""
    files = (path for path in sorted(engine.folder.root.rglob("*")) if path.is_file() and not path.is_symlink())
    return b"\0".join(path.read_bytes() for path in files)


def check_gone(engine: Engine, done: Done, *contents: bytes) -> None:
    assert done.proof.left == ()
    found = everything(engine)
    for content in contents:
        digest = hashlib.sha256(content).hexdigest()
        assert digest in done.contents
        assert digest.encode() not in found
    assert not list(engine.folder.metadata.glob("erasure-*"))
    check_promises(engine)
    assert [one.code for one in reconcile(Scene(engine.folder, engine.database, "all", now()))] == []


def test_a_library_is_gone_from_everywhere_and_what_is_shared_stays_and_is_named(filled: Engine) -> None:
    plan = erasure(filled).plan(find_targets(filled.database, SECRET))
    assert (len(plan.revisions), {one.library_id for one in plan.shared}) == (6, {OTHER})
    done = erase(filled, library=FORMER)
    check_gone(filled, done, text(1, range(2)), text(1, range(3)), text(1, range(9)), text(2), text(7))
    assert [(one.library_id, one.version) for one in done.still_held_by] == [(OTHER, "1.0")]
    assert b"zoe" not in everything(filled)
    assert [one.library_id for one in filled.libraries()] == [OTHER]
    assert hashlib.sha256(filled.read(OTHER, "1.0")).hexdigest() == done.still_held_by[0].content_sha256
    assert not [path for path in filled.folder.documentation.iterdir() if "secret" in path.name or "former" in path.name]
    with filled.database.read() as connection:
        assert {one.action for one in list_audit(connection, SECRET)} == {"erased", "unaliased"}
        assert list_audit(connection, SECRET)[0].why == "request 4711"
        assert list_aliases(connection) == []


def test_a_version_is_gone_and_the_rest_of_its_library_says_what_a_rebuild_says(filled: Engine) -> None:
    done = erase(filled, "4.0")
    check_gone(filled, done, text(2))
    assert sorted(one.version for one in filled.versions(SECRET)) == ["1.0", "2.0", "3.0"]
    assert filled.find(SECRET).version == "3.0"
    before = tables(filled)
    assert {row[1] for row in rows_on_disk(filled.folder.root) if row[0] == SECRET} == {"1.0", "2.0", "3.0"}
    assert rebuilt(filled).findings == ()
    filled.open()
    assert tables(filled) == before


def test_what_was_removed_or_renamed_before_is_erased_too_and_a_rebuild_brings_nothing_back(filled: Engine) -> None:
    erase(filled)
    before = tables(filled)
    rebuilt(filled)
    filled.open()
    assert tables(filled) == before
    filled.close()
    with Engine(filled.folder.root).open() as engine:
        engine.store([document(SECRET, "3.0", body(n=5))])
        assert engine.find(SECRET).revision == 1
    assert [row[:3] for row in rows_on_disk(filled.folder.root) if row[0] == SECRET] == [[SECRET, "3.0", "1"]]


def test_what_refers_to_it_is_encoded_anew_first_and_reads_on(filled: Engine) -> None:
    filled.store([document("/a/b", f"{one}.0", text(3, range(one))) for one in range(1, 5)])
    Compress(filled.folder, filled.database, filled.tree, "latest", "gzip").run(now())
    referred = next(one.place.reference_sha256 for one in filled.versions("/a/b") if one.place.reference_sha256)
    base = next(one for one in filled.versions("/a/b") if one.place.content_sha256 == referred)
    sent = {one.version: filled.read("/a/b", one.version) for one in filled.versions("/a/b")}
    assert erasure(filled).plan(find_targets(filled.database, "/a/b", base.version)).referring
    done = erase(filled, base.version, library="/a/b")
    check_gone(filled, done, sent.pop(base.version))
    assert {one.version: filled.read("/a/b", one.version) for one in filled.versions("/a/b")} == sent


def test_versions_that_refer_to_each_other_go_together(filled: Engine) -> None:
    filled.store([document("/a/b", f"{one}.0", text(3, range(one))) for one in range(1, 5)])
    Compress(filled.folder, filled.database, filled.tree, "latest", "gzip").run(now())
    contents = [filled.read("/a/b", f"{one}.0") for one in range(1, 5)]
    assert any(one.place.reference_sha256 for one in filled.versions("/a/b"))
    check_gone(filled, erase(filled, library="/a/b"), *contents)


def test_it_is_gone_from_trash_quarantine_payloads_tmp_and_what_jobs_tell(filled: Engine) -> None:
    folder, secret = filled.folder, text(7)
    segment = folder.segment(filled.find(OTHER, "2.0").place.segment_sha256)
    filled.store([document("/z", "1", body(n=26))])
    (folder.inbox / "failed").mkdir(exist_ok=True)
    for name, documents in (("both", [secret, body(n=3)]), ("one", [secret])):
        with InboxWriter(folder.inbox, f"job-{name}-1234") as writer:
            for content in documents:
                writer.add(content)
            writer.commit().rename(folder.inbox / "failed" / f"{name}.inbox")
    (folder.quarantine / "doc.json").write_bytes(secret)
    (folder.tmp / "left.part").write_bytes(secret)
    log = folder.metadata / "integrity_log.jsonl"
    digest = hashlib.sha256(secret).hexdigest()
    log.write_text(f'{{"content": "{digest}"}}\n{{"other": 1}}\n')
    old = folder.metadata / "catalogue.db.before-20260101"
    old.write_bytes(b"x")
    done = erase(filled)
    check_gone(filled, done, secret)
    assert secret not in everything(filled)
    assert not old.exists()
    assert log.read_text() == '{"other": 1}\n'
    assert [path.name for path in (folder.inbox / "failed").iterdir()] == ["both.inbox"]
    with InboxFile(folder.inbox / "failed" / "both.inbox") as file:
        assert [file.read(one) for one in file.manifest.documents] == [body(n=3)]
    assert segment.exists()
    Sweep(folder, filled.database).run(now())
    check_promises(filled)


def test_a_pattern_erases_every_library_that_matches(filled: Engine) -> None:
    filled.store([document("/secret/two", "1", body(n=99))])
    work = erasure(filled)
    targets = find_targets(filled.database, None, None, "/secret/*")
    assert [name for name, _ in targets] == [SECRET, "/secret/two"]
    check_gone(filled, work.apply(work.plan(targets), ADA), body(n=99), text(2))
    with pytest.raises(NotFound):
        find_targets(filled.database, None, None, "/secret/*")


def test_it_is_refused_without_a_reason_with_a_stale_plan_and_while_a_job_would_bring_it_back(filled: Engine) -> None:
    work, before = erasure(filled), view(filled)
    targets = find_targets(filled.database, SECRET, "4.0")
    plan = work.plan(targets)
    with pytest.raises(InvalidRequest, match="reason"):
        work.apply(plan, Actor("person:ada", " "))
    with InboxWriter(filled.folder.inbox, "job-waiting-1") as writer:
        writer.add(text(2))
        waiting = writer.commit()
    with pytest.raises(InvalidRequest, match="job-waiting-1"):
        work.apply(plan, ADA)
    waiting.unlink()
    assert view(filled) == before
    filled.store([document(SECRET, "4.0", body(n=44))])
    with pytest.raises(StalePlan):
        work.apply(plan, ADA)
    with pytest.raises(NotFound):
        find_targets(filled.database, SECRET, "latest")
    assert not list(filled.folder.metadata.glob("erasure-*"))


def test_who_else_holds_it_is_asked_and_named(filled: Engine) -> None:
    class Tape:
        def holding(self, scope: Any, contents: Any) -> Iterator[Holding]:
            if hashlib.sha256(text(2)).hexdigest() in contents and scope.ends:
                yield Holding("tape 7", "a copy", "burn it")

    work = erasure(filled, Tape())
    plan = work.plan(find_targets(filled.database, SECRET, "4.0"))
    assert [one.where for one in plan.backups] == ["tape 7"]
    assert [one.where for one in work.apply(plan, ADA).backups] == ["tape 7"]


@pytest.fixture
def copy(filled: Engine, scratch: Path) -> Iterator[Callable[[], Engine]]:
    """Copies the filled folder and opens the copy."""
    filled.close()
    opened: list[Engine] = []

    def make() -> Engine:
        while opened:
            one = opened.pop()
            one.close()
            shutil.rmtree(one.folder.root)
        root = shutil.copytree(filled.folder.root, scratch / "copy", symlinks=True)
        opened.append(Engine(root).open())
        return opened[-1]

    yield make
    for engine in opened:
        engine.close()


def test_a_crash_anywhere_loses_nothing_else_and_the_rerun_heals(copy: Callable[[], Engine]) -> None:
    engine = copy()
    steps = steps_of(lambda: erase(engine))
    after = view(engine)
    wanted = {"erasure note: rename", "journal: fsync", "erase: commit", "journal: wipe", "erase: unlink", "catalogue: vacuum"}
    assert wanted <= set(steps)
    for number in crash_places(steps):
        step = steps[number - 1]
        engine = copy()
        with crash_at(number):
            erase(engine)
        assert engine.read(OTHER, "1.0") == text(1, range(1)), step
        done = erasure(engine).resume()
        done += [erase(engine)] if SECRET in view(engine)["libraries"] else []
        assert view(engine) == after, step
        assert all(one.proof.left == () for one in done), step
        assert hashlib.sha256(text(2)).hexdigest().encode() not in everything(engine), step
    check_promises(engine)


def test_a_process_that_dies_in_the_middle_is_healed_by_the_next(copy: Callable[[], Engine]) -> None:
    engine = copy()
    steps = steps_of(lambda: erase(engine))
    engine = copy()
    engine.close()
    die_at(steps.index("erase: committed") + 4, lambda: erase(Engine(engine.folder.root).open()))
    engine.open()
    (done,) = erasure(engine).resume()
    check_gone(engine, done, text(2))


def test_what_came_back_after_a_crash_is_not_erased_by_the_rerun(copy: Callable[[], Engine]) -> None:
    engine = copy()
    with crash_at("erase: unlink"):
        erase(engine)
    engine.store([document(SECRET, "4.0", body(n=4)), document(SECRET, "3.0", text(2))])
    engine.tree.catch_up()
    (done,) = erasure(engine).resume()
    assert done.proof.left == ()
    assert [(one.library_id, one.version) for one in done.still_held_by] == [(OTHER, "1.0"), (SECRET, "3.0")]
    assert engine.read(SECRET, "3.0") == text(2)
    check_promises(engine)


def test_a_disk_that_refuses_is_told_and_the_next_run_finishes(copy: Callable[[], Engine]) -> None:
    engine = copy()
    with faults() as counted:
        erase(engine)
    for number in range(1, len(counted.calls) + 1, stride(12)):
        engine = copy()
        with faults(number, errno.ENOSPC) as injected, suppress(StorageError):
            erase(engine)
        assert injected.fired
        erasure(engine).resume()
        if SECRET in view(engine)["libraries"]:
            erase(engine)
        assert hashlib.sha256(text(2)).hexdigest().encode() not in everything(engine), counted.calls[number - 1]
    check_promises(engine)


def test_what_a_sweep_threw_away_is_deleted_though_no_row_tells_of_it_any_more(filled: Engine) -> None:
    filled.store([document("/old", "1", body(n=70))])
    filled.store([document("/old", "1", body(n=71))])
    filled.store([document("/old", "2", body(n=72))])
    policies = parse_policies({"/old": {"keep_last": 1}})
    removal = Removal(filled.folder, filled.database)
    removal.apply(make_plan(filled.database, policies, now()), "schedule", now())
    filled.tree.catch_up()
    Sweep(filled.folder, filled.database).run(now() + timedelta(days=30))
    assert list(filled.folder.trash.glob("swept-*.segment"))
    done = erase(filled, library="/old")
    check_gone(filled, done, body(n=70), body(n=71), body(n=72))
    assert not list(filled.folder.trash.glob("swept-*"))


def test_what_a_clock_that_was_ahead_has_dated_is_erased_at_once(filled: Engine) -> None:
    filled.store([document("/ahead", "1", body(n=70)), document(OTHER, "9.0", body(n=71))])
    with filled.database.write() as connection:
        connection.execute(sql("UPDATE segment SET created_at = '2126-01-01 00:00:00.000000'"))
    check_gone(filled, erase(filled, library="/ahead"), body(n=70))
    assert filled.read(OTHER, "9.0") == body(n=71)


def test_what_is_told_of_it_beside_a_content_that_stays_is_gone(filled: Engine) -> None:
    filled.store([document("/private", "1", body(n=50), metadata={"who": "yan"})])
    filled.store([document("/public", "1", body(n=50))])
    digest = hashlib.sha256(text(7)).hexdigest()
    with filled.database.write() as connection:
        add_audit(connection, [AuditRow(now(), "schedule", "repaired", OTHER, "1.0", "", {"content": digest})])
    done = erase(filled, library="/private")
    assert (done.contents, [one.library_id for one in done.still_held_by]) == ((), ["/public"])
    assert b"yan" not in everything(filled)
    assert filled.read("/public") == body(n=50)
    check_gone(filled, erase(filled), text(7))
    with filled.database.read() as connection:
        assert list_audit(connection, OTHER)[0].details == {"content": "erased"}


def test_a_catalogue_made_anew_in_the_middle_of_an_erasure_brings_nothing_back(copy: Callable[[], Engine]) -> None:
    engine = copy()
    with crash_at("erase: committed"):
        erase(engine)
    rebuilt(engine)
    engine.open()
    assert set(view(engine)["libraries"]) == {OTHER}
    assert {row[0] for row in rows_on_disk(engine.folder.root)} == {OTHER}
    (done,) = erasure(engine).resume()
    assert done.proof.left == ()
    assert hashlib.sha256(text(2)).hexdigest().encode() not in everything(engine)


def test_an_old_generation_of_another_library_does_not_keep_it(filled: Engine) -> None:
    filled.store([document("/z", "1", text(7))])
    filled.tree.catch_up()
    filled.store([document("/z", "1", body(n=8))])
    filled.tree.catch_up()
    erase(filled)
    assert len(list((filled.folder.documentation / "+z" / ".generations").iterdir())) == 2
    with filled.database.write() as connection:
        connection.execute(delete(table_of(Version)).where(table_of(Version).c.library_id == "/z"))
    gone = Gone(frozenset([hashlib.sha256(text(7)).hexdigest()]), frozenset())
    note = Note("x", now(), "", "", ((SECRET, None),), (), (), ())
    scrub_tree(filled.folder, note, gone, set())
    assert len(list((filled.folder.documentation / "+z" / ".generations").iterdir())) == 1


def test_what_another_library_gave_up_long_ago_keeps_its_number_and_no_digest(filled: Engine) -> None:
    filled.store([document("/z", "2", text(7)), document("/z", "3", body(n=9))])
    filled.tree.catch_up()
    policies = parse_policies({"/z": {"keep_last": 1}})
    Removal(filled.folder, filled.database).apply(make_plan(filled.database, policies, now()), "schedule", now())
    filled.tree.catch_up()
    Sweep(filled.folder, filled.database).run(now() + timedelta(days=30))
    check_gone(filled, erase(filled), text(7))
    assert damaged_lines(filled.folder.journal) == []
    filled.store([document("/z", "2", body(n=10))])
    assert filled.find("/z", "2").revision == 2
    assert ["/z", "2", "2"] in [row[:3] for row in rows_on_disk(filled.folder.root)]


def test_what_is_large_is_found_by_its_stream(filled: Engine, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(needles, "_WHOLE_BYTES", 10)
    for number, data in enumerate((text(2), gzip.compress(text(2)), text(8), gzip.compress(text(8)), b"\x1f\x8b damaged")):
        (filled.folder.quarantine / f"{number}.large").write_bytes(data)
    assert erase(filled, "4.0").proof.left == ()
    assert sorted(path.name for path in filled.folder.quarantine.iterdir()) == ["2.large", "3.large", "4.large"]


def test_the_proof_can_fail(filled: Engine) -> None:
    """What nobody scrubs is found all the same, and the erasure goes on once it is gone."""
    stray = filled.folder.root / "notes.txt"
    stray.write_text(hashlib.sha256(text(2)).hexdigest())
    done = erase(filled, "4.0")
    assert done.proof.left == ("notes.txt",)
    stray.unlink()
    assert [one.proof.left for one in erasure(filled).resume()] == [()]


def test_no_index_tells_of_it_though_its_former_name_is_free(filled: Engine) -> None:
    unalias(filled.archive, FORMER, ADA)
    filled.store([document(FORMER, "9.0", body(n=90))])
    erase(filled)
    assert filled.read(FORMER, "9.0") == body(n=90)
    with filled.database.read() as connection:
        assert {one.action for one in list_audit(connection, FORMER)} == {"renamed"}
    erase(filled, library=FORMER)
    told = [one for path in filled.folder.segments.glob("??/*.index") for one in read_index(path).versions]
    assert {one.library_id for one in told} == {OTHER}
    lines = [orjson.loads(line[17:]) for line in filled.folder.journal.read_bytes().splitlines()]
    assert any("wiped" in line for line in lines)
    assert not any("version" in line and line["version"]["library_id"] != OTHER for line in lines)
