"""Text that others made, for the ledger's own columns: what every database can hold, and people can read in a line."""

from __future__ import annotations

AT_MOST = 4096
"""As long as the name of a document may be (strongroom.contracts.StagedDocument)."""


def plain(text: str, at_most: int = AT_MOST) -> str:
    """Return the text with what is not printable written out, and cut when it is long.

    PostgreSQL holds no NUL, no database a lone surrogate, and a table on a screen no line break.
    """
    text = text[:at_most]
    return text if text.isprintable() else "".join(one if one.isprintable() else ascii(one)[1:-1] for one in text)
