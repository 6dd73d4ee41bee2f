"""The message is Celery's own protocol, whatever the producer's own Celery is set to."""

from __future__ import annotations

import json
import os
import subprocess
import sys
from pathlib import Path
from typing import Any

from celery import Celery

from strongroom.client import Client
from strongroom.result import Err, Result

TEXT = b'{"library_id": "/a/b", "version_id": "1.0", "text": "\xc3\xa9"}'


def problem(result: Result[Any]) -> Any:
    assert isinstance(result, Err), result
    return result.problem


def test_the_message_has_the_shape_that_celery_itself_gives_to_one(client: Client, broker: Any) -> None:
    client.store(TEXT)
    app = Celery(broker=broker.url, set_as_current=False)
    app.conf.task_ignore_result = True
    with app.producer_or_acquire() as producer:
        app.send_task("strongroom.store", kwargs={"inbox": "x"}, queue="short", priority=3, producer=producer, ignore_result=True)
    app.close()
    ours, theirs = broker.all()
    assert {name: type(value) for name, value in ours.headers.items()} == {
        name: type(value) for name, value in theirs.headers.items()
    }
    assert ours.properties.keys() == theirs.properties.keys()
    varying = {"delivery_tag", "correlation_id", "reply_to"}
    assert {name: value for name, value in ours.properties.items() if name not in varying} == {
        name: value for name, value in theirs.properties.items() if name not in varying
    }


def test_a_real_celery_worker_runs_what_the_client_sends(client: Client, broker: Any, tmp_path: Path) -> None:
    program = tmp_path / "taking.py"
    program.write_text(
        "import json, sys\n"
        "from celery import Celery\n"
        "app = Celery(broker=sys.argv[1])\n"
        "app.conf.update(accept_content=['json'], worker_redirect_stdouts=False)\n"
        "@app.task(name='strongroom.store', bind=True)\n"
        "def store(self, **fields):\n"
        "    print(json.dumps([self.request.id, fields]), flush=True)\n"
        "app.Worker(pool='solo', queues=['short'], without_gossip=True, without_mingle=True, loglevel='ERROR').start()\n"
    )
    ticket = client.store(TEXT).unwrap()
    environment = {name: value for name, value in os.environ.items() if not name.startswith("CELERY")}
    command = [sys.executable, str(program), broker.url]
    with subprocess.Popen(command, stdout=subprocess.PIPE, stderr=subprocess.DEVNULL, env=environment, text=True) as worker:
        assert worker.stdout is not None
        try:
            line = next(line for line in iter(worker.stdout.readline, "") if line.startswith('["'))
        finally:
            worker.kill()
    request_id, fields = json.loads(line)
    assert request_id == ticket.request_id
    assert fields["inbox"] == f"{ticket.request_id}.inbox"


def test_what_the_producers_own_celery_is_set_to_changes_nothing(
    client: Client, broker: Any, inbox: Path, tmp_path: Path
) -> None:
    (tmp_path / "celeryconfig.py").write_text("task_serializer = 'pickle'\ntask_protocol = 1\ntask_default_queue = 'theirs'\n")
    script = (
        "import sys, celery\n"
        "from strongroom import Client\n"
        "Client(inbox=sys.argv[1], broker_url=sys.argv[2]).store(b'{}').unwrap()\n"
    )
    environment = {
        **os.environ,
        "PYTHONPATH": f"{Path.cwd()}:{tmp_path}",
        "CELERY_BROKER_URL": "redis://127.0.0.1:1/0",
        "CELERY_CONFIG_MODULE": "celeryconfig",
        "DJANGO_SETTINGS_MODULE": "nowhere",
    }
    subprocess.run([sys.executable, "-c", script, str(inbox), broker.url], env=environment, check=True)
    (message,) = broker.all()
    assert message.content_type == "application/json"
