"""How an object store is reached: its address and the credentials. Without the library: every worker knows these."""

from __future__ import annotations

from dataclasses import dataclass, field

TRIES = 6


@dataclass(frozen=True, slots=True)
class Access:
    """How a store is reached. Without keys it is as the AWS tools find them: a profile, a role of the machine."""

    endpoint: str | None = None
    region: str = "us-east-1"
    access_key: str | None = field(default=None, repr=False)
    secret_key: str | None = field(default=None, repr=False)
    tries: int = TRIES
    """How often a request is made before it is given up, with growing pauses."""
    timeout_s: float = 60.0
    """How long a server may be silent: docs/explanation/backup.md."""
