"""A worker's process without Celery: tasks on a real engine; what they send is noted down, what waits in the queues is said."""

from __future__ import annotations

import json
import os
import resource
import traceback
from collections import Counter
from collections.abc import Callable, Collection, Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, field
from datetime import UTC, datetime
from pathlib import Path
from typing import Any, NoReturn

from models.catalogue import list_versions
from models.ledger import JobRow, find_jobs
from models.listing import newest_jobs
from models.rows import StoredVersion
from models.schedule import Plan
from storage.engine import Engine, Options
from strongroom import durable
from strongroom.contracts import DocumentOptions
from strongroom.inbox import InboxWriter
from tasks.entering import planned_message, queue_now
from tasks.messages import job_id_of
from tasks.reconcile import run_reconcile, take_back_leases
from tasks.routes import QUEUES, TASKS
from tasks.services import Services
from tasks.store import run_store
from tasks.watch import Watch

CRASHED = 77
FAILED = 70


def document(library_id: str = "/a/b", version: str = "1.0", **more: Any) -> bytes:
    """Return a small document."""
    return json.dumps({"library_id": library_id, "version_id": version, **more}).encode()


@dataclass
class Desk:
    """One process's services on a data folder. ``sent`` holds the messages that it sent; ``queues`` says how many wait where."""

    root: Path
    max_attempts: int = 5
    name: str = "test:1"
    options: Options = field(default_factory=Options)
    sent: list[tuple[str, dict[str, Any], str]] = field(default_factory=list)
    queues: Counter[str] = field(default_factory=Counter)
    send_fails_with: Exception | None = None
    limits: Mapping[str, int] = field(default_factory=dict)
    priorities: list[int] = field(default_factory=list)
    now_s: float = 0.0
    """What this process's monotonic clock says when it watches leases."""

    def __post_init__(self) -> None:
        self._open = True
        self.engine = Engine(self.root, self.options).open()
        self.services = Services(self.engine, self, self.max_attempts, self.limits, owner=self.name, worker="worker1")
        self.watch = Watch(self.engine.database, self.services.presence, lambda: self.now_s)

    def send(self, task: str, arguments: Mapping[str, Any], *, queue: str, priority: int = 0) -> None:
        if self.send_fails_with is not None:
            raise self.send_fails_with
        json.dumps(arguments)
        self.sent.append((task, dict(arguments), queue))
        self.priorities.append(priority)

    def waiting(self, queues: Collection[str]) -> dict[str, int]:
        if self.send_fails_with is not None:
            raise self.send_fails_with
        return {queue: self.queues[queue] for queue in queues}

    def reconcile(self) -> int:
        """Look once for what nobody does; return how many messages were sent."""
        take_back_leases(self.services, self.watch)
        return run_reconcile(self.services)

    @property
    def inbox(self) -> Path:
        return self.services.inbox

    @property
    def staged(self) -> list[str]:
        """The names of the jobs that lie in the inbox."""
        return sorted(path.stem for path in self.inbox.glob("*.inbox"))

    @property
    def kept(self) -> list[str]:
        """The names of the jobs whose payload was kept."""
        return sorted(path.stem for path in self.services.failed.glob("*.inbox"))

    def stage(
        self, job_id: str, *documents: bytes | tuple[bytes, DocumentOptions], receipt: bool = True, names: Sequence[str] = ()
    ) -> Path:
        """Put an accepted job into the inbox."""
        with InboxWriter(self.inbox, job_id, receipt=receipt) as writer:
            for number, one in enumerate(documents):
                data, options = one if isinstance(one, tuple) else (one, None)
                writer.add(data, names[number] if names else f"{number}.json", options)
            return writer.commit()

    def run(self, job_id: str) -> JobRow:
        """Carry out the message that the client sends for a staged job."""
        run_store(self.services, {"contract": 1, "request_id": job_id, "inbox": f"{job_id}.inbox", "receipt": True}, job_id)
        return self.job(job_id)

    def asked(self, kind: str, asked_by: str, **said: Any) -> dict[str, Any]:
        """Enter a job in the ledger, as a person or a schedule asks for it; return its message."""
        plan = Plan(kind, kind, TASKS[kind], QUEUES[kind], said, None)
        job_id = queue_now(self.engine.database, self.engine.folder.run, plan, asked_by, datetime.now(UTC))
        return planned_message(plan, job_id)

    def message(self, message_id: str = "message-0001", **fields: Any) -> JobRow | None:
        """Carry out a raw message; return the job of its id."""
        run_store(self.services, fields, message_id)
        return self.find(job_id_of(fields.get("request_id"), message_id))

    def deliver(self) -> int:
        """Carry out what was sent to the stores' queues; return how many messages that were."""
        messages, self.sent[:] = self.sent[:], []
        for number, (task, arguments, _) in enumerate(messages):
            assert task == "strongroom.store"
            run_store(self.services, arguments, f"delivery-{number:04}")
        return len(messages)

    def find(self, job_id: str) -> JobRow | None:
        with self.engine.database.read() as connection:
            return find_jobs(connection, [job_id]).get(job_id)

    def job(self, job_id: str) -> JobRow:
        row = self.find(job_id)
        assert row is not None, f"no job {job_id}"
        return row

    def jobs(self) -> list[JobRow]:
        with self.engine.database.read() as connection:
            return newest_jobs(connection)

    def receipt(self, job_id: str) -> dict[str, Any] | None:
        """Read a receipt, and leave it there."""
        try:
            return dict(json.loads((self.inbox / "receipts" / f"{job_id}.json").read_bytes()))
        except FileNotFoundError:
            return None

    def revisions(self, library_id: str = "/a/b") -> list[StoredVersion]:
        """Every revision of a library, current or not."""
        with self.engine.database.read() as connection:
            return list(list_versions(connection, library_id, history=True))

    def close(self) -> None:
        """Leave, as the end of the process would. Harmless when called again."""
        if self._open:
            self._open = False
            self.services.presence.close()
            self.engine.close()


