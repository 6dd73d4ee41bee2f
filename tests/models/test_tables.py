"""models/tables.py: ids and times."""

from __future__ import annotations

import uuid
from datetime import UTC, datetime

from models.parts import PART, in_parts
from models.tables import new_version_id


def test_a_version_id_is_a_uuid_of_version_7_that_tells_its_time() -> None:
    before = int(datetime.now(UTC).timestamp() * 1000)
    made = uuid.UUID(new_version_id())
    after = int(datetime.now(UTC).timestamp() * 1000)
    assert (made.version, made.variant) == (7, uuid.RFC_4122)
    assert before <= made.int >> 80 <= after


def test_no_two_version_ids_are_equal() -> None:
    assert len({new_version_id() for _ in range(10_000)}) == 10_000


def test_keys_are_cut_into_parts_without_loss() -> None:
    for count in (0, 1, PART - 1, PART, PART + 1, 3 * PART):
        parts = list(in_parts(range(count)))
        assert [key for part in parts for key in part] == list(range(count))
        assert all(0 < len(part) <= PART for part in parts)
