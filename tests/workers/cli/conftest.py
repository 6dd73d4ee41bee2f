"""A data folder with a broker and no worker."""

from __future__ import annotations

import subprocess
from collections.abc import Iterator
from contextlib import suppress
from pathlib import Path

import pytest

from strongroom.errors import BrokerUnavailable
from tests.support.processes import await_that
from workers.broker import ping, prepare_embedded
from workers.processes import death_bond
from workers.service_state import FlowerState, ServiceState, write_state


@pytest.fixture
def served(data: Path) -> Iterator[Path]:
    """A data folder with a broker; nobody works there."""
    embedded = prepare_embedded(data)

    def answers() -> bool:
        with suppress(BrokerUnavailable):
            ping(embedded.url, 1.0)
            return True
        return False

    with subprocess.Popen(embedded.command, stdout=subprocess.DEVNULL, preexec_fn=death_bond()) as process:  # noqa: PLW1509
        await_that(answers, "the broker answers")
        flower = FlowerState("", "", None)
        write_state(ServiceState(1, "", "", str(data), embedded.url, flower, (), ready=True, supervised=False))
        yield data
        process.kill()
