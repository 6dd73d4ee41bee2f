"""storage/harm.py: damage is told of every version that it keeps from being read, through references too."""

from __future__ import annotations

import hashlib
import shutil
from dataclasses import replace
from datetime import UTC, datetime
from functools import partial
from pathlib import Path

import pytest

from models.commit import add_segment
from storage.encodings import Plain, encode_alone, encode_with
from storage.engine import Engine, Options
from storage.fetches import Fetches
from storage.harm import BASE_DAMAGED
from storage.segments import SegmentWriter
from strongroom.errors import IntegrityError
from tests.conftest import OpenEngine
from tests.storage.test_compress import compress, places
from tests.support.alike import store_versions, text
from tests.support.archive import check_promises, document

WHOLE = {f"{number}.0": text(1, range(number - 1)) for number in range(1, 6)}


@pytest.fixture
def chain(open_engine: OpenEngine) -> Engine:
    """Five versions; all but the newest refer to a newer one."""
    engine = open_engine(tree="none").create()
    store_versions(engine, "/a/b", 5)
    store_versions(engine, "/c/d", 2, seed=2)
    compress(engine)
    shutil.rmtree(engine.folder.trash)  # else the old encodings are sources of a repair
    engine.folder.trash.mkdir()
    return engine


def _damage_newest(engine: Engine) -> Path:
    segment = engine.folder.segment(places(engine, "/a/b")["5.0"].segment_sha256)
    data = bytearray(segment.read_bytes())
    data[len(data) // 2] ^= 1
    segment.write_bytes(bytes(data))
    return segment


def _codes(engine: Engine, *subject: str) -> dict[tuple[str, str], str]:
    return {(one.library_id, one.version): one.code for one in engine.verify(*subject).damaged}


def test_a_damaged_base_is_told_of_every_version_that_needs_it(chain: Engine) -> None:
    segment = _damage_newest(chain)
    older = {("/a/b", f"{number}.0"): "reference_damaged" for number in range(1, 5)}
    assert _codes(chain) == {("/a/b", "5.0"): "damaged", **older}
    assert _codes(chain, "/a/b") == {("/a/b", "5.0"): "damaged", **older}
    assert _codes(chain, "/a/b", "1.0") == {("/a/b", "1.0"): "reference_damaged"}
    assert _codes(chain, "/c/d") == {}
    assert {Path(one.segment).name for one in chain.verify().damaged} == {segment.name}, "where the damage is"
    with pytest.raises(IntegrityError):
        chain.read("/a/b", "1.0")


def test_what_was_written_anew_and_refers_to_nothing_is_not_hurt_by_what_it_referred_to(chain: Engine) -> None:
    first = Plain(places(chain, "/a/b")["1.0"].content_sha256, WHOLE["1.0"])
    writer = SegmentWriter(chain.folder)
    writer.append(encode_alone(first, "gzip"))
    with chain.database.write("test") as connection:
        add_segment(connection, writer.finish([]).segment, datetime.now(UTC))
    _damage_newest(chain)
    assert {version for _, version in _codes(chain)} == {"2.0", "3.0", "4.0", "5.0"}
    assert chain.read("/a/b", "1.0") == WHOLE["1.0"]


def test_a_base_that_is_nowhere_is_told_of_what_refers_to_it(chain: Engine) -> None:
    base = places(chain, "/a/b")["5.0"]
    with chain.database.write() as connection:
        connection.exec_driver_sql(f"DELETE FROM object WHERE content_sha256 = '{base.content_sha256}'")
    found = _codes(chain)
    assert set(found.values()) == {"reference_missing"}
    assert set(found) == {("/a/b", f"{number}.0") for number in range(1, 5)}
    assert _codes(chain, "/a/b", "1.0") == {("/a/b", "1.0"): "reference_missing"}


def test_when_the_base_is_repaired_so_is_what_needs_it(chain: Engine) -> None:
    whole = {place.content_sha256: WHOLE[version] for version, place in places(chain, "/a/b").items()}
    root = chain.folder.root
    chain.close()
    fetches = Fetches(producer=lambda wanted: iter([whole[wanted.content_sha256]]))
    with Engine(root, replace(Options(tree="none"), fetches=fetches)).open() as engine:
        _damage_newest(engine)
        receipt = engine.verify_and_repair()
        assert receipt.damaged == []
        told = {one.version: (one.code, one.source) for one in receipt.repaired}
        assert told.pop("5.0") == ("damaged", "producer")
        assert told == {f"{number}.0": ("reference_damaged", "what it refers to") for number in range(1, 5)}
        assert {version: engine.read("/a/b", version) for version in WHOLE} == WHOLE
        check_promises(engine)


def test_a_circle_is_told_and_a_repair_leads_out_of_it(open_engine: OpenEngine) -> None:
    engine = open_engine(tree="none").create()
    bodies = [text(1, range(count)) for count in range(3)]
    engine.store([document("/a", f"{number}", data) for number, data in enumerate(bodies)])
    first, second, third = (Plain(hashlib.sha256(data).hexdigest(), data) for data in bodies)
    for one, base in ((first, second), (second, third), (third, second)):  # the second has other places, older ones
        writer = SegmentWriter(engine.folder)
        writer.append(encode_with(one, base))
        with engine.database.write("test") as connection:
            add_segment(connection, writer.finish([]).segment, datetime.now(UTC))
    for reader in (partial(engine.read, "/a", "0"), partial(engine.read, "/a", "2")):
        with pytest.raises(IntegrityError, match="refer to too much"):
            reader()
    damaged = engine.verify().damaged
    assert {(one.version, one.code) for one in damaged} == {("0", BASE_DAMAGED), ("1", BASE_DAMAGED), ("2", BASE_DAMAGED)}
    receipt = engine.verify_and_repair()
    assert (receipt.damaged, {one.version for one in receipt.repaired}) == ([], {"0", "1", "2"})
    assert [engine.read("/a", f"{number}") for number in range(3)] == bodies
