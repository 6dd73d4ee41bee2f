"""storage/salvage.py: index and catalogue are lost, and the bytes and whatever else remembers bring back what they can."""

from __future__ import annotations

import errno
import hashlib
import shutil
from contextlib import suppress
from datetime import UTC, datetime
from pathlib import Path

import orjson
import pytest

from storage.compress import Compress
from storage.cutting import cut_up
from storage.documents import Limits
from storage.engine import Engine
from storage.index import read_index
from storage.rebuild import Rebuilt
from strongroom.errors import DataFolderError, IntegrityError, StorageError, TransientIO
from tests.conftest import OpenEngine
from tests.storage.test_rebuild import differences, lose, rebuilt, tables
from tests.support.alike import text as text_of
from tests.support.archive import body, check_promises, document, large_body, view
from tests.support.crash import crash_at, die_at, steps_of
from tests.support.faults import bad_sectors, faults
from tests.support.thorough import stride

DOCUMENTS = [
    document("/a/b", "1.0", body(n=1, library_id="/a/b", version="1.0"), source="https://a.example", metadata={"x": [1]}),
    document("/a/b", "2.0", body(n=2)),
    document("/c", "1", body(library_info={"library_id": "/c", "version_id": "1", "name": "see"})),
]


def without_indexes(engine: Engine, *, tree: bool = True) -> None:
    for path in engine.folder.segments.glob("??/*.index"):
        path.unlink()
    if not tree:
        shutil.rmtree(engine.folder.documentation)
        engine.folder.documentation.mkdir()


def again(engine: Engine) -> tuple[Engine, list[str], Rebuilt]:
    result = rebuilt(engine)
    return Engine(engine.folder.root, engine.options).open(), sorted(one.code for one in result.findings), result


@pytest.mark.parametrize("codec", ["gzip-fast", "zstd"])
def test_a_segment_is_cut_where_its_objects_were_joined(open_engine: OpenEngine, codec: str) -> None:
    engine = open_engine(codec=codec).create()
    engine.store(DOCUMENTS)
    name = engine.find("/c").place.segment_sha256
    told = read_index(engine.folder.index(name)).places
    found = cut_up(engine.folder.segment(name), name, Limits())
    assert tuple(cut.place for cut in found.cuts) == told
    assert found.left_bytes == 0
    assert {cut.identity.library_id for cut in found.cuts} == {"/a/b", "/c", None}


@pytest.mark.parametrize("codec", ["gzip-fast", "none"])
def test_a_large_document_is_cut_with_its_blocks(open_engine: OpenEngine, codec: str) -> None:
    engine = open_engine(codec=codec, limits=Limits(whole_bytes=4096)).create()
    engine.store([document("/large", "1", large_body(3 << 20))])
    name = engine.find("/large").place.segment_sha256
    (cut,) = cut_up(engine.folder.segment(name), name, Limits()).cuts
    assert (cut.place,) == read_index(engine.folder.index(name)).places
    assert cut.place.blocks is not None


def test_what_the_tree_shows_comes_back_as_it_was(engine: Engine) -> None:
    engine.store(DOCUMENTS)
    engine.tree.catch_up()
    before = tables(engine)
    without_indexes(engine)
    later, codes, result = again(engine)
    with later:
        assert (codes, result.lacking) == (["index_made_anew"], False)
        assert differences(before, tables(later)) == []
        check_promises(later)
        lose(later.folder.root)
    later, codes, _ = again(later)
    with later:
        assert codes == [], "the new index is there"
        assert differences(before, tables(later)) == []


def test_an_index_on_bad_sectors_is_named_and_moved_away_by_a_person(engine: Engine, scratch: Path) -> None:
    engine.store(DOCUMENTS)
    engine.tree.catch_up()
    before = tables(engine)
    (index,) = engine.folder.segments.glob("??/*.index")
    with bad_sectors(index), pytest.raises(TransientIO, match=f"{index.name}: cannot read an index") as refused:
        rebuilt(engine)
    assert "move that file away" in str(refused.value.hint)
    assert index.exists(), "it is left alone"
    index.rename(scratch / index.name)
    later, codes, _ = again(engine)
    with later:
        assert codes == ["index_made_anew"]
        assert differences(before, tables(later)) == []


