"""Where a service on this host is reached: what its supervisor wrote into the data folder."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

from strongroom import durable
from strongroom.errors import BrokerUnavailable, ConfigurationError, DataFolderError, StorageError
from strongroom.gate import MAX_WAITING

SERVICE_FILE = Path("run") / "service.json"
INBOX = "inbox"
MARK = "strongroom.json"
KNOWN_FORMAT = 1
"""The version of the data folder's layout. In one with a higher number an accepted job may have to look otherwise."""
NOT_THERE = (FileNotFoundError, NotADirectoryError)


def given(broker_url: str | None) -> str:
    """Return the address that a client was given.

    Raises:
        ConfigurationError: it was given none.
    """
    if broker_url is None:
        hint = "Client(broker_url=..., inbox=...), or Client.of_service(data_dir)."
        raise ConfigurationError("The client was given no broker_url.", hint)
    return broker_url


def service_broker_url(data_dir: Path) -> str:
    """Return the broker's address of the service that runs on this folder. It may be gone all the same: connecting tells.

    Raises:
        DataFolderError: there is no such folder, a newer release made it, or its service file is no service file.
        BrokerUnavailable: no service runs there.
        PermissionRefused: it belongs to another user.
    """
    _refuse_newer(data_dir / MARK)
    path = data_dir / SERVICE_FILE
    try:
        with durable.os_errors(f"cannot read {path}"):
            body = path.read_bytes()
    except StorageError as error:
        if not isinstance(error.__cause__, NOT_THERE):
            raise
        if not data_dir.is_dir():
            raise DataFolderError(f"There is no data folder at {data_dir}.", None, {"path": str(data_dir)}) from None
        hint = f"Start it: `strongroom up --data {data_dir}`."
        raise BrokerUnavailable(f"No service runs on {data_dir}.", hint, {"path": str(data_dir)}) from None
    return _broker_url(body, path)


def _refuse_newer(mark: Path) -> None:
    try:
        found = _fields(mark.read_bytes()).get("format")
    except OSError:
        return  # whatever is wrong is told of what comes next
    if isinstance(found, int) and found > KNOWN_FORMAT:
        message = f"{mark.parent} has format {found}; this release knows up to {KNOWN_FORMAT}."
        raise DataFolderError(message, "Upgrade this program to the release that made the folder.", {"path": str(mark.parent)})


def service_max_waiting(data_dir: Path) -> int:
    """Return how many messages the service lets wait in a queue; the default when it does not say, or is not there."""
    try:
        most = _fields((data_dir / SERVICE_FILE).read_bytes()).get("max_waiting")
    except OSError:
        most = None
    return most if isinstance(most, int) and not isinstance(most, bool) and most > 0 else MAX_WAITING


def _fields(body: bytes) -> dict[str, Any]:  # JSON of the service's own
    try:
        fields = json.loads(body)
    except ValueError:
        fields = None
    return fields if isinstance(fields, dict) else {}


def _broker_url(body: bytes, path: Path) -> str:
    url = _fields(body).get("broker_url")
    if not isinstance(url, str):
        hint = "Restart the service: `strongroom down`, then `strongroom up`."
        raise DataFolderError(f"{path} names no broker_url.", hint, {"path": str(path)})
    return url
