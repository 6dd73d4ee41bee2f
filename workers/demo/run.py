"""One run of the demo: the folder, the service and the story, and what becomes of them however it ends."""

from __future__ import annotations

import sys
from collections.abc import Mapping
from pathlib import Path

from strongroom.errors import StorageError
from workers.cli.output import size
from workers.demo.figures import Figures
from workers.demo.folder import DemoFolder, make_folder
from workers.demo.interruption import Interrupted, Interruption
from workers.demo.making import OWN_LIBRARY
from workers.demo.screen import Screen, shown
from workers.demo.service import DemoService
from workers.demo.story import Story
from workers.parts import CHECKOUT
from workers.signals import Signals

HELD, BROKEN, INTERRUPTED = 0, 1, 130
"""Exit codes; the last as a shell has it (128 and the number of SIGINT)."""


def run_demo(wanted: Path | None, environ: Mapping[str, str], signals: Signals, at_most: int | None) -> int:
    """Run the demo and return its exit code. However it ends, no process of it is left.

    The folder stays when all held, and when something did not (for a look at it); else it is removed.
    """
    screen = Screen()
    try:
        folder = make_folder(wanted, CHECKOUT / "demo-data")
    except StorageError as error:
        screen.failed(error.message, error.hint)
        return BROKEN
    interruption = Interruption(signals)
    code, removed = INTERRUPTED, False
    try:
        code = _run(Story(folder, environ, screen, interruption, at_most))
    finally:
        if code == INTERRUPTED:  # or something that nobody foresaw is on its way out
            removed = folder.remove()
    if code == INTERRUPTED:
        what = "is removed" if removed else "cannot be removed and stays"
        screen.done(f"nothing runs any more; {shown(folder.root)} {what}")
    return code


def _run(story: Story) -> int:
    service = DemoService(story.folder, story.environ, story.interruption)
    try:
        figures = story.tell(service)
    except (Interrupted, StorageError, OSError) as error:
        return _explain(story, service, error)
    finally:
        service.stop()
    _print_end(story.screen, figures, story.folder)
    return HELD


def _explain(story: Story, service: DemoService, error: Exception) -> int:
    screen = story.screen
    if story.interruption.asked:  # whatever it has made of the step that it met: a terminal that is gone cannot be written to
        screen.say("Interrupted: stopping everything that was started.")
        service.stop(hurry=True)
        return INTERRUPTED
    if isinstance(error, StorageError):
        screen.failed(error.message, error.hint, error.context.get("log", ()))
    else:
        screen.failed(str(error), "Is there space, and may this user write here? --data names another folder.")
    screen.say(f"Everything is kept in {shown(story.folder.root)}; the logs are in data/logs.")
    return BROKEN


def _print_end(screen: Screen, figures: Figures, folder: DemoFolder) -> None:
    command = shown(Path(sys.executable).with_name("strongroom"))  # what `make setup` has written
    data = shown(folder.data)
    screen.table(figures.rows())
    screen.say(f"What was stored stays in {shown(folder.root)} ({size(folder.size_bytes)}):")
    screen.note("list it", f"{command} list --data {data}")
    screen.note("read one", f"{command} get {OWN_LIBRARY} --data {data}")
    screen.note("run it", f"{command} up --data {data}")
    screen.note("forget it", f"rm -r {shown(folder.root)}")
    screen.say("A service of your own, in ./data:")
    screen.note("start it", f"{command} up")
    screen.note("store", f"{command} store {shown(folder.documents)} --wait")
    screen.note("more", f"{command} --help")
    screen.say("")
