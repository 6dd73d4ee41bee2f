"""Settings: read from the environment; what cannot be used is named, and its value, which may be a secret, is not."""

from __future__ import annotations

from pathlib import Path

import pytest

from config.settings import read_settings
from strongroom.errors import ConfigurationError


def test_the_environment_is_read_and_a_folder_that_is_named_goes_before_it(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("STRONGROOM_DATA_DIR", "/one")
    monkeypatch.setenv("STRONGROOM_TREE", "latest")
    assert (read_settings().data_dir, read_settings().tree) == (Path("/one"), "latest")
    assert read_settings(Path("/two")).data_dir == Path("/two")


def test_settings_that_cannot_be_used_are_all_named_but_not_their_values(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("STRONGROOM_TREE", "secret-1")
    monkeypatch.setenv("STRONGROOM_SHORT_CONCURRENCY", "secret-2")
    with pytest.raises(ConfigurationError) as caught:
        read_settings()
    assert "STRONGROOM_TREE: Input should be 'all', 'latest' or 'none'" in caught.value.message
    assert "STRONGROOM_SHORT_CONCURRENCY" in caught.value.message
    assert "secret" not in caught.value.message
    assert "settings.md" in caught.value.hint


@pytest.mark.parametrize(
    ("said", "told"),
    [
        ("secret", "STRONGROOM_KIND_LIMITS: it is no JSON."),
        ('{"verify": 0}', "STRONGROOM_KIND_LIMITS: verify: Input should be greater than or equal to 1."),
        ('{"verify": "secret"}', "STRONGROOM_KIND_LIMITS: verify: Input should be a valid integer, unable to parse string"),
        ("[]", "STRONGROOM_KIND_LIMITS: Input should be a valid dictionary."),
    ],
)
def test_a_setting_of_several_values_is_named_and_what_is_wrong_inside(
    monkeypatch: pytest.MonkeyPatch, said: str, told: str
) -> None:
    monkeypatch.setenv("STRONGROOM_KIND_LIMITS", said)
    with pytest.raises(ConfigurationError) as caught:
        read_settings()
    assert caught.value.message.startswith(told)
    assert "secret" not in caught.value.message


@pytest.mark.parametrize(
    ("name", "said"),
    [("SWEEP_MB_S", "inf"), ("RETENTION", '{"*": {"keep_last": NaN}}'), ("BACKUP_RETENTION", '{"daily": Infinity}')],
)
def test_what_is_no_number_is_refused_since_the_schedules_of_a_service_on_postgresql_would_stop(
    monkeypatch: pytest.MonkeyPatch, name: str, said: str
) -> None:
    """The arguments of a schedule are kept as JSON, which has neither."""
    monkeypatch.setenv(f"STRONGROOM_{name}", said)
    with pytest.raises(ConfigurationError, match=f"STRONGROOM_{name}: .*finite number"):
        read_settings()
