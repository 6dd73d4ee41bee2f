"""The data folder: what lies where, and whether this release may use it."""

from __future__ import annotations

import json
import secrets
from collections.abc import Callable
from dataclasses import dataclass, field
from pathlib import Path

from models.rows import Place
from strongroom import durable
from strongroom.errors import DataFolderError

FORMAT = 1
"""The version of the layout. A folder with a higher one is refused: an older program would break its promises."""

FOLDERS = ("segments", "documentation", "metadata", "inbox", "tmp", "trash", "quarantine", "run", "logs")
_MARK = "strongroom.json"
_NOT_FOREIGN = {*FOLDERS, "lost+found"}  # every new ext4 volume has the last
_ONE_DEVICE = ("tmp", "segments", "documentation", "quarantine")
"""Files are written in the first and renamed into the others, which is one step only within a file system."""


def _nowhere(_content_sha256: str) -> Place | None:
    return None


@dataclass(frozen=True, slots=True)
class DataFolder:
    """Paths below the data folder. docs/reference/disk-format.md describes them for other programs.

    ``find_place`` tells where a content lies, for reading what refers to it: whoever has a catalogue gives it.
    """

    root: Path
    find_place: Callable[[str], Place | None] = field(default=_nowhere, compare=False, repr=False)

    @property
    def segments(self) -> Path:
        """Immutable segments, 256 folders by the first two digits of their digest."""
        return self.root / "segments"

    @property
    def documentation(self) -> Path:
        """The tree for other programs: derived."""
        return self.root / "documentation"

    @property
    def metadata(self) -> Path:
        """The catalogue and the journal."""
        return self.root / "metadata"

    @property
    def journal(self) -> Path:
        """What no segment can tell."""
        return self.metadata / "journal"

    @property
    def restores(self) -> Path:
        """What restores in place have changed: what undoes them."""
        return self.metadata / "restores"

    @property
    def inbox(self) -> Path:
        """Accepted jobs."""
        return self.root / "inbox"

    @property
    def tmp(self) -> Path:
        """Files being written; whatever a dead process left there is garbage."""
        return self.root / "tmp"

    @property
    def trash(self) -> Path:
        """What goes when its grace period is over."""
        return self.root / "trash"

    @property
    def quarantine(self) -> Path:
        """Damaged files, kept for people: nothing here is ever deleted by a program."""
        return self.root / "quarantine"

    @property
    def run(self) -> Path:
        """The running service: its state, the broker's socket."""
        return self.root / "run"

    def segment(self, segment_sha256: str) -> Path:
        """Where a segment lies."""
        return self.segments / segment_sha256[:2] / segment_sha256

    def index(self, segment_sha256: str) -> Path:
        """Where a segment's index lies."""
        return self.segments / segment_sha256[:2] / f"{segment_sha256}.index"

    def relative(self, path: Path) -> str:
        """Return a path as it is told to others: below the data folder."""
        return path.relative_to(self.root).as_posix()

    def exists(self) -> bool:
        """Whether this is a data folder."""
        return (self.root / _MARK).is_file()

    def create(self) -> None:
        """Make the folder, or complete one that is there. Durable; running twice changes nothing.

        Raises:
            DataFolderError: a newer release made it, or it holds something else.
            PermissionRefused: it cannot be written.
        """
        with durable.os_errors(f"cannot prepare the data folder {self.root}"):
            marked = self.exists()
            self.refuse_foreign()
            for name in FOLDERS:
                durable.make_folder(self.root / name, "data folder")
            self._make_segment_folders()
            if not marked:
                self._mark()
        self._check_devices()

    def refuse_foreign(self) -> None:
        """Make sure that the folder may become, or is, one of ours, before anything is written there.

        Raises:
            DataFolderError: it holds something else, or a newer release made it.
        """
        foreign = self._is_foreign()  # before the mark is looked for: another process may be setting it
        if self.exists():
            self.check()
        elif foreign:
            raise DataFolderError(f"{self.root} holds other things than strongroom's.", "Choose an empty or new folder.")

    def _is_foreign(self) -> bool:
        if not self.root.exists():
            return False
        return not self.root.is_dir() or any(entry.name not in _NOT_FOREIGN for entry in self.root.iterdir())

    def _make_segment_folders(self) -> None:
        """Make all 256 beforehand, durable together: one made on the way could be used before it is durable."""
        missing = {f"{number:02x}" for number in range(256)} - {entry.name for entry in self.segments.iterdir()}
        if missing:
            durable.step("data folder: make segment folders")
            for name in missing:
                (self.segments / name).mkdir(mode=0o700, exist_ok=True)
            durable.fsync_folder(self.segments, "data folder")

    def _mark(self) -> None:
        part = self.tmp / f"{secrets.token_hex(8)}.mark"
        with part.open("w", encoding="utf-8") as file:
            json.dump({"strongroom": "data folder", "format": FORMAT}, file)
            file.flush()
            durable.fsync_file(file.fileno(), "data folder")
        durable.rename(part, self.root / _MARK, "data folder")
        durable.fsync_folder(self.root, "data folder")

    def check(self) -> None:
        """Make sure that this release understands the folder.

        Raises:
            DataFolderError: it is no data folder, or a newer release made it, or its parts lie on several file systems.
            PermissionRefused: it cannot be read.
        """
        try:
            with durable.os_errors(f"cannot read the data folder {self.root}"):
                found = self._format()
        except (ValueError, KeyError, TypeError):
            raise DataFolderError(
                f"{self.root / _MARK} is damaged.", 'It should read {"strongroom": "data folder", "format": 1}.'
            ) from None
        if not isinstance(found, int) or found > FORMAT:
            raise DataFolderError(
                f"{self.root} has format {found}; this release knows up to {FORMAT}.",
                "Run the release that made it, or a newer one.",
            )
        self._check_devices()

    def _format(self) -> object:
        try:
            return json.loads((self.root / _MARK).read_bytes())["format"]
        except (FileNotFoundError, NotADirectoryError):
            raise DataFolderError(f"{self.root} is no data folder of strongroom.") from None

    def _check_devices(self) -> None:
        devices = {(self.root / name).stat().st_dev for name in _ONE_DEVICE if (self.root / name).is_dir()}
        if len(devices) > 1:
            names = ", ".join(f"{name}/" for name in _ONE_DEVICE)
            raise DataFolderError(f"{names} below {self.root} lie on several file systems.", "Mount the data folder as a whole.")
