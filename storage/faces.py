"""How an operation, written once, is called in four ways: raising or answering a Result, on the spot or from asyncio."""

from __future__ import annotations

import asyncio
import functools
import inspect
from collections.abc import AsyncGenerator, Callable, Coroutine, Iterator
from concurrent.futures import ThreadPoolExecutor
from contextvars import copy_context
from itertools import islice
from threading import Lock
from typing import Any, Concatenate, Generic, ParamSpec, Self, TypeVar, overload

from storage.room import Room
from strongroom.errors import StorageError
from strongroom.result import Err, Ok, Result, capture

P = ParamSpec("P")
T = TypeVar("T")

THREADS = 16
"""Calls of one async manager that run at a time, the others wait: of stores that many share a barrier at least."""


class Threads:
    """A bounded pool of its own, so that many calls at once take no thread from the event loop's other work."""

    def __init__(self, limit: int = THREADS) -> None:
        self._limit = limit
        self._pool: ThreadPoolExecutor | None = None
        self._lock = Lock()

    async def run(self, call: Callable[[], T]) -> T:
        """Return what ``call`` returns, run in a thread with the caller's context. A cancelled call may go on to its end."""
        with self._lock:
            if self._pool is None:
                self._pool = ThreadPoolExecutor(self._limit, "strongroom")
            started = asyncio.get_running_loop().run_in_executor(self._pool, copy_context().run, call)
        return await started

    def end(self) -> None:
        """Wait for what is running and let the threads go. A later call makes new ones."""
        with self._lock:
            pool, self._pool = self._pool, None
        if pool is not None:
            pool.shutdown()


class Raising:
    """Runs an operation on the spot; its errors are raised."""

    def __init__(self, room: Room) -> None:
        self._room = room

    def _run(self, call: Callable[[Room], T]) -> T:
        return call(self._room)

    def _run_each(self, call: Callable[[Room], Iterator[T]], _at_once: int) -> Iterator[T]:
        return call(self._room)


class Answering:
    """Runs an operation on the spot; its errors are answers."""

    def __init__(self, room: Room) -> None:
        self._room = room

    def _run(self, call: Callable[[Room], T]) -> Result[T]:
        return capture(lambda: call(self._room))

    def _run_each(self, call: Callable[[Room], Iterator[T]], _at_once: int) -> Iterator[Result[T]]:
        try:
            for item in call(self._room):
                yield Ok(item)
        except StorageError as error:
            yield Err.of(error)


class AsyncRaising:
    """Runs an operation in a thread; its errors are raised."""

    def __init__(self, room: Room, threads: Threads) -> None:
        self._room, self._threads = room, threads

    async def _run(self, call: Callable[[Room], T]) -> T:
        return await self._threads.run(lambda: call(self._room))

    async def _run_each(self, call: Callable[[Room], Iterator[T]], at_once: int) -> AsyncGenerator[T, None]:
        items = await self._run(call)
        # Not closed on cancellation, when a thread may still be inside: the last to let go of it closes it.
        while True:
            some, error = await self._threads.run(lambda: _next_of(items, at_once))
            for item in some:
                yield item
            if error is not None:
                raise error
            if len(some) < at_once:
                return


class AsyncAnswering:
    """Runs an operation in a thread; its errors are answers."""

    def __init__(self, room: Room, threads: Threads) -> None:
        self._raising = AsyncRaising(room, threads)

    async def _run(self, call: Callable[[Room], T]) -> Result[T]:
        try:
            return Ok(await self._raising._run(call))
        except StorageError as error:
            return Err.of(error)

    async def _run_each(self, call: Callable[[Room], Iterator[T]], at_once: int) -> AsyncGenerator[Result[T], None]:
        try:
            async for item in self._raising._run_each(call, at_once):
                yield Ok(item)
        except StorageError as error:
            yield Err.of(error)


def _next_of(items: Iterator[T], at_once: int) -> tuple[list[T], StorageError | None]:
    """Return the next items, fewer at the end, and the error that ended them: what came before it is not lost."""
    some: list[T] = []
    try:
        for item in islice(items, at_once):
            some.append(item)  # noqa: PERF402 - list() would lose what came before an error
    except StorageError as error:
        return some, error
    return some, None


Face = Raising | Answering | AsyncRaising | AsyncAnswering


class Operation(Generic[P, T]):
    """A method of every face, made of one function over a Room. The overloads are what type checkers see of each face."""

    def __init__(self, function: Callable[Concatenate[Room, P], T]) -> None:
        self._function = function
        self.__doc__ = function.__doc__

    @overload
    def __get__(self, face: None, owner: type) -> Self: ...
    @overload
    def __get__(self, face: Raising, owner: type | None = None) -> Callable[P, T]: ...
    @overload
    def __get__(self, face: Answering, owner: type | None = None) -> Callable[P, Result[T]]: ...
    @overload
    def __get__(self, face: AsyncRaising, owner: type | None = None) -> Callable[P, Coroutine[Any, Any, T]]: ...
    @overload
    def __get__(self, face: AsyncAnswering, owner: type | None = None) -> Callable[P, Coroutine[Any, Any, Result[T]]]: ...

    def __get__(self, face: Face | None, owner: type | None = None) -> object:
        if face is None:
            return self

        def method(*args: P.args, **kwargs: P.kwargs) -> object:
            return face._run(lambda room: self._function(room, *args, **kwargs))

        return _dressed(method, self._function)


class Listing(Generic[P, T]):
    """An operation that yields. From asyncio ``at_once`` items are fetched with one change of threads.

    As a Result every item is an Ok; an Err is the last answer.
    """

    def __init__(self, function: Callable[Concatenate[Room, P], Iterator[T]], at_once: int = 1) -> None:
        self._function, self._at_once = function, at_once
        self.__doc__ = function.__doc__

    @overload
    def __get__(self, face: None, owner: type) -> Self: ...
    @overload
    def __get__(self, face: Raising, owner: type | None = None) -> Callable[P, Iterator[T]]: ...
    @overload
    def __get__(self, face: Answering, owner: type | None = None) -> Callable[P, Iterator[Result[T]]]: ...
    @overload
    def __get__(self, face: AsyncRaising, owner: type | None = None) -> Callable[P, AsyncGenerator[T, None]]: ...
    @overload
    def __get__(self, face: AsyncAnswering, owner: type | None = None) -> Callable[P, AsyncGenerator[Result[T], None]]: ...

    def __get__(self, face: Face | None, owner: type | None = None) -> object:
        if face is None:
            return self

        def method(*args: P.args, **kwargs: P.kwargs) -> object:
            return face._run_each(lambda room: self._function(room, *args, **kwargs), self._at_once)

        return _dressed(method, self._function)


def _dressed(method: Callable[P, object], function: Callable[Concatenate[Room, P], object]) -> Callable[P, object]:
    """Give a method the name, docstring and signature of its function, for ``help``: all but the room."""
    functools.update_wrapper(method, function)
    signature = inspect.signature(function)
    method.__signature__ = signature.replace(parameters=list(signature.parameters.values())[1:])  # type: ignore[attr-defined] # PEP 362
    return method
