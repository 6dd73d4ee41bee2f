"""storage/tree.py and generation.py: versions as plain files, which other programs read while they change."""

from __future__ import annotations

import fcntl
import gzip
import hashlib
import json
import os
import subprocess
import threading
from collections.abc import Callable
from pathlib import Path

import pytest

from storage.engine import Engine
from storage.pace import NICENESS
from storage.paths import MAX_COMPONENT_BYTES, encode_component
from strongroom.errors import StorageError
from tests.conftest import OpenEngine
from tests.support.archive import body, check_promises, document, large_body, shown, unfinished
from tests.support.crash import observed, start_child, steps_of, wait_for
from tests.support.faults import faults
from tests.support.scenarios import OPTIONS


def _folder(engine: Engine, library_id: str, version: str | None = None) -> Path:
    return (engine.folder.root / engine.find(library_id, version).file_path).parent


def _names(folder: Path) -> set[str]:
    return {path.name for path in folder.iterdir() if path.is_symlink()}


def _store_and_show(engine: Engine, *documents: tuple[str, str, bytes]) -> None:
    engine.store([document(*one) for one in documents])
    engine.tree.catch_up()


@pytest.mark.parametrize("codec", ["gzip-fast", "gzip-best", "zstd", "none"])
@pytest.mark.parametrize("alone", [True, False])
def test_plain_tools_check_and_read_a_version(open_engine: OpenEngine, codec: str, alone: bool) -> None:
    engine = open_engine(codec=codec)
    plain = large_body(200_000)
    more = [] if alone else [("/other", "1.0", body(n=1))]
    _store_and_show(engine, ("/a/b", "1.0", plain), *more)
    folder = _folder(engine, "/a/b")
    check = subprocess.run(["sha256sum", "-c", "checksum.sha256"], cwd=folder, capture_output=True, check=True, text=True)
    assert check.stdout == "documentation.json.gz: OK\n"
    assert subprocess.run(["zcat", "documentation.json.gz"], cwd=folder, capture_output=True, check=True).stdout == plain
    metadata = json.loads((folder / "metadata.json").read_bytes())
    assert metadata["content_sha256"] == hashlib.sha256(plain).hexdigest()
    assert metadata["checksum_sha256"] == (folder / "checksum.sha256").read_text().split()[0]


def test_a_document_stored_alone_is_a_link_and_one_of_many_a_copy(engine: Engine) -> None:
    _store_and_show(engine, ("/alone", "1.0", body(n=1)))
    _store_and_show(engine, ("/many", "1.0", body(n=2)), ("/many", "2.0", body(n=3)))
    alone, many = ((_folder(engine, name) / "documentation.json.gz") for name in ("/alone", "/many"))
    assert alone.samefile(engine.folder.segment(engine.find("/alone").place.segment_sha256))
    assert many.stat().st_nlink == 1


def test_a_library_says_what_it_is_and_latest_leads_to_its_newest_release(engine: Engine) -> None:
    info = {"library_info": {"name": "A", "stars": 7}}
    _store_and_show(engine, ("/a/b", "2.0", body(**info)), ("/a/b", "1.0", body(n=1)), ("/a/b", "2.1rc1", body(n=2)))
    library = engine.folder.documentation / "+a+b"
    assert (library / "latest").readlink() == Path("2.0")
    told = json.loads((library / "metadata.json").read_bytes())
    assert (told["library_id"], told["latest_version"], told["total_versions"], told["name"]) == ("/a/b", "2.0", 3, "A")
    assert told["star_count"] == 7
    _store_and_show(engine, ("/a/b", "2.1", body(n=3)))
    assert (library / "latest").readlink() == Path("2.1")


def test_catching_up_writes_behind_everybody_and_a_store_that_shows_does_not(engine: Engine) -> None:
    niceness: dict[str, set[int]] = {}

    def note(step: str) -> None:
        niceness.setdefault(step, set()).add(os.getpriority(os.PRIO_PROCESS, threading.get_native_id()))

    own = os.getpriority(os.PRIO_PROCESS, 0)
    engine.store([document("/a/b", "1.0", body(n=1))])
    with observed(note):
        engine.tree.catch_up()
    assert niceness["generation: write"] == {max(own, NICENESS)}
    assert niceness["generation: rename"] == niceness["tree: commit"] == {own}
    niceness.clear()
    receipts = engine.store([document("/a/b", "2.0", body(n=2))])
    with observed(note):
        engine.show(receipts)
    assert niceness["generation: write"] == {own}


