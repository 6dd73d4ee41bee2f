"""Damage of every kind, in every store: each is found and named rightly, and what is whole raises no alarm."""

from __future__ import annotations

import shutil
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path

from faults.rows import Row
from faults.service import scratch
from faults.sizes import Sizes
from faults.tell import Tell
from models.findings import Observation
from storage.engine import Engine
from storage.findings import observed_by_verify
from tests.storage.test_reconcile import DAMAGES, Damage, alarms, codes
from tests.storage.test_verify import KINDS, DamageKind, fill
from tests.support.archive import document, large_body

_LOOKS = 20
"""Looks of one history."""
_STEP_SHORT = 50
"""A short run flips one byte of so many."""


def run(sizes: Sizes, seed: int, tell: Tell) -> list[Row]:
    """Do each kind of damage to a copy of one folder; then live through random histories and look after each step."""
    with scratch(keep=sizes.keep) as folder:
        with Engine(folder / "whole").create() as engine:
            fill(engine)
        short = sizes.trials < _LOOKS
        damages, kinds = DAMAGES[:: 5 if short else 1], KINDS[:: 5 if short else 1]  # the tests do each of them by itself
        missed = list(_missed(folder, damages, kinds, tell))
        flips, unfound = _flip_bytes(folder, _STEP_SHORT if short else 1)
        tell(f"{flips} bytes flipped")
        looks, found = _live(folder, max(_LOOKS, sizes.trials), seed, tell)
    count = len(DAMAGES) + len(KINDS)
    return [
        Row(
            "kinds of damage found and named",
            "40 or more, all",
            f"{count - len(missed)} of {count}",
            met=count >= 40 and not missed,
        ),
        Row("flipped bytes of a version found", "each", f"{flips - unfound} of {flips}", met=flips > 0 and unfound == 0),
        Row("looks at what is whole, and alarms", "100, none", f"{looks}, {len(found)}", met=not found),
    ]


@contextmanager
def _copy(folder: Path) -> Iterator[Engine]:
    """Open an engine on a copy in which links to segments are links again."""
    root = Path(shutil.copytree(folder / "whole", folder / "copy" / "data", symlinks=True))
    segments = {path.stat().st_ino: path for path in (folder / "whole").glob("segments/??/*")}
    for path in (folder / "whole").glob("documentation/*/.generations/*/documentation.json.gz"):
        if path.stat().st_ino in segments:
            (root / path.relative_to(folder / "whole")).unlink()
            same = segments[path.stat().st_ino].relative_to(folder / "whole")
            (root / path.relative_to(folder / "whole")).hardlink_to(root / same)
    try:
        with Engine(root).open() as engine:
            yield engine
    finally:
        shutil.rmtree(folder / "copy")


def _missed(folder: Path, damages: Sequence[Damage], kinds: Sequence[DamageKind], tell: Tell) -> Iterator[str]:
    for damage in damages:
        with _copy(folder) as engine:
            damage.do(engine)
            found = codes(engine)
        if found != damage.codes:
            tell(f"MISSED: {damage.name}: {found}, not {damage.codes}")
            yield damage.name
    for kind in kinds:
        with _copy(folder) as engine:
            kind.do(engine)
            receipt = engine.verify()
        told = {(one.library_id, one.version): one.code for one in receipt.damaged}
        if told != kind.damaged or [one.code for one in receipt.findings] != kind.findings:
            tell(f"MISSED: {kind.name}: {receipt}")
            yield kind.name


def _flip_bytes(folder: Path, step: int) -> tuple[int, int]:
    """Flip one byte of a version after the other; return how many, and how many of these a look at its bytes did not find."""
    unfound = 0
    with _copy(folder) as engine:
        engine.store([document("/sample", "1.0", large_body(2500))])
        path = engine.folder.segment(engine.find("/sample").place.segment_sha256)
        sound = path.read_bytes()
        places = range(0, len(sound), step)
        for at in places:
            path.write_bytes(sound[:at] + bytes([sound[at] ^ 1 << at % 8]) + sound[at + 1 :])
            unfound += not engine.verify("/sample").damaged
    return len(places), unfound


def _live(folder: Path, looks: int, seed: int, tell: Tell) -> tuple[int, list[Observation]]:
    found: list[Observation] = []
    done = 0
    while done < looks:
        with _copy(folder) as engine:
            found += alarms(engine, seed + done, _LOOKS)
            found += observed_by_verify(engine.verify())
        done += _LOOKS
    for one in found[:10]:
        tell(f"ALARM: {one}")
    return done, found
