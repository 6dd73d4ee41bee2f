"""workers/prepare.py: what is wrong with the settings is said before a service runs."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest

from config.settings import Settings
from strongroom.errors import ConfigurationError
from workers.prepare import prepare


@pytest.mark.parametrize(
    ("policies", "told"),
    [
        ({"*": {"keep_lst": 5}}, "keep_lst"),
        ({"*": {}}, "empty"),
        ({"/a/*": {"within": "soon"}}, "'/a/\\*'.*within"),
        ({"*": "everything"}, "neither"),
    ],
)
def test_a_retention_policy_that_cannot_be_stops_the_start(policies: dict[str, Any], told: str, scratch: Path) -> None:
    with pytest.raises(ConfigurationError, match=told):
        prepare(Settings(data_dir=scratch / "data", retention=policies))
    assert not (scratch / "data").exists()


def test_a_limit_for_a_kind_that_does_not_exist_stops_the_start_and_those_that_do_are_told(scratch: Path) -> None:
    with pytest.raises(ConfigurationError, match="kind verfy") as caught:
        prepare(Settings(data_dir=scratch / "data", kind_limits={"verfy": 1, "backup": 1}))
    assert "store, sweep, verify" in caught.value.hint
    assert not (scratch / "data").exists()


def test_policies_that_can_be_do_not(scratch: Path) -> None:
    prepare(Settings(data_dir=scratch / "data", retention={"*": {"keep_last": 5}, "/legal/*": "all"}))
    assert (scratch / "data" / "strongroom.json").exists()
