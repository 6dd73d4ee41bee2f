"""The open containers of a document that is read: their keys, and the facts noted on the way."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field

from storage.identity import INFO_KEY, INFO_KEYS, ROOT_KEYS, Identity, Scalar, identify
from storage.limits import Limits
from storage.scalars import show_key
from strongroom.errors import DuplicateKey, LimitExceeded

_INFO = INFO_KEY.encode()


@dataclass(slots=True)
class _Facts:
    """The scalars found in one object, by their keys."""

    wanted: Mapping[bytes, str]
    found: dict[str, Scalar] = field(default_factory=dict)


class Nesting:
    """The open containers, outermost first. ``in_object`` and ``facts`` (where its scalars go) tell about the innermost."""

    __slots__ = ("_info", "_key", "_keys", "_limits", "_open_keys", "_outer", "_root", "depth", "facts", "in_object")

    def __init__(self, limits: Limits) -> None:
        self._limits = limits
        self.depth, self.in_object = 0, False
        self._outer: list[tuple[bool, set[bytes], _Facts | None]] = []
        self._keys: set[bytes] = set()
        self.facts: _Facts | None = None
        self._key = b""
        self._open_keys = 0
        self._root = _Facts({key.encode(): key for key in ROOT_KEYS})
        self._info = _Facts({key.encode(): key for key in INFO_KEYS})

    def open(self, is_object: bool, where: int) -> None:
        """Enter a container that begins at byte ``where``.

        Raises:
            LimitExceeded: it lies too deep.
        """
        if self.depth == self._limits.depth:
            raise LimitExceeded(f"Brackets nest deeper than {self._limits.depth} at byte {where}.")
        facts = self._facts_of_next() if is_object else None
        self._outer.append((self.in_object, self._keys, self.facts))
        self.in_object, self._keys, self.facts = is_object, set(), facts
        self.depth += 1

    def close(self) -> None:
        """Leave the innermost container."""
        self._open_keys -= len(self._keys)
        self.in_object, self._keys, self.facts = self._outer.pop()
        self.depth -= 1

    def add_key(self, remembered: bytes, key: str | bytes, where: int) -> None:
        """Add a key to the innermost object. ``remembered`` knows it again, ``key`` and ``where`` are for messages.

        Raises:
            DuplicateKey: the object has it already.
            LimitExceeded: the object has too many, or the open objects have together.
        """
        keys = self._keys
        before = len(keys)
        keys.add(remembered)
        self._key = remembered
        if len(keys) == before:
            name = show_key(key.decode() if isinstance(key, bytes) else key)
            raise DuplicateKey(f"The key {name} stands a second time in its object, at byte {where}.")
        self._open_keys += 1
        if before == self._limits.object_keys:
            raise LimitExceeded(f"An object has more than {before} keys at byte {where}.")
        if self._open_keys > self._limits.open_keys:
            raise LimitExceeded(f"The objects around byte {where} have more than {self._limits.open_keys} keys together.")

    def wants_scalar(self) -> bool:
        """Say whether a scalar that stands here is a fact."""
        return self.facts is not None and self._key in self.facts.wanted

    def note(self, fact: Scalar) -> None:
        """Remember the scalar that stands here, if it is wanted."""
        if self.facts is not None and self._key in self.facts.wanted:
            self.facts.found[self.facts.wanted[self._key]] = fact

    def identity(self) -> Identity:
        """Return what the noted facts say."""
        return identify(self._root.found, self._info.found)

    def _facts_of_next(self) -> _Facts | None:
        if self.depth == 0:
            return self._root
        return self._info if self.facts is self._root and self._key == _INFO else None
