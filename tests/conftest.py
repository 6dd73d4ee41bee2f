"""What tests of every part share: data folders that cost no migration each, and the corpus."""

from __future__ import annotations

import gc
import json
import os
import shutil
import signal
import tempfile
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import hypothesis
import pytest

from storage.engine import Engine, Options
from tests.support.compiled import share_compiled_statements

# A slow machine is no counter-example: no deadline. `pytest --hypothesis-profile=thorough` looks much longer.
hypothesis.settings.register_profile("usual", deadline=None, print_blob=True)
hypothesis.settings.register_profile("thorough", deadline=None, print_blob=True, max_examples=2000, stateful_step_count=100)
hypothesis.settings.load_profile("usual")


def pytest_configure() -> None:
    """Hear Ctrl-C again where it was ignored: a shell has its background jobs ignore it, and they would hand that on to the
    processes that tests interrupt."""
    if signal.getsignal(signal.SIGINT) is signal.SIG_IGN:
        signal.signal(signal.SIGINT, signal.default_int_handler)
    share_compiled_statements()


def pytest_collection_finish() -> None:
    """Spare every later garbage collection a look at what lives as long as the run: 7 % of its processor time."""
    gc.collect()
    gc.freeze()


CORPUS = Path(__file__).parents[2] / "shared" / "data" / "corpus"


MEMORY = Path("/dev/shm")
"""Where a file system in memory is, if there is one: tests of what happens at each fsync need not wait for the disk each time."""


@pytest.fixture(scope="session")
def memory(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Path]:
    """A folder on a file system in memory, or on the disk where there is none or little of it."""
    if os.access(MEMORY, os.W_OK) and shutil.disk_usage(MEMORY).free > 32 << 20:
        with tempfile.TemporaryDirectory(prefix="strongroom-", dir=MEMORY) as folder:
            yield Path(folder)
    else:
        yield tmp_path_factory.mktemp("memory")


@pytest.fixture
def scratch(memory: Path) -> Iterator[Path]:
    """A folder of the test's own that is fast to sync. Not for much data."""
    with tempfile.TemporaryDirectory(dir=memory) as folder:
        yield Path(folder)


@pytest.fixture(scope="session")
def fresh_folder(memory: Path) -> Path:
    """A data folder that was just made. To be copied, not used."""
    root = memory / "fresh"
    Engine(root).create().close()
    return root


@pytest.fixture
def data(fresh_folder: Path, scratch: Path) -> Path:
    """A data folder of the test's own."""
    return Path(shutil.copytree(fresh_folder, scratch / "data"))


OpenEngine = Callable[..., Engine]


@pytest.fixture
def open_engine(data: Path) -> Iterator[OpenEngine]:
    """Opens engines on the test's data folder; they are closed at its end."""
    engines: list[Engine] = []

    def open_one(**options: Any) -> Engine:
        made = Engine(data, Options(**options))
        engines.append(made.create() if "tree" in options else made.open())  # a service would have the tree follow its setting
        return engines[-1]

    yield open_one
    for engine in engines:
        engine.close()


@pytest.fixture
def engine(open_engine: OpenEngine) -> Engine:
    """An engine on the test's data folder, as it comes."""
    return open_engine()


@pytest.fixture(scope="session")
def corpus() -> list[dict[str, Any]]:
    """The entries of the corpus's manifest, each with the path of its file."""
    manifest = CORPUS / "manifest.json"
    if not manifest.exists():
        pytest.skip(f"THE CORPUS IS NOT THERE: real documents are expected in {CORPUS}. Nothing real is tested here without.")
    entries: list[dict[str, Any]] = json.loads(manifest.read_bytes())["entries"]
    return [{**entry, "path": CORPUS / entry["file"]} for entry in entries]
