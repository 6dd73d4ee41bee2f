"""storage/reconcile.py and its parts: each kind of damage is named rightly, nothing else is, and a finding ends in time."""

from __future__ import annotations

import json
import os
import random
import shutil
from collections.abc import Callable
from contextlib import suppress
from dataclasses import dataclass, replace
from datetime import UTC, datetime, timedelta
from pathlib import Path

import pytest
from sqlalchemy import text

from models.findings import Observation, open_findings
from storage.cleanup import make_plan
from storage.engine import Engine
from storage.findings import keep_findings, observed_by_verify
from storage.index import Index, read_index, write_index
from storage.kinds import KINDS, kind_of
from storage.policies import parse_policies
from storage.reconcile import SEEN_BY, Scene, reconcile
from storage.removal import Removal
from storage.rollback import rollback
from storage.trail import Actor, Archive
from storage.versions import pin
from strongroom.errors import InvalidRequest, NotFound
from strongroom.inbox import InboxWriter
from tests.conftest import OpenEngine
from tests.storage.test_verify import ALONE, LARGE, SHARED, fill
from tests.storage.test_verify import KINDS as VERIFIED
from tests.support.archive import body, document
from tests.support.crash import Crash, crash_at, observed

LATER = timedelta(days=2)
"""How old everything is when it is looked at: nothing may be a store under way."""


def look(engine: Engine) -> list[Observation]:
    return reconcile(Scene(engine.folder, engine.database, "all", datetime.now(UTC) + LATER))


def codes(engine: Engine) -> list[str]:
    """What a look and a verification find."""
    return sorted({one.code for one in [*look(engine), *observed_by_verify(engine.verify())]})


def segment(engine: Engine, version: tuple[str, str]) -> Path:
    return engine.folder.segment(engine.find(*version).place.segment_sha256)


def index(engine: Engine, version: tuple[str, str]) -> Path:
    return engine.folder.index(engine.find(*version).place.segment_sha256)


def home(engine: Engine, library: str) -> Path:
    return engine.folder.documentation / library


def sql(statement: str) -> Callable[[Engine], None]:
    def run(engine: Engine) -> None:
        with engine.database.write() as connection:
            connection.execute(text(statement))

    return run


def replaced(path: Path, data: bytes) -> None:
    path.unlink()
    path.write_bytes(data)


def linked(path: Path) -> None:
    path.unlink()
    path.symlink_to("/etc/hostname")


def with_index(engine: Engine, change: Callable[[Index], Index]) -> None:
    """Replace an index by one that is whole and tells something else."""
    path = index(engine, ALONE)
    told = change(read_index(path))
    path.write_bytes(write_index(told))


def moved(told: Index) -> Index:
    return replace(told, places=tuple(replace(one, offset=one.offset + 1) for one in told.places))


def recoded(told: Index) -> Index:
    return replace(told, places=tuple(replace(one, codec="none") for one in told.places))


def crashed_store(engine: Engine) -> None:
    with crash_at("catalogue: commit"):
        engine.store([document("/crashed", "1.0", body(crashed=1))])


def forgotten_row(engine: Engine) -> None:
    """Content that is stored again under the same name by a crashed store: nobody needs that segment."""
    crashed_store(engine)
    with Engine(engine.folder.root, replace(engine.options, codec="none")).open() as other:
        other.store([document("/crashed", "1.0", body(crashed=1))])


def damaged_payload(engine: Engine) -> None:
    with InboxWriter(engine.folder.inbox) as writer:
        writer.add(body(n=9))
        path = writer.commit()
    path = next(engine.folder.inbox.glob("*.inbox"))
    data = bytearray(path.read_bytes())
    data[-60] ^= 1
    path.write_bytes(bytes(data))


_JOB = "INSERT INTO job (job_id, kind, state, subject, priority, asked_by, attempts, owner, payload, created_at) VALUES "


@dataclass(frozen=True)
class Damage:
    name: str
    do: Callable[[Engine], object]
    codes: list[str]


