"""The page of tasks and their messages, from strongroom/contracts.py."""

from __future__ import annotations

from typing import Any, get_args

from pydantic import BaseModel

from config.routes import ROUTES
from models.ledger import ENDED, State
from scripts.reference.markdown import MADE, code, json_block, sentence, table
from strongroom.contracts import (
    CONTRACT,
    INLINE_LIMIT_BYTES,
    Manifest,
    StoreMessage,
    StoreReceipt,
    VerifyMessage,
    VerifyReceipt,
    parse_message,
)
from strongroom.routes import LONG_QUEUE, SHORT_QUEUE, STORE_TASK, VERIFY_TASK

Contract = type[StoreMessage] | type[VerifyMessage]

MESSAGES: tuple[tuple[str, Contract, tuple[dict[str, Any], ...]], ...] = (
    (
        STORE_TASK,
        StoreMessage,
        (
            {"library_id": "/acme/widget", "version": "1.3", "content": {"title": "Widget", "text": "How to turn it."}},
            {"request_id": "acme-widget-1-3", "text": '{"library_id": "/acme/widget", "version_id": "1.3"}'},
            {"documents": [{"library_id": "/a/b", "version": version, "content": {}} for version in ("1", "2")]},
            {"inbox": "acme-0001.inbox"},
        ),
    ),
    (VERIFY_TASK, VerifyMessage, ({}, {"library_id": "/acme/widget"}, {"library_id": "/acme/widget", "version": "1.3"})),
)
"""Each task that others may send: its contract, and arguments that follow it."""

_RECEIPTS = (("Manifest", Manifest), ("Store receipt", StoreReceipt), ("Verify receipt", VerifyReceipt))

_STATES = {
    "queued": "sent (again), and no worker has it yet",
    "running": "a worker has it",
    "retrying": "it failed in a way that waiting can heal, and runs again by itself",
    "parked": "the disk is full: it goes on when there is space, and no attempt is counted",
    "done": "everything that was asked for is done",
    "failed": "it cannot be done as it was asked; the payload is kept",
    "quarantined": "it was tried as often as allowed and never ended; the payload is kept",
    "cancelled": "a person called it off",
}

_INTRODUCTION = """\
# Tasks and messages

A producer needs Celery (or anything that writes Celery's messages) and these names. The client does more:
[Enqueue from a program](../how-to/enqueue.md). Messages only ever gain fields with defaults: what this release understands, later
ones do too. A field that is not listed is refused (`invalid_message`), and so is a `contract` that is newer than the worker's
(`message_too_new`). Nothing that a message says is taken for a path.

"""

_PLAIN_CELERY = """\
## Send without the client

```python
import os

from celery import Celery

app = Celery(broker=os.environ["STRONGROOM_BROKER_URL"])
app.send_task(
    "{task}",
    kwargs={{"library_id": "/acme/widget", "version": "1.3", "content": {{"title": "Widget", "text": "How to turn it."}}}},
    queue="{queue}",
    ignore_result=True,
)
```

The job's id is `request_id`, or the message's own where that is not given: a message that is sent twice with one `request_id` is
one job. There is no result to fetch. `strongroom jobs show ID` tells what became of it; with `receipt` a file in the inbox does.

"""

_NOT_YOURS = """\
`strongroom.tree` and `strongroom.tidy` are the service's own: beat sends them, and nobody else needs to.

"""


def page() -> str:
    """Return docs/reference/tasks.md."""
    parts = [MADE, _INTRODUCTION, _queues(), _PLAIN_CELERY.format(task=STORE_TASK, queue=SHORT_QUEUE)]
    parts += [_message(name, contract, examples) for name, contract, examples in MESSAGES]
    parts += [_NOT_YOURS, _states()]
    parts += [f"## {title}\n\n{sentence(contract.__doc__)}\n\n{_schema(contract)}\n" for title, contract in _RECEIPTS]
    return "".join(parts).rstrip("\n") + "\n"


def _queues() -> str:
    rows = [(code(name), code(str(ROUTES[name]["queue"])), sentence(contract.__doc__)) for name, contract, _ in MESSAGES]
    note = f"A store of large documents may go to `{LONG_QUEUE}`: workers of either queue know every task.\n\n"
    return table(("Task", "Queue", "Its arguments"), rows) + "\n" + note


def _message(name: str, contract: Contract, examples: tuple[dict[str, Any], ...]) -> str:
    for example in examples:
        parse_message(contract, example)
    text = f"## `{name}`\n\n{sentence(contract.__doc__)} This release knows contract {CONTRACT}.\n\n"
    if name == STORE_TASK:
        text += (
            "Give `inbox`, or `documents`, or one document by `text` (its exact bytes) or `content`. A message\n"
            f"may carry documents of up to {INLINE_LIMIT_BYTES // 1024} KiB; "
            "larger ones go through the [inbox](disk-format.md#the-inbox).\n\n"
        )
    shown = "".join(f"{json_block(example)}\n" for example in examples)
    return f"{text}Examples:\n\n{shown}Schema:\n\n{_schema(contract)}\n"


def _schema(contract: type[BaseModel]) -> str:
    return json_block(_untitled(contract.model_json_schema()))


def _untitled(schema: Any) -> Any:
    """Return a schema without the titles that pydantic makes of the names: they say nothing twice. No field is called so."""
    if isinstance(schema, dict):
        return {name: _untitled(value) for name, value in schema.items() if name != "title"}
    return [_untitled(one) for one in schema] if isinstance(schema, list) else schema


def _states() -> str:
    rows = [(code(state), "yes" if state in ENDED else "", _STATES[state]) for state in get_args(State)]
    return "## States of a job\n\n" + table(("State", "Ended", "Meaning"), rows) + "\n"
