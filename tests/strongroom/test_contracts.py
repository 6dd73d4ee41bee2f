"""Messages: what was released still parses, what is unknown is refused by name, what is newer says so."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pytest
from pydantic import BaseModel, ValidationError

from strongroom import contracts
from strongroom.contracts import (
    CONTRACT,
    METADATA_DEPTH,
    DocumentOptions,
    ErrorInfo,
    InlineDocument,
    Manifest,
    StagedDocument,
    StoreMessage,
    StoreReceipt,
    VerifyMessage,
    parse_message,
)
from strongroom.errors import InvalidMessage, MessageTooNew, NotFound
from strongroom.result import Problem

GOLDEN = Path(__file__).resolve().parents[1] / "golden"
RELEASED = sorted(GOLDEN.glob("*/*.json"))
KINDS = {path.parent.name for path in RELEASED}


def kind_of(path: Path) -> type[Any]:
    kind: type[Any] = getattr(contracts, path.parent.name)
    return kind


def fields_of(path: Path) -> dict[str, Any]:
    fields: dict[str, Any] = json.loads(path.read_text("utf-8"))
    return fields


def nested(depth: int) -> dict[str, Any]:
    fields: dict[str, Any] = {}
    for _ in range(depth - 1):
        fields = {"in": fields}
    return fields


@pytest.mark.parametrize("path", RELEASED, ids=lambda path: f"{path.parent.name}/{path.stem}")
def test_every_released_message_still_parses_and_loses_nothing(path: Path) -> None:
    fields = fields_of(path)
    message = parse_message(kind_of(path), fields)
    again = message.model_dump(mode="json", exclude_unset=True)
    assert again == fields


def test_every_kind_that_crosses_the_queue_has_released_messages() -> None:
    assert {"StoreMessage", "VerifyMessage", "Manifest", "StoreReceipt", "VerifyReceipt"} == KINDS


@pytest.mark.parametrize("kind", sorted(KINDS))
def test_every_field_of_a_contract_stands_in_a_released_message(kind: str) -> None:
    """A field that is in none can be renamed without a test that fails."""

    def used(value: object) -> set[str]:
        if isinstance(value, dict):
            return set(value).union(*map(used, value.values()))
        return set().union(*map(used, value)) if isinstance(value, list) else set()

    def declared(model: type[BaseModel]) -> set[str]:
        names = set(model.model_fields)
        for field in model.model_fields.values():
            for part in (field.annotation, *getattr(field.annotation, "__args__", ())):
                if isinstance(part, type) and issubclass(part, BaseModel):
                    names |= declared(part)
        return names

    found = set().union(*(used(fields_of(path)) for path in RELEASED if path.parent.name == kind))
    assert declared(getattr(contracts, kind)) - found == set()


@pytest.mark.parametrize(
    ("kind", "fields", "named"),
    [
        (StoreMessage, {"text": "{}", "libary_id": "/a"}, "libary_id"),
        (StoreMessage, {"documents": [{"text": "{}", "verison": "1"}]}, "documents.0.verison"),
        (StoreMessage, {"text": 3}, "text"),
        (StoreMessage, {"inbox": "../../etc/passwd"}, "inbox"),
        (StoreMessage, {"inbox": "a/b.inbox"}, "inbox"),
        (StoreMessage, {"inbox": "aaaaaaaa.inbox\n"}, "inbox"),
        (StoreMessage, {"request_id": "short"}, "request_id"),
        (StoreMessage, {"request_id": "../../../../etc"}, "request_id"),
        (StoreMessage, {"if_exists": "replace"}, "if_exists"),
        (StoreMessage, {"metadata": []}, "metadata"),
        (StoreMessage, {"contract": 0}, "contract"),
        (StoreMessage, {"contract": "one"}, "contract"),
        (StoreMessage, {"documents": [{}] * 1001}, "documents"),
        (StoreMessage, {"sort_as": "x" * 1025}, "sort_as"),
        *((StoreMessage, {"text": "{}", name: "half \ud800"}, name) for name in ("library_id", "version", "sort_as", "source")),
        (StoreMessage, {"text": "{}", "metadata": nested(METADATA_DEPTH + 1)}, "metadata"),
        (StoreMessage, {"documents": [{"text": "{}", "metadata": nested(METADATA_DEPTH + 1)}]}, "documents.0.metadata"),
        (VerifyMessage, {"library_id": "half \ud800"}, "library_id"),
        (VerifyMessage, {"version": "half \ud800"}, "version"),
        (VerifyMessage, {"library": "/a"}, "library"),
    ],
)
def test_a_message_that_breaks_the_contract_is_refused_and_the_field_named(
    kind: type[Any], fields: dict[str, Any], named: str
) -> None:
    with pytest.raises(InvalidMessage, match=rf"(^|; ){named}: ") as caught:
        parse_message(kind, fields)
    assert type(caught.value) is InvalidMessage
    assert "tasks.md" in caught.value.hint


@pytest.mark.parametrize("kind", [StoreMessage, VerifyMessage])
@pytest.mark.parametrize("contract", [CONTRACT + 1, float(CONTRACT + 1), str(CONTRACT + 1), 10**400])
def test_a_message_of_a_newer_contract_says_so_before_anything_else(kind: type[Any], contract: Any) -> None:
    with pytest.raises(MessageTooNew, match=rf"contract {str(contract)[:20]}.*knows {CONTRACT}\.$") as caught:
        parse_message(kind, {"contract": contract, "a_field_of_the_future": True})
    assert len(caught.value.message) < 100


@pytest.mark.parametrize(("contract", "known"), [(True, 1), (1.0, 1), ("1", 1), (2, 2), (2.0, 2)])
def test_a_contract_may_be_written_as_any_whole_number(contract: Any, known: int) -> None:
    assert parse_message(StoreMessage, {"contract": contract, "text": "{}"}).contract == known


@pytest.mark.parametrize("contract", [False, None, 1.5, float("nan"), float("inf"), [], "two"])
def test_a_contract_that_is_no_number_of_one_is_refused_by_name(contract: Any) -> None:
    with pytest.raises(InvalidMessage, match=r"^contract: ") as caught:
        parse_message(StoreMessage, {"contract": contract, "text": "{}"})
    assert type(caught.value) is InvalidMessage


@pytest.mark.parametrize("kind", [StoreMessage, VerifyMessage])
@pytest.mark.parametrize("fields", [{}, {"contract": 1}, {"contract": 2}])
def test_a_priority_is_understood_whatever_contract_the_message_names(kind: type[Any], fields: dict[str, Any]) -> None:
    assert parse_message(kind, {**fields, "priority": "low"}).priority == "low"
    assert parse_message(kind, fields).priority == "normal"


@pytest.mark.parametrize("priority", ["urgent", 3, None, "HIGH"])
def test_a_priority_that_is_none_is_refused_by_name(priority: Any) -> None:
    with pytest.raises(InvalidMessage, match=r"^priority: "):
        parse_message(StoreMessage, {"priority": priority})


def test_a_refusal_is_bounded_whatever_was_sent() -> None:
    with pytest.raises(InvalidMessage) as caught:
        parse_message(StoreMessage, {f"unknown_{number}": "x" * 100_000 for number in range(1000)})
    assert len(caught.value.message) < 1000


def test_messages_are_immutable() -> None:
    message = parse_message(StoreMessage, {"text": "{}"})
    with pytest.raises(ValueError, match="frozen"):
        message.text = "changed"


def test_a_document_in_a_message_takes_what_a_staged_one_takes() -> None:
    assert set(InlineDocument.model_fields) == set(DocumentOptions.model_fields) | {"text", "content"}
    assert set(DocumentOptions.model_fields) <= set(StoreMessage.model_fields)


def test_an_error_as_data_says_what_the_error_said() -> None:
    info = ErrorInfo.of(Problem.of(NotFound("gone", "look elsewhere", {"version": "1"})))
    assert info.model_dump() == {
        "code": "not_found",
        "message": "gone",
        "hint": "look elsewhere",
        "category": "validation",
        "retryable": False,
        "context": {"version": "1"},
    }


def test_an_answer_with_a_field_of_a_newer_release_is_read_without_it() -> None:
    receipt = StoreReceipt.model_validate({"request_id": "12345678", "state": "done", "documents": [], "colour": "green"})
    assert receipt.state == "done"


def test_half_a_surrogate_pair_in_an_option_is_refused_before_it_is_written() -> None:
    with pytest.raises(ValidationError, match="lone surrogate"):
        DocumentOptions(library_id="/a/\ud800")


def test_metadata_of_the_greatest_depth_comes_through_a_manifest_and_back() -> None:
    deepest = nested(METADATA_DEPTH)
    staged = StagedDocument(metadata=deepest, offset=0, length=0, sha256="0" * 64)
    body = Manifest(request_id="request-0001", documents=[staged]).model_dump_json()
    assert Manifest.model_validate_json(body).documents[0].metadata == deepest
