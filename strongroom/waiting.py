"""Waiting for receipts: polls that grow rarer while nothing comes, and one look at the folder for many jobs."""

from __future__ import annotations

import os
import time
from collections.abc import Iterable
from pathlib import Path
from weakref import WeakKeyDictionary

from pydantic import ValidationError

from strongroom import durable
from strongroom.contracts import DocumentReceipt, ErrorInfo, StoreReceipt
from strongroom.errors import ConfigurationError, InvalidMessage, InvalidRequest, WaitTimeout
from strongroom.inbox import RECEIPTS, take_receipt
from strongroom.result import Problem
from strongroom.ticket import Ticket

FIRST_PAUSE_S = 0.002
LONGEST_PAUSE_S = 0.1
PAUSE_GROWTH = 1.5
FEW = 4
"""Up to here each receipt is asked for by name; for more, one listing of the folder is cheaper."""

_NAMED_IN_TIMEOUT = 20


class Receipts:
    """The receipts that have come, remembered as long as their tickets live, since taking one removes its file."""

    def __init__(self, inbox: Path | None) -> None:
        self._inbox = inbox
        self._taken: WeakKeyDictionary[Ticket, StoreReceipt] = WeakKeyDictionary()

    def expect(self, tickets: Iterable[Ticket], timeout_s: float) -> Wait:
        """Return a wait for these tickets that has not looked yet.

        Raises:
            ConfigurationError: there is no inbox for receipts to come back to.
            InvalidRequest: a ticket's job was sent without asking for a receipt.
        """
        wanted = list(tickets)
        if any(ticket.sent for ticket in wanted) and self._inbox is None:
            hint = "Give the client the inbox folder that the workers share, or ask `strongroom jobs`."
            raise ConfigurationError("Receipts come back through the inbox, and this client has none.", hint)
        deaf = [ticket.request_id for ticket in wanted if ticket.sent and not ticket.receipt]
        if deaf:
            hint = "Store with receipt=True to wait; `strongroom jobs` shows what became of it."
            raise InvalidRequest(f"No receipt was asked for: {', '.join(deaf[:3])}.", hint, {"request_ids": deaf})
        return Wait(self, wanted, timeout_s)

    def of(self, ticket: Ticket) -> StoreReceipt | None:
        """Return the job's receipt if it has come before now."""
        return self._taken.get(ticket)

    def collect(self, tickets: Iterable[Ticket]) -> None:
        """Take the receipts of these tickets that lie there.

        Raises:
            PermissionRefused, TransientIO, StorageError: the folder cannot be read.
        """
        outstanding = [ticket for ticket in tickets if ticket not in self._taken]
        with durable.os_errors("cannot read the receipts"):
            for ticket in outstanding if len(outstanding) <= FEW else self._listed(outstanding):
                receipt = self._take(ticket.request_id)
                if receipt is not None:
                    self._taken[ticket] = receipt

    def _listed(self, tickets: list[Ticket]) -> list[Ticket]:
        assert self._inbox is not None
        try:
            names = set(os.listdir(self._inbox / RECEIPTS))
        except FileNotFoundError:
            return []
        return [ticket for ticket in tickets if f"{ticket.request_id}.json" in names]

    def _take(self, request_id: str) -> StoreReceipt | None:
        assert self._inbox is not None
        try:
            return take_receipt(self._inbox, request_id)
        except ValidationError as error:
            problem = InvalidMessage(
                f"The receipt of {request_id} cannot be read by this release: {error.errors()[0]['msg']}.",
                "The documents may be stored: `strongroom jobs` tells. Upgrade this client to the workers' release.",
            )
            return StoreReceipt(request_id=request_id, state="failed", error=ErrorInfo.of(Problem.of(problem)))


class Wait:
    """One wait: ``poll``, then sleep for ``pause_s``, until ``done``; who sleeps, and how, is the caller's affair."""

    def __init__(self, receipts: Receipts, tickets: list[Ticket], timeout_s: float) -> None:
        self._receipts, self._tickets, self._timeout_s = receipts, tickets, timeout_s
        self._outstanding = list(dict.fromkeys(tickets))
        self._deadline = time.monotonic() + timeout_s
        self._pause_s = FIRST_PAUSE_S

    @property
    def done(self) -> bool:
        """Whether every receipt has come."""
        return not self._outstanding

    def poll(self) -> list[DocumentReceipt]:
        """Return what has come since the last call, job by job.

        Raises:
            PermissionRefused, TransientIO, StorageError: the folder cannot be read.
        """
        self._receipts.collect([ticket for ticket in self._outstanding if ticket.sent])
        ended = [ticket for ticket in self._outstanding if not ticket.sent or self._receipts.of(ticket)]
        self._pause_s = FIRST_PAUSE_S if ended else min(self._pause_s * PAUSE_GROWTH, LONGEST_PAUSE_S)
        if ended:
            gone = set(ended)
            self._outstanding = [ticket for ticket in self._outstanding if ticket not in gone]
        return [entry for ticket in ended for entry in ticket.arrange(self._receipts.of(ticket))]

    def pause_s(self) -> float:
        """Return how long to sleep before the next poll.

        Raises:
            WaitTimeout: the time is over.
        """
        left = self._deadline - time.monotonic()
        if left <= 0:
            missing = [ticket.request_id for ticket in self._outstanding]
            context = {"missing": len(missing), "request_ids": missing[:_NAMED_IN_TIMEOUT]}
            message = f"{len(missing)} of {len(self._tickets)} jobs had not ended after {self._timeout_s:g} s."
            raise WaitTimeout(message, self._hint(), context)
        return min(self._pause_s, left)

    def _hint(self) -> str:
        held = next((ticket.undelivered for ticket in self._outstanding if ticket.undelivered), None)
        if held is None:
            return f"It goes on. `strongroom jobs why {self._outstanding[0].request_id}` says what it waits for."
        hint = "They are accepted, and stored when workers are there; wait again then."
        return f"{hint} When they were sent: {held.message} {held.hint}"

    def answer(self) -> list[DocumentReceipt]:
        """Return every document's receipt, in the order in which they were sent. Only when ``done``."""
        return [entry for ticket in self._tickets for entry in ticket.arrange(self._receipts.of(ticket))]
