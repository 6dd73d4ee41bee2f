"""storage/index.py: what a segment holds, readable without anything else, and no flipped byte goes unnoticed."""

from __future__ import annotations

import hashlib
from dataclasses import replace
from datetime import UTC, datetime
from pathlib import Path

import pytest

from models.rows import Place
from storage.index import Index, VersionRecord, read_index, write_index
from storage.index_files import place_index
from strongroom.errors import IntegrityError, TransientIO
from tests.support.catalogue import digest
from tests.support.faults import bad_sectors, faults

NAME = digest("segment")
PLACES = (
    Place(digest("x"), 1000, "gzip", NAME, 0, 250, digest("stored x")),
    Place(
        digest("y"),
        9_000_000,
        "zstd",
        NAME,
        250,
        2_500_000,
        digest("stored y"),
        b"".join(bytes.fromhex(digest(n)) for n in "123"),
    ),
)
RECORDS = (
    VersionRecord("/a/b", "1.0", digest("x"), datetime(2026, 11, 1, 12, 0, 0, 5, UTC)),
    VersionRecord(
        "/x/文档",
        "2.0",
        digest("y"),
        datetime(2026, 11, 1, tzinfo=UTC),
        sort_as="3.0",
        refuse_other=True,
        source="https://example.org",
        library={"name": "X", "star_count": 5, "trust_score": 9.5},
        details={"any": [1, {"deep": None}]},
    ),
)
WHOLE = Index(NAME, 2_500_250, PLACES, RECORDS, (digest("older"), digest("oldest")), datetime(2026, 11, 1, 13, tzinfo=UTC))


@pytest.fixture
def path(scratch: Path) -> Path:
    path = scratch / f"{NAME}.index"
    path.write_bytes(write_index(WHOLE))
    return path


def test_what_was_written_is_read(path: Path) -> None:
    assert read_index(path) == WHOLE


def test_every_flipped_bit_is_found(path: Path) -> None:
    whole = path.read_bytes()
    for at in range(len(whole)):
        for bit in (0x01, 0x20, 0x80):
            path.write_bytes(whole[:at] + bytes([whole[at] ^ bit]) + whole[at + 1 :])
            with pytest.raises(IntegrityError) as caught:
                read_index(path)
            assert caught.value.context["damage"] == "index_damaged"


def test_an_index_cut_short_or_gone_on_is_found(path: Path) -> None:
    whole = path.read_bytes()
    for wrong in (
        b"",
        b"\n",
        whole[:-1],
        whole[: len(whole) // 2],
        whole.rsplit(b"\n", 2)[0] + b"\n",
        whole + b"\n",
        whole + whole,
    ):
        path.write_bytes(wrong)
        with pytest.raises(IntegrityError):
            read_index(path)


def test_a_missing_index_is_told_from_a_damaged_one(path: Path) -> None:
    path.unlink()
    with pytest.raises(IntegrityError) as caught:
        read_index(path)
    assert caught.value.context["damage"] == "index_missing"


def test_fields_and_lines_of_a_later_release_are_passed_over(path: Path) -> None:
    body = path.read_bytes()[: path.read_bytes().rfind(b"\n", 0, -1) + 1]
    body = body.replace(b'{"version":{', b'{"version":{"later":[1],').replace(b'{"object":{', b'{"object":{"later":[1],')
    body = body.replace(b'{"strongroom_index"', b'{"later":1,"strongroom_index"') + b'{"later":{}}\n'
    path.write_bytes(body + b'{"index_sha256":"%s"}\n' % hashlib.sha256(body).hexdigest().encode())
    assert read_index(path) == WHOLE


def test_another_segments_index_is_refused(path: Path) -> None:
    other = path.with_name(f"{digest('other')}.index")
    path.rename(other)
    with pytest.raises(IntegrityError, match="another segment"):
        read_index(other)


def test_an_index_that_may_be_readable_later_is_not_called_damaged(path: Path) -> None:
    with bad_sectors(path), pytest.raises(TransientIO, match="cannot read an index"):
        read_index(path)
    with bad_sectors(path), pytest.raises(IntegrityError, match="Input/output error"):
        read_index(path, bad_sectors=True)


def test_what_is_no_file_is_a_damaged_index(path: Path) -> None:
    path.unlink()
    path.symlink_to(path)
    with pytest.raises(IntegrityError, match="cannot be read: Too many levels") as caught:
        read_index(path)
    assert caught.value.context["damage"] == "index_damaged"


def test_the_first_index_of_a_name_stays(scratch: Path) -> None:
    target = scratch / f"{NAME}.index"
    assert place_index(scratch / "part", target, WHOLE)
    record = VersionRecord("/other", "1.0", digest("x"), datetime(2026, 11, 2, tzinfo=UTC))
    second = replace(WHOLE, versions=(record,), replaces=())
    assert not place_index(scratch / "part", target, second), "it does not tell of the second's versions"
    assert read_index(target) == WHOLE
    assert [path.name for path in scratch.iterdir()] == [target.name]


def test_what_replaces_other_segments_now_says_so_beside_what_was_told_before(path: Path) -> None:
    later = replace(WHOLE, versions=(), replaces=(digest("other"),), written_at=datetime(2026, 11, 3, tzinfo=UTC))
    assert place_index(path.with_name("part"), path, later)
    told = read_index(path)
    assert told == replace(WHOLE, replaces=(*WHOLE.replaces, digest("other")), written_at=datetime(2026, 11, 3, tzinfo=UTC))


def test_a_damaged_index_is_replaced(path: Path) -> None:
    path.write_bytes(path.read_bytes()[:-20])
    assert place_index(path.with_name("part"), path, WHOLE)
    assert read_index(path) == WHOLE


def test_equal_bytes_cut_into_other_objects_are_both_told(path: Path) -> None:
    place = Place(digest("z"), 2_500_250, "none", NAME, 0, 2_500_250, NAME)
    record = VersionRecord("/z", "1.0", digest("z"), datetime(2026, 11, 2, tzinfo=UTC))
    assert place_index(path.with_name("part"), path, Index(NAME, 2_500_250, (place,), (record,)))
    assert read_index(path) == replace(WHOLE, places=(*PLACES, place), versions=(*RECORDS, record))


def test_a_file_system_without_links_does_as_well(scratch: Path) -> None:
    with faults() as counted:
        place_index(scratch / "counting", scratch / f"{digest('counted')}.index", WHOLE)
    target = scratch / f"{NAME}.index"
    with faults(counted.calls.index("link") + 1, 1) as refused:  # EPERM, as FAT answers
        assert place_index(scratch / "part", target, WHOLE)
    assert refused.fired
    assert read_index(target) == WHOLE
