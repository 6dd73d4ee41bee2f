"""What every target must promise: run against each kind of target."""

from __future__ import annotations

import errno
import tempfile
from collections.abc import Iterable, Iterator
from datetime import UTC, datetime, timedelta
from pathlib import Path

import pytest

from storage.backup.local import LocalTarget
from storage.backup.target import Stored, Target, prove
from strongroom.errors import (
    DiskFull,
    InvalidRequest,
    NameTaken,
    NotFound,
    TargetUnfit,
    TargetUnreachable,
    TransientIO,
)
from tests.support.crash import crash_at, die_at, steps_of
from tests.support.faults import faults

NOW = datetime(2030, 1, 1, tzinfo=UTC)


@pytest.fixture(params=["folder", "s3", "s3 in parts"])
def target(request: pytest.FixtureRequest, scratch: Path) -> Target:
    if request.param == "folder":
        return LocalTarget(scratch / "not yet there" / "backups")
    made: Target = request.getfixturevalue("bucket")()
    return made if request.param == "s3" else made.ways()[1]


@pytest.fixture
def elsewhere(scratch: Path) -> Iterator[Path]:
    """A folder on another disk than the scratch one."""
    for place in (Path("/tmp"), Path("/dev/shm"), Path.cwd()):  # whichever it is
        if place.exists() and place.stat().st_dev != scratch.stat().st_dev:
            with tempfile.TemporaryDirectory(dir=place) as folder:
                yield Path(folder)
            return
    pytest.skip("everything here is on one disk")


def names(target: Target, prefix: str = "") -> list[str]:
    return sorted(one.name for one in target.names(prefix))


def test_what_was_kept_is_read_back_in_whole_and_in_parts(target: Target) -> None:
    data = bytes(range(256)) * 10_000
    target.create("packs/ab/abc", [data[:1000], data[1000:]])
    assert b"".join(target.read("packs/ab/abc")) == data
    assert b"".join(target.read("packs/ab/abc", 300, 5000)) == data[300:5300]
    assert b"".join(target.read("packs/ab/abc", len(data) - 3, 5000)) == data[-3:]
    assert b"".join(target.read("packs/ab/abc", len(data) + 3)) == b""
    assert [(one.name, one.size_bytes) for one in target.names()] == [("packs/ab/abc", len(data))]


def test_nothing_is_overwritten(target: Target) -> None:
    target.create("a", [b"first"])
    with pytest.raises(NameTaken):
        target.create("a", [b"second"])
    assert b"".join(target.read("a")) == b"first"


def test_names_are_listed_by_how_they_begin(target: Target) -> None:
    for name in ("strongroom-backup.json", "backups/2026-a.json", "backups/2027-b.json", "packs/ab/ab1", "packs/ab/ab2"):
        target.create(name, [b"x"])
    assert names(target, "backups/2026") == ["backups/2026-a.json"]
    assert names(target, "packs") == names(target, "packs/ab/") == ["packs/ab/ab1", "packs/ab/ab2"]
    assert names(target, "other/") == []
    assert len(names(target)) == 5


def test_what_is_not_there_is_said_to_be_and_removing_it_does_nothing(target: Target) -> None:
    assert names(target) == []
    target.remove("a/b")
    with pytest.raises(NotFound):
        list(target.read("a/b"))
    target.create("a/b", [])
    target.remove("a/b")
    target.remove("a/b")
    assert names(target) == []


@pytest.mark.parametrize("name", ["", "/etc/passwd", "../a", "a/../b", "a//b", "a/", ".a", "a/.b", "ä", "a b", "a" * 201])
def test_a_name_that_not_every_place_can_keep_is_refused(target: Target, name: str) -> None:
    with pytest.raises(InvalidRequest):
        target.create(name, [b"x"])


def test_what_breaks_off_leaves_nothing(target: Target) -> None:
    def broken() -> Iterator[bytes]:
        yield b"begun"
        raise ZeroDivisionError

    with pytest.raises(ZeroDivisionError):
        target.create("a", broken())
    assert names(target) == []


def test_a_target_that_keeps_its_promises_proves_it_and_keeps_nothing_of_the_proof(target: Target) -> None:
    prove(target, NOW)
    assert names(target) == []


class Overwriting(LocalTarget):
    def create(self, name: str, pieces: Iterable[bytes]) -> None:
        self.remove(name)
        super().create(name, pieces)


class Forgetful(LocalTarget):
    def read(self, name: str, offset: int = 0, length: int | None = None) -> Iterator[bytes]:
        return super().read(name)


class Partial(LocalTarget):
    def create(self, name: str, pieces: Iterable[bytes]) -> None:
        kept: list[bytes] = []
        try:
            kept += pieces
        except Exception:
            super().create(name, kept)
            raise
        super().create(name, kept)


class Undead(LocalTarget):
    def remove(self, name: str) -> None:
        pass


class Silent(LocalTarget):
    def names(self, prefix: str = "") -> Iterator[object]:  # type: ignore[override]  # lists nothing: of any type
        return iter(())


class Altering(LocalTarget):
    def read(self, name: str, offset: int = 0, length: int | None = None) -> Iterator[bytes]:
        return (piece.swapcase() for piece in super().read(name, offset, length))


class Hypocritical(LocalTarget):
    """Says that the name is taken, and overwrites it."""

    def create(self, name: str, pieces: Iterable[bytes]) -> None:
        try:
            super().create(name, [])
        except NameTaken:
            (self.root / name).write_bytes(b"".join(pieces))
            raise
        self.remove(name)
        super().create(name, pieces)


