"""The producers' client for asyncio: the same client, its work done in threads, its waiting done on the loop."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator, Callable, Iterable, Mapping
from pathlib import Path
from typing import Any, Self

from strongroom import client
from strongroom.contracts import DocumentReceipt, IfExists
from strongroom.errors import StorageError
from strongroom.gate import MAX_WAITING, OnFull
from strongroom.outbox import LIMIT_BYTES
from strongroom.outgoing import Document, Outgoing
from strongroom.result import Err, Ok, Result
from strongroom.routes import Priority
from strongroom.ticket import Ticket
from strongroom.waiting import Wait


class Client:
    """``strongroom.Client`` for asyncio: the same arguments, promises and answers.

    A cancelled call may have sent its documents all the same: its thread finishes what it does. A wait holds no thread.
    ``on_full`` is called in another thread.
    """

    def __init__(
        self,
        *,
        inbox: Path | str | None = None,
        broker_url: str | None = None,
        timeout_s: float = 5.0,
        outbox: Path | str | None = None,
        outbox_limit_bytes: int = LIMIT_BYTES,
        max_waiting: int = MAX_WAITING,
        patience_s: float | None = None,
        on_full: OnFull | None = None,
    ) -> None:
        self._client = client.Client(
            inbox=inbox,
            broker_url=broker_url,
            timeout_s=timeout_s,
            outbox=outbox,
            outbox_limit_bytes=outbox_limit_bytes,
            max_waiting=max_waiting,
            patience_s=patience_s,
            on_full=on_full,
        )

    @classmethod
    def of_service(
        cls,
        data_dir: Path | str,
        *,
        timeout_s: float = 5.0,
        patience_s: float | None = None,
        on_full: OnFull | None = None,
    ) -> Self:
        """Return a client of the service that runs on this data folder; see ``strongroom.Client.of_service``."""
        made = cls.__new__(cls)
        made._client = client.Client.of_service(data_dir, timeout_s=timeout_s, patience_s=patience_s, on_full=on_full)
        return made

    async def store(
        self,
        document: Document,
        *,
        library_id: str | None = None,
        version: str | None = None,
        sort_as: str | None = None,
        if_exists: IfExists = "revise",
        source: str | None = None,
        metadata: Mapping[str, Any] | None = None,
        name: str = "",
        receipt: bool = True,
        priority: Priority = "normal",
    ) -> Result[Ticket]:
        """Send one document; see ``strongroom.Client.store``."""
        return await asyncio.to_thread(
            self._client.store,
            document,
            library_id=library_id,
            version=version,
            sort_as=sort_as,
            if_exists=if_exists,
            source=source,
            metadata=metadata,
            name=name,
            receipt=receipt,
            priority=priority,
        )

    async def store_many(
        self,
        documents: Iterable[Outgoing],
        *,
        receipt: bool = True,
        priority: Priority = "normal",
        on_staged: Callable[[Ticket], object] | None = None,
    ) -> Result[list[Ticket]]:
        """Send documents, many a message; see ``strongroom.Client.store_many``.

        ``documents`` is read, and ``on_staged`` called, in another thread.
        """
        return await asyncio.to_thread(
            self._client.store_many, documents, receipt=receipt, priority=priority, on_staged=on_staged
        )

    async def store_iter(
        self, documents: Iterable[Outgoing], *, receipt: bool = True, priority: Priority = "normal"
    ) -> AsyncIterator[Result[Ticket]]:
        """Send documents and yield each job's ticket; see ``strongroom.Client.store_iter``."""
        # Not closed on cancellation, when a thread still runs it: the last to let go of it closes it.
        results = self._client.store_iter(documents, receipt=receipt, priority=priority)
        while (result := await asyncio.to_thread(next, results, None)) is not None:
            yield result

    async def wait(
        self, tickets: Ticket | Iterable[Ticket], timeout_s: float = client.DEFAULT_WAIT_S
    ) -> Result[list[DocumentReceipt]]:
        """Wait for the jobs to end and return one receipt a document; see ``strongroom.Client.wait``."""
        waiting = self._client.waiting(tickets, timeout_s)
        if isinstance(waiting, Err):
            return waiting
        async for result in _arrivals(waiting.value):
            if isinstance(result, Err):
                return result
        return Ok(waiting.value.answer())

    async def wait_each(
        self, tickets: Ticket | Iterable[Ticket], timeout_s: float = client.DEFAULT_WAIT_S
    ) -> AsyncIterator[Result[DocumentReceipt]]:
        """Yield each document's receipt as soon as its job has ended; see ``strongroom.Client.wait_each``."""
        waiting = self._client.waiting(tickets, timeout_s)
        if isinstance(waiting, Err):
            yield waiting
            return
        async for result in _arrivals(waiting.value):
            if isinstance(result, Err):
                yield result
                return
            for entry in result.value:
                yield Ok(entry)

    async def flush(self) -> Result[int]:
        """Tell the broker now of what was accepted while it was down; see ``strongroom.Client.flush``."""
        return await asyncio.to_thread(self._client.flush)

    async def close(self) -> None:
        """End what goes on in the background, and close the connections to the broker. A later call opens them again."""
        await asyncio.to_thread(self._client.close)

    async def __aenter__(self) -> Self:
        return self

    async def __aexit__(self, *_error: object) -> None:
        await self.close()


async def _arrivals(waiting: Wait) -> AsyncIterator[Result[list[DocumentReceipt]]]:
    try:
        while True:
            yield Ok(await asyncio.to_thread(waiting.poll))
            if waiting.done:
                return
            await asyncio.sleep(waiting.pause_s())
    except StorageError as error:
        yield Err.of(error)
