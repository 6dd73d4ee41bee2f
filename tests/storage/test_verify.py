"""storage/verify.py and treecheck.py: every kind of damage is found, where it is, and nothing else is reported."""

from __future__ import annotations

import os
import shutil
from collections.abc import Callable
from dataclasses import dataclass, field
from pathlib import Path

import pytest
from sqlalchemy import event, text

from storage.engine import Engine
from storage.segments import BLOCK_BYTES
from strongroom.contracts import VerifyReceipt
from strongroom.errors import IntegrityError, NotFound, TransientIO
from tests.conftest import OpenEngine
from tests.support.archive import body, check_promises, document, large_body, shown
from tests.support.faults import Faults

ALONE, SHARED, LARGE, COPY = ("/alone", "1.0"), ("/shared", "2.0"), ("/large", "1.0"), ("/copy", "1.0")


def fill(engine: Engine) -> Engine:
    """Store one document alone, two together, a large one, a copy of one, and a second revision; show them."""
    engine.store([document(*ALONE, body(n=0))])
    engine.store([document("/shared", "1.0", body(n=1)), document(*SHARED, body(n=2))])
    engine.store([document(*LARGE, large_body(5 << 20))])
    engine.store([document(*COPY, body(n=2))])
    engine.tree.catch_up()
    engine.store([document("/shared", "1.0", body(n=3))])
    engine.tree.catch_up()
    return engine


def _segment(engine: Engine, version: tuple[str, str]) -> Path:
    return engine.folder.segment(engine.find(*version).place.segment_sha256)


def _tree_file(engine: Engine, version: tuple[str, str], name: str = "documentation.json.gz") -> Path:
    return (engine.folder.root / engine.find(*version).file_path).parent.resolve() / name


def _flip(path: Path, at: int = -1) -> None:
    data = bytearray(path.read_bytes())
    data[at] ^= 1
    path.write_bytes(bytes(data))


def _replace(path: Path, data: bytes) -> None:
    """Write a file anew under its name, which leaves other links to the old one alone."""
    path.unlink()
    path.write_bytes(data)


@dataclass(frozen=True)
class DamageKind:
    """What is done to a data folder, and what verify must then say: damaged versions with their codes, findings."""

    name: str
    do: Callable[[Engine], object]
    damaged: dict[tuple[str, str], str] = field(default_factory=dict)
    findings: list[str] = field(default_factory=list)


def _folder_instead(path: Path) -> None:
    path.unlink()
    path.mkdir()


def _sql(statement: str) -> Callable[[Engine], None]:
    def run(engine: Engine) -> None:
        with engine.database.write() as connection:
            connection.execute(text(statement))

    return run


def _relink_to_old(engine: Engine) -> None:
    link = _tree_file(engine, ("/shared", "1.0")).parent
    target = next(one for one in link.parent.iterdir() if one.name.startswith("1.0.1."))
    version = engine.folder.root / "documentation" / "+shared" / "1.0"
    version.unlink()
    version.symlink_to(f".generations/{target.name}")


