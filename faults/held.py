"""One job after the other, each held in its middle (faults/held_app.py), so that its runner can be killed or frozen there."""

from __future__ import annotations

from faults.book import Book, Entry
from faults.processes import await_that, is_alive
from faults.service import Service
from strongroom.client import Client
from strongroom.result import Ok

APP = "faults.held_app"
_GIVE_UP_S = 180.0


class Held:
    """Holds the jobs of a service that runs APP."""

    def __init__(self, running: Service, book: Book, client: Client) -> None:
        self.running = running
        self._book, self._client = book, client
        self._marks = running.data / "run" / "faults"
        self._marks.mkdir(exist_ok=True)

    def begin(self, document: bytes) -> Entry:
        """Store a document; return the row of its job as soon as a process is in the middle of it."""
        (self._marks / "hold").touch()
        return self.await_held(self._send(document), but=0)

    def await_held(self, job_id: str, but: int) -> Entry:
        """Return the job's row once a process that lives, and is not ``but``, says itself that it is in the middle of it."""
        found: list[Entry] = []

        def held() -> bool:
            row = self._book.entry(job_id)
            if row is None or row.state != "running" or not row.owner or row.pid == but:
                return False
            found[:] = [row]
            return (self._marks / f"held.{row.pid}").exists() and is_alive(row.pid)

        await_that(held, f"job {job_id} is run again by another than {but}", _GIVE_UP_S)
        return found[0]

    def let_go(self, job_id: str) -> Entry:
        """Let the job go on; return its row when it is done."""
        (self._marks / "hold").unlink()
        await_that(lambda: self._state(job_id) == "done", f"job {job_id} ends", 60)
        for mark in self._marks.glob("held.*"):
            if not is_alive(int(mark.suffix[1:])):
                mark.unlink()
        row = self._book.entry(job_id)
        assert row is not None
        return row

    def _send(self, document: bytes) -> str:
        answers: list[str] = []

        def accepted() -> bool:
            answer = self._client.store(document, receipt=False)
            if isinstance(answer, Ok):
                answers.append(answer.value.request_id)
            return isinstance(answer, Ok)

        await_that(accepted, "a document is accepted", 60)
        return answers[0]

    def _state(self, job_id: str) -> str:
        row = self._book.entry(job_id)
        return row.state if row else ""
