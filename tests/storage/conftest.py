"""What tests of the engine share."""

from __future__ import annotations

import shutil
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest

from storage.engine import Engine


@pytest.fixture
def copy(prepared: Engine, scratch: Path) -> Iterator[Callable[[], Engine]]:
    """Copies the folder that the test's module calls ``prepared`` and opens the copy."""
    prepared.close()
    opened: list[Engine] = []

    def make() -> Engine:
        root = shutil.copytree(prepared.folder.root, scratch / f"copy{len(opened)}", symlinks=True)
        opened.append(Engine(root).open())
        return opened[-1]

    yield make
    for engine in opened:
        engine.close()