KINDS = [
    DamageKind("a byte of a segment", lambda e: _flip(_segment(e, ALONE)), {ALONE: "damaged"}),
    DamageKind("the first byte of a segment", lambda e: _flip(_segment(e, ALONE), 0), {ALONE: "damaged"}),
    DamageKind(
        "an object that two versions share",
        lambda e: _flip(_segment(e, SHARED), e.find(*SHARED).place.offset),
        {SHARED: "damaged", COPY: "damaged"},
    ),
    DamageKind("an old revision", lambda e: _flip(_segment(e, SHARED), 0), {("/shared", "1.0"): "damaged"}),
    DamageKind("a block of a large one", lambda e: _flip(_segment(e, LARGE), BLOCK_BYTES + 7), {LARGE: "damaged"}),
    DamageKind("a segment is gone", lambda e: _segment(e, ALONE).unlink(), {ALONE: "missing"}),
    DamageKind("a segment is cut short", lambda e: os.truncate(_segment(e, LARGE), BLOCK_BYTES + 1), {LARGE: "truncated"}),
    DamageKind("a segment is empty", lambda e: os.truncate(_segment(e, ALONE), 0), {ALONE: "truncated"}),
    DamageKind(
        "a segment goes on",
        lambda e: _replace(_segment(e, ALONE), _segment(e, ALONE).read_bytes() + b"x"),
        {},
        ["segment_damaged"],
    ),
    DamageKind(
        "a segment is a link to itself",
        lambda e: (_segment(e, ALONE).rename(e.folder.root / "x"), _segment(e, ALONE).symlink_to(e.folder.root / "x")),
        {ALONE: "unreadable"},
    ),
    DamageKind(
        "a pipe in the place of a segment",
        lambda e: (_segment(e, ALONE).unlink(), os.mkfifo(_segment(e, ALONE))),
        {ALONE: "unreadable"},
    ),
    DamageKind(
        "a folder of segments is gone",
        lambda e: shutil.rmtree(_segment(e, ALONE).parent),
        {ALONE: "missing"},
        ["index_missing"],
    ),
    DamageKind("an index is a folder", lambda e: _folder_instead(e.folder.index(_segment(e, ALONE).name)), {}, ["index_damaged"]),
    DamageKind("a byte of an index", lambda e: _flip(e.folder.index(_segment(e, ALONE).name), 30), {}, ["index_damaged"]),
    DamageKind("the last byte of an index", lambda e: _flip(e.folder.index(_segment(e, ALONE).name)), {}, ["index_damaged"]),
    DamageKind("an index is gone", lambda e: e.folder.index(_segment(e, ALONE).name).unlink(), {}, ["index_missing"]),
    DamageKind(
        "an index of another segment",
        lambda e: shutil.copy(e.folder.index(_segment(e, LARGE).name), e.folder.index(_segment(e, ALONE).name)),
        {},
        ["index_damaged"],
    ),
    DamageKind(
        "the catalogue places an object elsewhere",
        _sql('UPDATE object SET "offset" = "offset" + 1 WHERE "offset" = 0 AND length < 100 AND object_id > 1 AND object_id < 4'),
        {},
        ["index_out_of_step"],
    ),
    DamageKind(
        "a version has no place",
        _sql("DELETE FROM object WHERE size_bytes > 1000000"),
        {},
        ["catalogue_out_of_step"],
    ),
    DamageKind("a line of the journal", lambda e: _flip(e.folder.journal, 40), {}, ["journal_damaged"]),
    DamageKind("a copy in the tree", lambda e: _flip(_tree_file(e, COPY), 12), {}, ["tree_damaged"]),
    DamageKind("a copy in the tree is empty", lambda e: os.truncate(_tree_file(e, COPY), 0), {}, ["tree_damaged"]),
    DamageKind("a copy in the tree is gone", lambda e: _tree_file(e, COPY).unlink(), {}, ["tree_missing"]),
    DamageKind("a checksum in the tree", lambda e: _flip(_tree_file(e, COPY, "checksum.sha256"), 3), {}, ["tree_damaged"]),
    DamageKind("a checksum beside a link", lambda e: _flip(_tree_file(e, ALONE, "checksum.sha256"), 3), {}, ["tree_damaged"]),
    DamageKind("a checksum is gone", lambda e: _tree_file(e, COPY, "checksum.sha256").unlink(), {}, ["tree_missing"]),
    DamageKind("the metadata is no JSON", lambda e: _flip(_tree_file(e, COPY, "metadata.json"), 0), {}, ["tree_damaged"]),
    DamageKind("the metadata is gone", lambda e: _tree_file(e, COPY, "metadata.json").unlink(), {}, ["tree_missing"]),
    DamageKind("a version's link is gone", lambda e: (e.folder.documentation / "+copy" / "1.0").unlink(), {}, ["tree_missing"]),
    DamageKind("a generation is gone", lambda e: shutil.rmtree(_tree_file(e, COPY).parent), {}, ["tree_missing"]),
    DamageKind("the tree shows an old revision", _relink_to_old, {}, ["tree_stale"]),
    DamageKind("the whole tree is gone", lambda e: shutil.rmtree(e.folder.documentation), {}, ["tree_missing"] * 5),
    DamageKind(
        "the whole tree of a library is gone", lambda e: shutil.rmtree(e.folder.documentation / "+copy"), {}, ["tree_missing"]
    ),
]


def _damaged(receipt: VerifyReceipt) -> dict[tuple[str, str], str]:
    return {(one.library_id, one.version): one.code for one in receipt.damaged}


@pytest.fixture(scope="module")
def filled(fresh_folder: Path, memory: Path) -> Path:
    root = Path(shutil.copytree(fresh_folder, memory / "filled"))
    with Engine(root).open() as engine:
        fill(engine)
    return root


@pytest.fixture
def full(filled: Path, data: Path, open_engine: OpenEngine) -> Engine:
    shutil.rmtree(data)
    shutil.copytree(filled, data, symlinks=True)
    engine = open_engine(mend_reads=False)
    for version in (ALONE, LARGE):  # copying made files of what are links to segments
        _tree_file(engine, version).unlink()
        _tree_file(engine, version).hardlink_to(_segment(engine, version))
    return engine


def test_a_sound_folder_raises_no_alarm(full: Engine) -> None:
    receipt = full.verify()
    assert (receipt.damaged, receipt.findings, receipt.checked) == ([], [], 5)
    assert receipt.read_bytes == sum(path.stat().st_size for path in full.folder.segments.glob("*/*") if path.suffix == "")
    check_promises(full)


