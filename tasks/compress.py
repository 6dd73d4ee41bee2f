"""The task ``strongroom.compress``: what was encoded fast on arrival is encoded well, old versions refer to newer ones."""

from __future__ import annotations

from datetime import UTC, datetime
from typing import Any, Literal

from pydantic import BaseModel, ConfigDict, Field

from models.checkpoint import fold_log
from storage.compress import Compress, Progress
from storage.encodings import Kept
from storage.engine import Engine
from storage.footprint import footprint
from storage.peaks import compress_peak
from storage.treemode import shown_mode
from strongroom.numbering import FIRST_CONTRACT
from tasks.kinds import Kind, Running
from tasks.services import Services

_TOLD = 1000
"""How many libraries with damage the ledger names."""


class CompressMessage(BaseModel):
    """The arguments of ``strongroom.compress``: a library, or all of them; how the versions are kept that other programs read."""

    model_config = ConfigDict(extra="forbid", frozen=True)

    contract: int = Field(FIRST_CONTRACT, ge=1)
    request_id: str | None = None
    library_id: str | None = None
    newest: Literal["gzip", "zstd"] = "gzip"
    priority: Literal["high", "normal", "low"] = "normal"


def compress_folder(engine: Engine, library_id: str | None, newest: Kept, progress: Progress) -> dict[str, Any]:
    """Compress a library, or everything, and return what that did: JSON. ``before_bytes`` and ``after_bytes`` are measured.

    Raises:
        NotFound: no such library.
        TransientIO: another process is at it.
        StorageError: the operating system refused; nothing is lost.
    """
    fold_log(engine.database)
    before = footprint(engine.folder.root)
    shown = shown_mode(engine.folder, engine.options.tree)
    work = Compress(engine.folder, engine.database, engine.tree, shown, newest)
    done = work.run(datetime.now(UTC), library_id, progress)
    fold_log(engine.database)
    return {
        "before_bytes": before,
        "after_bytes": footprint(engine.folder.root),
        "libraries": done.libraries,
        "contents": done.contents,
        "rewritten": done.rewritten,
        "trashed_bytes": done.trashed_bytes,
        "cpu_s": round(done.cpu_s, 1),
        "damaged": done.damaged[:_TOLD],
    }


def _compress(running: Running, message: CompressMessage) -> None:
    running.finish(compress_folder(running.services.engine, message.library_id, message.newest, running.progress))


def _subject(message: CompressMessage) -> str:
    return message.library_id or "everything"


def _peak(services: Services, message: CompressMessage) -> int:
    return compress_peak(services.database, message.library_id)


COMPRESS = Kind("compress", CompressMessage, _subject, _compress, _peak)