def test_without_a_tree_the_documents_say_which_versions_they_are(engine: Engine) -> None:
    engine.store(DOCUMENTS)
    without_indexes(engine, tree=False)
    later, codes, result = again(engine)
    with later:
        assert later.read("/a/b", "1.0") == body(n=1, library_id="/a/b", version="1.0")
        assert [(one.library_id, one.version) for one in later.versions()] == [("/a/b", "1.0"), ("/c", "1")]
        assert [one.facts["name"] for one in later.libraries() if one.library_id == "/c"] == ["see"]
        assert codes == ["index_missing"], "one document does not say it"
        assert result.lacking
        assert "which versions 1 of them are" in result.findings[0].message
        assert [path.name for path in later.folder.quarantine.glob("*.json")], "its bytes have a second name"
        check_promises(later)


@pytest.mark.parametrize("wrong", [{"metadata": [1]}, {"library_id": 5}, {"version": "a\nb"}, {"content_sha256": "?"}], ids=str)
def test_a_tree_that_says_what_cannot_be_stops_no_rebuild(engine: Engine, wrong: dict[str, object]) -> None:
    engine.store(DOCUMENTS)
    engine.tree.catch_up()
    path = next(engine.folder.documentation.glob("+c/*/*/metadata.json"))
    path.write_bytes(orjson.dumps({**orjson.loads(path.read_bytes()), **wrong}))
    without_indexes(engine)
    later, codes, _ = again(engine)
    with later:
        assert codes == ["index_made_anew"]
        assert [one.version for one in later.versions("/c")] == ["1"], "its document says so"


def test_what_nobody_names_is_kept_though_the_rebuild_dies_when_its_index_is_there(engine: Engine) -> None:
    engine.store(DOCUMENTS)
    without_indexes(engine, tree=False)
    with crash_at("index: fsync folder"):
        rebuilt(engine)
    again(engine)[0].close()
    kept = {path.name[:64] for path in engine.folder.quarantine.glob("*.2*")}
    assert kept == {path.name for path in engine.folder.segments.glob("??/*") if not path.suffix}


def test_where_files_cannot_be_linked_what_is_named_stays_readable(engine: Engine) -> None:
    engine.store(DOCUMENTS)
    without_indexes(engine, tree=False)
    with faults() as counted:
        rebuilt(engine)
    for path in [*engine.folder.quarantine.iterdir(), *engine.folder.segments.glob("??/*.index")]:
        path.unlink()
    with faults(counted.calls.index("link") + 1, errno.EPERM) as refused:
        later, codes, _ = again(engine)
    assert refused.fired
    with later:
        assert codes == ["index_missing"]
        assert later.read("/c", "1") == body(library_info={"library_id": "/c", "version_id": "1", "name": "see"})
        assert [path for path in later.folder.quarantine.glob("*.2*") if path.suffix != ".json"]


def test_a_document_is_not_believed_where_anything_else_tells_of_its_version(engine: Engine) -> None:
    engine.store([document("/a/b", "1.0", body(n=1, library_id="/a/b", version="1.0"))])
    old = engine.folder.index(engine.find("/a/b").place.segment_sha256)
    engine.store([document("/a/b", "1.0", body(n=2))])
    old.unlink()
    shutil.rmtree(engine.folder.documentation)
    engine.folder.documentation.mkdir()
    later, codes, _ = again(engine)
    with later:
        assert later.read("/a/b", "1.0") == body(n=2), "the one is older, and nobody could know"
        assert codes == ["index_missing"]


