"""The story that the demo tells, step by step. Each step shows something, and demands that it holds."""

from __future__ import annotations

import time
from collections.abc import Mapping, Sequence
from dataclasses import dataclass

from rich.text import Text

from models.rows import StoredVersion
from storage.engine import Engine
from strongroom.client import Client
from workers.cli.output import size
from workers.demo import proofs
from workers.demo.command import run_command
from workers.demo.damage import changed, choose_spot
from workers.demo.document import Made
from workers.demo.figures import Figures
from workers.demo.folder import DemoFolder, folder_bytes
from workers.demo.installed import environment_folders, installed_packages
from workers.demo.interruption import Deadline, Interruption
from workers.demo.making import LIVE, OWN_LIBRARY, make_documents
from workers.demo.screen import Screen, shown
from workers.demo.sending import send_and_wait
from workers.demo.service import DemoService, flower_answers
from workers.parts import CHECKOUT

LEAST_LIBRARIES = 50
TREE_WITHIN_S = 30.0


@dataclass(frozen=True, slots=True)
class Story:
    """Where it takes place. ``at_most`` packages are documented; None: all of them, and then they must be many."""

    folder: DemoFolder
    environ: Mapping[str, str]
    screen: Screen
    interruption: Interruption
    at_most: int | None = None

    def tell(self, service: DemoService) -> Figures:
        """Tell it, from the start of the service to its end, and return what was measured.

        Raises:
            PromiseBroken: something did not hold.
            StorageError: something else failed.
            Interrupted: somebody asked to stop.
        """
        figures = Figures()
        self._start(service, figures)
        made = self._make()
        with Engine(self.folder.data).open() as engine:
            self._store(engine, made, figures)
            self._show_versions(engine.versions(OWN_LIBRARY))
            self._await_tree(engine, figures)
            self._store_again(made, figures)
            self._read_back(engine, made, figures)
            self._damage(engine, figures)
        self._stop(service)
        return figures

    def _start(self, service: DemoService, figures: Figures) -> None:
        self.screen.step("A service starts: broker, two workers, beat and Flower")
        started_s = time.monotonic()
        service.start()
        with self.screen.waiting("starting"):
            state = service.await_ready()
        figures.start_s = time.monotonic() - started_s
        self.screen.done(f"ready after {figures.start_s:.1f} s")
        proofs.demand(flower_answers(state.flower), f"Flower does not answer at {state.flower.address}.")
        self.screen.note("Flower", Text(state.flower.address, "cyan underline"))
        self.screen.note("user", state.flower.user)
        self.screen.note("password", f"in {state.flower.password_file}")

    def _make(self) -> list[Made]:
        self.screen.step("Documents are made of the packages installed here")
        packages = installed_packages(environment_folders())[: self.at_most]
        made: list[Made] = []
        with self.screen.bar("reading", len(packages)) as tick:
            for one in make_documents(self.folder.documents, CHECKOUT, packages):
                made.append(one)
                tick(_libraries(made) - 1)
                self.interruption.check()
        count = _libraries(made)
        proofs.demand(self.at_most is not None or count >= LEAST_LIBRARIES, f"Only {count} libraries are installed here.")
        self.screen.done(f"{len(made)} documents of {count} libraries, {size(sum(one.size_bytes for one in made))}")
        self.screen.note("from", "descriptions and docstrings, one library each; and our own docs")
        self.screen.note("in", shown(self.folder.documents))
        return made

    def _store(self, engine: Engine, made: list[Made], figures: Figures) -> None:
        self.screen.step("They go in through the queue")
        figures.store_s = self._send(made, "stored")
        self.screen.done(f"{len(made)} stored, durable on disk, in {figures.store_s:.1f} s")
        figures.versions = engine.versions()
        self.screen.done(f"{size(figures.plain_bytes)} take {size(figures.stored_bytes)}: {figures.saved:.0%} saved")

    def _show_versions(self, versions: Sequence[StoredVersion]) -> None:
        """The release came first and ``live-tree`` last, with the same bytes."""
        newest, *_, last = versions
        proofs.demand(newest.latest and last.version == LIVE, "`latest` is not the newest release.")
        proofs.demand(newest.place == last.place, "The same content was stored twice.")
        self.screen.done(f"{LIVE} has the bytes of {newest.version}: they are stored once")
        self.screen.done(f"the latest version is {newest.version}, the newest release, though it came first:")
        self.screen.note("versions", ", ".join(one.version for one in versions))

    def _store_again(self, made: list[Made], figures: Figures) -> None:
        self.screen.step("The same documents once more")
        figures.again_s = self._send(made, "unchanged")
        self.screen.done(f"{len(made)} unchanged: whatever is sent twice is stored once")

    def _send(self, made: list[Made], status: str) -> float:
        with Client.of_service(self.folder.data) as client, self.screen.bar("storing", len(made)) as tick:
            receipts, took_s = send_and_wait(client, made, self.interruption, tick)
        proofs.prove_receipts(receipts, made, status)
        return took_s

    def _read_back(self, engine: Engine, made: list[Made], figures: Figures) -> None:
        self.screen.step("Every document is read back and compared with what went in")
        with self.screen.bar("reading", len(made)) as tick:
            figures.read_s = proofs.prove_read_back(engine, made, tick)
        self.screen.done(f"{len(made)} of {len(made)} digests are equal, in {figures.read_s:.1f} s")

    def _await_tree(self, engine: Engine, figures: Figures) -> None:
        with self.screen.waiting("the files for other programs follow"):
            deadline = Deadline(TREE_WITHIN_S)
            while engine.tree.lag():
                proofs.demand(not deadline.over, f"The files for other programs were not there after {TREE_WITHIN_S:.0f} s.")
                self.interruption.pause(0.05)
        figures.tree_bytes = folder_bytes(engine.folder.documentation)
        self.screen.done("each stands as a plain file too, for other programs:")
        self.screen.note("in", shown(engine.folder.documentation))

    def _damage(self, engine: Engine, figures: Figures) -> None:
        self.screen.step("One byte on the disk is damaged on purpose")
        spot = choose_spot(figures.versions, engine.folder)
        with changed(spot):
            self.screen.note("at", f"byte {spot.offset:,} of {engine.folder.relative(spot.segment)[:30]}…")
            figures.verified_bytes, figures.verify_s = self._verify([spot.version], figures)
            self.screen.done(f"found, and named exactly (exit code 1): {spot.version.library_id} {spot.version.version}")
            proofs.prove_kept_from_readers(engine, spot.version)
            self.screen.done("not a byte of it is handed out: reading it is an error")
        self.screen.step("The byte is put back")
        self._verify([], figures)
        self.screen.done("nothing is damaged (exit code 0)")

    def _verify(self, damaged: Sequence[StoredVersion], figures: Figures) -> tuple[int, float]:
        self.screen.typed("strongroom verify")
        with self.screen.waiting("reading every byte again"):
            answer = run_command(("verify", "--json", "--data", str(self.folder.data)), self.environ, self.interruption)
        return proofs.prove_found(answer, damaged, len(figures.versions)), answer.took_s

    def _stop(self, service: DemoService) -> None:
        self.screen.step("Everything that was started is stopped")
        with self.screen.waiting("stopping"):
            service.stop()
        service.prove_gone()
        self.screen.done("no process is left")


def _libraries(made: Sequence[Made]) -> int:
    return len({one.library_id for one in made})
