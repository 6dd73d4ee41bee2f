"""storage/treemode.py: the tree follows its setting."""

from __future__ import annotations

import errno
import gzip
import shutil
from datetime import UTC, datetime
from functools import partial
from io import BytesIO
from pathlib import Path

import pytest

from storage.engine import Engine, Options
from storage.intake import incoming
from storage.reconcile import Scene, reconcile
from storage.trail import Actor
from storage.tree import Mode
from strongroom.contracts import DocumentOptions
from strongroom.errors import ConfigurationError
from strongroom.result import Ok, capture
from tests.support.crash import crash_at, observed, steps_of
from tests.support.faults import faults
from tests.support.thorough import crash_places, stride


def _shown(root: Path) -> set[str]:
    library = root / "documentation" / "+a+b"
    return {one.name for one in library.iterdir() if one.is_symlink()} if library.exists() else set()


def _open(root: Path, mode: Mode) -> Engine:
    engine = Engine(root, Options(tree=mode)).create()
    engine.tree.catch_up()
    return engine


def test_a_changed_setting_rebuilds_the_tree_and_hides_what_it_must_not_show(tmp_path: Path) -> None:
    with _open(tmp_path, "all") as engine:
        for version in ("1.0", "2.0"):
            body = f'{{"version": "{version}"}}'.encode()
            engine.store([incoming(partial(BytesIO, body), len(body), "", DocumentOptions(library_id="/a/b", version=version))])
        engine.tree.catch_up()
    assert _shown(tmp_path) == {"1.0", "2.0", "latest"}
    expected: dict[Mode, set[str]] = {"latest": {"2.0", "latest"}, "none": set(), "all": {"1.0", "2.0", "latest"}}
    for mode, names in expected.items():
        with _open(tmp_path, mode) as engine:
            assert _shown(tmp_path) == names, mode
            assert not engine.verify().findings
            assert engine.read("/a/b", "1.0") == b'{"version": "1.0"}', "what the tree hides is stored all the same"


def test_the_same_setting_leaves_the_tree_alone(tmp_path: Path) -> None:
    _open(tmp_path, "all").close()
    before = (tmp_path / "documentation").stat().st_ino
    _open(tmp_path, "all").close()
    assert (tmp_path / "documentation").stat().st_ino == before
    assert not list((tmp_path / "trash").iterdir())


def test_an_unknown_mode_is_refused(tmp_path: Path) -> None:
    with pytest.raises(ConfigurationError, match="STRONGROOM_TREE"):
        Engine(tmp_path, Options(tree="some")).create()  # type: ignore[arg-type]


def _stored(root: Path, mode: Mode, *versions: str) -> None:
    with _open(root, mode) as engine:
        for version in versions:
            body = f'{{"version": "{version}"}}'.encode()
            engine.store([incoming(partial(BytesIO, body), len(body), "", DocumentOptions(library_id="/a/b", version=version))])
        engine.tree.catch_up()


@pytest.mark.parametrize(("before", "after", "at_once"), [("all", "latest", {"2.0"}), ("latest", "all", {"2.0"})])
def test_latest_is_readable_at_every_step_of_a_change(tmp_path: Path, before: Mode, after: Mode, at_once: set[str]) -> None:
    _stored(tmp_path, before, "1.0", "2.0")
    latest = tmp_path / "documentation" / "+a+b" / "latest" / "documentation.json.gz"
    assert latest.exists()
    steps = 0

    def reads(_step: str) -> None:
        nonlocal steps
        steps += 1
        assert gzip.decompress(latest.read_bytes()) == b'{"version": "2.0"}', _step

    with observed(reads), Engine(tmp_path, Options(tree=after)) as engine:
        engine.create()
        assert _shown(tmp_path) == {*at_once, "latest"}, "before anybody has caught up"
        engine.tree.catch_up()
        assert not engine.verify().findings
    assert steps > 0, "nothing was looked at"


def test_a_change_that_was_cut_short_anywhere_is_finished_by_the_next_start(tmp_path: Path) -> None:
    _stored(tmp_path / "pristine", "all", "1.0", "2.0")

    def change(name: str) -> None:
        shutil.copytree(tmp_path / "pristine", tmp_path / name, symlinks=True)
        with Engine(tmp_path / name, Options(tree="latest")) as engine:
            engine.create()

    steps = steps_of(lambda: change("whole"))
    assert "tree: hide" in steps
    for number in crash_places(steps):
        with crash_at(number):
            change(str(number))
        with _open(tmp_path / str(number), "latest") as engine:
            assert _shown(tmp_path / str(number)) == {"2.0", "latest"}, steps[number - 1]
            assert not engine.verify().findings


@pytest.mark.parametrize("code", [errno.ENOSPC, errno.EIO])
@pytest.mark.parametrize(("before", "after"), [("all", "latest"), ("latest", "all"), ("all", "none")])
def test_a_call_that_fails_in_a_change_is_told_and_the_next_start_finishes_it(
    tmp_path: Path, before: Mode, after: Mode, code: int
) -> None:
    _stored(tmp_path / "pristine", before, "1.0", "2.0")
    expected = {"latest": {"2.0", "latest"}, "all": {"1.0", "2.0", "latest"}, "none": set[str]()}[after]
    number, fired = 0, True
    while fired:
        number += stride(4)
        root = tmp_path / f"{number}"
        shutil.copytree(tmp_path / "pristine", root, symlinks=True)
        with faults(number, code) as injected:
            outcome = capture(lambda: _open(root, after).close())  # noqa: B023 - called at once
        fired = injected.fired
        assert isinstance(outcome, Ok) or outcome.problem.code in {"disk_full", "io_error"}, injected.calls[-1]
        with _open(root, after) as engine:
            assert _shown(root) == expected, injected.calls[-1]
            assert not engine.verify().findings, injected.calls[-1]
            assert engine.read("/a/b", "1.0") == b'{"version": "1.0"}'
            assert list(engine.folder.tmp.iterdir()) == [], injected.calls[-1]
    assert number > 3, "hardly anything was made to fail"


@pytest.mark.parametrize(("built", "asked"), [("all", "latest"), ("latest", "all"), ("all", "none"), ("none", "all")])
def test_a_command_with_another_setting_than_the_service_leaves_the_tree_as_it_was_built(
    tmp_path: Path, built: Mode, asked: Mode
) -> None:
    with _open(tmp_path, built) as engine:
        for version in ("1.0", "2.0", "3.0"):
            body = f'{{"version": "{version}"}}'.encode()
            engine.store([incoming(partial(BytesIO, body), len(body), "", DocumentOptions(library_id="/a/b", version=version))])
        engine.tree.catch_up()
    with Engine(tmp_path, Options(tree=asked)).open() as engine:
        engine.rollback("/a/b", "2.0", Actor("person:test"))
        assert engine.verify_and_repair().findings == []
    latest: dict[Mode, set[str]] = {"all": {"1.0", "2.0", "3.0", "latest"}, "latest": {"2.0", "latest"}, "none": set()}
    assert _shown(tmp_path) == latest[built]
    with Engine(tmp_path, Options(tree=asked)).open() as engine:
        assert not engine.verify().findings
        assert not reconcile(Scene(engine.folder, engine.database, built, datetime.now(UTC)))
