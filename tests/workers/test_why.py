"""workers/why.py: every state of a job has its sentence, and the sentence says what is true."""

from __future__ import annotations

from dataclasses import replace
from datetime import timedelta
from typing import Any, get_args

import pytest

from models.ledger import JobRow, State
from tests.support.catalogue import START
from workers.durations import span
from workers.situation import Situation, facts, percent
from workers.why import why

NOW = START + timedelta(hours=12)
ROW = JobRow(
    job_id="job-00001",
    kind="store",
    subject="a.json",
    state="queued",
    priority=3,
    asked_by="producer",
    attempts=0,
    queue="short",
    owner="",
    token=1,
    renewals=0,
    expires_at=None,
    progress=None,
    payload="job-00001.inbox",
    created_at=NOW - timedelta(seconds=12),
    started_at=None,
    finished_at=None,
    due_at=NOW + timedelta(seconds=20),
    sent_at=NOW - timedelta(seconds=2),
    sends=0,
    outcome=None,
    error=None,
)
ERROR = {"code": "document_too_large", "message": "The document is too large", "hint": "Split the document."}


def after(seconds: float) -> Any:
    return NOW + timedelta(seconds=seconds)


def told(situation: dict[str, Any] | None = None, **row: Any) -> str:
    return why(Situation(NOW, replace(ROW, **row), **(situation or {})))


def running(name: str, kind: str = "verify", queue: str = "long", **more: Any) -> JobRow:
    return replace(ROW, job_id=name, kind=kind, queue=queue, state="running", **more)


def test_a_job_behind_another_names_it_with_its_progress_and_its_own_position() -> None:
    busy = running("verify-81", progress={"done": 42, "total": 100, "unit": "bytes"})
    assert told({"beside": [busy], "ahead": 2}, kind="verify", queue="long") == (
        "waiting 12 s: the long queue is busy with verify verify-81 (42 % done); position 3."
    )
    two = {"beside": [busy, running("verify-82")], "slots": 2}
    assert "verify verify-81 (42 % done) and 1 more; position 1." in told(two, kind="verify", queue="long")


def test_a_queue_with_a_free_slot_is_not_busy() -> None:
    said = told({"beside": [running("verify-81")], "slots": 2, "messages": 3}, kind="verify", queue="long")
    assert said == "waiting 12 s: its message is in the long queue; position 1."


def test_a_job_beside_which_others_of_another_queue_run_does_not_wait_for_them() -> None:
    assert "busy" not in told({"beside": [running("store-0001", "store", "long")]}, kind="store", queue="short")


def test_without_a_service_it_says_how_to_start_one() -> None:
    said = told({"service": False, "ahead": 1204})
    assert said == (
        "waiting 12 s: no service runs on this folder: start it with `strongroom up`; position 1,205 in the short queue."
    )


def test_an_accepted_file_that_nobody_has_taken_up_says_so() -> None:
    said = told({"entered": False, "messages": 0}, sent_at=None, due_at=None)
    assert said == "waiting 12 s: it is accepted, and no worker has taken it up yet; position 1 in the short queue."


@pytest.mark.parametrize(("others", "words"), [(1, "1 other verify job runs"), (3, "3 other verify jobs run")])
def test_a_job_held_back_by_the_limit_of_its_kind_says_so(others: int, words: str) -> None:
    beside = [running(f"verify-{number}", queue="short") for number in range(others)]
    said = told({"beside": beside, "limit": others}, kind="verify", queue="long", due_at=after(1.5))
    assert said == f"waiting 12 s: {words} and the limit is {others}; it looks again in 2 s."


def test_below_the_limit_of_its_kind_the_limit_is_no_reason() -> None:
    said = told({"beside": [running("verify-81")], "limit": 2, "slots": 2}, kind="verify", queue="long")
    assert "limit" not in said


