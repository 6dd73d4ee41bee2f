"""Messages in the broker that ask for jobs which the ledger has not heard of yet: a plain Celery producer's, above all."""

from __future__ import annotations

import base64
import json
from collections.abc import Iterator, Mapping
from itertools import islice
from typing import Any

from config.routes import JOB_QUEUES
from models.database import Database
from models.listing import states_of
from tasks.messages import job_id_of
from tasks.probe import PROBE_TASK
from tasks.routes import TIDY_TASK, TREE_TASK
from workers.broker import each_message

LOOKED_AT = 5_000
"""How many messages a look takes. Workers that have more than that to look through are not done."""

_RINGS = frozenset({TREE_TASK, TIDY_TASK, PROBE_TASK})
_AT_ONCE = 500
_UNREADABLE = (ValueError, LookupError, TypeError, AttributeError, RecursionError)


def any_unheard(database: Database, url: str, timeout_s: float) -> bool:
    """Whether a message asks for a job that the ledger does not know. What rings for a file, or tells beat's time, does not.

    To be asked after the ledger and the inbox: what was in the broker then is in one of the three now.

    Raises:
        StorageError: the broker does not answer, or the ledger cannot be read.
    """
    messages = each_message(url, JOB_QUEUES, timeout_s)
    looked = 0
    while portion := list(islice(messages, _AT_ONCE)):
        looked += len(portion)
        names = set(_asked_for(portion))
        with database.read() as connection:
            known = states_of(connection, names)
        if names - known.keys() or looked >= LOOKED_AT:
            return True
    return False


def _asked_for(messages: list[bytes]) -> Iterator[str]:
    for message in messages:
        try:
            name = _job_of(message)
        except _UNREADABLE:
            name = "a message that nobody can read"  # no id of a job: a worker makes it one
        if name is not None:
            yield name


def _job_of(message: bytes) -> str | None:
    """Return the job that a message asks for; None when that is none, or lies in the inbox."""
    said = json.loads(message)
    envelope: Mapping[str, Any] = said[0] if isinstance(said, list) else said  # the second is how one in hand is kept
    body = json.loads(base64.b64decode(envelope["body"]))
    headers = envelope["headers"] if "task" in envelope["headers"] else body  # Celery's first protocol has them in its body
    if headers["task"] in _RINGS:
        return None
    fields = body["kwargs"] if isinstance(body, Mapping) else body[1]
    return None if fields.get("inbox") else job_id_of(fields.get("request_id"), headers["id"])
