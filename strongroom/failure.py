"""The root of all errors: what happened, whether waiting can heal it, and what to do."""

from __future__ import annotations

from typing import Any, ClassVar, Literal

Category = Literal["validation", "network", "filesystem", "configuration", "cache", "timeout", "permission", "unknown"]


class StorageError(Exception):
    """Root of the tree.

    Positional arguments only (message, hint, context), so that an instance survives Celery's JSON round trip.
    ``code`` is stable and meant for programs; ``retryable`` says whether waiting alone can heal it.
    """

    code: ClassVar[str] = "storage_error"
    category: ClassVar[Category] = "unknown"
    retryable: ClassVar[bool] = False
    default_hint: ClassVar[str] = "Look at the log of the worker, then run `strongroom status`."

    def __init__(self, message: str = "", hint: str | None = None, context: dict[str, Any] | None = None) -> None:
        super().__init__(message, hint, context)
        self.message = message or self.code
        self.hint = hint or self.default_hint
        self.context = dict(context or {})

    def __str__(self) -> str:
        return self.message
