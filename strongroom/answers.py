"""What we answer: receipts, errors as data, what a verification found."""

from __future__ import annotations

from typing import Any, Literal, cast

from pydantic import BaseModel, ConfigDict, Field

from strongroom.errors import Category
from strongroom.result import Problem


class _Answer(BaseModel):
    """What we answer: an older client passes over what a newer worker adds."""

    model_config = ConfigDict(extra="ignore", frozen=True)


class ErrorInfo(_Answer):
    """An error as data: see docs/reference/errors.md for the codes."""

    code: str
    message: str
    hint: str
    category: str = "unknown"
    retryable: bool = False
    context: dict[str, Any] = Field(default_factory=dict)

    @classmethod
    def of(cls, problem: Problem) -> ErrorInfo:
        """Return the problem without its cause and time."""
        return cls(
            code=problem.code,
            message=problem.message,
            hint=problem.hint,
            category=problem.category,
            retryable=problem.retryable,
            context=problem.context,
        )

    def as_problem(self) -> Problem:
        """Return it as what an ``Err`` holds."""
        category = cast("Category", self.category)
        return Problem(self.code, self.message, self.hint, category, self.retryable, self.context)


class DocumentReceipt(_Answer):
    """What became of one document. ``size_bytes`` counts plain bytes, ``stored_bytes`` those on disk."""

    name: str = ""
    status: Literal["stored", "unchanged", "failed"]
    library_id: str | None = None
    version: str | None = None
    revision: int | None = None
    content_sha256: str | None = None
    size_bytes: int | None = None
    stored_bytes: int | None = None
    error: ErrorInfo | None = None


class StoreReceipt(_Answer):
    """What became of a store job: one entry a document, in the order they were sent."""

    request_id: str
    state: Literal["done", "failed", "quarantined"]
    documents: list[DocumentReceipt] = Field(default_factory=list)
    error: ErrorInfo | None = None


class Damage(_Answer):
    """A version whose stored bytes do not hold what was promised."""

    library_id: str
    version: str
    revision: int
    code: str
    message: str
    segment: str
    offset: int
    length: int


class Finding(_Answer):
    """Something out of step that is not a version's own bytes: an index, a file of the tree."""

    code: str
    path: str
    message: str


class Repaired(_Answer):
    """A version that was damaged and is whole again. ``source`` says where its bytes were had from."""

    library_id: str
    version: str
    revision: int
    code: str
    source: str


class Mended(_Answer):
    """A finding that a repair has seen to."""

    code: str
    path: str
    source: str


class VerifyReceipt(_Answer):
    """What a verification found. ``checked`` counts versions, ``read_bytes`` what was read from disk.

    When a repair was asked for, ``damaged`` and ``findings`` are what remains; ``repaired`` and ``mended`` what was seen to.
    """

    request_id: str = ""
    checked: int
    read_bytes: int
    damaged: list[Damage]
    findings: list[Finding] = Field(default_factory=list)
    repaired: list[Repaired] = Field(default_factory=list)
    mended: list[Mended] = Field(default_factory=list)
