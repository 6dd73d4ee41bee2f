"""One running service for every test of this folder, used by the command line alone."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

import pytest

from tests.support.command import Folder, service

LARGEST_BYTES = 256 << 20


@pytest.fixture(scope="session")
def running() -> Iterator[Folder]:
    """A service that all tests share: libraries are the tests' own."""
    with service(STRONGROOM_MAX_DOCUMENT_BYTES=str(LARGEST_BYTES)) as folder:
        yield folder


@pytest.fixture
def papers(tmp_path: Path) -> Path:
    """A folder for the documents to be stored."""
    folder = tmp_path / "papers"
    folder.mkdir()
    return folder
