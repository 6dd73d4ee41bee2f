"""A StorageError on its way from one of our processes to another, as JSON."""

from __future__ import annotations

from typing import Any

from strongroom.errors import StorageError

Fields = dict[str, Any]  # JSON


def pack(error: StorageError) -> Fields:
    """Return the error as JSON fields."""
    return {"code": error.code, "message": error.message, "hint": error.hint, "context": error.context}


def unpack(fields: Fields) -> StorageError:
    """Return the error, of the class that its code names; StorageError itself when this process knows no such class."""
    kinds = [StorageError]
    for kind in kinds:
        kinds.extend(kind.__subclasses__())
    found = next((kind for kind in kinds if kind.code == fields["code"]), StorageError)
    return found(fields["message"], fields["hint"], fields["context"])
