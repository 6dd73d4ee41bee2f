"""The reference pages say what the code says."""

from __future__ import annotations

import ast
import re
import shutil
from pathlib import Path
from typing import Any

import pytest
from celery import Celery
from jsonschema import Draft202012Validator

from config.settings import Settings
from scripts.reference import COMMAND, PAGES, ROOT, stale
from scripts.reference.errors import FOUND, HOMES
from scripts.reference.tasks import MESSAGES
from strongroom.contracts import StoreMessage, parse_message
from strongroom.errors import StorageError
from tests.support.sessions import blocks_of

PACKAGES = ("strongroom", "config", "models", "storage", "tasks", "workers")


@pytest.mark.parametrize("name", PAGES)
def test_a_page_is_what_the_code_makes_of_it(name: str) -> None:
    fresh = name not in stale()
    assert fresh, f"{name} is out of date: run `{COMMAND}`"


def test_a_page_that_was_changed_by_hand_or_is_missing_is_stale(tmp_path: Path) -> None:
    for name in PAGES:
        (tmp_path / name).parent.mkdir(parents=True, exist_ok=True)
        shutil.copy(ROOT / name, tmp_path / name)
    before = stale(tmp_path)
    (tmp_path / "docs/reference/errors.md").unlink()
    (tmp_path / "docs/reference/settings.md").write_text("by hand", "utf-8")
    assert stale(tmp_path).keys() - before.keys() == {"docs/reference/errors.md", "docs/reference/settings.md"} - before.keys()


def defines_an_error(module: Path) -> bool:
    known = {one.__name__ for one in subclasses(StorageError)}
    classes = [node for node in ast.parse(module.read_text("utf-8")).body if isinstance(node, ast.ClassDef)]
    return any(isinstance(base, ast.Name) and base.id in known for one in classes for base in one.bases)


def subclasses(kind: type[StorageError]) -> set[type[StorageError]]:
    return {kind}.union(*(subclasses(child) for child in kind.__subclasses__()))


def test_every_module_that_defines_an_error_is_on_the_page_of_errors() -> None:
    modules = [path for package in PACKAGES for path in (ROOT / package).rglob("*.py") if "demo" not in path.parts]
    homes = {str(path.relative_to(ROOT).with_suffix("")).replace("/", ".") for path in modules if defines_an_error(path)}
    assert homes == set(HOMES)


def test_no_two_errors_share_a_code() -> None:
    kinds = [kind for kind in subclasses(StorageError) if kind.__module__ in HOMES]
    assert len({kind.code for kind in kinds}) == len(kinds)


def test_the_findings_of_verify_on_the_page_are_those_in_the_engine() -> None:
    source = "\n".join(path.read_text("utf-8") for path in (ROOT / "storage").glob("*.py"))
    found = re.findall(r'\bcode="(\w+)"|"damage": "(\w+)"|_find\("(\w+)"', source)
    raised = {code for codes in found for code in codes if code}
    assert raised <= FOUND.keys()
    assert [code for code in FOUND if f'"{code}"' not in source] == []


@pytest.mark.parametrize(("task", "contract", "examples"), MESSAGES)
def test_the_examples_of_a_message_follow_the_schema_that_is_shown(
    task: str, contract: type[StoreMessage], examples: tuple[dict[str, Any], ...]
) -> None:
    schema = contract.model_json_schema()
    Draft202012Validator.check_schema(schema)
    assert [error.message for example in examples for error in Draft202012Validator(schema).iter_errors(example)] == []
    assert list(Draft202012Validator(schema).iter_errors({"unheard": "of"})) != []


def test_the_plain_celery_example_sends_a_message_that_a_worker_understands(monkeypatch: pytest.MonkeyPatch) -> None:
    block = next(block for block in blocks_of(ROOT / "docs/reference/tasks.md") if block.language == "python")
    monkeypatch.setenv("STRONGROOM_BROKER_URL", "memory://")
    names: dict[str, Any] = {}
    exec(block.text, names)
    app: Celery = names["app"]
    with app.connection_for_read() as connection:
        message = connection.default_channel.basic_get("short")
        assert message is not None
        _, fields, _ = connection.SimpleQueue("short").channel.message_to_python(message).decode()
    assert message.headers["task"] == "strongroom.store"
    assert parse_message(StoreMessage, fields).library_id == "/acme/widget"


def test_the_example_environment_holds_every_setting_with_its_default(monkeypatch: pytest.MonkeyPatch) -> None:
    lines = re.findall(r"^#(STRONGROOM_\w+)=(.*)$", (ROOT / ".env.example").read_text("utf-8"), re.MULTILINE)
    assert {f"STRONGROOM_{name.upper()}" for name in Settings.model_fields} <= dict(lines).keys()
    plain = Settings()
    for name, value in lines:
        if value:
            monkeypatch.setenv(name, value)
    assert Settings() == plain