@contextmanager
def observed(observer: Callable[[str], None]) -> Iterator[None]:
    """Have every durable step announced to ``observer``, which may crash or fail it."""
    durable.step.observer = observer
    try:
        yield
    finally:
        durable.step.observer = None


@contextmanager
def failing(step: str, error: BaseException, *, times: int = 1000, after: int = 0) -> Iterator[list[str]]:
    """Have a durable step fail. Yields the names of the steps that failed; the test must see that there were some."""
    seen = Counter[str]()
    failed: list[str] = []

    def observe(name: str) -> None:
        seen[name] += 1
        if name == step and after < seen[name] <= after + times:
            failed.append(name)
            raise error

    with observed(observe):
        yield failed
    assert failed, f"{step} never came: {dict(seen)}"


@contextmanager
def largest_file(limit_bytes: int) -> Iterator[None]:
    """Have the system refuse to write files beyond a size (EFBIG), as a full disk does."""
    before = resource.getrlimit(resource.RLIMIT_FSIZE)
    resource.setrlimit(resource.RLIMIT_FSIZE, (limit_bytes, before[1]))
    try:
        yield
    finally:
        resource.setrlimit(resource.RLIMIT_FSIZE, before)


def steps_of(root: Path, work: Callable[[Desk], object], options: Mapping[str, Any] | None = None) -> list[str]:
    """Run ``work`` in a process of its own to its end; return the durable steps that it took."""
    read, write = os.pipe()
    pid = os.fork()
    if pid == 0:
        names: list[str] = []
        _in_child(root, work, names.append, options, lambda: os.write(write, "\n".join(names).encode()))
    os.close(write)
    with os.fdopen(read, "rb") as pipe:
        names = pipe.read().decode().split("\n")
    assert os.waitstatus_to_exitcode(os.waitpid(pid, 0)[1]) == 0
    return names


def crash_at(number: int, root: Path, work: Callable[[Desk], object], options: Mapping[str, Any] | None = None) -> None:
    """Run ``work`` in a process of its own that ends, without any clean-up, just before its durable step ``number`` (from 0)."""
    pid = os.fork()
    if pid == 0:
        seen = 0

        def observe(_name: str) -> None:
            nonlocal seen
            if seen == number:
                os._exit(CRASHED)
            seen += 1

        _in_child(root, work, observe, options, lambda: None)
    code = os.waitstatus_to_exitcode(os.waitpid(pid, 0)[1])
    assert code == CRASHED, f"the crash at step {number} did not come: exit code {code}"


def _in_child(
    root: Path,
    work: Callable[[Desk], object],
    observer: Callable[[str], None],
    options: Mapping[str, Any] | None,
    at_end: Callable[[], object],
) -> NoReturn:
    try:
        desk = Desk(root, name=f"child:{os.getpid()}", **(options or {}))
        durable.step.observer = observer
        work(desk)
        at_end()
        os._exit(0)
    except BaseException:  # noqa: BLE001  # the copy of a process ends here, whatever it was
        traceback.print_exc()
    finally:
        os._exit(FAILED)
