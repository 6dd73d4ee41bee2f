"""jobs retry, cancel and discard: what they print and exit with, and that discard asks. What they do: test_intervene.py."""

from __future__ import annotations

import json
import os
import pty
from collections.abc import Iterator
from pathlib import Path

import pytest
from typer.testing import CliRunner, Result

from storage.documents import Limits
from storage.engine import Options
from tests.support.command import Folder
from tests.support.desk import Desk, document
from tests.support.processes import CHECKOUT
from workers.cli import app

JOB = "failed-0001"


@pytest.fixture
def desk(data: Path) -> Iterator[Desk]:
    """A folder with a job that failed, and one that is done."""
    desk = Desk(data, options=Options(limits=Limits(document_bytes=2000)))
    desk.stage(JOB, document(text="x" * 3000))
    desk.run(JOB)
    desk.stage("done-00001", document())
    desk.run("done-00001")
    yield desk
    desk.close()


def run(desk: Desk, *words: str, answer: str | None = None) -> Result:
    return CliRunner().invoke(app, ["--data", str(desk.root), "jobs", *words], input=answer)


def test_retry_says_how_many_jobs_are_queued_again(desk: Desk) -> None:
    answer = run(desk, "retry", JOB)
    assert (answer.exit_code, answer.stdout) == (0, "1 job queued again\n")
    assert desk.staged == [JOB]


def test_all_that_failed_are_retried_by_one_word_and_a_kind_narrows_it_down(desk: Desk) -> None:
    assert json.loads(run(desk, "retry", "--all-failed", "--kind", "verify", "--json").stdout) == {"retried": [], "failed": []}
    assert json.loads(run(desk, "retry", "--all-failed", "--json").stdout) == {"retried": [JOB], "failed": []}
    again = run(desk, "retry", "--all-failed")
    assert (again.exit_code, again.stdout) == (0, "0 jobs queued again\n")


@pytest.mark.parametrize("words", [(), (JOB, "--all-failed"), (JOB, "--kind", "store")])
def test_retry_wants_either_ids_or_all(desk: Desk, words: tuple[str, ...]) -> None:
    answer = run(desk, "retry", *words)
    assert answer.exit_code == 2
    assert "--all-failed" in answer.stderr
    assert desk.staged == []


def test_what_cannot_be_done_is_told_for_each_job_and_the_others_are_done(desk: Desk) -> None:
    answer = run(desk, "retry", "done-00001", JOB, "unknown-1")
    assert answer.exit_code == 1
    assert answer.stdout == "1 job queued again\n"
    assert "done-00001 is done" in answer.stderr
    assert "no job unknown-1" in answer.stderr


def test_programs_are_told_each_refusal_with_its_code(desk: Desk) -> None:
    answer = run(desk, "cancel", "done-00001", "unknown-1", "--json")
    assert answer.exit_code == 1
    fields = json.loads(answer.stdout)
    assert fields["cancelled"] == []
    assert [(one["id"], one["code"]) for one in fields["failed"]] == [
        ("done-00001", "invalid_request"),
        ("unknown-1", "not_found"),
    ]


def test_cancel_names_who_did_it(desk: Desk) -> None:
    desk.stage("waits-0001", document())
    assert run(desk, "cancel", "waits-0001").stdout == "1 job cancelled\n"
    error = desk.job("waits-0001").error or {}
    assert error["code"] == "cancelled"
    assert "@" in error["message"]


def test_discard_refuses_when_nobody_is_there_to_answer(desk: Desk) -> None:
    for words in (("discard", JOB), ("discard", JOB, "--json")):
        answer = run(desk, *words, answer="y\n")
        assert answer.exit_code == 1
        assert "--yes" in answer.output
    assert desk.kept == [JOB]


def test_discard_does_not_ask_when_told_so(desk: Desk) -> None:
    answer = run(desk, "discard", JOB, "--yes", "--json")
    assert (answer.exit_code, json.loads(answer.stdout)) == (0, {"discarded": [JOB], "failed": []})
    assert desk.kept == []
    assert run(desk, "discard", JOB, "--yes").exit_code == 0, "again: nothing is left, and nothing is wrong"


@pytest.mark.parametrize(("typed", "code", "kept"), [(b"y\n", 0, []), (b"n\n", 1, [JOB]), (b"\n", 1, [JOB])])
def test_discard_asks_at_a_terminal_and_no_is_the_default(desk: Desk, typed: bytes, code: int, kept: list[str]) -> None:
    pid, terminal = pty.fork()
    if pid == 0:
        os.chdir(CHECKOUT)
        folder = Folder(desk.root, {})
        os.execvpe(folder.command()[0], folder.command("jobs", "discard", JOB), folder.environment)
    said = b""
    while b"for good?" not in said:
        said += os.read(terminal, 4096)
    assert JOB.encode() in said
    os.write(terminal, typed)
    try:
        while os.read(terminal, 4096):
            pass
    except OSError:  # what Linux says when the other side has closed
        pass
    assert os.waitstatus_to_exitcode(os.waitpid(pid, 0)[1]) == code
    os.close(terminal)
    assert desk.kept == kept
