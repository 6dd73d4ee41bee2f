"""docs/how-to/schedule.md names every schedule, with its setting and its default."""

from __future__ import annotations

import re
from pathlib import Path

from config.schedules import SCHEDULED
from config.settings import Settings

PAGE = Path(__file__).parents[2] / "docs" / "how-to" / "schedule.md"
ROW = re.compile(r"^\| `([a-z-]+)` \|.*\| `(STRONGROOM_SCHEDULE_[A-Z_]+)` \| `([^`]+)` \|$", re.MULTILINE)


def test_the_table_names_every_schedule_with_its_setting_and_default() -> None:
    fields = Settings.model_fields
    wanted = [(one.name, f"STRONGROOM_{one.setting.upper()}", fields[one.setting].default) for one in SCHEDULED]
    assert ROW.findall(PAGE.read_text("utf-8")) == wanted
