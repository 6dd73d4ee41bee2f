"""What crosses the boundary: contracts, errors, Result and the producers' client.

Names are loaded when they are first used: importing the package takes 6 ms, the client 75 more (pydantic), the first message 95
(kombu).
"""

from __future__ import annotations

import importlib
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from strongroom.client import Client
    from strongroom.contracts import DocumentReceipt, ErrorInfo
    from strongroom.errors import StorageError
    from strongroom.outgoing import Document, Outgoing
    from strongroom.result import Err, Ok, Problem, Result, UnwrapError
    from strongroom.ticket import Ticket

__all__ = [
    "Client",
    "Document",
    "DocumentReceipt",
    "Err",
    "ErrorInfo",
    "Ok",
    "Outgoing",
    "Problem",
    "Result",
    "StorageError",
    "Ticket",
    "UnwrapError",
]

_HOMES = {
    "Client": "client",
    "Document": "outgoing",
    "DocumentReceipt": "contracts",
    "Err": "result",
    "ErrorInfo": "contracts",
    "Ok": "result",
    "Outgoing": "outgoing",
    "Problem": "result",
    "Result": "result",
    "StorageError": "errors",
    "Ticket": "ticket",
    "UnwrapError": "result",
}


def __getattr__(name: str) -> object:
    home = _HOMES.get(name)
    if home is None:
        raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
    value = getattr(importlib.import_module(f"{__name__}.{home}"), name)
    globals()[name] = value
    return value


def __dir__() -> list[str]:
    return sorted({*globals(), *__all__})
