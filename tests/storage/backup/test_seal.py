"""Sealing: what a target sees, who can open it, and what is said when one cannot."""

from __future__ import annotations

import errno
import hashlib
import os
import threading
import tracemalloc
from collections.abc import Iterator
from datetime import UTC, datetime
from pathlib import Path

import pyrage
import pytest

from storage.backup.choice import find_manifest
from storage.backup.manifest import backup_ids
from storage.backup.packs import Pack
from storage.backup.pump import Sink, Source, pumped
from storage.backup.repository import pack_path
from storage.backup.restore import Restore
from storage.backup.resume import kept_packs
from storage.backup.seal import Keys, Seal, Unsealed, make_key, seal_of
from storage.engine import Engine
from strongroom.errors import BackupDamaged, BackupKeyError, DiskFull, InvalidRequest, PermissionRefused, StorageError
from tests.support.backups import back_up, filled, repository_at
from tests.support.faults import faults

NOW = datetime(2030, 1, 2, 3, 4, 5, tzinfo=UTC)


@pytest.fixture
def key_file(scratch: Path) -> Path:
    make_key(scratch / "key", NOW)
    return scratch / "key"


def through(seal: Seal, data: bytes, piece_bytes: int = 100_000) -> bytes:
    return b"".join(seal.sealed(data[at : at + piece_bytes] for at in range(0, len(data), piece_bytes)))


@pytest.mark.parametrize("size_bytes", [0, 1, 65_535, 65_536, 65_537, 1_000_000])
@pytest.mark.parametrize("piece_bytes", [1_000, 65_536, 3_000_000])
def test_what_was_sealed_is_opened_again(key_file: Path, size_bytes: int, piece_bytes: int) -> None:
    seal, data = seal_of(key_file), os.urandom(size_bytes)
    kept = through(seal, data, piece_bytes)
    assert b"".join(seal.opened([kept])) == data
    assert data[:64] not in kept or size_bytes < 64
    assert b"".join(seal.opened([b"", kept[:100], b"", kept[100:], b""])) == data


@pytest.mark.parametrize("size_bytes", [0, 1, 65_535, 65_536, 65_537, 1_000_000])
def test_how_much_is_sealed_is_told_from_the_beginning(key_file: Path, size_bytes: int) -> None:
    kept = through(seal_of(key_file), bytes(size_bytes))
    assert seal_of(key_file).plain_bytes(len(kept), kept[:4096]) == size_bytes
    assert Unsealed().plain_bytes(size_bytes, b"") == size_bytes
    with pytest.raises(BackupDamaged, match="no end"):
        seal_of(key_file).plain_bytes(len(kept), kept[:30])


def test_the_format_is_that_of_age_with_the_key_file_as_it_is(key_file: Path) -> None:
    line = key_file.read_text().splitlines()[-1]
    identity = pyrage.x25519.Identity.from_str(line)
    assert pyrage.decrypt(through(seal_of(key_file), b"text"), [identity]) == b"text"
    assert b"".join(seal_of(key_file).opened([pyrage.encrypt(b"other", [identity.to_public()])])) == b"other"


def test_without_a_key_the_bytes_stay_as_they_are() -> None:
    seal = seal_of(None)
    assert through(seal, b"text") == b"text" == b"".join(seal.opened([b"text"]))
    seal.check("none", [])


def test_a_changed_or_shortened_file_is_refused_wherever_it_was_changed(key_file: Path) -> None:
    seal, data = seal_of(key_file), os.urandom(150_000)
    kept = through(seal, data)
    for at in [*range(len(kept) - 150_100), *range(len(kept) - 150_000, len(kept), 7_919), len(kept) - 1]:
        changed = bytearray(kept)
        changed[at] ^= 1
        with pytest.raises((BackupDamaged, BackupKeyError)):
            b"".join(seal.opened([bytes(changed)]))
    for length in [0, 10, 200, len(kept) - 1, len(kept) - (150_000 - 2 * 65_536) - 16, len(kept) - 65_600]:
        with pytest.raises(BackupDamaged):
            b"".join(seal.opened([kept[:length]]))
    with pytest.raises(BackupDamaged):
        b"".join(seal.opened([kept, b"more"]))


def test_nothing_that_was_not_authenticated_comes_out(key_file: Path) -> None:
    seal, data = seal_of(key_file), os.urandom(1_000_000)
    changed = bytearray(through(seal, data))
    changed[600_000] ^= 1
    pieces = (bytes(changed[at : at + 10_000]) for at in range(0, len(changed), 10_000))
    seen: list[bytes] = []
    with pytest.raises(BackupDamaged):
        seen.extend(seal.opened(pieces))
    assert 0 < len(b"".join(seen)) <= 600_000
    assert data.startswith(b"".join(seen))


