from __future__ import annotations

import base64
import errno
import json
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from strongroom.errors import DiskFull, StorageError
from tasks.unreadable import RawMessage, keep_unreadable, record_unreadable, unknown_task, unreadable
from tests.support.desk import Desk, document, failing

ID = "message-0001"
BODY = b'\x80\x04\x95[[[{"a": 1e99999999, \xff\x00}'


def raw(job_id: str = ID, tag: str = "tag-1", body: bytes = BODY, task: str = "strongroom.store", **headers: Any) -> RawMessage:
    properties = {"delivery_tag": tag, "correlation_id": job_id}
    return RawMessage(body, "application/json", "utf-8", {"task": task, "id": job_id, **headers}, properties)


def keep(desk: Desk, message: RawMessage) -> Path:
    return keep_unreadable(desk.services.failed, message, unreadable("It is no JSON."))


def files(desk: Desk) -> list[str]:
    return sorted(path.name for path in desk.inbox.rglob("*") if path.is_file())


def test_a_message_is_kept_to_the_byte_with_what_stood_around_it_and_for_its_owner_only(desk: Desk) -> None:
    path = keep(desk, raw(origin="elsewhere\ud800"))
    said = json.loads(path.read_bytes())
    assert base64.b64decode(said["body_base64"]) == BODY
    assert said["headers"] == {"task": "strongroom.store", "id": ID, "origin": "elsewhere\ud800"}
    assert said["properties"] == {"delivery_tag": "tag-1", "correlation_id": ID}
    assert (said["content_type"], said["content_encoding"]) == ("application/json", "utf-8")
    assert path.stat().st_mode & 0o777 == 0o600


def test_a_kept_message_becomes_a_failed_job_once_that_names_its_file(desk: Desk) -> None:
    keep(desk, raw())
    assert [record_unreadable(desk.services) for _ in range(2)] == [1, 0]
    (row,) = desk.jobs()
    assert (row.job_id, row.kind, row.state, row.subject) == (ID, "store", "failed", "strongroom.store")
    assert row.error is not None
    assert (row.error["code"], row.error["message"]) == ("invalid_message", "It is no JSON.")
    assert "inbox/failed" in row.error["hint"]
    assert (desk.services.failed / row.payload).exists()
    assert files(desk) == [f"{ID}.message"]


def test_nothing_kept_is_nothing_recorded_even_before_there_is_a_folder(desk: Desk) -> None:
    assert not desk.services.failed.exists()
    assert record_unreadable(desk.services) == 0


def test_a_message_that_is_delivered_again_is_kept_once_before_and_after_it_was_recorded(desk: Desk) -> None:
    keep(desk, raw())
    keep(desk, raw())
    record_unreadable(desk.services)
    keep(desk, raw())
    record_unreadable(desk.services)
    assert len(desk.jobs()) == 1
    assert files(desk) == [f"{ID}.message"]


def test_two_messages_of_one_id_are_both_kept(desk: Desk) -> None:
    keep(desk, raw(body=b"one"))
    keep(desk, raw(body=b"two", tag="tag-2"))
    assert record_unreadable(desk.services) == 2
    keep(desk, raw(body=b"three", tag="tag-3"))
    assert record_unreadable(desk.services) == 1
    bodies = [json.loads((desk.services.failed / row.payload).read_bytes())["body_base64"] for row in desk.jobs()]
    assert {base64.b64decode(one) for one in bodies} == {b"one", b"two", b"three"}


def test_a_message_with_the_id_of_another_job_changes_nothing_of_that_job(desk: Desk) -> None:
    desk.message(ID, text=document().decode())
    before = desk.job(ID)
    keep(desk, raw())
    assert record_unreadable(desk.services) == 1
    assert desk.job(ID) == before
    (other,) = (row for row in desk.jobs() if row.job_id != ID)
    assert (other.state, other.payload) == ("failed", f"{other.job_id}.message")
    assert other.payload in files(desk)
    keep(desk, raw())
    assert record_unreadable(desk.services) == 1, "delivered again: kept again under its own id"
    assert len(desk.jobs()) == 2, "but no third job"