DAMAGES = [
    Damage(
        "a segment is renamed",
        lambda e: segment(e, ALONE).rename(e.folder.segments / "00" / "kept-aside"),
        ["missing", "renamed"],
    ),
    Damage(
        "a segment lies in another folder",
        lambda e: segment(e, LARGE).rename(e.folder.segments / segment(e, LARGE).name),
        ["missing", "renamed"],
    ),
    Damage("a segment is gone", lambda e: segment(e, ALONE).unlink(), ["missing"]),
    Damage("a segment is a folder", lambda e: (segment(e, ALONE).unlink(), segment(e, ALONE).mkdir()), ["missing", "unreadable"]),
    Damage("a segment is a link elsewhere", lambda e: linked(segment(e, ALONE)), ["unreadable"]),
    Damage("a segment ends early", lambda e: os.truncate(segment(e, LARGE), 9), ["truncated"]),
    Damage(
        "a segment goes on",
        lambda e: replaced(segment(e, ALONE), segment(e, ALONE).read_bytes() + b"x"),
        ["segment_damaged", "wrong_size"],
    ),
    Damage(
        "a segment in another encoding",
        lambda e: replaced(segment(e, ALONE), b"x" * segment(e, ALONE).stat().st_size),
        ["damaged", "wrong_codec"],
    ),
    Damage(
        "the catalogue says another encoding",
        sql("UPDATE object SET codec = 'none' WHERE size_bytes > 1000000"),
        ["index_out_of_step", "wrong_codec"],
    ),
    Damage("the index says another encoding", lambda e: with_index(e, recoded), ["index_out_of_step", "wrong_codec"]),
    Damage("an index is gone", lambda e: index(e, ALONE).unlink(), ["index_missing", "untold"]),
    Damage("an index is empty", lambda e: os.truncate(index(e, ALONE), 0), ["index_damaged"]),
    Damage("an index places an object elsewhere", lambda e: with_index(e, moved), ["index_out_of_step"]),
    Damage("an index tells of no version", lambda e: with_index(e, lambda told: replace(told, versions=())), ["untold"]),
    Damage("the journal is gone", lambda e: e.folder.journal.unlink(), ["untold"]),
    Damage("the journal is empty", lambda e: os.truncate(e.folder.journal, 0), ["untold"]),
    Damage(
        "a line of the journal is another",
        lambda e: e.folder.journal.write_bytes(b"x" + e.folder.journal.read_bytes()[1:]),
        ["journal_damaged", "untold"],
    ),
    Damage("a store crashed before its commit", crashed_store, ["segment_without_row"]),
    Damage("a store crashed and ran again in another encoding", forgotten_row, ["orphan"]),
    Damage("an index without a segment", lambda e: index(e, ALONE).with_name("ab" * 32 + ".index").write_bytes(b""), ["foreign"]),
    Damage("a file among the segments", lambda e: (e.folder.segments / "ab" / "notes.txt").write_bytes(b"x"), ["foreign"]),
    Damage(
        "a row of a segment is gone",
        sql("DELETE FROM object WHERE size_bytes > 1000000"),
        ["catalogue_out_of_step", "row_without_bytes"],
    ),
    Damage(
        "sums are wrong",
        sql("UPDATE library SET total_versions = total_versions + 1 WHERE library_id = '/alone'"),
        ["sums_out_of_step"],
    ),
    Damage(
        "bytes are counted wrongly",
        sql("UPDATE library SET total_size_bytes = 7 WHERE library_id = '/copy'"),
        ["sums_out_of_step"],
    ),
    Damage(
        "the latest version is none",
        sql("UPDATE library SET latest_version = '9.9' WHERE library_id = '/copy'"),
        ["latest_out_of_step"],
    ),
    Damage(
        "an old revision is the current one",
        sql("UPDATE version SET current = (revision = 1) WHERE version = '1.0' AND library_id = '/shared'"),
        ["current_out_of_step", "tree_out_of_step", "tree_stale"],
    ),
    Damage(
        "no revision is the current one",
        sql("UPDATE version SET current = false WHERE library_id = '/alone'"),
        ["current_out_of_step", "sums_out_of_step"],
    ),
    Damage("a link of the tree is gone", lambda e: (home(e, "+copy") / "1.0").unlink(), ["tree_missing"]),
    Damage(
        "a link of the tree points at nothing",
        lambda e: shutil.rmtree((home(e, "+copy") / "1.0").resolve()),
        ["stale_link", "tree_missing"],
    ),
    Damage("latest is gone", lambda e: (home(e, "+copy") / "latest").unlink(), ["tree_missing"]),
    Damage(
        "latest is another",
        lambda e: ((home(e, "+shared") / "latest").unlink(), (home(e, "+shared") / "latest").symlink_to("1.0")),
        ["tree_out_of_step"],
    ),
    Damage("a library's metadata is damaged", lambda e: (home(e, "+copy") / "metadata.json").write_bytes(b"{"), ["tree_damaged"]),
    Damage(
        "a version's metadata is damaged",
        lambda e: replaced((home(e, "+copy") / "1.0" / "metadata.json"), b"["),
        ["tree_damaged"],
    ),
    Damage("a version too many in the tree", lambda e: (home(e, "+copy") / "7.0").symlink_to("1.0"), ["tree_extra"]),
    Damage(
        "a library too many in the tree",
        lambda e: (home(e, "+other").mkdir(), (home(e, "+other") / "1").symlink_to("x")),
        ["tree_extra"],
    ),
    Damage("an accepted file is damaged", damaged_payload, ["payload_damaged"]),
    Damage(
        "a job's payload is gone",
        sql(_JOB + "('a-job-of-mine', 'store', 'queued', '', 0, '', 0, '', 'x.inbox', '2026-11-22 01:02:03')"),
        ["payload_missing"],
    ),
]


