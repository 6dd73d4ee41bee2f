"""The dead-man's ping, against a real receiver."""

from __future__ import annotations

import time
import uuid
from collections.abc import Iterator

import pytest
import structlog

from tasks.ping import address, pinged
from tests.support.receiver import Receiver, receiving

RUN = uuid.UUID(int=7)


@pytest.fixture
def receiver() -> Iterator[Receiver]:
    with receiving() as started:
        yield started


def test_a_run_that_ends_well_says_so_and_one_that_raises_says_that(receiver: Receiver) -> None:
    with pinged(receiver.url("http", "/token")):
        pass
    with pytest.raises(ZeroDivisionError), pinged(receiver.url("http", "/token")):
        raise ZeroDivisionError
    words = [path.partition("?")[0] for path in receiver.paths]
    assert words == ["/token/start", "/token", "/token/start", "/token/fail"]
    first, second, third, fourth = (path.partition("rid=")[2] for path in receiver.paths)
    assert first == second != third == fourth


@pytest.mark.parametrize(
    ("url", "state", "wanted"),
    [
        ("https://h/abc", "success", f"https://h/abc?rid={RUN}"),
        ("https://h/abc/", "fail", f"https://h/abc/fail?rid={RUN}"),
        ("https://h/abc?create=1", "start", f"https://h/abc/start?create=1&rid={RUN}"),
        ("https://h/p/{state}?key=1", "start", "https://h/p/start?key=1"),
        ("https://h/push?status={state}", "success", "https://h/push?status=success"),
    ],
)
def test_where_a_state_is_said(url: str, state: str, wanted: str) -> None:
    assert address(url, state, RUN) == wanted  # type: ignore[arg-type]  # one of the three


def test_without_a_url_nothing_happens() -> None:
    with pinged(None):
        pass


def test_a_switch_that_answers_late_holds_up_neither_the_run_nor_its_end_for_long(receiver: Receiver) -> None:
    receiver.slow.add("/token")
    started = time.monotonic()
    with pinged(receiver.url("http", "/token"), within_s=0.3):
        begun_s = time.monotonic() - started
    assert begun_s < 2
    assert time.monotonic() - started < 10


def test_a_switch_that_is_not_there_is_logged_without_its_address(receiver: Receiver) -> None:
    receiver.refused.add("/s3cret")
    with structlog.testing.capture_logs() as lines, pinged(receiver.url("http", "/s3cret"), within_s=0.6):
        pass
    assert [line["state"] for line in lines] == ["start", "success"]
    assert "s3cret" not in repr(lines)
    assert len(receiver.paths) > 1, "it was not tried again"
