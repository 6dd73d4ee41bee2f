"""Contracts are numbered: which one a message follows, and which ones this release knows."""

from __future__ import annotations

from typing import Any

from strongroom.errors import InvalidRequest, MessageTooNew
from strongroom.routes import PRIORITIES, Priority

CONTRACT = 3
"""The newest contract this release understands. A worker leaves a message of a newer one to a newer worker."""

FIRST_CONTRACT = 1
"""What a message follows that names no contract."""


def lowest_contract(priority: Priority) -> int:
    """Return the contract that a message needs: the lowest that knows what it says, so that older workers take what they can."""
    return FIRST_CONTRACT if priority == "normal" else 2


def check_priority(priority: str) -> None:
    """Refuse what is no priority.

    Raises:
        InvalidRequest: it is none.
    """
    if priority not in PRIORITIES:
        raise InvalidRequest(f"priority is {', '.join(PRIORITIES)}, not {priority!r}.")


def said_priority(priority: Priority) -> dict[str, Any]:
    """Return the fields of a message that tell its contract and its priority."""
    said: dict[str, Any] = {"contract": lowest_contract(priority)}
    return said if priority == "normal" else said | {"priority": priority}


def refuse_newer(contract: object) -> None:
    """Raise when a message's contract, of whatever type, is a number past what this release knows.

    Raises:
        MessageTooNew: it is.
    """
    try:
        newer = int(contract) > CONTRACT  # type: ignore[call-overload] # what is no number is refused by name, by its model
    except (TypeError, ValueError, OverflowError):
        return
    if newer:
        raise MessageTooNew(f"The message follows contract {str(contract)[:20]}; this worker knows {CONTRACT}.")