def test_odd_ids_stay_inside_and_apart(engine: Engine) -> None:
    ids = [
        "/a/b",
        "/A/b",
        "a_b",
        "+a+b",
        "/x/文档",
        "...",
        ".hidden",
        "metadata.json",
        "latest",
        "x" * 1000,
        "%2f",
        "a\\b",
        "-rf",
        "a b",
    ]
    _store_and_show(engine, *((one, one if one != "latest" else "l", body(id=one)) for one in ids))
    folders = list(engine.folder.documentation.iterdir())
    assert len(folders) == len(ids)
    for one in ids:
        version = one if one != "latest" else "l"
        folder = _folder(engine, one, version)
        assert folder.parent.parent == engine.folder.documentation
        assert gzip.decompress((folder / "documentation.json.gz").read_bytes()) == body(id=one)
        assert json.loads((folder / "metadata.json").read_bytes())["library_id"] == one, "the way back from a shortened name"
    longest = max(len(path.name) for path in engine.folder.documentation.rglob("*"))
    assert MAX_COMPONENT_BYTES < longest <= 255
    check_promises(engine)


def test_a_reader_sees_the_old_or_the_new_and_never_a_mix(engine: Engine) -> None:
    _store_and_show(engine, ("/a/b", "1.0", body(n=0)))
    folder, faulty, seen, stop = _folder(engine, "/a/b"), [], set(), threading.Event()

    def read() -> None:
        while not stop.is_set():
            generation = folder.resolve(strict=True)  # as the architecture asks of readers of two files
            data = (generation / "documentation.json.gz").read_bytes()
            if hashlib.sha256(data).hexdigest() != (generation / "checksum.sha256").read_text().split()[0]:
                faulty.append(data)
            seen.add(json.loads(gzip.decompress((folder / "documentation.json.gz").read_bytes()))["n"])

    reader = threading.Thread(target=read)
    reader.start()
    try:
        for number in range(1, 40):
            _store_and_show(engine, ("/a/b", "1.0", body(n=number)))
    finally:
        stop.set()
        reader.join()
    assert not faulty
    assert len(seen) > 3, "the reader hardly ran"


def test_the_latest_mode_shows_the_latest_only(open_engine: OpenEngine) -> None:
    engine = open_engine(tree="latest").create()
    library = engine.folder.documentation / "+a+b"
    expected = {"1.0": {"1.0"}, "3.0": {"3.0"}, "2.0": {"3.0"}, "3.1": {"3.1"}}
    for version, names in expected.items():
        _store_and_show(engine, ("/a/b", version, body(version=version)))
        assert _names(library) == names | {"latest"}
        assert (library / "latest").resolve(strict=True) == (library / next(iter(names))).resolve(strict=True)
        assert engine.tree.lag() == 0
    assert engine.verify().findings == []
    engine.store([document("/a/b", "3.1", body(sunk=True), sort_as="0.1")])
    engine.tree.catch_up()
    assert _names(library) == {"3.0", "latest"}, "the version that became the latest again is shown again"
    assert engine.verify().findings == []


def test_no_tree_is_none(open_engine: OpenEngine) -> None:
    engine = open_engine(tree="none").create()
    receipts = engine.store([document("/a/b", "1.0", body(n=1))])
    engine.show(receipts)
    assert engine.tree.catch_up() == engine.tree.lag() == 0
    assert list(engine.folder.documentation.iterdir()) == []
    assert engine.verify().findings == []


def test_a_stored_document_is_shown_before_its_turn(engine: Engine) -> None:
    engine.store([document("/first", "1.0", body(n=1))])
    receipts = engine.store([document("/second", "1.0", body(n=2))])
    engine.show(receipts)
    assert set(shown(engine)) == {"+second/1.0/documentation.json.gz", "+second/latest/documentation.json.gz"}
    assert engine.tree.lag() == 1
    assert engine.tree.catch_up() == 1
    assert engine.tree.lag() == 0


