from __future__ import annotations

import os
import signal
import stat
import subprocess
import time
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import pytest
import redis

from config.settings import Settings
from strongroom.errors import BrokerUnavailable, ConfigurationError
from workers.broker import EmbeddedBroker, embedded_url, masked, ping, prepare_embedded
from workers.service import _settle_broker
from workers.signals import Signals


@contextmanager
def running(broker: EmbeddedBroker) -> Iterator[subprocess.Popen[bytes]]:
    process = subprocess.Popen(broker.command, stdout=subprocess.DEVNULL)
    try:
        await_answer(broker.url)
        yield process
    finally:
        process.kill()
        process.wait()


def await_answer(url: str) -> None:
    deadline = time.monotonic() + 10
    while True:
        try:
            return ping(url, timeout_s=0.5)
        except BrokerUnavailable:
            assert time.monotonic() < deadline, "the broker did not answer in 10 s"
            time.sleep(0.01)


def client(data: Path) -> redis.Redis:
    return redis.Redis(unix_socket_path=str(data / "run" / "broker.sock"), decode_responses=True)


def test_what_the_broker_took_outlives_its_sigkill(tmp_path: Path) -> None:
    broker = prepare_embedded(tmp_path)
    with running(broker) as process:
        with client(tmp_path) as connection, connection.pipeline() as pipeline:
            for number in range(5000):
                pipeline.rpush("short", number)
            pipeline.execute()
        process.send_signal(signal.SIGKILL)
        process.wait()
    with running(prepare_embedded(tmp_path)), client(tmp_path) as connection:
        assert connection.lrange("short", 0, -1) == [str(number) for number in range(5000)]


def test_what_the_broker_confirms_is_synced_unless_the_settings_want_it_faster(tmp_path: Path) -> None:
    """An inline message has no other copy: a crash of the machine must not lose what was confirmed."""
    with running(prepare_embedded(tmp_path)), client(tmp_path) as connection:
        assert connection.config_get("append*")["appendfsync"] == "always"
    settings = Settings(data_dir=tmp_path, broker_fsync="everysec")
    with Signals() as signals:
        faster = _settle_broker(settings, signals)
    assert faster is not None
    with running(faster), client(tmp_path) as connection:
        assert connection.config_get("append*")["appendfsync"] == "everysec"


def test_the_socket_is_its_owners_and_there_is_no_port(tmp_path: Path) -> None:
    with running(prepare_embedded(tmp_path)), client(tmp_path) as connection:
        assert stat.S_IMODE((tmp_path / "run" / "broker.sock").stat().st_mode) == 0o700
        assert connection.config_get("port") == {"port": "0"}
        assert connection.config_get("maxmemory-policy") == {"maxmemory-policy": "noeviction"}


def test_a_folder_with_odd_characters_in_its_name_has_a_broker(tmp_path: Path) -> None:
    odd = tmp_path / "a 'b\" %41 é?#"
    broker = prepare_embedded(odd)
    with running(broker):
        assert embedded_url(odd) == broker.url
        assert (odd / "run" / "broker.sock").is_socket()


def test_a_path_too_long_for_a_socket_gets_a_port_that_asks_for_a_password(tmp_path: Path) -> None:
    far = tmp_path / ("x" * 120)
    assert embedded_url(far) is None
    broker = prepare_embedded(far)
    with running(broker):
        port = int(broker.url.rpartition(":")[2].partition("/")[0])
        for stranger in (f"redis://127.0.0.1:{port}/0", f"redis://:wrong@127.0.0.1:{port}/0"):
            with pytest.raises(ConfigurationError, match="refuses the password"):
                ping(stranger, timeout_s=1)
    assert embedded_url(far) == broker.url == prepare_embedded(far).url, "the address is settled once"
    private = [path for path in (far / "run").rglob("*") if path.is_file() and path.suffix in {".conf", ".url"}]
    assert [stat.S_IMODE(path.stat().st_mode) for path in private] == [0o600, 0o600]
    password = broker.url.partition("://:")[2].partition("@")[0]
    assert password not in " ".join(broker.command)


def test_a_broker_that_does_not_answer_is_told_in_time_and_without_its_password(tmp_path: Path) -> None:
    started = time.monotonic()
    with pytest.raises(BrokerUnavailable) as refusal:
        ping("redis://user:s3cret@127.0.0.1:1/0", timeout_s=0.5)
    assert time.monotonic() - started < 8
    assert "user:**@127.0.0.1:1" in refusal.value.message
    assert "s3cret" not in refusal.value.message


def test_an_address_of_another_kind_is_a_mistake_in_the_settings() -> None:
    with pytest.raises(ConfigurationError):
        ping("amqp://guest:guest@localhost//", timeout_s=0.5)


@pytest.mark.parametrize(
    ("url", "shown"),
    [
        ("redis://:pw@host:6379/0", "redis://:**@host:6379/0"),
        ("rediss://me:p%40w@host/1", "rediss://me:**@host/1"),
        ("redis+socket:///a%20b/broker.sock?virtual_host=0", "redis+socket:///a%20b/broker.sock?virtual_host=0"),
    ],
)
def test_an_address_is_shown_without_its_password(url: str, shown: str) -> None:
    assert masked(url) == shown


def test_the_configuration_is_written_under_any_umask_for_its_owner_alone(tmp_path: Path) -> None:
    before = os.umask(0)
    try:
        prepare_embedded(tmp_path)
    finally:
        os.umask(before)
    assert stat.S_IMODE((tmp_path / "run" / "broker" / "valkey.conf").stat().st_mode) == 0o600
    assert stat.S_IMODE((tmp_path / "run").stat().st_mode) == 0o700
