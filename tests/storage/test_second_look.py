"""storage/second_look.py: what was found and is mended since is over, what lasts stays, and nothing new is found."""

from __future__ import annotations

from datetime import UTC, datetime
from pathlib import Path

from models.findings import open_findings
from storage.engine import Engine
from storage.second_look import look_again
from tests.conftest import OpenEngine
from tests.support.archive import body, document

NOW = datetime(2027, 1, 1, tzinfo=UTC)


def flip(path: Path, at: int = -1) -> bytes:
    whole = path.read_bytes()
    data = bytearray(whole)
    data[at] ^= 1
    path.write_bytes(data)
    return whole


def codes(engine: Engine) -> list[str]:
    with engine.database.read() as connection:
        return sorted(one.code for one in open_findings(connection))


def test_a_finding_is_over_when_a_read_has_repaired_it(open_engine: OpenEngine) -> None:
    engine = open_engine(tree="all").create()
    engine.store([document("/a/b", "1.0", body(n=1)), document("/a/b", "2.0", body(n=2))])  # the tree has copies of these
    engine.tree.catch_up()
    place = engine.find("/a/b", "1.0").place
    flip(engine.folder.segment(place.segment_sha256), place.offset)
    engine.verify()
    assert codes(engine) == ["damaged"]
    assert look_again(engine.folder, engine.database, "all", NOW) == 0
    assert codes(engine) == ["damaged"]
    engine.read("/a/b", "1.0")
    assert codes(engine) == ["damaged"]
    assert look_again(engine.folder, engine.database, "all", NOW) == 1
    assert codes(engine) == []


def test_what_a_person_has_put_right_is_over_and_the_rest_stays(open_engine: OpenEngine) -> None:
    engine = open_engine(tree="all", mend_reads=False).create()
    engine.store([document("/a/b", "1.0", body(n=1))])
    engine.store([document("/c/d", "1.0", body(n=2))])
    engine.tree.catch_up()
    segment = engine.folder.segment(engine.find("/a/b", "1.0").place.segment_sha256)
    index, shown = engine.folder.index(segment.name), engine.folder.root / engine.find("/c/d", "1.0").file_path
    whole = {path: flip(path) for path in (segment, index, shown.parent / "checksum.sha256")}
    engine.verify()
    before = codes(engine)
    assert before[0] == "damaged"
    assert {"index_damaged", "tree_damaged"} <= set(before)
    for path, code in ((index, "index_damaged"), (shown.parent / "checksum.sha256", "tree_damaged"), (segment, "damaged")):
        assert code in codes(engine)
        path.write_bytes(whole[path])
        look_again(engine.folder, engine.database, "all", NOW)
        assert code not in codes(engine)
    assert codes(engine) == []
