"""What the tests of backups share: a place of each test's own, in a folder or on a real S3 server."""

from __future__ import annotations

import itertools
from collections.abc import Callable, Iterator
from dataclasses import replace
from pathlib import Path
from typing import TYPE_CHECKING

import pytest

from storage.backup.repository import Repository
from tests.support.backups import repository_at

if TYPE_CHECKING:
    from storage.backup.s3 import S3Target
    from tests.support.s3 import Store

_NUMBERS = itertools.count(1)


@pytest.fixture(scope="session")
def store() -> Iterator[Store]:
    """A real S3 server with one bucket."""
    from tests.support.s3 import NoS3Server, running_store

    try:
        with running_store() as started:
            yield started
    except NoS3Server as error:
        pytest.skip(f"no S3 server: {error}")


@pytest.fixture(scope="session")
def shared_targets() -> dict[str, S3Target]:
    """Targets by their access: a client takes a quarter of a second to make."""
    return {}


@pytest.fixture
def bucket(store: Store, shared_targets: dict[str, S3Target]) -> Callable[..., S3Target]:
    """Makes targets below one prefix that is the test's own; takes fields of the access to change."""
    from storage.backup.s3 import s3_target

    prefix = f"test/{next(_NUMBERS)}"

    def make(**changed: object) -> S3Target:
        key = repr(changed)
        if key not in shared_targets:
            access = replace(store.access, **changed)  # type: ignore[arg-type]  # each test knows its own
            shared_targets[key] = s3_target(f"s3://{store.bucket}", access)
        return replace(shared_targets[key], prefix=prefix)

    return make


@pytest.fixture
def repository(scratch: Path) -> Repository:
    """A place for backups of the test's own, with none in it."""
    return repository_at(scratch / "backups")
