"""Text, tables and bars for people.

rich is imported when the first of them is made: 20 ms that are not spent for a program that asks for JSON.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from rich.progress import ProgressColumn
    from rich.table import Table
    from rich.text import Text


def styled(words: str = "", style: str = "") -> Text:
    """Return words in a style."""
    from rich.text import Text  # noqa: PLC0415 - see above

    return Text(words, style)


def joined(*parts: str | Text | tuple[str, str]) -> Text:
    """Return text that is put together: of words, of words with their style, and of text."""
    from rich.text import Text  # noqa: PLC0415 - see above

    return Text.assemble(*parts)


def new_table(*columns: str) -> Table:
    """Return a table without lines, to which rows are added."""
    from rich.table import Table  # noqa: PLC0415 - see above

    return Table(*columns, box=None, header_style="dim", padding=(0, 2, 0, 0))


def in_numbers() -> Sequence[ProgressColumn]:
    """Have a bar say 3/7."""
    from rich.progress import MofNCompleteColumn  # noqa: PLC0415 - see above

    return (MofNCompleteColumn(),)


def in_bytes() -> Sequence[ProgressColumn]:
    """Have a bar say 3/7 MB."""
    from rich.progress import DownloadColumn  # noqa: PLC0415 - see above

    return (DownloadColumn(),)


def in_percent() -> Sequence[ProgressColumn]:
    """Have a bar say 43%."""
    from rich.progress import TaskProgressColumn  # noqa: PLC0415 - see above

    return (TaskProgressColumn(),)


def in_bytes_a_second() -> Sequence[ProgressColumn]:
    """Have a bar say 3/7 MB, 2 MB/s."""
    from rich.progress import TransferSpeedColumn  # noqa: PLC0415 - see above

    return (*in_bytes(), TransferSpeedColumn())