def test_a_lost_message_is_sent_again_when_it_is_due_or_known_to_be_lost() -> None:
    assert told({"messages": 0}) == "waiting 12 s: its message was lost; it is sent again in 1 s."
    assert "it is sent again in 1 s." in told({"messages": 0}, due_at=after(1), sent_at=NOW - timedelta(seconds=1.1))
    assert "it is sent again within 2 s." in told({"messages": 0}, due_at=after(-1))


def test_a_message_that_was_sent_just_now_is_not_thought_lost() -> None:
    assert "its message is in the short queue" in told({"messages": 0}, sent_at=NOW - timedelta(seconds=0.2))


def test_a_message_of_which_the_broker_says_nothing_is_not_thought_lost() -> None:
    assert "its message is in the short queue" in told({"messages": None})


def test_a_job_begun_anew_has_waited_since_then_and_is_sent_soon() -> None:
    row = {"error": ERROR, "sent_at": None, "created_at": NOW - timedelta(days=3)}
    assert told(due_at=after(-5), **row) == "waiting 5 s: it is sent within 2 s; position 1."
    assert told(due_at=after(8), **row) == "waiting 0 s: it is sent in 8 s; position 1."


RUNNING: dict[str, Any] = {"state": "running", "owner": "host:81:worker1:lock:3", "started_at": after(-3), "attempts": 1}


def test_a_running_job_says_where_for_how_long_and_when_its_lease_was_renewed() -> None:
    assert told(**RUNNING, expires_at=after(9)) == "running on host:81 for 3 s; lease renewed 1 s ago."
    progress = {"done": 1, "total": 8, "unit": "bytes"}
    said = told(**{**RUNNING, "attempts": 2}, expires_at=after(9), progress=progress)
    assert said == "running on host:81 for 3 s, 12 % done, attempt 2; lease renewed 1 s ago."


def test_a_running_job_whose_lease_ran_out_says_what_happens_next() -> None:
    said = "running on host:81 for 3 s; its lease ran out 5 s ago, so its worker is gone or frozen: "
    assert told(**RUNNING, expires_at=after(-5)) == f"{said}it is given to another worker within seconds."
    alone = told({"service": False}, **RUNNING, expires_at=after(-5))
    assert alone == f"{said}no service runs on this folder: start it with `strongroom up`."


def test_a_retrying_job_says_when_and_what_went_wrong() -> None:
    row: dict[str, Any] = {"state": "retrying", "attempts": 2, "error": ERROR}
    assert told(due_at=after(8), **row) == "retries at 12:00:08 UTC (in 8 s) after attempt 2 failed: The document is too large."
    assert told(due_at=after(-1), **row) == "retries within 2 s after attempt 2 failed: The document is too large."
    assert told({"service": False}, due_at=after(8), **row).endswith("start it with `strongroom up`.")


def test_a_parked_job_says_what_it_waits_for() -> None:
    full = {"code": "disk_full", "message": "The disk is full.", "hint": "Free some space."}
    assert told(state="parked", error=full, due_at=after(4)) == (
        "parked until the disk has room, tried again at 12:00:04 UTC (in 4 s): The disk is full. Free some space."
    )
    new = {"code": "message_too_new", "message": "The message follows contract 3.", "hint": "Upgrade."}
    assert told(state="parked", error=new, due_at=after(30)) == (
        "waits for a newer worker, offered again at 12:00:30 UTC (in 30 s): The message follows contract 3. Upgrade."
    )
    assert told(state="parked", error=ERROR, due_at=None).startswith("parked, tried again within 2 s: The document")
    assert "start it with `strongroom up`" in told({"service": False}, state="parked", error=full)


def test_a_done_job_says_what_came_of_it() -> None:
    row: dict[str, Any] = {"state": "done", "started_at": after(-3), "finished_at": NOW}
    assert told(outcome={"stored": 1200, "unchanged": 0}, **row) == "done at 12:00:00 UTC after 3 s: 1,200 stored, 0 unchanged."
    assert told(outcome={"checked": 3, "damaged_versions": 1}, **row).endswith(": 3 checked, 1 damaged versions.")
    assert told(**row) == "done at 12:00:00 UTC after 3 s."


