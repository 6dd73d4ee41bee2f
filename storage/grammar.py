"""The grammar of a document: an automaton over UTF-8 text that may be cut anywhere, with the rules that JSON leaves open."""

from __future__ import annotations

from collections.abc import Callable

from storage import tokens
from storage.identity import FACT_NUMBER_BYTES, Identity
from storage.limits import Limits
from storage.nesting import Nesting
from storage.scalars import OpenKey, OpenString, fact_of, remember_key
from storage.tokens import end_of
from strongroom.errors import LimitExceeded, LoneSurrogate, NotAnObject, NotJson

PIECE_BYTES = 256 * 1024
"""The most text that ``read`` takes at once."""

_SPACE, _QUOTE, _COMMA, _COLON = b' ",:'
_OPEN_OBJECT, _CLOSE_OBJECT, _OPEN_ARRAY, _CLOSE_ARRAY = b"{}[]"
_BOM = "\ufeff".encode()


class Grammar:
    """Reads a document piece by piece and remembers no more of it than the keys of its open objects.

    Where the text was cut makes no difference: an error is raised for the first byte after which no continuation could be
    accepted. A grammar that has raised is spent.
    """

    def __init__(self, limits: Limits) -> None:
        self._limits = limits
        self._state: Callable[[Grammar, bytes, int], int] = Grammar._root
        self._nesting = Nesting(limits)
        self._string: OpenString | None = None
        self._rest = b""  # a token that the end of the last piece cut
        self._skipped = 0  # how many bytes of a cut number are not in it
        self._base = 0  # where in the document the text at hand begins
        # The patterns that match many tokens look at no length: where one piece could hold a scalar too long, do without.
        self._in_runs = limits.scalar_bytes > PIECE_BYTES + FACT_NUMBER_BYTES

    def read(self, text: bytes) -> None:
        """Take the next piece: at most PIECE_BYTES of UTF-8, which cut no character.

        Raises:
            InvalidDocument: one of its kinds, when nothing that could follow would be accepted.
        """
        text = self._rest + text
        self._rest = b""
        at, end = 0, len(text)
        while at < end:
            if self._string is not None:
                at = self._in_string(self._string, text, at)
            elif text[at] > _SPACE or (at := end_of(tokens.SPACE, text, at)) < end:
                at = self._state(self, text, at)
        self._base += end - len(self._rest)

    def finish(self) -> Identity:
        """Return what the document says about itself.

        Raises:
            NotJson: it is not complete.
            NotAnObject: it was a number.
        """
        if self._string is not None:
            raise NotJson(f"The text ends inside the string that begins at byte {self._string.start}.")
        if self._rest:
            self.read(b" ")
        if self._state is not Grammar._end:
            raise NotJson(f"The text ends at byte {self._base}, before the document does ({self._nesting.depth} open brackets).")
        return self._nesting.identity()

    # The states: what may stand next. Each gets the place of a byte that is no white space, and returns where to go on.

    def _root(self, text: bytes, at: int) -> int:
        if self._base == 0 and text.startswith(_BOM):
            raise NotJson("The text begins with a byte order mark.")
        return self._value(text, at)

    def _first_key(self, text: bytes, at: int) -> int:
        return self._close(text, at) if text[at] == _CLOSE_OBJECT else self._next_key(text, at)

    def _next_key(self, text: bytes, at: int) -> int:
        if self._in_runs and (end := self._members(text, at)) > at:
            return end
        if text[at] != _QUOTE:
            raise self._unexpected(text, at, "a key in quotes")
        self._string = OpenKey(self._base + at)
        return at + 1

    def _colon(self, text: bytes, at: int) -> int:
        if text[at] != _COLON:
            raise self._unexpected(text, at, "a colon")
        self._state = Grammar._value
        return at + 1

    def _first_element(self, text: bytes, at: int) -> int:
        return self._close(text, at) if text[at] == _CLOSE_ARRAY else self._next_element(text, at)

    def _next_element(self, text: bytes, at: int) -> int:
        if self._in_runs and (end := end_of(tokens.ELEMENTS, text, at)) > at:
            self._state = Grammar._next_element
            return end
        return self._value(text, at)

    def _value(self, text: bytes, at: int) -> int:
        byte = text[at]
        if byte in tokens.NUMBER_STARTS:
            return self._number(text, at)
        if byte in tokens.LITERALS:
            return self._literal(text, at)
        if byte == _QUOTE:
            self._string = OpenString(self._base + at, wanted=self._nesting.wants_scalar())
            return at + 1
        if byte in (_OPEN_OBJECT, _OPEN_ARRAY):
            return self._open(text, at)
        raise self._unexpected(text, at, "a value")

    def _more(self, text: bytes, at: int) -> int:
        if text[at] != _COMMA:
            return self._close(text, at)
        self._state = Grammar._next_key if self._nesting.in_object else Grammar._next_element
        return at + 1

    def _end(self, text: bytes, at: int) -> int:
        raise self._unexpected(text, at, "nothing more")

    # What they do.

    def _open(self, text: bytes, at: int) -> int:
        is_object = text[at] == _OPEN_OBJECT
        self._nesting.open(is_object, self._base + at)
        self._state = Grammar._first_key if is_object else Grammar._first_element
        return at + 1

    def _close(self, text: bytes, at: int) -> int:
        is_object = self._nesting.in_object
        if text[at] != (_CLOSE_OBJECT if is_object else _CLOSE_ARRAY):
            raise self._unexpected(text, at, "a comma or the closing bracket")
        self._nesting.close()
        self._end_value(is_object)
        return at + 1

    def _end_value(self, is_object: bool = False) -> None:
        if self._nesting.depth:
            self._state = Grammar._more
        elif is_object:
            self._state = Grammar._end
        else:
            raise NotAnObject("The text is JSON, but not an object.")

    def _members(self, text: bytes, at: int) -> int:
        """Read members while each is wholly there and its key plain; return where to go on."""
        nesting = self._nesting
        while member := tokens.MEMBER.match(text, at):
            key, scalar = member.groups()
            nesting.add_key(remember_key(key), key, self._base + member.start(1) - 1)
            at = member.end()
            if scalar is None:
                return self._open(text, at - 1)
            if nesting.facts is not None:
                self._note(scalar)
            if text[at - 1] == _CLOSE_OBJECT:
                return self._close(text, at - 1)
            self._state = Grammar._next_key
        return at

    def _number(self, text: bytes, at: int) -> int:
        end = end_of(tokens.NUMBER_SO_FAR, text, at)
        length = self._skipped + end - at
        if length > self._limits.scalar_bytes:
            raise self._too_long("number", self._base + at - self._skipped)
        if end == len(text):
            return self._hold_number(text, at)
        if text[end - 1] not in tokens.DIGITS:
            raise self._unexpected(text, end, "a digit")
        self._skipped = 0
        if length <= FACT_NUMBER_BYTES:
            self._note(text[at:end])
        self._end_value()
        return end

    def _hold_number(self, text: bytes, at: int) -> int:
        beginning = text[at:]
        self._rest = beginning if len(beginning) <= FACT_NUMBER_BYTES else tokens.shorten_number(beginning)
        self._skipped += len(beginning) - len(self._rest)
        return len(text)

    def _literal(self, text: bytes, at: int) -> int:
        literal = tokens.LITERALS[text[at]]
        there = text[at : at + len(literal)]
        if there == literal:
            self._end_value()
        elif literal.startswith(there):
            self._rest = there
        else:
            raise NotJson(f"A value that is neither true, false nor null stands at byte {self._base + at}.")
        return at + len(there)

    def _in_string(self, string: OpenString, text: bytes, at: int) -> int:
        end = end_of(tokens.TEXT, text, at)
        string.add(text[at:end])
        if string.length > self._limits.scalar_bytes:
            raise self._too_long("string", string.start)
        if end == len(text):
            return end
        if text[end] == _QUOTE:
            self._end_string(string)
            return end + 1
        return self._hold_escape(text, end)

    def _end_string(self, string: OpenString) -> None:
        self._string = None
        if isinstance(string, OpenKey):
            self._nesting.add_key(string.remembered(), string.kept, string.start)
            self._state = Grammar._colon
            return
        if string.wanted:
            self._nesting.note(string.kept)
        self._end_value()

    def _hold_escape(self, text: bytes, at: int) -> int:
        rest = text[at : at + tokens.LONGEST_ESCAPE_BYTES]
        where = self._base + at
        if not rest.startswith(b"\\"):
            raise NotJson(f"A control character stands in a string, at byte {where}.")
        if tokens.starts_with_surrogate(rest) and not tokens.may_become_escape(rest):
            raise LoneSurrogate(f"Half of a surrogate pair stands alone at byte {where}.")
        if not tokens.may_become_escape(rest):
            raise NotJson(f"No escape that JSON knows stands at byte {where}.")
        self._rest = rest
        return len(text)

    def _note(self, scalar: bytes) -> None:
        fact = fact_of(scalar) if self._nesting.wants_scalar() else None
        if fact is not None:
            self._nesting.note(fact)

    def _too_long(self, kind: str, where: int) -> LimitExceeded:
        return LimitExceeded(f"The {kind} that begins at byte {where} is longer than {self._limits.scalar_bytes} bytes.")

    def _unexpected(self, text: bytes, at: int, expected: str) -> NotJson:
        character = text[at : at + 4].decode(errors="ignore")[:1]
        hint = "; NaN and Infinity are not JSON" if character in "NI" else ""
        return NotJson(f"At byte {self._base + at} stands {character!r} where {expected} must stand{hint}.")
