"""pytest-celery with the service's own parts: its fixtures and classes, over local processes; the broker in Docker where an
engine answers. One broker, one worker and one beat for all tests; whoever kills one starts it again.
"""

from __future__ import annotations

import gc
import shutil
import tempfile
import warnings
from collections.abc import Callable, Iterator
from contextlib import closing
from functools import partial
from pathlib import Path

import docker
import pytest
from celery import Celery
from pytest_celery import (
    CeleryBackendCluster,
    CeleryBrokerCluster,
    CeleryTestSetup,
    CeleryTestWorker,
    CeleryWorkerCluster,
    RedisContainer,
    RedisTestBroker,
)
from pytest_docker_tools import container

from config.settings import Settings
from storage.engine import Engine
from strongroom.client import Client
from tests.support.local_containers import LocalBroker, LocalWorker
from tests.support.processes import ENVIRON, Process
from workers.broker import prepare_embedded
from workers.liveness import remove_sign
from workers.parts import Part, Site, beat_part, broker_part, worker_part
from workers.prepare import prepare

_SHOWN = pytest.StashKey[bool]()


def _engine_answers() -> bool:
    """Asking is the only way to know: there may be a client without an engine, and a container without either."""
    with warnings.catch_warnings(action="ignore", category=ResourceWarning):  # of a socket that cannot be connected
        try:
            with closing(docker.from_env(timeout=2)) as engine:
                return bool(engine.ping())
        except (docker.errors.DockerException, OSError):
            return False
        finally:
            gc.collect()


def _mode() -> str:
    broker = "the broker in Docker" if DOCKER else "no Docker engine answers: the broker is a local process"
    return f"pytest-celery: {broker}, the workers are local processes"


DOCKER = _engine_answers()


def pytest_report_header(config: pytest.Config) -> str:
    """Say the mode, when this folder is run by itself."""
    config.stash[_SHOWN] = True
    return _mode()


def pytest_report_collectionfinish(config: pytest.Config) -> str | None:
    """Say the mode, when this folder is found while the tests are collected."""
    return None if config.stash.get(_SHOWN, False) else _mode()


@pytest.fixture(scope="session")
def data() -> Iterator[Path]:
    """A data folder with a path that leaves room for a socket's name."""
    folder = Path(tempfile.mkdtemp(prefix="sr-"))
    prepare(Settings(data_dir=folder))
    (folder / "run" / "faults").mkdir()
    yield folder
    shutil.rmtree(folder)


# The broker.


@pytest.fixture(scope="session")
def default_redis_broker_cls() -> type[RedisContainer]:
    return RedisContainer if DOCKER else LocalBroker


@pytest.fixture(scope="session")
def default_redis_broker_command(default_redis_broker_cls: type[RedisContainer]) -> list[str]:
    command: list[str] = RedisContainer.command()
    command[command.index("--appendonly") + 1] = "yes"
    return command


redis_in_docker = container(
    image=RedisContainer.image(),
    ports=RedisContainer.ports(),
    wrapper_class=RedisContainer,
    command=RedisContainer.command("--appendonly", "yes"),
    scope="session",
)


@pytest.fixture(scope="session")
def default_redis_broker(request: pytest.FixtureRequest, data: Path) -> Iterator[RedisContainer]:
    if DOCKER:
        yield request.getfixturevalue("redis_in_docker")
        return
    embedded = prepare_embedded(data)
    part = broker_part(Site(Settings(data_dir=data), ENVIRON, embedded.url), embedded)
    process = _process_of(part, data).start()
    yield LocalBroker(process, embedded.url, data / "run" / "broker.sock")
    process.kill()


@pytest.fixture(scope="session")
def celery_redis_broker(default_redis_broker: RedisContainer) -> RedisTestBroker:
    return RedisTestBroker(default_redis_broker)


@pytest.fixture(scope="session")
def celery_broker(celery_redis_broker: RedisTestBroker) -> RedisTestBroker:
    """One broker, not one test for each that there is."""
    return celery_redis_broker


