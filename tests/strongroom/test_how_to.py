"""docs/how-to/enqueue.md: its examples run, one after another, and do what the page says."""

from __future__ import annotations

import json
import re
from pathlib import Path
from typing import Any

import pytest

from strongroom.contracts import StoreMessage, parse_message

PAGE = Path(__file__).resolve().parents[2] / "docs" / "how-to" / "enqueue.md"


@pytest.fixture
def data(tmp_path: Path, broker: Any, inbox: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """A data folder as a running service keeps one, beside some documents."""
    data = tmp_path / "data"
    (data / "run").mkdir(parents=True)
    (data / "inbox").symlink_to(inbox)
    (data / "run" / "service.json").write_text(json.dumps({"broker_url": broker.url}))
    document = {"library_id": "/a/b", "version_id": "1.0"}
    (tmp_path / "documentation.json").write_text(json.dumps(document))
    (tmp_path / "downloads").mkdir()
    for number in range(3):
        (tmp_path / "downloads" / f"{number}.json").write_text(json.dumps(document | {"n": number}))
    monkeypatch.chdir(tmp_path)
    return data


def test_the_examples_run_in_order(data: Path, worker_side: Any, broker: Any, capsys: pytest.CaptureFixture[str]) -> None:
    examples = re.findall(r"```python\n(.*?)```", PAGE.read_text("utf-8"), re.DOTALL)
    assert len(examples) == 9
    scope: dict[str, Any] = {}
    for number, example in enumerate(examples):
        exec(compile(example, f"{PAGE.name}, example {number + 1}", "exec"), scope)
    scope["client"].close()
    scope["app"].close()
    printed = capsys.readouterr().out
    assert "not_found" in printed
    assert printed.count("stored") >= 5
    while broker.waiting():
        pass
    worker_side.stop()
    inline = [message.fields for message in worker_side.unanswered]
    assert [parse_message(StoreMessage, fields).library_id for fields in inline] == [None, "/pallets/flask", None]
    assert len(worker_side.contents) == 12
