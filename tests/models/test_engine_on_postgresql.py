"""The whole engine with its catalogue in PostgreSQL: stores, crashes, several processes."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

import pytest

from storage.engine import Engine, Options
from storage.trail import Actor
from tests.support.archive import body, check_promises, document, large_body, view
from tests.support.crash import crash_at, start_child, wait_for
from tests.support.postgresql import empty_postgresql
from tests.support.scenarios import SCENARIOS, SMALL_LIMITS

OpenOn = Callable[[], Engine]


@pytest.fixture
def open_on(postgresql_url: str, scratch: Path) -> OpenOn:
    empty_postgresql(postgresql_url)
    options = Options(database_url=postgresql_url, limits=SMALL_LIMITS)
    Engine(scratch / "data", options).create().close()
    return lambda: Engine(scratch / "data", options).open()


def test_documents_of_any_id_and_metadata_come_back(open_on: OpenOn) -> None:
    with open_on() as engine:
        metadata = {"text": "\0 \N{GRINNING FACE} 文档", "deep": {"list": [1, None]}}
        receipts = engine.store(
            [
                document("/x/文档", "1.0", body(n=1), metadata=metadata, source="https://example.org/ä"),
                document("/a/b", "1.0", large_body(20_000)),
                document("/a/b", "1.0", body(n=2)),
            ]
        )
        assert [one.status for one in receipts] == ["stored"] * 3
        engine.tree.catch_up()
        found = engine.find("/x/文档")
        assert (found.details, found.source) == (metadata, "https://example.org/ä")
        check_promises(engine)


def test_a_version_goes_back_to_an_older_revision(open_on: OpenOn) -> None:
    with open_on() as engine:
        for number in range(3):
            engine.store([document("/a", "1.0", body(n=number))])
        assert engine.rollback("/a", "1.0", Actor("person:ada"), to=1).revision == 4
        assert engine.read("/a", "1.0") == body(n=0)
        engine.tree.catch_up()
        check_promises(engine)


def test_crashes_at_one_step_after_the_other_are_survived(open_on: OpenOn) -> None:
    scenario = SCENARIOS[4]
    with open_on() as engine:
        scenario.prepare(engine)
        before = view(engine)
    states = []
    for number in range(1, 25):
        engine = open_on()
        with crash_at(number):
            scenario.run(engine)
            engine.store([document("/more", str(number), body(n=number))])  # steps enough, whatever is there already
            engine.store([document("/more", str(-number), large_body(6000, seed=number))])
            engine.store([document("/more", f"x{number}", body(n=number))])
        engine.close()
        with open_on() as engine:
            check_promises(engine)
            states.append(len(view(engine)["versions"]))
    assert states[0] == len(before["versions"])
    assert states == sorted(states), "something acknowledged was lost"
    assert states[-1] > states[0]


def test_processes_that_store_at_once_lose_nothing(open_on: OpenOn) -> None:
    def work(number: int) -> None:
        with open_on() as engine:
            for turn in range(6):
                engine.store(
                    [
                        document("/contested", "1.0", body(by=number, turn=turn)),
                        document(f"/own/{number}", str(turn), body(turn=turn)),
                        document("/same", str(turn), body(same=turn)),
                    ]
                )

    children = [start_child(lambda number=number: work(number)) for number in range(3)]  # type: ignore[misc]
    assert [wait_for(child) for child in children] == [0] * 3
    with open_on() as engine:
        engine.tree.catch_up()
        check_promises(engine)
        revisions = [revision for library, _, revision in view(engine)["versions"] if library == "/contested"]
        assert sorted(revisions) == list(range(1, 19))
