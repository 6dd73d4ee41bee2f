"""storage/tidy.py: what may go, and what may not."""

from __future__ import annotations

import json
import os
from datetime import UTC, datetime, timedelta
from functools import partial
from io import BytesIO
from pathlib import Path

from storage.canary import clear, plant
from storage.engine import Engine
from storage.intake import incoming
from storage.tidy import ABANDONED, GRACE, UNCLAIMED, USED, tidy
from strongroom.contracts import DocumentOptions
from strongroom.disposal import AT_ONCE_BYTES, DONE, dispose


def _age(path: Path, by: timedelta) -> None:
    then = datetime.now(UTC).timestamp() - by.total_seconds() - 5
    os.utime(path, (then, then), follow_symlinks=False)


def _touch(path: Path) -> Path:
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_bytes(b"x")
    return path


def test_only_what_a_dead_writer_left_is_removed(tmp_path: Path) -> None:
    with Engine(tmp_path / "data").create() as engine:
        folder = engine.folder
        old = [_touch(folder.inbox / "a.part"), _touch(folder.tmp / "b.segment"), _touch(folder.tmp / "c.generation" / "file")]
        old.append(_touch(folder.metadata / "restores" / "f.part"))
        accepted, fresh = _touch(folder.inbox / "d.inbox"), _touch(folder.inbox / "e.part")
        for path in (old[0], old[1], old[2].parent, old[3], accepted):
            _age(path, ABANDONED)
        done = tidy(folder, datetime.now(UTC))
    assert done.unfinished == 4
    assert not any(path.exists() for path in old)
    assert accepted.exists(), "an accepted job is never swept, however old"
    assert fresh.exists()


def test_canaries_of_a_sweep_that_died_are_removed_and_those_of_a_living_one_stay(engine: Engine) -> None:
    left, living = plant(engine.folder), plant(engine.folder)
    old = (datetime.now(UTC) - ABANDONED - timedelta(minutes=1)).timestamp()
    os.utime(left[0].folder.root, (old, old))
    assert tidy(engine.folder, datetime.now(UTC)).unfinished == 1
    assert [path.name for path in (engine.folder.run / "canaries").iterdir()] == [living[0].folder.root.name]
    clear(living)


def test_a_receipt_waits_a_week(tmp_path: Path) -> None:
    with Engine(tmp_path / "data").create() as engine:
        old, fresh = (_touch(engine.folder.inbox / "receipts" / name) for name in ("old.json", "fresh.json"))
        _age(old, UNCLAIMED)
        assert tidy(engine.folder, datetime.now(UTC)).receipts == 1
    assert fresh.exists()
    assert not old.exists()


def test_what_was_used_goes_soon_and_without_being_asked_for(tmp_path: Path) -> None:
    with Engine(tmp_path / "data").create() as engine:
        inbox = engine.folder.inbox
        small, large = _touch(inbox / "small.inbox"), _touch(inbox / "large.inbox")
        os.truncate(large, AT_ONCE_BYTES + 1)
        for path in (small, large, inbox / "gone.inbox"):
            dispose(inbox, path)
        assert not large.exists(), "space that counts is freed at once"
        (aside,) = (inbox / DONE).iterdir()
        assert tidy(engine.folder, datetime.now(UTC)).used == 0
        _age(aside, USED)
        assert tidy(engine.folder, datetime.now(UTC)).used == 1
        assert not list((inbox / DONE).iterdir())


def test_what_the_tree_replaced_lives_on_in_the_trash_until_it_is_tidied(tmp_path: Path) -> None:
    with Engine(tmp_path / "data").create() as engine:
        for version in ("1.0", "2.0"):
            body = f'{{"version": "{version}"}}'.encode()
            options = DocumentOptions(library_id="/a/b", version=version)
            engine.store([incoming(partial(BytesIO, body), len(body), "doc", options)])
            engine.tree.catch_up()
        (replaced,) = engine.folder.trash.glob("*.replaced")
        assert json.loads(replaced.read_bytes())["latest_version"] == "1.0"
        assert tidy(engine.folder, datetime.now(UTC)).used == 0
        _age(replaced, USED)
        assert tidy(engine.folder, datetime.now(UTC)).used == 1
        assert not replaced.exists()


def test_a_superseded_generation_outlives_its_switch_by_the_grace_period(tmp_path: Path) -> None:
    with Engine(tmp_path / "data").create() as engine:
        options = DocumentOptions(library_id="/a/b", version="1.0")
        for body in (b'{"n": 1}', b'{"n": 2}'):
            engine.store([incoming(partial(BytesIO, body), len(body), "doc", options)])
            engine.tree.catch_up()
        link = (engine.folder.root / engine.find("/a/b").file_path).parent
        generations = link.parent / ".generations"
        assert len(list(generations.iterdir())) == 2
        assert tidy(engine.folder, datetime.now(UTC)).generations == 0
        (mark,) = engine.folder.trash.glob("*.superseded")
        _age(mark, GRACE)
        assert tidy(engine.folder, datetime.now(UTC)).generations == 1
        assert [one.name for one in generations.iterdir()] == [link.readlink().name], "what the tree shows stays"
        assert not list(engine.folder.trash.glob("*.superseded"))
        assert not engine.verify().findings
