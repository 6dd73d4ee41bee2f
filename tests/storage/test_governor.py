"""storage/governor.py: what may begin, and how much stays free."""

from __future__ import annotations

from pathlib import Path

import pytest

from storage.governor import RESERVE_AT_MOST, Governor, Space, space_of
from strongroom.errors import NotEnoughSpace

HERE = Path()


def _governor(free_bytes: int, total_bytes: int = 1 << 50, reserve_bytes: int | None = 0) -> Governor:
    return Governor(HERE, reserve_bytes, lambda _path: Space(total_bytes, free_bytes))


def test_a_job_is_let_in_when_its_need_is_free_above_reserve_and_promises() -> None:
    _governor(1000, reserve_bytes=300).admit(500, promised_bytes=200)
    with pytest.raises(NotEnoughSpace) as refused:
        _governor(1000, reserve_bytes=300).admit(501, promised_bytes=200)
    assert str(refused.value) == "It needs 501 B, and 700 B are free above the reserve, of which running jobs may need 200 B."
    assert refused.value.context == {"needs_bytes": 501, "room_bytes": 500}
    assert "strongroom cleanup" in refused.value.hint


def test_what_needs_nothing_is_always_let_in() -> None:
    _governor(0, reserve_bytes=1000).admit(0)
    with pytest.raises(NotEnoughSpace, match=r"the reserve itself lacks 1\.0 kB"):
        _governor(0, reserve_bytes=1000).admit(1)


def test_the_reserve_is_a_fiftieth_of_a_small_disk_and_one_gibibyte_of_a_large_one() -> None:
    assert _governor(0, 50_000, None).reserve_bytes(Space(50_000, 0)) == 1000
    assert _governor(0, 1 << 50, None).reserve_bytes(Space(1 << 50, 0)) == RESERVE_AT_MOST


def test_of_several_that_wait_those_are_let_in_that_fit_beside_those_before_them() -> None:
    assert _governor(100).fitting([60, 50, 30, 20, 0], promised_bytes=5) == [True, False, True, False, True]
    assert _governor(100).fitting([1, 0], promised_bytes=500) == [False, True]


def test_the_operating_system_says_what_is_free(tmp_path: Path) -> None:
    space = space_of(tmp_path)
    assert 0 < space.free_bytes <= space.total_bytes