@pytest.fixture(scope="session")
def celery_broker_cluster(celery_broker: RedisTestBroker) -> CeleryBrokerCluster:
    cluster = CeleryBrokerCluster(celery_broker)
    cluster.ready()
    return cluster


@pytest.fixture(scope="session")
def celery_backend_cluster() -> CeleryBackendCluster | None:
    """No result backend: the ledger knows."""
    return None


# The worker, with beat beside it.


@pytest.fixture(scope="session")
def default_worker_container_cls() -> type[LocalWorker]:
    return LocalWorker


@pytest.fixture(scope="session")
def default_worker_container_session_cls() -> type[LocalWorker]:
    return LocalWorker


@pytest.fixture(scope="session")
def default_worker_cls() -> type[CeleryTestWorker]:
    return CeleryTestWorker


@pytest.fixture(scope="session")
def _site(data: Path, celery_broker_cluster: CeleryBrokerCluster) -> Site:
    url = celery_broker_cluster[0].config()["host_url"]
    return Site(Settings(data_dir=data), ENVIRON, url, app="tests.support.faulty_app")


@pytest.fixture(scope="session")
def default_worker_container(_site: Site, data: Path, default_worker_container_cls: type[LocalWorker]) -> Iterator[LocalWorker]:
    process = _process_of(worker_part(_site, "worker-short"), data).start()
    yield default_worker_container_cls(process)
    process.kill()


@pytest.fixture(scope="session")
def beat(_site: Site, data: Path) -> Iterator[Process]:
    process = _process_of(beat_part(_site), data).start()
    yield process
    process.kill()


@pytest.fixture(scope="session")
def celery_worker_cluster(
    default_worker_container: LocalWorker, beat: Process, default_worker_cls: type[CeleryTestWorker]
) -> CeleryWorkerCluster:
    cluster = CeleryWorkerCluster(default_worker_cls(default_worker_container, None))
    cluster.ready()
    beat.await_ready()
    return cluster


# The set-up: a plain Celery producer, which knows the broker's address and nothing else.


@pytest.fixture
def celery_setup_cls() -> type[CeleryTestSetup]:
    return CeleryTestSetup


@pytest.fixture
def celery_setup_app(celery_setup_cls: type[CeleryTestSetup], celery_broker_cluster: CeleryBrokerCluster) -> Iterator[Celery]:
    app = Celery("producer", broker=celery_broker_cluster[0].config()["host_url"], set_as_current=False)
    yield app
    app.close()


@pytest.fixture
def worker(celery_setup: CeleryTestSetup) -> Iterator[LocalWorker]:
    """The worker, running; whatever a test does to it, the next one finds it so."""
    made: LocalWorker = celery_setup.worker.container
    yield made
    if not made.process.running:
        made.process.start()
    made.ready()


@pytest.fixture
def broker(celery_setup: CeleryTestSetup) -> LocalBroker:
    made: LocalBroker = celery_setup.broker.container
    return made


@pytest.fixture
def plant(data: Path) -> Iterator[Callable[[str], Path]]:
    """Plants a fault (tests/support/faulty_app.py) until the end of the test."""
    planted: list[Path] = []

    def plant_one(name: str) -> Path:
        planted.append(data / "run" / "faults" / name)
        planted[-1].touch()
        return planted[-1]

    yield plant_one
    for path in planted:
        path.unlink(missing_ok=True)


@pytest.fixture
def client(data: Path, celery_setup: CeleryTestSetup) -> Iterator[Client]:
    with Client(inbox=data / "inbox", broker_url=celery_setup.broker.config()["host_url"]) as made:
        yield made


@pytest.fixture(scope="session")
def engine(data: Path) -> Iterator[Engine]:
    """Looks at the same folder from outside."""
    with Engine(data).open() as made:
        yield made


def _process_of(part: Part, data: Path) -> Process:
    log = data / "logs" / f"{part.name}.log"
    return Process(part.name, part.command, log, part.is_ready, part.environment, partial(remove_sign, data, part.name))
