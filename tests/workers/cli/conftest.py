"""A data folder with a broker and no worker."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

import pytest

from tests.support.broker import running_broker
from workers.service_state import FlowerState, ServiceState, write_state


@pytest.fixture
def served(data: Path) -> Iterator[Path]:
    """A data folder with a broker; nobody works there."""
    with running_broker(data) as url:
        flower = FlowerState("", "", None)
        write_state(ServiceState(1, "", "", str(data), url, flower, (), ready=True, supervised=False))
        yield data
