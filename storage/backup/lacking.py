"""What a backup could not have whole: whom that hurts is found out, told, and a finding until it is mended or gone."""

from __future__ import annotations

from collections.abc import Mapping
from contextlib import suppress
from dataclasses import dataclass
from datetime import datetime
from pathlib import Path
from typing import TYPE_CHECKING

from models.findings import Observation, last_found_by
from models.mending import is_known
from storage.engine import Engine
from strongroom.errors import StorageError

if TYPE_CHECKING:
    from strongroom.contracts import Finding

SEEN_BY = "backup"


@dataclass(frozen=True, slots=True)
class Lacking:
    """What is wrong with segments that were to be copied. ``versions`` are those that are hurt, in words."""

    versions: tuple[str, ...]
    findings: tuple[Finding, ...]
    observed: tuple[Observation, ...]


def look_at(engine: Engine, damaged: Mapping[str, str]) -> Lacking:
    """Read these segments and their indexes again, and return what is wrong with them by now.

    ``damaged`` says of each what the copy met: that counts where a second look finds nothing, for it is not in the backup.

    Raises:
        StorageError: the disk or the catalogue refused, for a reason that is no damage.
    """
    from storage.findings import observed_by_verify  # noqa: PLC0415 - what looks for damage is imported where there is some
    from storage.progress import silent  # noqa: PLC0415 - the same
    from storage.verify import Verification  # noqa: PLC0415 - the same
    from strongroom.contracts import Finding, VerifyReceipt  # noqa: PLC0415 - the same

    after = Verification(engine.folder, engine.database, "none", silent)
    after.again(damaged.keys(), ())
    hurt = [one for one in after.damaged if _segment(one.segment) in damaged]
    findings = [one for one in after.findings if _segment(one.path) in damaged]
    seen = {_segment(one.segment) for one in hurt} | {_segment(one.path) for one in findings}
    with engine.database.read() as connection:
        unseen = [name for name in sorted(damaged.keys() - seen) if is_known(connection, name)]
    findings += [
        Finding(code="segment_damaged", path=engine.folder.relative(engine.folder.segment(name)), message=damaged[name])
        for name in unseen
    ]
    observed = observed_by_verify(VerifyReceipt(checked=0, read_bytes=0, damaged=hurt, findings=findings))
    return Lacking(tuple(sorted({one.subject for one in observed if one.subject})), tuple(findings), tuple(observed))


def keep_lacking(engine: Engine, lacking: Lacking, now: datetime) -> None:
    """Record what a backup lacked, besides what earlier ones did that lasts. Where that cannot be written, its error tells it."""
    from storage.findings import keep_findings  # noqa: PLC0415 - see look_at

    with suppress(StorageError):
        keep_mended(engine, now)
        with engine.database.read() as connection:
            lasting = last_found_by(connection, SEEN_BY)
        keep_findings(engine.folder, engine.database, SEEN_BY, [*lasting, *lacking.observed], now)


def keep_mended(engine: Engine, now: datetime) -> None:
    """Close what earlier backups lacked and what is whole, or forgotten, by now. Costs a query where there is nothing."""
    with suppress(StorageError):
        with engine.database.read() as connection:
            if not last_found_by(connection, SEEN_BY):
                return
        from storage.second_look import look_again  # noqa: PLC0415 - see look_at

        look_again(engine.folder, engine.database, "none", now, (SEEN_BY,))


def _segment(path: str) -> str:
    return Path(path).name.removesuffix(".index")
