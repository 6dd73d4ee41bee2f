"""Errors: one code each, a hint each, and the same error after Celery's round trip."""

from __future__ import annotations

import inspect
import json
import re
from collections.abc import Iterator

import pytest

from strongroom import errors
from strongroom.errors import MessageTooNew, StorageError, Transient


def tree(root: type[StorageError] = StorageError) -> Iterator[type[StorageError]]:
    yield root
    for kind in root.__subclasses__():
        yield from tree(kind)


MODULES = {"strongroom.errors", "strongroom.failure", "strongroom.passing", "strongroom.refusals"}
KINDS = [kind for kind in tree() if kind.__module__ in MODULES]
each = pytest.mark.parametrize("kind", KINDS, ids=lambda kind: kind.__name__)


def test_each_error_of_the_module_is_in_the_tree() -> None:
    defined = {thing for _name, thing in inspect.getmembers(errors, inspect.isclass) if issubclass(thing, Exception)}
    assert defined == set(KINDS)
    assert len(KINDS) > 25


def test_codes_are_unique() -> None:
    codes = [kind.code for kind in KINDS]
    assert len(set(codes)) == len(codes)


@each
def test_each_code_is_its_own_and_fit_for_programs(kind: type[StorageError]) -> None:
    assert "code" in vars(kind)
    assert re.fullmatch(r"[a-z]+(_[a-z]+)*", kind.code)


@each
def test_each_error_says_what_to_do(kind: type[StorageError]) -> None:
    hint = kind("something happened").hint
    assert len(hint) > 20
    assert hint.endswith((".", ")"))


@each
def test_each_error_survives_a_json_round_trip_of_its_arguments(kind: type[StorageError]) -> None:
    error = kind("what happened", "what to do", {"path": "/a/é", "n": 3})
    back = kind(*json.loads(json.dumps(error.args)))
    assert (back.message, back.hint, back.context) == (error.message, error.hint, error.context)
    assert (back.code, back.retryable, back.category) == (error.code, error.retryable, error.category)
    assert str(back) == "what happened"


@each
def test_each_error_without_arguments_still_reads_well_and_survives(kind: type[StorageError]) -> None:
    back = kind(*json.loads(json.dumps(kind().args)))
    assert (back.message, back.hint, back.context) == (kind.code, kind.default_hint, {})


@each
def test_each_error_takes_positional_arguments_alone_as_celery_gives_them(kind: type[StorageError]) -> None:
    assert kind.__init__ is StorageError.__init__


@each
def test_waiting_heals_what_is_transient_and_nothing_else(kind: type[StorageError]) -> None:
    assert kind.retryable is issubclass(kind, Transient)


def test_the_context_of_an_error_is_its_own() -> None:
    given = {"a": 1}
    error = StorageError("m", None, given)
    given["a"] = 2
    assert error.context == {"a": 1}


def test_what_waits_by_itself_is_not_to_be_sent_again() -> None:
    assert "send" not in MessageTooNew().hint
    assert "waits" in MessageTooNew().hint
