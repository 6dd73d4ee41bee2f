"""A process that delivers one message by apprise: it takes secrets and text on standard input, and says what arrived.

Its own process, since the library takes 40 MB and as long as a service on the network likes; and so that no address of a service,
which is a secret, stands in a list of processes.
"""

from __future__ import annotations

import json
import logging
import signal
import sys
from typing import Any


def deliver(order: dict[str, Any]) -> list[dict[str, Any]]:  # JSON, both
    """Send the message to each of ``urls``; return for each its number, what kind of service it is and whether it took it."""
    import apprise  # noqa: PLC0415 - no other process is to load it by accident

    logging.getLogger("apprise").addHandler(logging.NullHandler())  # its lines may hold addresses
    logging.getLogger("apprise").propagate = False
    told = []
    for number, url in enumerate(order["urls"], start=1):
        service = apprise.Apprise.instantiate(url, suppress_exceptions=True)
        arrived = service is not None and bool(
            service.notify(title=order["title"], body=order["body"], notify_type=apprise.NotifyType(order["kind"]))
        )
        told.append({"number": number, "service": str(service.service_name) if service else "unknown", "delivered": arrived})
        sys.stdout.write(json.dumps(told[-1]) + "\n")
        sys.stdout.flush()
    return told


def main() -> None:
    """Take an order, and end in time also when nobody is there any more who would end it."""
    order = json.load(sys.stdin)
    signal.alarm(int(order["within_s"]) + 2)
    deliver(order)


if __name__ == "__main__":
    main()
