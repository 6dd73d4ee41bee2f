"""The embedded broker alone, as a process, for what needs nobody at work."""

from __future__ import annotations

import subprocess
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from pathlib import Path
from typing import Literal

from strongroom.errors import BrokerUnavailable
from tests.support.processes import await_that
from workers.broker import ping, prepare_embedded
from workers.processes import death_bond


@contextmanager
def running_broker(data: Path, fsync: Literal["always", "everysec"] = "always") -> Iterator[str]:
    """Run a broker on a folder until the block is left; yield its address."""
    embedded = prepare_embedded(data, fsync)

    def answers() -> bool:
        with suppress(BrokerUnavailable):
            ping(embedded.url, 1.0)
            return True
        return False

    with subprocess.Popen(embedded.command, stdout=subprocess.DEVNULL, preexec_fn=death_bond()) as process:  # noqa: PLW1509
        try:
            await_that(answers, "the broker answers")
            yield embedded.url
        finally:
            process.kill()