def test_another_key_is_called_another_key(key_file: Path, scratch: Path) -> None:
    make_key(scratch / "other", NOW)
    kept = through(seal_of(key_file), b"text")
    with pytest.raises(BackupKeyError, match="another one"):
        b"".join(seal_of(scratch / "other").opened([kept]))


def test_what_fits_a_target_is_told_before_anything_is_read(key_file: Path, scratch: Path) -> None:
    make_key(scratch / "other", NOW)
    seal, other = seal_of(key_file), seal_of(scratch / "other")
    seal.check("age", seal.recipients)
    for wrong, kind, recipients in [(other, "age", seal.recipients), (Unsealed(), "age", seal.recipients), (seal, "none", ())]:
        with pytest.raises(BackupKeyError) as caught:
            wrong.check(kind, recipients)
        assert all(one in caught.value.message for one in recipients)


def test_each_key_of_a_file_opens_and_each_recipient_can(key_file: Path, scratch: Path) -> None:
    old = through(seal_of(key_file), b"old")
    recovery = make_key(scratch / "recovery", NOW)
    make_key(scratch / "new", NOW)
    both = scratch / "both"
    both.touch(mode=0o600)
    both.write_text(f"{(scratch / 'new').read_text()}\n{key_file.read_text()}\n# in the safe\n{recovery}\n")
    seal = seal_of(both)
    assert b"".join(seal.opened([old])) == b"old"
    assert seal.recipients[0] == seal_of(scratch / "new").recipients[0]
    kept = through(seal, b"new")
    for name in ("recovery", "new", "key"):
        assert b"".join(seal_of(scratch / name).opened([kept])) == b"new"


def test_a_key_that_was_added_opens_all_of_the_next_backup_and_later_stands_alone(
    key_file: Path, scratch: Path, engine: Engine
) -> None:
    place, both = scratch / "place", scratch / "both"
    old = repository_at(place, seal_of(key_file))
    back_up(filled(engine), old)
    make_key(scratch / "new", NOW)
    new = seal_of(scratch / "new")
    with pytest.raises(BackupKeyError):
        repository_at(place, new)
    both.touch(mode=0o600)
    both.write_text(f"{(scratch / 'new').read_text()}{key_file.read_text()}")
    assert [back_up(engine, repository_at(place, seal_of(both))).kind for _ in range(2)] == ["full", "incremental"]
    assert back_up(engine, old).kind == "incremental"  # who leaves is no reason to copy everything
    back_up(engine, repository_at(place, seal_of(both)), full=True)
    (place / "backups" / "99999999T000000Z-00000000.json").write_bytes(b"damaged")  # says nothing of the key
    only = repository_at(place, new)
    for backup_id in backup_ids(only)[-2:-1]:
        assert Restore(only, find_manifest(only, backup_id)).run(scratch / "restored", NOW).differences == ()
    with pytest.raises(BackupKeyError):
        repository_at(place, Unsealed())


def test_what_a_killed_run_kept_is_not_taken_up_for_a_key_that_came_since(key_file: Path, scratch: Path, engine: Engine) -> None:
    recovery = make_key(scratch / "recovery", NOW)
    repository = repository_at(scratch / "place", seal_of(key_file))
    pack = hashlib.sha256(b"pack").hexdigest()
    repository.target.create(pack_path(pack), [b"pack"])
    with kept_packs(engine.folder, repository) as kept:
        kept.keep(Pack(pack, 4, ()))
    with key_file.open("a") as file:
        file.write(f"{recovery}\n")
    for seal, taken_up in [(repository.seal, {pack}), (seal_of(key_file), set())]:
        with kept_packs(engine.folder, repository_at(scratch / "place", seal)) as kept:
            assert kept.packs.keys() == taken_up


def test_a_new_key_is_for_its_owner_alone_and_never_replaces_a_file(scratch: Path) -> None:
    public = make_key(scratch / "key", NOW)
    text = (scratch / "key").read_text()
    assert (scratch / "key").stat().st_mode & 0o777 == 0o600
    assert f"# public key: {public}" in text
    assert "# created: 2030-01-02T03:04:05Z" in text
    with pytest.raises(InvalidRequest, match="left as it is"):
        make_key(scratch / "key", NOW)
    assert (scratch / "key").read_text() == text