class Literal(LocalTarget):
    """Lists whole names alone."""

    def names(self, prefix: str = "") -> Iterator[Stored]:
        return (one for one in super().names(prefix) if one.name == prefix)


@pytest.mark.parametrize(
    ("kind", "said"),
    [
        (Overwriting, "overwrites"),
        (Forgetful, "parts"),
        (Partial, "never finished"),
        (Undead, "removed"),
        (Silent, "list what it keeps"),
        (Altering, "other bytes"),
        (Hypocritical, "changes"),
        (Literal, "by the beginning"),
    ],
    ids=lambda one: getattr(one, "__name__", None),
)
def test_a_target_that_breaks_a_promise_is_not_trusted(scratch: Path, kind: type[LocalTarget], said: str) -> None:
    with pytest.raises(TargetUnfit, match=said):
        prove(kind(scratch / "backups"), NOW)


def test_a_kill_anywhere_keeps_all_or_nothing_and_the_rest_is_tidied_away(scratch: Path) -> None:
    count = len(steps_of(lambda: LocalTarget(scratch / "counted").create("packs/a", [b"x", b"y"])))
    for number in range(1, count + 1):
        target = LocalTarget(scratch / f"killed {number}")
        die_at(number, lambda target=target: target.create("packs/a", [b"x", b"y"]))  # type: ignore[misc]  # bound here
        assert names(target) in ([], ["packs/a"])
        if names(target):
            assert b"".join(target.read("packs/a")) == b"xy"
        else:
            target.create("packs/a", [b"x", b"y"])
        target.tidy(datetime.now(UTC) + timedelta(minutes=1))
        assert len([path for path in target.root.rglob("*") if path.is_file()]) == 1


def test_a_folder_on_which_nothing_can_be_linked_keeps_its_promises_as_far_as_can_be(
    scratch: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    refused = []

    def no_links(path: Path, _target: Path) -> None:
        refused.append(path)
        raise OSError(errno.EPERM, "no links")

    monkeypatch.setattr(Path, "hardlink_to", no_links)
    prove(LocalTarget(scratch / "backups"), NOW)
    assert refused


@pytest.mark.parametrize(("code", "said"), [(errno.ENOSPC, DiskFull), (errno.EIO, TransientIO)])
def test_a_call_that_fails_anywhere_is_said_and_keeps_all_or_nothing(scratch: Path, code: int, said: type[Exception]) -> None:
    number, fired, hint = 0, True, ""
    while fired:
        number += 1
        target = LocalTarget(scratch / f"failed {number}")
        failed = False
        with faults(number, code) as injected:
            try:
                target.create("packs/a", [b"x", b"y"])
            except said as error:
                failed, hint = True, getattr(error, "hint", "")
        fired = injected.fired
        assert failed is fired
        assert code != errno.ENOSPC or "Free some space there" in hint
        if not names(target):
            target.create("packs/a", [b"x", b"y"])
        assert b"".join(target.read("packs/a")) == b"xy"
    assert number > 6, "hardly anything was made to fail"


def test_a_disk_that_is_unmounted_meanwhile_is_missed_and_not_replaced_by_what_lies_below(scratch: Path, elsewhere: Path) -> None:
    mount, disk = scratch / "mnt", scratch / "disk"
    disk.mkdir()
    mount.symlink_to(disk)
    target = LocalTarget(mount)
    target.create("packs/a", [b"x"])
    for below in (None, elsewhere):
        mount.unlink()
        if below is not None:
            mount.symlink_to(below)
        for call in (
            lambda: target.create("packs/b", [b"x"]),
            lambda: list(target.read("packs/a")),
            lambda: list(target.names("packs/")),
        ):
            with pytest.raises(TargetUnreachable, match="is gone"):
                call()
        mount.unlink(missing_ok=True)
        mount.symlink_to(disk)
    assert list(elsewhere.iterdir()) == []
    target.create("packs/b", [b"x"])
    assert names(target) == ["packs/a", "packs/b"]


def test_a_disk_that_goes_while_a_file_is_written_leaves_no_claim_that_it_was(scratch: Path) -> None:
    target = LocalTarget(scratch / "mnt")
    target.create("packs/a", [b"x"])

    def pieces() -> Iterator[bytes]:
        yield b"x"
        (scratch / "mnt").rename(scratch / "disk")

    with pytest.raises(TargetUnreachable):
        target.create("packs/b", pieces())
    assert names(LocalTarget(scratch / "disk")) == ["packs/a"]


def test_a_share_that_is_gone_is_for_waiting_whatever_it_answers(scratch: Path) -> None:
    target = LocalTarget(scratch / "backups")
    for number, code in enumerate((errno.ESTALE, errno.ENOTCONN, errno.EHOSTDOWN, errno.ENXIO), start=1):
        with faults(number, code) as injected, pytest.raises(TargetUnreachable):
            target.create(f"packs/{number}", [b"x"])
        assert injected.fired


def test_a_crash_before_the_link_leaves_no_part_file_when_the_process_lives_on(scratch: Path) -> None:
    target = LocalTarget(scratch / "backups")
    with crash_at("backup: link"):
        target.create("a", [b"x"])
    assert target.tidy(datetime.now(UTC) + timedelta(minutes=1)) == 0
