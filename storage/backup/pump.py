"""A pump: lets a library that copies from one file object to another stand between two iterators, in constant memory."""

from __future__ import annotations

import queue
import threading
from collections.abc import Callable, Iterable, Iterator
from typing import Protocol

_FLUSH_BYTES = 256 * 1024


class Source(Protocol):
    """What the library reads."""

    def read(self, size: int, /) -> bytes:
        """Return some bytes, ``size`` at most; none at the end."""


class Sink(Protocol):
    """What the library writes."""

    def write(self, piece: bytes, /) -> int:
        """Take a piece."""

    def flush(self) -> None:
        """Do nothing."""


def pumped(pieces: Iterable[bytes], copy: Callable[[Source, Sink], None]) -> Iterator[bytes]:
    """Yield what ``copy`` writes while it reads the pieces.

    ``copy`` runs in a thread, which has ended when the iterator has, was closed, or raised. The pieces are taken in the
    caller's thread, one after the other is through: a database connection may be behind them. What they raise, and what
    ``copy`` raises, goes through.
    """
    pump = _Pump(copy)
    try:
        for piece in filter(None, pieces):  # an empty one would be the end
            if not pump.give(piece):
                break
            yield from pump.written()
        pump.give(b"")
        yield from pump.rest()
    finally:
        pump.stop()
    if pump.error is not None:
        raise pump.error


class _Stopped(Exception):
    pass


class _Pump:
    """Both file objects. The thread asks for a piece by the one queue and gets it by the other: one is under way at most."""

    def __init__(self, copy: Callable[[Source, Sink], None]) -> None:
        self._in: queue.SimpleQueue[bytes | None] = queue.SimpleQueue()
        self._out: queue.SimpleQueue[bytes | None] = queue.SimpleQueue()
        self._wanted = threading.Semaphore(0)
        self._piece = memoryview(b"")
        self._gathered = bytearray()
        self._over = False
        self._ended = False
        self.error: BaseException | None = None
        self._thread = threading.Thread(target=self._run, args=(copy,), name="pump", daemon=True)
        self._thread.start()

    def _run(self, copy: Callable[[Source, Sink], None]) -> None:
        try:
            copy(self, self)
            self._flush()
        except BaseException as error:  # noqa: BLE001 - handed to the caller's thread, which raises it
            self.error = error
        self._ended = True
        self._wanted.release()
        self._out.put(None)

    # in the library's thread

    def read(self, size: int, /) -> bytes:
        """Return some bytes of the piece at hand, or of the next."""
        if not self._piece and not self._over:
            self._flush()
            self._wanted.release()
            piece = self._in.get()
            if piece is None:
                raise _Stopped
            self._piece, self._over = memoryview(piece), not piece
        taken, self._piece = self._piece[:size], self._piece[size:]
        return bytes(taken)

    def write(self, piece: bytes, /) -> int:
        """Gather pieces and pass them on."""
        self._gathered += piece
        if len(self._gathered) >= _FLUSH_BYTES:
            self._flush()
        return len(piece)

    def flush(self) -> None:
        """Do nothing: what is gathered goes when the next piece is asked for."""

    def _flush(self) -> None:
        if self._gathered:
            self._out.put(bytes(self._gathered))
            self._gathered.clear()

    # in the caller's thread

    def give(self, piece: bytes) -> bool:
        """Hand over a piece once it is asked for, ``b""`` as the last; tell whether anybody still wants it."""
        self._wanted.acquire()
        if self._ended:
            self._wanted.release()  # for whoever asks again
            return False
        self._in.put(piece)
        return True

    def written(self) -> Iterator[bytes]:
        """Yield what has come out by now."""
        while True:
            try:
                piece = self._out.get_nowait()
            except queue.Empty:
                return
            if piece is None:
                self._out.put(None)
                return
            yield piece

    def rest(self) -> Iterator[bytes]:
        """Yield what comes out until the end."""
        while (piece := self._out.get()) is not None:
            yield piece

    def stop(self) -> None:
        """End the thread."""
        self._in.put(None)
        self._thread.join()