def test_what_was_compressed_is_named_and_repaired_from_the_trash(open_engine: OpenEngine) -> None:
    """The frames refer to others, and do not say to which: nothing can be cut out of them."""
    engine = open_engine(tree="none").create()
    engine.store([document("/a", f"{number}", text_of(1, range(number))) for number in range(1, 4)])
    Compress(engine.folder, engine.database, engine.tree, "none", "gzip").run(datetime.now(UTC))
    engine.folder.index(engine.find("/a", "1").place.segment_sha256).unlink()
    later, codes, result = again(engine)
    with later:
        assert codes == ["index_missing", "row_without_bytes", "row_without_bytes"]
        assert sorted(one.path for one in result.findings if one.code == "row_without_bytes") == ["/a 1", "/a 2"]
        assert later.read("/a", "3") == text_of(1, range(3))
        receipt = later.repair.verify()
        assert sorted((one.version, one.source[:5]) for one in receipt.repaired) == [("1", "trash"), ("2", "trash")]
        assert [later.read("/a", f"{number}") for number in range(1, 4)] == [text_of(1, range(n)) for n in range(1, 4)]


def test_nothing_is_taken_from_a_segment_that_does_not_hash_to_its_name(engine: Engine) -> None:
    engine.store(DOCUMENTS)
    path = engine.folder.segment(engine.find("/c").place.segment_sha256)
    data = path.read_bytes()
    path.write_bytes(data[:-1] + bytes([data[-1] ^ 1]))
    without_indexes(engine, tree=False)
    with pytest.raises(IntegrityError):
        cut_up(path, path.name, Limits())
    later, codes, _ = again(engine)
    with later:
        assert codes == ["index_missing"]
        assert list(later.versions()) == []


def test_an_index_of_a_later_format_is_told_and_left_alone(engine: Engine) -> None:
    engine.store(DOCUMENTS)
    path = engine.folder.index(engine.find("/c").place.segment_sha256)
    whole = path.read_bytes()
    body = whole[: whole.rfind(b"\n", 0, -1) + 1].replace(b'"strongroom_index":1', b'"strongroom_index":2')
    path.write_bytes(body + b'{"index_sha256":"%s"}\n' % hashlib.sha256(body).hexdigest().encode())
    written = path.read_bytes()
    later, codes, result = again(engine)
    with later:
        assert codes == ["index_damaged"]
        assert "which this release cannot read" in result.findings[0].message
        assert path.read_bytes() == written


def test_a_rebuild_that_dies_anywhere_goes_on_when_it_runs_again(engine: Engine) -> None:
    engine.store(DOCUMENTS)
    engine.tree.catch_up()
    before = view(engine)
    engine.close()
    copy = Path(shutil.copytree(engine.folder.root, engine.folder.root.with_name("copy"), symlinks=True))

    def prepare() -> Engine:
        shutil.rmtree(engine.folder.root)
        shutil.copytree(copy, engine.folder.root, symlinks=True)
        without_indexes(engine)
        return Engine(engine.folder.root)

    prepare()
    steps = steps_of(lambda: rebuilt(engine))
    mine = {step: number for number, step in enumerate(steps, 1) if step.startswith(("index", "quarantine", "rebuild"))}
    assert len(mine) >= 4
    for number in mine.values():
        prepare()
        die_at(number, lambda: rebuilt(engine))
        again(engine)[0].close()
        with Engine(engine.folder.root, engine.options).open() as later:
            assert view(later) == before
            check_promises(later)


@pytest.mark.parametrize("code", [errno.ENOSPC, errno.EIO], ids=errno.errorcode.get)
def test_a_call_that_fails_anywhere_is_told_and_the_next_rebuild_does_it(engine: Engine, code: int) -> None:
    engine.store(DOCUMENTS)
    engine.tree.catch_up()
    before = view(engine)
    number, fired = 1, True
    while fired:
        without_indexes(engine)
        with faults(number, code) as injected, suppress(StorageError):
            rebuilt(engine)
        fired = injected.fired
        if number > 1:
            with Engine(engine.folder.root, engine.options) as later, suppress(DataFolderError):
                later.open()
                assert view(later) == before
        number += stride(7)
    assert number > 20, "hardly anything was made to fail"
    later, _, _ = again(engine)
    with later:
        assert view(later) == before
        check_promises(later)
