"""tasks/compress.py: a compress job measures what it freed, and a second delivery does nothing."""

from __future__ import annotations

import json

import pytest

from storage.footprint import footprint
from tasks.compress import COMPRESS, CompressMessage
from tasks.jobs import run_job
from tests.support.alike import store_versions
from tests.support.desk import Desk

JOB = "compress-0001"
MESSAGE = {"contract": 1, "request_id": JOB, "newest": "gzip"}


def test_a_compress_job_says_what_was_there_and_what_is_left(desk: Desk) -> None:
    engine = desk.services.engine
    store_versions(engine, "/a/b", 3)
    engine.tree.catch_up()
    run_job(COMPRESS, desk.services, MESSAGE, JOB)
    row = desk.job(JOB)
    assert (row.state, row.subject) == ("done", "everything")
    outcome = dict(row.outcome or {})
    assert outcome["rewritten"] == 3
    assert outcome["after_bytes"] < outcome["before_bytes"]
    assert outcome["after_bytes"] == pytest.approx(footprint(engine.folder.root), abs=200_000)  # the ledger's own rows


def test_a_second_delivery_compresses_nothing(desk: Desk) -> None:
    store_versions(desk.services.engine, "/a/b", 2)
    run_job(COMPRESS, desk.services, MESSAGE, JOB)
    first = desk.job(JOB)
    run_job(COMPRESS, desk.services, MESSAGE, JOB)
    assert desk.job(JOB) == first


def test_a_library_that_is_not_there_fails_the_job(desk: Desk) -> None:
    run_job(COMPRESS, desk.services, MESSAGE | {"library_id": "/no/such"}, JOB)
    row = desk.job(JOB)
    assert (row.state, dict(row.error or {})["code"]) == ("failed", "not_found")


def test_a_message_with_another_policy_is_refused() -> None:
    with pytest.raises(ValueError, match="newest"):
        CompressMessage.model_validate_json(json.dumps(MESSAGE | {"newest": "lzma"}))
