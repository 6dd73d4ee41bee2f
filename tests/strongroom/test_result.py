"""Ok and Err: exactly one of value and problem, whichever way it is asked."""

from __future__ import annotations

import json
from dataclasses import FrozenInstanceError, asdict
from datetime import UTC, datetime
from typing import NoReturn

import pytest

from strongroom.errors import DiskFull, NotFound
from strongroom.result import Err, Ok, Problem, Result, UnwrapError, capture

OK: Result[int] = Ok(2)
ERR: Result[int] = Err.of(NotFound("no such library", "look elsewhere", {"library_id": "/a"}))


def refuse(_value: object) -> NoReturn:
    raise AssertionError("must not be called")


def test_map_changes_a_value_and_passes_a_problem_by() -> None:
    assert OK.map(lambda value: value + 1) == Ok(3)
    assert ERR.map(refuse) is ERR


def test_flat_map_goes_on_with_a_value_alone() -> None:
    assert OK.flat_map(lambda value: Ok(str(value))) == Ok("2")
    assert OK.flat_map(lambda _value: ERR) is ERR
    assert ERR.flat_map(refuse) is ERR


def test_unwrap_gives_the_value_or_raises_what_is_known() -> None:
    assert OK.unwrap() == 2
    with pytest.raises(UnwrapError, match=r"not_found: no such library \(look elsewhere\)") as caught:
        ERR.unwrap()
    assert isinstance(ERR, Err)
    assert caught.value.problem is ERR.problem


def test_unwrap_or_gives_the_value_or_the_default() -> None:
    assert (OK.unwrap_or(9), ERR.unwrap_or(9)) == (2, 9)


def test_or_else_recovers_from_a_problem_alone() -> None:
    assert OK.or_else(refuse) is OK
    assert ERR.or_else(lambda problem: Ok(len(problem.code))) == Ok(9)


def test_match_calls_exactly_one_side() -> None:
    assert OK.match(lambda value: value * 2, refuse) == 4
    assert ERR.match(refuse, lambda problem: problem.code) == "not_found"


def test_is_ok_tells_the_two_apart() -> None:
    assert (OK.is_ok(), ERR.is_ok()) == (True, False)


def test_both_are_immutable() -> None:
    with pytest.raises(FrozenInstanceError):
        OK.value = 3  # type: ignore[misc, union-attr] # the point of the test
    with pytest.raises(FrozenInstanceError):
        ERR.problem = None  # type: ignore[misc, union-attr] # the point of the test


def test_python_matches_on_both() -> None:
    def tell(result: Result[int]) -> str:
        match result:
            case Ok(value):
                return f"ok {value}"
            case Err(problem):
                return problem.code

    assert (tell(OK), tell(ERR)) == ("ok 2", "not_found")


def test_capture_turns_a_storage_error_into_an_err_with_its_cause() -> None:
    def fail() -> int:
        try:
            raise OSError(28, "No space left on device")
        except OSError as error:
            raise DiskFull("cannot write") from error

    result = capture(fail)
    assert isinstance(result, Err)
    assert (result.problem.code, result.problem.retryable, result.problem.category) == ("disk_full", True, "filesystem")
    assert result.problem.cause == "OSError(28, 'No space left on device')"
    assert capture(lambda: 3) == Ok(3)


def test_capture_lets_other_exceptions_pass() -> None:
    def fail() -> int:
        raise ZeroDivisionError

    with pytest.raises(ZeroDivisionError):
        capture(fail)


def test_a_problem_knows_when_it_happened_and_is_plain_data() -> None:
    before = datetime.now(UTC)
    problem = Problem.of(NotFound("gone"))
    assert before <= problem.at <= datetime.now(UTC)
    assert problem.at.tzinfo is UTC
    assert (
        json.loads(json.dumps({**asdict(problem), "at": problem.at.isoformat()}))["hint"]
        == "`strongroom list` shows what is stored."
    )