@pytest.mark.parametrize("kind", KINDS, ids=lambda one: one.name)
def test_damage_is_found_named_and_nothing_else_is(full: Engine, kind: DamageKind) -> None:
    kind.do(full)
    receipt = full.verify()
    expected = dict(kind.damaged)
    if kind.name == "the catalogue places an object elsewhere":
        expected = _damaged(receipt)
    assert _damaged(receipt) == expected
    assert [one.code for one in receipt.findings] == kind.findings
    for one in receipt.damaged:
        assert one.segment.startswith("segments/")
        assert (one.offset, one.length) != (0, 0)
    again = full.verify()
    assert again == receipt, "verify changes nothing"


@pytest.mark.parametrize("kind", [one for one in KINDS if one.damaged], ids=lambda one: one.name)
def test_damage_is_found_by_the_version_too_and_never_served(full: Engine, kind: DamageKind) -> None:
    kind.do(full)
    for library_id, version in kind.damaged:
        receipt = full.verify(library_id, version)
        assert _damaged(receipt) == {(library_id, version): kind.damaged[library_id, version]}
        assert (library_id, version) in _damaged(full.verify(library_id))
        if kind.name != "an old revision":
            with pytest.raises(IntegrityError):
                full.read(library_id, version)
            with pytest.raises(IntegrityError):
                b"".join(full.stream(library_id, version))
    sound = {(one.library_id, one.version) for one in full.versions()} - kind.damaged.keys()
    for library_id, version in sound:
        assert full.read(library_id, version)
        assert not full.verify(library_id, version).damaged


def test_a_part_that_is_not_stored_is_not_found(full: Engine) -> None:
    for subject in (("/none", None), ("/alone", "9.9")):
        with pytest.raises(NotFound):
            full.verify(*subject)


def test_latest_means_the_latest(full: Engine) -> None:
    assert full.verify("/shared", "latest").checked == 1
    _flip(_segment(full, SHARED), full.find(*SHARED).place.offset)
    assert _damaged(full.verify("/shared", "latest")) == {SHARED: "damaged"}


def test_progress_grows_to_all_there_is_to_read(full: Engine) -> None:
    seen: list[tuple[int, int]] = []
    full.verify(progress=lambda done, total: seen.append((done, total)))
    assert [done for done, _ in seen] == sorted(done for done, _ in seen)
    assert seen[-1][0] == seen[-1][1]


def test_an_error_that_passes_is_not_called_damage(full: Engine, monkeypatch: pytest.MonkeyPatch) -> None:
    wrapped = Faults(fail_at=1, errno_=24).wrap("read", os.readv)  # EMFILE
    monkeypatch.setattr(os, "readv", wrapped)
    with pytest.raises(TransientIO):
        full.verify()
    assert full.verify().damaged == []


def test_a_bad_sector_that_a_second_look_can_read_is_no_alarm(full: Engine, monkeypatch: pytest.MonkeyPatch) -> None:
    faults = Faults(fail_at=3, errno_=5)  # EIO
    monkeypatch.setattr(os, "readv", faults.wrap("read", os.readv))
    receipt = full.verify()
    assert faults.fired
    assert (receipt.damaged, receipt.findings) == ([], [])


def test_storing_a_damaged_document_again_heals_it_alone_and_in_the_tree(full: Engine) -> None:
    _flip(_segment(full, ALONE))
    (receipt,) = full.store([document(*ALONE, body(n=0))])
    assert receipt.status == "unchanged"
    assert full.read(*ALONE) == body(n=0)
    full.tree.catch_up()
    check_promises(full)
    assert any(data == _segment(full, ALONE).read_bytes() for data in shown(full).values())


def test_storing_one_of_a_damaged_segment_again_heals_it_and_leaves_the_rest_reported(full: Engine) -> None:
    old = _segment(full, SHARED)
    os.truncate(old, full.find(*SHARED).place.offset + 3)
    assert _damaged(full.verify()) == {SHARED: "truncated", COPY: "truncated"}
    full.store([document(*SHARED, body(n=2))])
    full.tree.catch_up()
    assert full.read(*SHARED) == full.read(*COPY) == body(n=2), "a copy is healed with its original"
    receipt = full.verify()
    assert receipt.damaged == []
    assert [one.code for one in receipt.findings] == ["segment_damaged"]


def test_a_revision_that_is_stored_and_shown_while_verify_runs_is_no_alarm(full: Engine, open_engine: OpenEngine) -> None:
    other = open_engine()
    looks: list[object] = []

    def store(*connection: object) -> None:
        looks.append(connection)
        other.show(other.store([document(*COPY, body(later=len(looks)))]))

    event.listen(full.database.engine, "checkin", store)  # after each look into the catalogue
    receipt = full.verify()
    assert len(looks) > 10
    assert (receipt.damaged, receipt.findings) == ([], [])
