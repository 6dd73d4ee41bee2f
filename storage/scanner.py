"""The streaming check of a document: constant memory, whatever its size."""

from __future__ import annotations

import codecs

from storage.grammar import PIECE_BYTES, Grammar
from storage.identity import Identity
from storage.limits import Limits
from strongroom.errors import DocumentTooLarge, EmptyDocument, NotJson

_CUT_BYTES = 3  # the most of a character that can be there without being it


class DocumentScanner:
    """Checks a document that is fed in chunks of any size.

    What is accepted, the identity, and the error otherwise, do not depend on how the bytes were cut. Chunks are not kept: the
    scanner holds one piece of 256 KiB and the keys of the open objects. A scanner that has raised is spent.
    """

    def __init__(self, limits: Limits) -> None:
        self._limits = limits
        self._grammar = Grammar(limits)
        self._fed = 0
        self._cut = b""  # the beginning of a character that the end of the last piece cut

    def feed(self, chunk: bytes | memoryview) -> None:
        """Take the next bytes.

        Raises:
            InvalidDocument: one of its kinds, when nothing that could follow would be accepted.
            DocumentTooLarge: a byte past the limit, and no fault before it.
        """
        view = memoryview(chunk).cast("B")
        allowed = view[: self._limits.document_bytes - self._fed]
        step = PIECE_BYTES - _CUT_BYTES
        for start in range(0, len(allowed), step):
            self._take(bytes(allowed[start : start + step]))
        if len(view) > len(allowed):
            raise DocumentTooLarge(f"The document has more than {self._limits.document_bytes} bytes.")

    def finish(self) -> Identity:
        """Return what the document says about itself: every byte was fed.

        Raises:
            EmptyDocument: there was none.
            NotJson, NotAnObject: what was fed is not complete, or a number.
        """
        if not self._fed:
            raise EmptyDocument("The document holds no bytes at all.")
        if self._cut:
            raise NotJson(f"The text ends inside a character, at byte {self._fed - len(self._cut)}.")
        return self._grammar.finish()

    def _take(self, piece: bytes) -> None:
        text = self._cut + piece
        self._fed += len(piece)
        # Most text is ASCII, which is known at a glance; only what is not is decoded.
        whole = len(text) if text.isascii() else self._whole_characters(text)
        self._cut = text[whole:]
        self._grammar.read(text[:whole] if self._cut else text)

    def _whole_characters(self, text: bytes) -> int:
        try:
            return codecs.utf_8_decode(text, "strict", False)[1]
        except UnicodeDecodeError as error:
            # What stands before it may hold an earlier fault, which goes first however the bytes were cut.
            self._grammar.read(text[: error.start])
            where = self._fed - len(text) + error.start
            raise NotJson(f"The bytes from byte {where} on are not UTF-8.") from None
