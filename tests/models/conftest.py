"""Each test of the catalogue runs on SQLite and on a real PostgreSQL."""

from __future__ import annotations

import shutil
from collections.abc import Iterator
from contextlib import ExitStack
from pathlib import Path

import pytest

from models.database import Database
from models.migrate import upgrade
from tests.support.postgresql import NoPostgreSQL, clear_postgresql, empty_postgresql, running_server


@pytest.fixture(scope="session")
def postgresql_url() -> Iterator[str]:
    """The URL of a PostgreSQL of the session's own."""
    with ExitStack() as stack:
        try:
            url = stack.enter_context(running_server())
        except NoPostgreSQL as error:
            pytest.skip(f"POSTGRESQL IS NOT TESTED: {error}")
        yield url


@pytest.fixture(params=["sqlite", "postgresql"])
def empty_url(request: pytest.FixtureRequest, scratch: Path) -> str:
    """The URL of a database without any table."""
    if request.param == "sqlite":
        return f"sqlite:///{scratch / 'catalogue.db'}"
    url: str = request.getfixturevalue("postgresql_url")
    empty_postgresql(url)
    return url


@pytest.fixture
def empty(empty_url: str) -> Iterator[Database]:
    """A database without any table."""
    database = Database(empty_url)
    yield database
    database.close()


@pytest.fixture(scope="session")
def made(memory: Path) -> Path:
    """A SQLite catalogue without a row. To be copied, not used."""
    database = Database(f"sqlite:///{memory / 'made.db'}")
    upgrade(database)
    database.close()
    return memory / "made.db"


@pytest.fixture(params=["sqlite", "postgresql"])
def database(request: pytest.FixtureRequest, scratch: Path) -> Iterator[Database]:
    """A catalogue of this release, with nothing in it."""
    if request.param == "sqlite":
        database = Database(f"sqlite:///{shutil.copyfile(request.getfixturevalue('made'), scratch / 'catalogue.db')}")
    else:
        clear_postgresql(request.getfixturevalue("postgresql_url"))
        database = Database(request.getfixturevalue("postgresql_url"))
    yield database
    database.close()
