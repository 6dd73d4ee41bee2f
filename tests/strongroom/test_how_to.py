"""docs/how-to/enqueue.md and outbox.md: their examples run, one after another, and do what the pages say."""

from __future__ import annotations

import json
import re
import sys
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from strongroom.contracts import StoreMessage, parse_message

HOW_TO = Path(__file__).resolve().parents[2] / "docs" / "how-to"
PAGE = HOW_TO / "enqueue.md"


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


@pytest.mark.parametrize("up", [True, False])
def test_the_example_of_an_outbox_keeps_and_delivers(
    data: Path, own_broker: Any, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch, up: bool
) -> None:
    (data / "run" / "service.json").write_text(json.dumps({"broker_url": own_broker.url}))
    (example,) = re.findall(r"```python\n(.*?)```", (HOW_TO / "outbox.md").read_text("utf-8"), re.DOTALL)
    if not up:
        own_broker.kill()
        monkeypatch.setattr("builtins.print", _then(own_broker.start))
    exec(compile(example, "outbox.md", "exec"), {})
    printed = capsys.readouterr().out
    assert ("kept: cannot reach the broker" in printed) is not up
    # What was kept may also have been delivered by the client's own thread, between the broker's return and the flush.
    assert re.search("0 delivered just now" if up else "[01] delivered just now", printed)
    assert own_broker.waiting() == 1
    assert list((data.parent / "outbox").glob("*.message")) == []


def _then(action: Callable[[], object]) -> Callable[..., None]:
    """Print, and do something after the first time."""
    left = [action]

    def told(*words: object) -> None:
        sys.stdout.write(" ".join(map(str, words)) + "\n")
        if left:
            left.pop()()

    return told