@pytest.mark.parametrize("state", ["failed", "quarantined"])
def test_a_failed_job_says_why_what_to_do_where_its_payload_is_and_how_to_begin_it_anew(state: State) -> None:
    row: dict[str, Any] = {"state": state, "error": ERROR, "finished_at": NOW}
    assert told({"kept": "data/inbox/failed/job-00001.inbox"}, **row) == (
        f"{state} at 12:00:00 UTC: The document is too large. Split the document. Its payload is kept at "
        "data/inbox/failed/job-00001.inbox; `strongroom jobs retry job-00001` begins it anew."
    )
    assert told(**row, payload='{"text": "x"}').endswith(
        "Its message is kept in the ledger; `strongroom jobs retry job-00001` begins it anew."
    )
    assert told(**row).endswith("Nothing is kept of it: send it again.")
    gone = {"discarded": {"by": "ann@here", "at": NOW.isoformat()}}
    assert told(**row, outcome=gone).endswith("What was kept of it was discarded by ann@here at 2026-11-01T12:00:00.")


def test_of_a_message_that_would_be_refused_again_nobody_is_told_to_send_it_again() -> None:
    error = {"code": "invalid_message", "message": "x", "hint": "-"}
    unread = told({"kept": "failed/x.message"}, state="failed", error=error, payload="x.message")
    refused = told(state="failed", error=error, payload='{"wrong": 1}')
    assert "cannot be sent again as it is" in unread
    assert "cannot be sent again as it is" in refused
    assert "jobs retry" not in unread + refused


def test_a_cancelled_job_says_by_whom_and_how_to_begin_it_anew() -> None:
    error = {"code": "cancelled", "message": "The job was cancelled by ann@here.", "hint": "-"}
    said = told({"kept": "/x"}, state="cancelled", error=error, finished_at=NOW)
    assert said.startswith("cancelled at 12:00:00 UTC: The job was cancelled by ann@here. Its payload is kept at /x;")


@pytest.mark.parametrize("state", get_args(State))
def test_there_are_words_for_a_row_of_any_state_that_knows_nothing(state: State) -> None:
    situation = Situation(NOW, replace(ROW, state=state, due_at=None, sent_at=None, queue=""))
    assert why(situation).endswith(".")
    assert "None" not in why(situation)
    assert facts(situation)["kind"] == "store"


def test_facts_are_what_is_known_and_nothing_else() -> None:
    queued = facts(Situation(NOW, ROW, ahead=2, beside=[running("store-0001", "store", "short")], messages=5, limit=1))
    assert (queued["position"], queued["waited_s"], queued["busy_with"]) == (3, 12.0, ["store-0001"])
    assert (queued["messages_in_queue"], queued["running_of_kind"], queued["limit_of_kind"]) == (5, 1, 1)
    done = facts(Situation(NOW, replace(ROW, state="done", due_at=None)))
    assert done == {"kind": "store", "subject": "a.json", "queue": "short", "attempts": 0, "service_runs": True}


@pytest.mark.parametrize(
    ("progress", "expected"),
    [
        (None, None),
        ({"done": 1, "total": 3}, 33.3),
        ({"done": 5, "total": 0}, None),
        ({"done": 5, "total": None}, None),
        ({"done": 9, "total": 3}, 100.0),
    ],
)
def test_progress_is_a_part_of_a_known_whole(progress: dict[str, Any] | None, expected: float | None) -> None:
    assert percent(running("verify-81", progress=progress)) == expected
    assert percent(replace(ROW, progress=progress)) is None, "of a job that does not run"


@pytest.mark.parametrize(
    ("seconds", "words"),
    [
        (-1, "0 s"), (0, "0 s"), (0.04, "0.0 s"), (0.5, "0.5 s"), (59.4, "59 s"), (119, "119 s"), (120, "2 min"),
        (7199, "120 min"), (7200, "2 h"), (200_000, "2 d"),
    ],
)  # fmt: skip
def test_durations_are_told_in_one_unit(seconds: float, words: str) -> None:
    assert span(timedelta(seconds=seconds)) == words
