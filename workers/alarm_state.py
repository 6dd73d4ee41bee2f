"""What the watchman remembers between two looks, and what others may know of him: ``metadata/alerts.json``."""

from __future__ import annotations

import hashlib
import json
from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass, field, replace
from datetime import datetime
from pathlib import Path
from typing import Any

from workers.alerts import Delivery
from workers.private_files import write_private


@dataclass(frozen=True, slots=True)
class AlarmState:
    """Times are UTC. Whoever loses it tells what lasts once more, and tests the alert path at once."""

    watching_since: datetime | None = None
    """Since when there should have been backups."""
    looked_at: datetime | None = None
    services: str = ""
    """Tells whether the services are the ones that were tested, without telling which they are."""
    tested_at: datetime | None = None
    """When a message was last sent to all of them, a test or an alert; None: not since they were set."""
    failed: tuple[str, ...] = ()
    """The services that did not take the last message."""
    told: Mapping[str, str] = field(default_factory=dict)
    """What people know of: keys of findings, with their words."""
    wrong: Mapping[str, str] = field(default_factory=dict)
    """What the watchman himself found wrong when he looked: kinds of findings, with their words."""

    def after(self, deliveries: Sequence[Delivery], now: datetime) -> AlarmState:
        """Return the state after a message was sent."""
        return replace(self, tested_at=now, failed=tuple(str(one) for one in deliveries if not one.delivered))

    def of(self, urls: Sequence[str]) -> AlarmState:
        """Return the state for these services: others than before have not been tested."""
        services = fingerprint(urls)
        return self if services == self.services else replace(self, services=services, tested_at=None, failed=())


def fingerprint(urls: Sequence[str]) -> str:
    """Return what tells two sets of services apart."""
    return hashlib.sha256("\0".join(urls).encode()).hexdigest()[:16] if urls else ""


def state_file(data: Path) -> Path:
    """Return where the state is kept."""
    return data / "metadata" / "alerts.json"


def load_alarms(data: Path) -> AlarmState:
    """Return what was last kept; an empty state when there is none, or none that can be read."""
    try:
        told: dict[str, Any] = json.loads(state_file(data).read_text("utf-8"))  # JSON
        times = {name: _time(told.get(name)) for name in ("watching_since", "looked_at", "tested_at")}
        known, wrong = (_texts(told.get(name, {})) for name in ("told", "wrong"))
        failed = tuple(map(str, told.get("failed", ())))
        return AlarmState(services=str(told.get("services", "")), failed=failed, told=known, wrong=wrong, **times)
    except (OSError, ValueError, TypeError, AttributeError):
        return AlarmState()


def keep_alarms(data: Path, state: AlarmState) -> None:
    """Keep the state, readable by its owner alone: a reader sees the old one or the new."""
    write_private(state_file(data), json.dumps(asdict(state), default=datetime.isoformat))


def _texts(said: dict[str, Any]) -> dict[str, str]:  # JSON
    return {str(key): str(words) for key, words in said.items()}


def _time(said: str | None) -> datetime | None:
    return datetime.fromisoformat(said) if said else None
