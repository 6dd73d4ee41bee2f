"""systemd's readiness protocol, sd_notify(3): one datagram, when the service was started by systemd."""

from __future__ import annotations

import socket
from contextlib import suppress


def notify(address: str | None, state: str) -> None:
    """Send ``state`` (READY=1, STOPPING=1) to the notify socket; does nothing without one. Never raises."""
    if not address:
        return
    target = "\0" + address[1:] if address.startswith("@") else address
    with suppress(OSError), socket.socket(socket.AF_UNIX, socket.SOCK_DGRAM) as sender:
        sender.sendto(state.encode("ascii"), target)