@pytest.mark.parametrize("odd", ["../../outside", "short", "", "nul\0nul\0nul", "half\ud800a-pair"])
def test_an_id_that_is_no_file_name_never_becomes_one(desk: Desk, odd: str) -> None:
    path = keep(desk, raw(odd))
    assert path.parent == desk.services.failed
    assert record_unreadable(desk.services) == 1
    assert len(desk.jobs()[0].job_id) == 64


def test_a_message_without_any_id_is_named_by_its_delivery(desk: Desk) -> None:
    nameless = RawMessage(BODY, None, None, {}, {"delivery_tag": "8c1b6b2e-0000-4000-8000-000000000001"})
    assert keep(desk, nameless).stem == nameless.delivery_tag
    assert record_unreadable(desk.services) == 1
    assert desk.job(nameless.delivery_tag).kind == "message"


def test_a_task_of_a_newer_release_is_told_from_one_that_is_none_of_ours() -> None:
    newer, foreign = unknown_task("strongroom.purge"), unknown_task("tasks.add")
    assert (newer.code, foreign.code) == ("message_too_new", "invalid_message")
    assert "upgrade" in newer.hint


@pytest.mark.parametrize("task", ["Odd Name", "strongroom.", "../x", "ü", "a" * 300, "half\ud800", "nul\0"])
def test_a_task_with_an_odd_name_is_a_job_of_the_kind_message(desk: Desk, task: str) -> None:
    keep(desk, raw(task=task))
    record_unreadable(desk.services)
    assert desk.job(ID).kind == "message"


def test_headers_as_deep_as_an_envelope_can_be_are_kept(desk: Desk) -> None:
    deep: list[Any] = []
    for _ in range(990):
        deep = [deep]
    keep(desk, raw(baggage=deep))
    record_unreadable(desk.services)
    assert desk.job(ID).state == "failed"


@pytest.mark.parametrize("step", ["unreadable: fsync", "unreadable: rename", "unreadable: fsync folder"])
def test_a_full_disk_leaves_no_half_of_a_message_and_the_next_delivery_keeps_it(desk: Desk, step: str) -> None:
    desk.services.failed.mkdir()
    with failing(step, OSError(errno.ENOSPC, "No space left on device")), pytest.raises(DiskFull):
        keep(desk, raw())
    assert not [name for name in files(desk) if name.endswith(".part")]
    keep(desk, raw())
    assert record_unreadable(desk.services) == 1


def test_a_crash_between_row_and_rename_is_healed_by_the_next_look(desk: Desk) -> None:
    keep(desk, raw())
    with failing("unreadable, recorded: rename", OSError(errno.EIO, "Input/output error")), pytest.raises(StorageError):
        record_unreadable(desk.services)
    assert record_unreadable(desk.services) == 1
    assert len(desk.jobs()) == 1
    assert files(desk) == [f"{ID}.message"]


@pytest.mark.parametrize("damage", [b"", b"{", b"[]", b"\xff", b"[" * 100_000], ids=lambda damage: repr(damage[:3]))
def test_a_kept_file_that_is_damaged_is_recorded_all_the_same(desk: Desk, damage: bytes) -> None:
    keep(desk, raw()).write_bytes(damage)
    assert record_unreadable(desk.services) == 1
    error = desk.job(ID).error
    assert error is not None
    assert error["code"] == "invalid_message"


def test_two_processes_may_look_at_once(open_desk: Callable[..., Desk]) -> None:
    one, other = open_desk(), open_desk(name="test:2")
    keep(one, raw())
    assert record_unreadable(one.services) + record_unreadable(other.services) == 1
    assert len(one.jobs()) == 1
