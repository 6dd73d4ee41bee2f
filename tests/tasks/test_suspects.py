"""tasks/suspects.py: a document that kills its worker is found, and takes no other along."""

from __future__ import annotations

import os
import signal
from collections.abc import Callable
from pathlib import Path

from models.due import take_back
from strongroom import durable
from tests.support.catalogue import START
from tests.support.desk import Desk, document, failing, observed

JOB = "job-00000001"
POISON = "poison"


def _stage(desk: Desk, count: int = 7, poison: int = 3) -> None:
    documents = [document(version=f"{number}.0", text=POISON if number == poison else "fine") for number in range(count)]
    desk.stage(JOB, *documents, names=[f"{number}.json" for number in range(count)])


def _die_of_poison(root: Path) -> bool:
    """Run the job in a process that dies when the poisonous document is written; tell whether it died."""
    pid = os.fork()
    if pid == 0:
        desk = Desk(root, name=f"child:{os.getpid()}")
        holding = _Holding(desk)
        durable.step.observer = holding
        desk.run(JOB)
        os._exit(0)
    return os.waitstatus_to_exitcode(os.waitpid(pid, 0)[1]) == -signal.SIGKILL


class _Holding:
    """Kills its process as soon as the segment that is written holds the poison: alone, or with others."""

    def __init__(self, desk: Desk) -> None:
        self._desk = desk

    def __call__(self, step: str) -> None:
        if step == "segment: flush":
            row = self._desk.find(JOB)
            at = (row.suspects or {}).get("at") if row else None
            if at in (None, 3):  # all at once, or this one alone
                os.kill(os.getpid(), signal.SIGKILL)


def test_a_document_that_kills_its_worker_fails_alone(root: Path, open_desk: Callable[..., Desk]) -> None:
    desk = open_desk()
    _stage(desk)
    desk.close()
    deaths = 0
    while _die_of_poison(root):
        deaths += 1
        assert deaths < 6
    desk = open_desk()
    row = desk.job(JOB)
    assert (deaths, row.state, row.attempts) == (3, "failed", 4), "once with all, twice alone"
    assert row.outcome is not None
    assert (row.outcome["stored"] + row.outcome["unchanged"], row.outcome["failed"]) == (6, 1)
    assert [(one["position"], one["file"], one["code"]) for one in row.outcome["failures"]] == [(3, "3.json", "poisonous")]
    assert {one.version for one in desk.revisions()} == {f"{number}.0" for number in range(7) if number != 3}
    assert desk.kept == [JOB]
    receipt = desk.receipt(JOB)
    assert receipt is not None
    assert [one["status"] for one in receipt["documents"]].count("failed") == 1


def test_an_error_accuses_no_document(desk: Desk) -> None:
    _stage(desk)
    for _ in range(3):
        with failing("segment: fsync", OSError(5, "input/output error")):
            desk.run(JOB)
    row = desk.job(JOB)
    assert row.attempts == 3
    assert row.suspects == {"at": None, "deaths": {}}
    assert desk.run(JOB).state == "done"


def test_a_death_by_chance_costs_no_document(root: Path, open_desk: Callable[..., Desk]) -> None:
    """Two deaths at different documents: nobody is accused twice."""
    desk = open_desk()
    _stage(desk)
    desk.close()
    for at in (None, 2, 4):
        _die_at(root, at)
    desk = open_desk()
    assert desk.job(JOB).suspects == {"at": 4, "deaths": {"2": 1}, "done": [0, 1, 3]}
    row = desk.run(JOB)
    assert (row.state, row.attempts) == ("done", 4)
    assert len(desk.revisions()) == 7


def test_what_one_attempt_stored_is_not_stored_again_by_the_next(root: Path, open_desk: Callable[..., Desk]) -> None:
    """Else it would come back over what another job stored in between."""
    desk = open_desk()
    _stage(desk)
    desk.close()
    for at in (None, 2):
        _die_at(root, at)
    desk = open_desk()
    desk.stage("job-00000002", document(version="0.0", text="newer"))
    desk.run("job-00000002")
    row = desk.run(JOB)
    assert (row.state, row.outcome) == ("done", {"stored": 5, "unchanged": 2, "failed": 0})
    assert sorted((one.version, one.revision) for one in desk.revisions()) == [("0.0", 1), ("0.0", 2), *_first_of(range(1, 7))]


def test_who_lost_the_lease_stores_not_even_one_of_many(root: Path, open_desk: Callable[..., Desk]) -> None:
    """It was frozen between the look at its lease and the commit of a document; what it was about to store is stale by then."""
    desk, other = open_desk(), open_desk(name="other:1")
    _stage(desk)
    _die_at(root, None)

    def take_away(step: str) -> None:
        row = desk.find(JOB)
        if step == "segment: flush" and row is not None and (row.suspects or {}).get("at") == 2:
            durable.step.observer = None
            with other.engine.database.write() as connection:
                take_back(connection, [row], lambda _row: "dead", START)

    with observed(take_away):
        row = desk.run(JOB)
    assert (row.state, row.token) == ("queued", 3)
    assert {one.version for one in desk.revisions()} == {"0.0", "1.0"}


def _first_of(numbers: range) -> list[tuple[str, int]]:
    return [(f"{number}.0", 1) for number in numbers]


def _die_at(root: Path, position: int | None) -> None:
    pid = os.fork()
    if pid == 0:
        desk = Desk(root, name=f"child:{os.getpid()}")

        def kill(step: str) -> None:
            row = desk.find(JOB)
            if step == "segment: flush" and row is not None and (row.suspects or {}).get("at") == position:
                os.kill(os.getpid(), signal.SIGKILL)

        durable.step.observer = kill
        desk.run(JOB)
        os._exit(0)
    assert os.waitstatus_to_exitcode(os.waitpid(pid, 0)[1]) == -signal.SIGKILL
