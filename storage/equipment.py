"""What an engine works with. Each part is imported and made when it is first asked for: a command needs few of them.

A worker, which needs them all, imports them before it forks (workers/composition.py).
"""

from __future__ import annotations

import threading
from functools import cached_property
from typing import TYPE_CHECKING, Any, TypeVar

from storage.codecs import Encoder

if TYPE_CHECKING:
    from models.database import Database
    from storage.accesses import Accesses
    from storage.allowance import Allowance
    from storage.engine import Options
    from storage.governor import Governor
    from storage.layout import DataFolder
    from storage.reading import Reader
    from storage.repair import Repair
    from storage.store import Storing
    from storage.trail import Archive
    from storage.tree import Tree


_Made = TypeVar("_Made")


class _part(cached_property[_Made]):  # noqa: N801 - a decorator
    """A part that is made once, though two threads ask for it at the same time: since Python 3.12 the base lets both make one."""

    def __get__(self, instance: Any, owner: type[Any] | None = None) -> _Made:  # type: ignore[override]  # nobody asks the class
        with instance.making:
            made: _Made = super().__get__(instance, owner)
            return made


class Equipment:
    """The parts of an engine on one data folder. Threads may share it."""

    def __init__(self, folder: DataFolder, database: Database, options: Options, encoder: Encoder) -> None:
        self.folder, self.database, self.options, self._encoder = folder, database, options, encoder
        self.making = threading.RLock()

    @_part
    def tree(self) -> Tree:
        """The documentation tree, of the mode that it was built for.

        A setting that differs counts when the folder is prepared again: what a command hid by it, the catalogue would call shown.
        """
        from storage.tree import Tree  # noqa: PLC0415 - see above
        from storage.treemode import shown_mode  # noqa: PLC0415 - see above

        return Tree(self.folder, self.database, shown_mode(self.folder, self.options.tree))

    @_part
    def repair(self) -> Repair:
        """What mends damage."""
        from storage.repair import Repair  # noqa: PLC0415 - see above

        options = self.options
        return Repair(self.folder, self.database, self.tree, options.tree, self._encoder, options.limits, options.fetches)

    @_part
    def archive(self) -> Archive:
        """What people change versions with."""
        from storage.trail import Archive  # noqa: PLC0415 - see above

        return Archive(self.folder, self.database)

    @_part
    def accesses(self) -> Accesses:
        """What was read, until it is written down."""
        from storage.accesses import Accesses  # noqa: PLC0415 - see above

        return Accesses()

    @_part
    def governor(self) -> Governor:
        """What keeps a part of the disk free."""
        from storage.governor import Governor  # noqa: PLC0415 - see above

        return Governor(self.folder.root, self.options.reserve_bytes)

    @_part
    def allowance(self) -> Allowance:
        """What the quotas leave."""
        from storage.allowance import Allowance  # noqa: PLC0415 - see above

        return Allowance(self.options.quotas)

    @_part
    def reader(self) -> Reader:
        """What reads what was found."""
        from storage.reading import Reader  # noqa: PLC0415 - see above

        return Reader(self.folder, self.database, lambda: self.repair, self.options.mend_reads)

    @_part
    def _storing(self) -> Storing:
        from storage.store import Storing  # noqa: PLC0415 - see above

        return Storing(self.folder, self.database, self._encoder, self.options.limits, allowance=self.allowance)

    def close(self) -> None:
        """End the threads of what was made, and let go of the catalogue."""
        if "_storing" in vars(self):
            self._storing.close()
        self.database.close()
