"""A data folder and one worker's process at work on it."""

from __future__ import annotations

import os
import shutil
import tempfile
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest

from storage.engine import Engine
from tests.support.desk import Desk


@pytest.fixture(scope="session")
def _new_folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    root = tmp_path_factory.mktemp("new") / "data"
    Engine(root).create().close()
    return root


@pytest.fixture
def root(_new_folder: Path, tmp_path: Path) -> Iterator[Path]:
    """A new data folder, in memory where that can be: hundreds of barriers would wait for a disk that has other work too."""
    memory = Path("/dev/shm")
    folder = Path(tempfile.mkdtemp(prefix="strongroom-", dir=memory if os.access(memory, os.W_OK) else tmp_path))
    yield Path(shutil.copytree(_new_folder, folder / "data"))
    shutil.rmtree(folder)


@pytest.fixture
def open_desk(root: Path) -> Iterator[Callable[..., Desk]]:
    """Opens desks on the data folder, as many as a test likes, and closes them at its end."""
    desks: list[Desk] = []

    def open_one(**options: object) -> Desk:
        desks.append(Desk(root, **options))  # type: ignore[arg-type]
        return desks[-1]

    yield open_one
    for desk in desks:
        desk.close()


@pytest.fixture
def desk(open_desk: Callable[..., Desk]) -> Desk:
    """One worker's process."""
    return open_desk()