@pytest.fixture(scope="module")
def filled(fresh_folder: Path, tmp_path_factory: pytest.TempPathFactory, memory: Path) -> Path:
    root = Path(shutil.copytree(fresh_folder, memory / "reconciled"))
    with Engine(root).open() as engine:
        fill(engine)
    return root


@pytest.fixture
def whole(filled: Path, data: Path, open_engine: OpenEngine) -> Engine:
    shutil.rmtree(data)
    shutil.copytree(filled, data, symlinks=True)
    links = {path.stat().st_ino: path for path in filled.glob("segments/??/*")}
    for path in filled.glob("documentation/*/.generations/*/documentation.json.gz"):
        if path.stat().st_ino in links:  # copying has made two files of one
            copy = data / path.relative_to(filled)
            copy.unlink()
            copy.hardlink_to(data / links[path.stat().st_ino].relative_to(filled))
    return open_engine()


def test_there_are_forty_kinds_of_damage_over_every_store() -> None:
    assert len({one.name for one in [*DAMAGES, *VERIFIED]}) >= 40
    assert {code for one in DAMAGES for code in one.codes} <= KINDS.keys()


@pytest.mark.parametrize("damage", DAMAGES, ids=lambda one: one.name)
def test_each_damage_is_found_and_named_rightly(whole: Engine, damage: Damage) -> None:
    assert codes(whole) == []
    damage.do(whole)
    assert codes(whole) == damage.codes


def test_a_finding_begins_once_lasts_and_ends_and_the_log_tells_both(whole: Engine) -> None:
    def keep(minutes: int) -> list[str]:
        at = datetime.now(UTC) + timedelta(minutes=minutes)
        return [one.code for one in keep_findings(whole.folder, whole.database, SEEN_BY, look(whole), at)]

    def lasting() -> list[str]:
        with whole.database.read() as connection:
            return [one.code for one in open_findings(connection)]

    path = segment(whole, ALONE)
    aside = path.with_name("aside")
    path.rename(aside)
    assert (keep(0), keep(1), lasting()) == (["renamed"], [], ["renamed"])
    keep_findings(whole.folder, whole.database, "verify", [], datetime.now(UTC))
    assert lasting() == ["renamed"], "verify looks at other things"
    aside.rename(path)
    assert (keep(2), lasting()) == ([], [])
    path.rename(aside)
    assert (keep(3), lasting()) == (["renamed"], ["renamed"])
    log = [json.loads(line) for line in (whole.folder.metadata / "integrity_log.jsonl").read_bytes().splitlines()]
    assert [(one["event"], one["code"], one["severity"]) for one in log] == [
        ("found", "renamed", "loss"),
        ("over", "renamed", "loss"),
        ("found", "renamed", "loss"),
    ]


