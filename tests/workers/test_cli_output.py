"""workers/cli/output.py: how commands speak."""

from __future__ import annotations

from io import StringIO

import pytest
from rich.console import Console
from rich.table import Table

from strongroom.errors import ConfigurationError
from workers.cli.output import counted, fold, settings_of, size


def test_a_setting_that_cannot_be_is_named_and_its_value_is_not_shown(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("STRONGROOM_CODEC", "hunter2")
    with pytest.raises(ConfigurationError, match="STRONGROOM_CODEC") as caught:
        settings_of(None)
    assert "hunter2" not in str(caught.value)
    assert caught.value.__cause__ is None


@pytest.mark.parametrize(("count", "text"), [(0, "0 versions"), (1, "1 version"), (1200, "1,200 versions")])
def test_counts_agree_with_their_noun(count: int, text: str) -> None:
    assert counted(count, "version") == text


@pytest.mark.parametrize(
    ("count", "text"), [(0, "0 B"), (999, "999 B"), (1000, "1.0 kB"), (71_605_276, "71.6 MB"), (2.5e15, "2500.0 TB")]
)
def test_sizes_are_rounded_to_a_unit(count: float, text: str) -> None:
    assert size(count) == text


def test_a_name_is_folded_on_a_narrow_terminal_and_nothing_of_it_vanishes() -> None:
    name = "/an-owner/with-a-name-that-is-longer-than-the-terminal"
    table = fold(Table("library", "version"), 0)
    table.add_row(name, "1.0")
    screen = Console(file=StringIO(), width=30)
    screen.print(table)
    lines = screen.file.getvalue().splitlines()  # type: ignore[attr-defined] # it is the StringIO
    assert name == "".join(line.split("│")[1].strip() for line in lines if "│" in line)