@pytest.mark.parametrize(("code", "said"), [(errno.ENOSPC, DiskFull), (errno.EACCES, PermissionRefused)])
def test_a_key_that_cannot_be_written_leaves_no_file(scratch: Path, code: int, said: type[StorageError]) -> None:
    number, fired = 0, True
    while fired:
        number += 1
        path = scratch / f"key {number}"
        failed = False
        with faults(number, code) as injected:
            try:
                make_key(path, NOW)
            except said:
                failed = True
        fired = injected.fired
        assert failed is fired
        assert path.exists() is not failed
    assert number > 3, "hardly anything was made to fail"


@pytest.mark.parametrize(
    "content",
    [b"", b"# nothing\n", b"AGE-SECRET-KEY-1SECRET\n", b"age1wrong\n", b"secret word\n", b"\xff\xfe", b"x" * 70_000],
    ids=["empty", "comment", "key", "recipient", "word", "binary", "large"],
)
def test_what_is_no_key_file_is_refused_without_a_word_of_what_is_in_it(scratch: Path, content: bytes) -> None:
    path = scratch / "key"
    path.touch(mode=0o600)
    path.write_bytes(content)
    with pytest.raises(BackupKeyError) as caught:
        seal_of(path)
    assert str(path) in caught.value.message
    assert "SECRET" not in caught.value.message
    assert "word" not in caught.value.message


def test_a_file_of_public_keys_alone_cannot_be_used(scratch: Path) -> None:
    public = make_key(scratch / "key", NOW)
    (scratch / "public").touch(mode=0o600)
    (scratch / "public").write_text(public)
    with pytest.raises(BackupKeyError, match="no secret key"):
        seal_of(scratch / "public")


def test_a_key_that_everybody_can_read_or_that_is_not_there_is_refused(key_file: Path, scratch: Path) -> None:
    key_file.chmod(0o644)
    with pytest.raises(BackupKeyError, match="Everybody") as caught:
        seal_of(key_file)
    assert caught.value.hint == f"chmod 600 {key_file}"
    with pytest.raises(BackupKeyError, match="cannot be read: No such file"):
        seal_of(scratch / "none")


def test_no_secret_is_in_what_is_shown_of_a_seal(key_file: Path) -> None:
    seal = seal_of(key_file)
    secret = key_file.read_text().splitlines()[-1]
    assert isinstance(seal, Keys)
    assert secret.startswith("AGE-SECRET-KEY-1")
    for shown in (repr(seal), str(seal), f"{seal.identities}", repr(seal.recipients)):
        assert secret[16:] not in shown


def test_sealing_and_opening_hold_little_of_what_goes_through(key_file: Path) -> None:
    seal, size_bytes, piece = seal_of(key_file), 64 << 20, bytes(1 << 20)
    digest = hashlib.sha256()
    tracemalloc.start()
    try:
        for one in seal.opened(seal.sealed(piece for _ in range(size_bytes // len(piece)))):
            digest.update(one)
        peak = tracemalloc.get_traced_memory()[1]
    finally:
        tracemalloc.stop()
    assert digest.hexdigest() == hashlib.sha256(bytes(size_bytes)).hexdigest()
    assert peak < 16 << 20


def threads() -> int:
    return sum(one.name == "pump" for one in threading.enumerate())


def test_what_the_pieces_raise_goes_through_and_ends_the_thread(key_file: Path) -> None:
    taken_in: list[str] = []

    def broken() -> Iterator[bytes]:
        taken_in.append(threading.current_thread().name)
        yield bytes(300_000)
        raise ZeroDivisionError

    with pytest.raises(ZeroDivisionError):
        b"".join(seal_of(key_file).sealed(broken()))
    assert taken_in == [threading.current_thread().name]
    assert threads() == 0


def test_who_stops_reading_leaves_no_thread(key_file: Path) -> None:
    pieces = seal_of(key_file).sealed(bytes(300_000) for _ in range(1000))
    next(pieces)
    assert threads() == 1
    pieces.close()  # type: ignore[attr-defined]  # a generator
    assert threads() == 0


def test_a_copy_that_ends_early_ends_the_iterator() -> None:
    def first_ten(source: Source, sink: Sink) -> None:
        sink.write(source.read(10))

    def panics(source: Source, sink: Sink) -> None:
        source.read(10)
        raise SystemExit

    assert b"".join(pumped((b"x" * 100 for _ in range(50)), first_ten)) == b"x" * 10
    with pytest.raises(SystemExit):
        b"".join(pumped([b"x"], panics))
    assert b"".join(pumped([], lambda source, sink: sink.write(source.read(3) or b"end") and None)) == b"end"
