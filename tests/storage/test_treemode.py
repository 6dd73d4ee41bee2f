"""storage/treemode.py: the tree follows its setting."""

from __future__ import annotations

from functools import partial
from io import BytesIO
from pathlib import Path

import pytest

from storage.engine import Engine, Options
from storage.intake import incoming
from storage.tree import Mode
from strongroom.contracts import DocumentOptions
from strongroom.errors import ConfigurationError


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
