"""Where a service on this host is reached: what its supervisor wrote into the data folder."""

from __future__ import annotations

import json
from pathlib import Path

from strongroom import durable
from strongroom.errors import BrokerUnavailable, DataFolderError, StorageError

SERVICE_FILE = Path("run") / "service.json"
INBOX = "inbox"


def service_broker_url(data_dir: Path) -> str:
    """Return the broker's address of the service that runs on this folder. It may be gone all the same: connecting tells.

    Raises:
        DataFolderError: there is no such folder, or its service file is no service file.
        BrokerUnavailable: no service runs there.
        PermissionRefused: it belongs to another user.
    """
    path = data_dir / SERVICE_FILE
    try:
        with durable.os_errors(f"cannot read {path}"):
            body = path.read_bytes()
    except StorageError as error:
        if not isinstance(error.__cause__, FileNotFoundError | NotADirectoryError):
            raise
        if not data_dir.is_dir():
            raise DataFolderError(f"There is no data folder at {data_dir}.", None, {"path": str(data_dir)}) from None
        hint = f"Start it with `strongroom up --data {data_dir}`, then call again: it is safe to."
        raise BrokerUnavailable(f"No service runs on {data_dir}.", hint, {"path": str(data_dir)}) from None
    return _broker_url(body, path)


def _broker_url(body: bytes, path: Path) -> str:
    try:
        fields = json.loads(body)
    except ValueError:
        fields = None
    url = fields.get("broker_url") if isinstance(fields, dict) else None
    if not isinstance(url, str):
        hint = "Restart the service: `strongroom down`, then `strongroom up`."
        raise DataFolderError(f"{path} names no broker_url.", hint, {"path": str(path)})
    return url
