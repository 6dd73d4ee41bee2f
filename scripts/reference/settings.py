"""The settings page and .env.example, from config/settings.py."""

from __future__ import annotations

import re
import textwrap
from pathlib import Path
from typing import Literal, get_args, get_origin

from annotated_types import Ge, Le
from pydantic import SecretStr
from pydantic.fields import FieldInfo

from config.settings import Settings
from scripts.reference.markdown import MADE, code, table

_COMPOSE = Path(__file__).resolve().parents[2] / "docker-compose.yml"

_INTRODUCTION = """\
# Settings

Every setting is an environment variable. The service reads them once, when it starts; a command reads them when it is called.
`--data` goes before `STRONGROOM_DATA_DIR`. A value that cannot be is refused at the start, with the name of the setting.
[Settings by environment](../how-to/settings.md) shows how to set them; [.env.example](../../.env.example) lists them as a file.

"""


def page() -> str:
    """Return docs/reference/settings.md."""
    rows = [
        (code(_variable(name)), _accepts(field), code(_default(field)) or "none", field.description or "")
        for name, field in Settings.model_fields.items()
    ]
    return MADE + _INTRODUCTION + table(("Variable", "Accepts", "Default", "Meaning"), rows)


def env_example() -> str:
    """Return .env.example: every setting with its default, all commented out."""
    lines = [
        "# Settings of strongroom with their defaults, made by `make docs`. docs/how-to/settings.md tells who reads this.",
        "",
    ]
    for name, field in Settings.model_fields.items():
        lines += [*_comment(field.description or ""), f"#{_variable(name)}={_default(field)}", ""]
    lines += _comment("Read by docker-compose.yml alone: letters and digits only.")
    lines += [f"#{name}=" for name in _compose_variables()]
    return "\n".join(lines) + "\n"


def _variable(name: str) -> str:
    return f"{Settings.model_config['env_prefix']}{name}".upper()


def _default(field: FieldInfo) -> str:
    return "" if field.default is None else str(field.default)


def _accepts(field: FieldInfo) -> str:
    if get_origin(field.annotation) is Literal:
        return ", ".join(code(choice) for choice in get_args(field.annotation))
    if SecretStr in (field.annotation, *get_args(field.annotation)):
        return "text, kept out of logs"
    if field.annotation is int:
        return _range(field)
    return "a folder" if field.annotation is Path else "text"


def _range(field: FieldInfo) -> str:
    low = next(str(limit.ge) for limit in field.metadata if isinstance(limit, Ge))
    high = next((str(limit.le) for limit in field.metadata if isinstance(limit, Le)), None)
    return f"{low} to {high}" if high else f"{low} or more"


def _comment(text: str) -> list[str]:
    return textwrap.wrap(text, 110, initial_indent="# ", subsequent_indent="# ", break_long_words=False)


def _compose_variables() -> list[str]:
    """What the compose file asks for besides the settings."""
    asked = re.findall(r"\$\{(STRONGROOM_\w+)", _COMPOSE.read_text("utf-8"))
    own = {_variable(name) for name in Settings.model_fields}
    return sorted(set(asked) - own)
