"""workers/backups.py: from settings to places, and back."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest

from config.settings import Settings
from workers.backups import taken_elsewhere


@pytest.mark.parametrize(
    ("here", "outcome", "said"),
    [
        ({}, {"target": "file:///srv/data/backups"}, None),
        ({"backup_target": "/mnt/b/"}, {"target": "file:///mnt/b"}, None),
        ({"backup_target": "s3://bucket/b/"}, {"target": "s3://bucket/b"}, None),
        (
            {"backup_target": "/mnt/b"},
            {"target": "file:///srv/data/backups"},
            "it is in file:///srv/data/backups, and not in file:///mnt/b",
        ),
        ({"backup_target": "s3://bucket/b"}, {"target": "file:///srv/data/backups"}, "and not in s3://bucket/b"),
        ({"backup_key_file": Path("key")}, {"target": "file:///srv/data/backups"}, "not sealed, though a key is set"),
        ({}, {"target": "file:///srv/data/backups", "sealed": True}, "sealed, and no key is set"),
        ({"backup_target": "/mnt/b"}, {}, None),
    ],
    ids=str,
)
def test_a_backup_that_went_elsewhere_than_the_shell_thinks_is_noticed(
    here: dict[str, Any], outcome: dict[str, Any], said: str | None
) -> None:
    settings = Settings(data_dir=Path("/srv/data"), **here)
    found = taken_elsewhere(settings, {"sealed": False, **outcome})
    assert found is None if said is None else said in str(found)
