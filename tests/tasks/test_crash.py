"""Crashes at every durable step of whole tasks: what was accepted has exactly one effect, and its producer is told."""

from __future__ import annotations

import os
import shutil
from collections import Counter
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import pytest

from storage.engine import Options
from storage.tree import Mode
from strongroom.contracts import DocumentOptions
from tasks.store import run_store
from tests.support.desk import Desk, crash_at, document, steps_of

JOB = "job-00000001"
MESSAGE = {"contract": 1, "request_id": JOB, "inbox": f"{JOB}.inbox", "receipt": True}


@dataclass(frozen=True)
class Scenario:
    """What lies there before, the message, and what must be true in the end."""

    name: str
    stage: Callable[[Desk], object]
    message: dict[str, Any]
    state: str
    statuses: list[str]
    versions: dict[str, int]
    kept: bool = False
    tree: Mode = "none"

    def __str__(self) -> str:
        return self.name


def _one(desk: Desk) -> None:
    desk.stage(JOB, document())


def _mixed(desk: Desk) -> None:
    desk.stage(JOB, document(), b"not json", document(version="2.0"))


def _known_content(desk: Desk) -> None:
    """The same bytes under other names are told by the journal, and one version is there with other content."""
    desk.stage("job-00000000", document(version="0.9"), document(version="1.0", first=True))
    assert desk.run("job-00000000").state == "done"
    (desk.inbox / "receipts" / "job-00000000.json").unlink()
    desk.stage(JOB, (document(version="0.9"), DocumentOptions(version="0.9-copy")), document(version="1.0", second=True))


def _damaged(desk: Desk) -> None:
    (desk.inbox / f"{JOB}.inbox").write_bytes(b"x" * 100)


RAW = {"request_id": JOB, "text": document().decode(), "receipt": True}
SCENARIOS = [
    Scenario("one", _one, MESSAGE, "done", ["stored"], {"1.0": 1}, tree="all"),
    Scenario("mixed", _mixed, MESSAGE, "failed", ["stored", "failed", "stored"], {"1.0": 1, "2.0": 1}, kept=True),
    Scenario("known_content", _known_content, MESSAGE, "done", ["stored", "stored"], {"0.9": 1, "0.9-copy": 1, "1.0": 2}),
    Scenario("raw_message", lambda _desk: None, RAW, "done", ["stored"], {"1.0": 1}),
    Scenario("damaged_payload", _damaged, MESSAGE, "failed", [], {}, kept=True),
    Scenario("refused_message", _one, {**MESSAGE, "unknown": 2}, "failed", [], {}, kept=True),
]
FORGOTTEN = [one for one in SCENARIOS if one.name in {"one", "known_content", "damaged_payload"}]


@pytest.fixture
def settled(request: pytest.FixtureRequest, root: Path) -> Path:
    """The data folder as it is before the scenario's message comes."""
    scenario: Scenario = request.getfixturevalue("scenario")
    desk = Desk(root, options=Options(tree=scenario.tree))
    scenario.stage(desk)
    desk.engine.tree.catch_up()
    desk.close()
    return root


def _runs(root: Path, scenario: Scenario) -> Iterator[tuple[int, str, Path]]:
    options = {"options": Options(tree=scenario.tree)}
    whole = shutil.copytree(root, root.parent / "whole", symlinks=True)
    steps = steps_of(whole, lambda desk: run_store(desk.services, scenario.message, JOB), options)
    assert len(steps) > 1
    for number, step in enumerate(steps):
        folder = shutil.copytree(root, root.parent / f"crash-{number}", symlinks=True)
        crash_at(number, folder, lambda desk: run_store(desk.services, scenario.message, JOB), options)
        yield number, step, folder


def _assert_done_once(desk: Desk, scenario: Scenario, where: str) -> None:
    row = desk.job(JOB)
    assert row.state == scenario.state, where
    assert row.attempts <= 2, where
    assert desk.staged == [], where
    assert desk.kept == ([JOB] if scenario.kept else []), where
    assert Counter(one.version for one in desk.revisions()) == scenario.versions, where
    _assert_told(desk.receipt(JOB), scenario, where)
    desk.engine.tree.catch_up()
    verified = desk.engine.verify()
    assert (verified.damaged, verified.findings) == ([], []), where


def _assert_told(receipt: dict[str, Any] | None, scenario: Scenario, where: str) -> None:
    assert receipt is not None, where
    assert receipt["state"] == scenario.state, where
    documents = receipt.get("documents", [])
    assert [one["status"] for one in documents] == scenario.statuses, where
    stored = [one for one in documents if one["status"] == "stored"]
    assert all(one["library_id"] == "/a/b" and one["content_sha256"] and one["size_bytes"] for one in stored), where


@pytest.mark.parametrize("scenario", SCENARIOS, ids=str)
def test_a_crash_anywhere_leaves_one_effect_when_the_broker_delivers_again(settled: Path, scenario: Scenario) -> None:
    for number, step, folder in _runs(settled, scenario):
        desk = Desk(folder, options=Options(tree=scenario.tree))
        run_store(desk.services, scenario.message, JOB)
        _assert_done_once(desk, scenario, f"crash at step {number}, {step}")
        desk.close()
        shutil.rmtree(folder)


@pytest.mark.parametrize("scenario", FORGOTTEN, ids=str)
def test_a_crash_anywhere_leaves_one_effect_when_the_broker_forgot_the_message(settled: Path, scenario: Scenario) -> None:
    for number, step, folder in _runs(settled, scenario):
        desk = Desk(folder, options=Options(tree=scenario.tree))
        for path in desk.inbox.glob("*.inbox"):
            os.utime(path, (0, 0))
        desk.reconcile()
        desk.deliver()
        _assert_done_once(desk, scenario, f"crash at step {number}, {step}")
        desk.close()
        shutil.rmtree(folder)
