"""storage/backup/unpack.py: packs are read beside each other, and what goes wrong with one of them ends all."""

from __future__ import annotations

import hashlib
import time
from collections.abc import Iterator
from pathlib import Path

import pytest

from storage.backup.local import LocalTarget
from storage.backup.packs import Pack, PackWriter
from storage.backup.repository import Ref, Repository
from storage.backup.unpack import Item, unpack
from storage.progress import silent
from strongroom.errors import BackupDamaged

ENDLESS = "e" * 64
PATIENCE_S = 10


class Endless(LocalTarget):
    """A target one pack of which never ends."""

    stopped = False

    def read(self, name: str, offset: int = 0, length: int | None = None) -> Iterator[bytes]:
        if not name.endswith(ENDLESS):
            yield from super().read(name, offset, length)
            return
        deadline = time.monotonic() + PATIENCE_S
        try:
            while time.monotonic() < deadline:
                yield b""
        except GeneratorExit:
            self.stopped = True
            raise


@pytest.fixture
def packs(repository: Repository, scratch: Path) -> list[Pack]:
    """Five packs of three items each, a few bytes between those that are wanted."""
    kept: list[Pack] = []
    with PackWriter(repository, scratch, kept.append, pack_bytes=4_000_000) as writer:
        for number in range(5):
            for key in range(3):
                data = bytes([number, key]) * 700_000
                writer.add(f"{number}{key}", data, hashlib.sha256(data).hexdigest())
        writer.finish()
    assert len(kept) == 5
    return kept


def items(packs: list[Pack], folder: Path) -> list[Item]:
    folder.mkdir(exist_ok=True)
    return [Item(ref, folder / key) for pack in packs for key, ref in pack.items]


def test_files_hold_what_the_packs_do_and_progress_only_grows(repository: Repository, packs: list[Pack], scratch: Path) -> None:
    seen: list[tuple[int, int]] = []
    wanted = items(packs, scratch / "to")[1:]
    size = unpack(repository, wanted, lambda done, total: seen.append((done, total)))
    assert [hashlib.sha256(one.path.read_bytes()).hexdigest() for one in wanted] == [one.ref.sha256 for one in wanted]
    assert size == sum(one.ref.size_bytes for one in wanted)
    assert seen == sorted(seen)
    assert seen[-1] == (size, size)


def test_what_is_there_and_whole_is_not_read_again(repository: Repository, packs: list[Pack], scratch: Path) -> None:
    wanted = items(packs, scratch / "to")
    unpack(repository, wanted, silent)
    nowhere = Repository(LocalTarget(scratch / "nowhere"), repository.seal, repository.repository_id)
    unpack(nowhere, wanted, silent)
    wanted[-1].path.write_bytes(b"cut")
    with pytest.raises(BackupDamaged, match="missing"):
        unpack(nowhere, wanted, silent)


def test_a_byte_that_is_not_what_was_written_is_found_and_its_file_removed(
    repository: Repository, packs: list[Pack], scratch: Path
) -> None:
    wanted = items(packs, scratch / "to")
    ref = wanted[4].ref
    path = scratch / "backups" / "packs" / ref.pack[:2] / ref.pack
    whole = path.read_bytes()
    path.write_bytes(whole[: ref.offset] + b"?" + whole[ref.offset + 1 :])
    with pytest.raises(BackupDamaged, match=f"does not hold {wanted[4].path.name}"):
        unpack(repository, wanted, silent)
    assert not wanted[4].path.exists()


def test_what_is_wrong_with_one_pack_is_said_at_once_though_another_never_ends(repository: Repository, scratch: Path) -> None:
    target = Endless(scratch / "backups")
    refs = [Ref("d" * 64, 0, 1, "d" * 64), Ref(ENDLESS, 0, 1, "d" * 64)]
    began = time.monotonic()
    with pytest.raises(BackupDamaged, match="missing"):
        unpack(
            Repository(target, repository.seal, repository.repository_id),
            [Item(ref, scratch / ref.pack) for ref in refs],
            silent,
        )
    assert time.monotonic() - began < PATIENCE_S
    assert target.stopped
