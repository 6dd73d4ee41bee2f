"""Run one part of the service by itself, for a Procfile, a container or a shell: ``python -m workers.part NAME``."""

from __future__ import annotations

import argparse
import fcntl
import os
import sys
import time
from collections.abc import Mapping, Sequence

from config.settings import Settings, read_settings
from strongroom.errors import BrokerUnavailable, ConfigurationError, DataFolderLocked, StorageError
from workers import parts
from workers.broker import broker_url_of, ping, prepare_embedded
from workers.dashboard import prepare_dashboard
from workers.liveness import remove_sign
from workers.loopback import LOOPBACK
from workers.parts import Part, Site
from workers.private_files import make_folder
from workers.roster import sign_in
from workers.service_lock import share_lock

BROKER_WITHIN_S = 30.0


def main(arguments: Sequence[str], environ: Mapping[str, str]) -> None:
    """Become the part that is named: prepare what it needs, wait for its broker, replace this process by it.

    The process keeps the number, so that whoever started it signals and waits for the part itself.
    """
    parser = argparse.ArgumentParser(prog="python -m workers.part", description=__doc__)
    parser.add_argument("name", choices=parts.NAMES)
    parser.add_argument("--listen", default=LOOPBACK, help="Flower's address; another than loopback only inside a container")
    parser.add_argument("--app", default="workers.main", help=argparse.SUPPRESS)
    options = parser.parse_args(arguments)
    try:
        settings = read_settings()
        share_lock(settings.data_dir)
        make_folder(settings.data_dir / "run")
        part = _part(options, settings, environ)
    except StorageError as error:
        sys.exit(f"{options.name}: {error.message} {error.hint}")
    remove_sign(settings.data_dir, part.name)
    os.chdir(parts.CHECKOUT)
    os.execve(part.command[0], part.command, part.environment)  # noqa: S606  # a shell would stand between us and the signals


def _part(options: argparse.Namespace, settings: Settings, environ: Mapping[str, str]) -> Part:
    if options.name == "broker":
        return _broker(settings, environ)
    site = Site(settings, environ, _await_broker(settings), options.app)
    if options.name == "flower":
        dashboard = prepare_dashboard(settings, options.listen)
        sign_in(settings, "flower", site.broker_url, dashboard.state)
        where = dashboard.password_file or "STRONGROOM_FLOWER_PASSWORD"
        sys.stdout.write(f"Flower: {dashboard.address}, user {dashboard.user}, password in {where}\n")
        sys.stdout.flush()
        return parts.flower_part(site, dashboard)
    _prepare_alone(settings)
    sign_in(settings, options.name, site.broker_url)
    return parts.beat_part(site) if options.name == "beat" else parts.worker_part(site, options.name)


def _broker(settings: Settings, environ: Mapping[str, str]) -> Part:
    if settings.broker_url is not None:
        raise ConfigurationError("STRONGROOM_BROKER_URL names a broker, so none is started here.", "Leave this part out.")
    lock = os.open(settings.data_dir / "run" / "broker.lock", os.O_RDWR | os.O_CREAT, 0o600)
    try:
        fcntl.flock(lock, fcntl.LOCK_EX | fcntl.LOCK_NB)
    except BlockingIOError:
        raise DataFolderLocked(f"A broker already runs on {settings.data_dir}.") from None
    os.set_inheritable(lock, True)
    embedded = prepare_embedded(settings.data_dir, settings.broker_fsync)
    sign_in(settings, "broker", embedded.url)
    return parts.broker_part(Site(settings, environ, embedded.url), embedded)


def _await_broker(settings: Settings) -> str:
    """The parts of a Procfile all start at once: the broker's address may not even be settled yet."""
    deadline = time.monotonic() + BROKER_WITHIN_S
    while True:
        try:
            url = broker_url_of(settings)
            ping(url, timeout_s=1.0)
        except BrokerUnavailable:
            if time.monotonic() > deadline:
                raise
            time.sleep(0.1)
        else:
            return url


def _prepare_alone(settings: Settings) -> None:
    """Prepare the data folder while no other part does: they all start at the same moment."""
    from workers.prepare import prepare  # noqa: PLC0415  # the engine with all that it needs: not for broker and Flower

    with open(settings.data_dir / "run" / "prepare.lock", "w", encoding="ascii") as lock:
        fcntl.flock(lock, fcntl.LOCK_EX)
        prepare(settings)


if __name__ == "__main__":
    main(sys.argv[1:], os.environ)  # noqa: TID251  # what the part inherits: handed on, not read
