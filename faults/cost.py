"""What the ledger costs: the same load, in turn, through a service with it and through one without."""

from __future__ import annotations

import statistics
import time
from collections.abc import Callable
from itertools import count

from faults.book import opened
from faults.documents import paper
from faults.messages import broker_of, message_count
from faults.processes import await_that
from faults.rows import Row
from faults.service import Service, scratch, service
from faults.sizes import Sizes
from faults.tell import Tell
from strongroom.client import Client
from strongroom.outgoing import Outgoing

_WAIT_S = 60.0
_NO_TREE = {"STRONGROOM_TREE": "none"}
"""What follows in the background after one run would slow the next one down."""

Load = Callable[[Client, list[bytes]], None]


def run(sizes: Sizes, seed: int, tell: Tell) -> list[Row]:
    """Measure one document a message, and many; medians of runs taken in turn, so that the machine's moods meet both."""
    numbers = count()
    with scratch(keep=sizes.keep) as folder:
        (folder / "with").mkdir()
        (folder / "without").mkdir()
        with (
            service(folder / "with", app="workers.main", **_NO_TREE) as usual,
            service(folder / "without", app="faults.bare_app", **_NO_TREE) as bare,
        ):
            rows = []
            for what, load, size in (("one document a message", _one_by_one, 1), ("500 documents a message", _together, 10)):
                rates: dict[str, list[float]] = {"with": [], "without": []}
                for turn in range(sizes.cost_runs + 1):
                    pair = [("with", usual), ("without", bare)]
                    for name, running in pair if turn % 2 else reversed(pair):
                        documents = [paper(seed, 10 * next(numbers) + 5, 0, 200).data for _ in range(size * sizes.cost_jobs)]
                        rate = _rate(running, load, documents)
                        tell(f"{what}, {name} the ledger: {rate:,.0f} documents/s" + ("" if turn else " (to warm up)"))
                        if turn:
                            rates[name].append(rate)
                rows.append(_row(what, rates, sizes))
            assert _jobs(usual) > 0, "the usual service wrote no ledger"
            assert _jobs(bare) == 0, "the bare service wrote a ledger"
    return rows


def _rate(running: Service, load: Load, documents: list[bytes]) -> float:
    with Client.of_service(running.data) as client:
        start = time.perf_counter()
        load(client, documents)
        rate = len(documents) / (time.perf_counter() - start)
    # Messages whose jobs were taken along are still looked at: beside the other service, and before its next jobs.
    with broker_of(running.data) as broker:
        await_that(lambda: message_count(broker) == 0, "its messages are through", _WAIT_S)
    return rate


def _one_by_one(client: Client, documents: list[bytes]) -> None:
    tickets = [client.store(one).unwrap() for one in documents]
    receipts = client.wait(tickets, _WAIT_S).unwrap()
    assert [one.status for one in receipts] == ["stored"] * len(documents), "not everything was stored"


def _together(client: Client, documents: list[bytes]) -> None:
    tickets = client.store_many(Outgoing(one) for one in documents).unwrap()
    receipts = client.wait(tickets, _WAIT_S).unwrap()
    assert [one.status for one in receipts] == ["stored"] * len(documents), "not everything was stored"


def _jobs(running: Service) -> int:
    with opened(running.data) as book:
        return sum(book.counts().values())


def _row(what: str, rates: dict[str, list[float]], sizes: Sizes) -> Row:
    usual, bare = statistics.median(rates["with"]), statistics.median(rates["without"])
    measured = f"{usual / bare:.2f}: {usual:,.0f}/s with, {bare:,.0f}/s without; medians of {sizes.cost_runs}"
    return Row(
        f"store rate with the ledger, {what}",
        f"{sizes.cost_least} of the rate without",
        measured,
        usual >= sizes.cost_least * bare,
    )