def test_what_is_switched_is_durable_before_the_catalogue_says_so(engine: Engine) -> None:
    engine.store([document("/a/b", "1.0", body(n=1))])
    steps = steps_of(engine.tree.catch_up)
    assert steps.index("tree: sync") < steps.index("generation: rename") < steps.index("tree link: rename")
    assert max(at for at, name in enumerate(steps) if name == "tree link: rename") < steps.index("tree: fsync folder")
    assert max(at for at, name in enumerate(steps) if name == "tree: fsync folder") < steps.index("tree: commit")


def test_a_damaged_document_does_not_keep_the_others_from_being_shown(engine: Engine) -> None:
    engine.store([document("/bad", "1.0", body(n=1)), document("/good", "1.0", body(n=2))])
    engine.store([document("/late", "1.0", body(n=3))])
    segment = engine.folder.segment(engine.find("/bad").place.segment_sha256)
    segment.write_bytes(b"\0" + segment.read_bytes()[1:])
    assert engine.tree.catch_up() == 2
    assert engine.tree.lag() == 1
    assert {path.split("/")[0] for path in shown(engine)} == {"+good", "+late"}
    assert unfinished(engine) == []


def test_a_superseded_revision_is_not_switched_back_by_whoever_read_it_before(engine: Engine) -> None:
    engine.store([document("/a/b", "1.0", body(n=1))])
    before = engine.versions()
    _store_and_show(engine, ("/a/b", "1.0", body(n=2)))
    engine.tree.show(before)
    assert gzip.decompress((_folder(engine, "/a/b") / "documentation.json.gz").read_bytes()) == body(n=2)
    assert unfinished(engine) == []


def test_a_tree_that_fails_leaves_nothing_and_is_caught_up_later(engine: Engine) -> None:
    engine.store([document("/a/b", version, body(v=version)) for version in ("1.0", "2.0")])
    failed = 0
    for number in range(1, 100):
        with faults(number, 28) as injected:
            try:
                engine.tree.catch_up()
            except StorageError as error:
                failed += error.retryable
        assert unfinished(engine) == []
        if not injected.fired:
            break
    assert failed > 5
    check_promises(engine)
    assert engine.tree.lag() == 0


def _is_locked(path: Path) -> bool:
    with path.open() as file:
        try:
            fcntl.flock(file, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except BlockingIOError:
            return True
    return False


def test_one_process_at_a_time_switches_links(engine: Engine) -> None:
    engine.store([document("/a/b", "1.0", body(n=1))])
    switching = {"generation: rename", "tree link: rename", "tree file: rename"}
    locked: list[tuple[str, bool]] = []

    def look(step: str) -> None:
        if step in switching:
            locked.append((step, _is_locked(engine.folder.metadata / "tree.switch.lock")))

    with observed(look):
        engine.show(engine.store([document("/a/b", "2.0", body(n=2))]))
    assert {step for step, _ in locked} == switching
    assert all(held for _, held in locked)
    assert not _is_locked(engine.folder.metadata / "tree.switch.lock")


def _in_processes(count: int, work: Callable[[int], object]) -> None:
    children = [start_child(lambda number=number: work(number)) for number in range(count)]  # type: ignore[misc]
    assert [wait_for(child) for child in children] == [0] * count


def test_processes_that_store_and_show_at_once_leave_a_true_tree(data: Path) -> None:
    def store(number: int) -> None:
        with Engine(data, OPTIONS).open() as engine:
            for turn in range(8):
                receipts = engine.store([document("/one", "1.0", body(by=number, turn=turn))])
                engine.show(receipts)
                engine.store([document(f"/many/{number}", str(turn), body(by=number, turn=turn, more=1))])
                engine.tree.catch_up()

    _in_processes(3, store)
    with Engine(data, OPTIONS).open() as engine:
        engine.tree.catch_up()
        check_promises(engine)
        assert len(engine.versions()) == 25
        assert gzip.decompress((_folder(engine, "/one") / "documentation.json.gz").read_bytes()) == engine.read("/one")
        assert unfinished(engine) == []


def test_a_generation_that_was_left_behind_is_never_shown(engine: Engine) -> None:
    _store_and_show(engine, ("/a/b", "1.0", body(n=1)))
    generations = engine.folder.documentation / encode_component("/a/b") / ".generations"
    left = generations / "1.0.2.0000000000000000"
    left.mkdir()
    (left / "documentation.json.gz").write_bytes(b"half")
    _store_and_show(engine, ("/a/b", "1.0", body(n=2)))
    assert os.listdir(left) == ["documentation.json.gz"]
    check_promises(engine)
