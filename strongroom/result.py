"""Ok or Err: the form of an answer for those who would rather look than catch."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, field
from datetime import UTC, datetime
from typing import Any, Generic, NoReturn, TypeVar

from strongroom.errors import Category, StorageError

T = TypeVar("T")
U = TypeVar("U")


@dataclass(frozen=True, slots=True)
class Problem:
    """What an ``Err`` holds: a StorageError as plain data, fit for JSON.

    ``at`` is UTC. ``cause`` names the underlying exception, without its traceback.
    """

    code: str
    message: str
    hint: str
    category: Category = "unknown"
    retryable: bool = False
    context: dict[str, Any] = field(default_factory=dict)
    cause: str | None = None
    at: datetime = field(default_factory=lambda: datetime.now(UTC))

    @classmethod
    def of(cls, error: StorageError) -> Problem:
        """Return the error as data."""
        cause = repr(error.__cause__) if error.__cause__ else None
        return cls(error.code, error.message, error.hint, error.category, error.retryable, error.context, cause)


@dataclass(frozen=True, slots=True)
class Ok(Generic[T]):
    """A success and its value."""

    value: T

    def is_ok(self) -> bool:
        """Return True."""
        return True

    def map(self, change: Callable[[T], U]) -> Ok[U]:
        """Return Ok of the changed value."""
        return Ok(change(self.value))

    def flat_map(self, step: Callable[[T], Result[U]]) -> Result[U]:
        """Return what ``step`` makes of the value."""
        return step(self.value)

    def unwrap(self) -> T:
        """Return the value."""
        return self.value

    def unwrap_or(self, _default: T) -> T:
        """Return the value."""
        return self.value

    def or_else(self, _step: Callable[[Problem], Result[T]]) -> Result[T]:
        """Return self."""
        return self

    def match(self, ok: Callable[[T], U], _err: Callable[[Problem], U]) -> U:
        """Return ``ok(value)``."""
        return ok(self.value)


@dataclass(frozen=True, slots=True)
class Err:
    """A failure and what is known about it."""

    problem: Problem

    @classmethod
    def of(cls, error: StorageError) -> Err:
        """Return the error as an Err."""
        return cls(Problem.of(error))

    def is_ok(self) -> bool:
        """Return False."""
        return False

    def map(self, _change: Callable[[Any], Any]) -> Err:
        """Return self."""
        return self

    def flat_map(self, _step: Callable[[Any], Any]) -> Err:
        """Return self."""
        return self

    def unwrap(self) -> NoReturn:
        """Raise UnwrapError: there is no value."""
        raise UnwrapError(self.problem)

    def unwrap_or(self, default: U) -> U:
        """Return ``default``."""
        return default

    def or_else(self, step: Callable[[Problem], Result[U]]) -> Result[U]:
        """Return what ``step`` makes of the problem."""
        return step(self.problem)

    def match(self, _ok: Callable[[Any], U], err: Callable[[Problem], U]) -> U:
        """Return ``err(problem)``."""
        return err(self.problem)


Result = Ok[T] | Err


class UnwrapError(Exception):
    """``unwrap`` was called on an Err; ``problem`` tells which."""

    def __init__(self, problem: Problem) -> None:
        super().__init__(f"{problem.code}: {problem.message} ({problem.hint})")
        self.problem = problem


def capture(call: Callable[[], T]) -> Result[T]:
    """Run ``call`` and return Ok of its value, or Err of the StorageError that it raised. Other exceptions pass."""
    try:
        return Ok(call())
    except StorageError as error:
        return Err.of(error)