def test_what_a_verification_finds_is_kept_until_another_one_does_not(whole: Engine) -> None:
    def lasting() -> list[tuple[str, str]]:
        with whole.database.read() as connection:
            return sorted((one.code, one.subject) for one in open_findings(connection))

    path = segment(whole, SHARED)
    sound = path.read_bytes()
    replaced(path, b"\0" * len(sound))
    whole.verify("/alone")
    assert lasting() == []
    whole.verify()
    hurt = [("damaged", f"{name} (revision 1)") for name in ("/copy 1.0", "/shared 1.0", "/shared 2.0")]
    assert lasting() == hurt
    assert all(kind_of(code).needs_person for code, _ in lasting())
    replaced(path, sound)
    whole.verify("/shared")
    assert lasting() == hurt, "a part tells nothing of the rest"
    whole.verify()
    assert lasting() == []


def test_what_is_found_once_and_not_again_is_no_finding(whole: Engine) -> None:
    path = segment(whole, ALONE)
    path.rename(path.with_name("aside"))
    looks = []

    def progress(done: int, total: int) -> None:
        looks.append(done)
        if done == total:
            path.with_name("aside").rename(path) if not path.exists() else None

    assert reconcile(Scene(whole.folder, whole.database, "all", datetime.now(UTC) + LATER), progress) == []
    assert len(looks) > 3


def test_a_store_that_is_under_way_is_no_finding(whole: Engine) -> None:
    found: list[Observation] = []

    def observe(step: str) -> None:
        if step in {"segment: rename", "catalogue: commit"}:
            found.extend(reconcile(Scene(whole.folder, whole.database, "all", datetime.now(UTC))))

    with observed(observe):
        whole.store([document("/under/way", "1.0", body(under="way"))])
    assert found == []


@pytest.mark.parametrize("seed", range(2))
def test_whatever_is_done_in_order_raises_no_alarm(whole: Engine, seed: int) -> None:
    """A short cut; `python -m faults --only damage` looks a hundred times."""
    assert alarms(whole, seed, looks=15) == []


def alarms(engine: Engine, seed: int, looks: int) -> list[Observation]:
    """Do what people and schedules do, in a random order, and look after each step."""
    chance = random.Random(seed)
    archive, removal = Archive(engine.folder, engine.database), Removal(engine.folder, engine.database)
    found: list[Observation] = []
    plans: list[str] = []
    for turn in range(looks):
        names = [(f"/library/{chance.randrange(3)}", f"{chance.randrange(4)}.0") for _ in range(chance.randrange(1, 4))]
        what = chance.choice(("store", "store", "store", "crash", "clean up", "undo", "roll back", "pin", "show"))
        now = datetime.now(UTC)
        if what in {"store", "crash"}:
            batch = [document(*name, body(n=chance.randrange(5))) for name in names]
            with suppress(Crash), observed(_crash_at(chance.randrange(1, 12)) if what == "crash" else lambda _: None):
                engine.store(batch)
            engine.store(batch)
        elif what == "clean up":
            plan = make_plan(engine.database, parse_policies({"/library/*": {"keep_last": chance.randrange(1, 3)}}), now)
            removal.apply(plan, "schedule", now)
            plans += [plan.plan_id] if plan.going else []
        elif what == "undo" and plans:
            with suppress(NotFound):
                removal.undo(plans.pop(), "person:ada", now)
        elif what in {"roll back", "pin"}:
            with suppress(NotFound, InvalidRequest):
                (rollback if what == "roll back" else pin)(archive, *names[0], Actor("person:ada"))
        elif what == "show":
            engine.tree.catch_up()
        found += look(engine)
        if turn % 5 == 0:
            found += observed_by_verify(engine.verify())
    return found


def _crash_at(step: int) -> Callable[[str], None]:
    seen: list[str] = []

    def observe(name: str) -> None:
        seen.append(name)
        if len(seen) == step:
            raise Crash(name)

    return observe
