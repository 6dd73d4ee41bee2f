"""Alerts: messages to the people who look after the service, by the services of STRONGROOM_NOTIFY_URLS."""

from __future__ import annotations

import json
import socket
import subprocess
import sys
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Literal

from workers.parts import CHECKOUT

SEND_WITHIN_S = 60.0
"""For all services together. One that takes longer has not delivered."""

AlertKind = Literal["info", "success", "warning", "failure"]


@dataclass(frozen=True, slots=True)
class Delivery:
    """What became of a message at one service: the one of this number in the setting, counted from 1."""

    number: int
    service: str
    delivered: bool

    def __str__(self) -> str:
        return f"number {self.number} ({self.service})"


@dataclass(frozen=True, slots=True, repr=False)
class Alerts:
    """Sends messages. ``urls`` are secrets: they are in no repr, no argument of a process and no log."""

    urls: Sequence[str]
    data: Path
    within_s: float = SEND_WITHIN_S

    def __repr__(self) -> str:
        return f"Alerts({len(self.urls)} services)"

    def send(self, title: str, body: str, kind: AlertKind) -> list[Delivery]:
        """Send one message to all; return what became of it at each, within ``within_s`` and little more. Never raises."""
        title = f"strongroom on {socket.gethostname()}: {title}"
        text = {"title": title, "body": f"{body}\n\nData folder: {self.data}", "kind": kind}
        order = {"urls": list(self.urls), "within_s": self.within_s, **text}
        lines = self._run(json.dumps(order).encode()) if self.urls else b""
        told = [Delivery(**json.loads(line)) for line in lines.splitlines() if line.endswith(b"}")]
        return told + [Delivery(number, "unknown", delivered=False) for number in range(len(told) + 1, len(self.urls) + 1)]

    def _run(self, order: bytes) -> bytes:
        command = (sys.executable, "-m", "workers.deliver")
        out, err = subprocess.PIPE, subprocess.DEVNULL
        try:
            ended = subprocess.run(command, input=order, stdout=out, stderr=err, cwd=CHECKOUT, timeout=self.within_s, check=False)
        except subprocess.TimeoutExpired as late:  # it was killed; what it said before counts
            return late.stdout or b""
        except OSError:
            return b""
        return ended.stdout
