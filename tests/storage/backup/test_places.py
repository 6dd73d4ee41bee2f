"""Whole backups where operators keep them: in an object store, sealed, over a network that fails."""

from __future__ import annotations

import subprocess
import sys
from collections.abc import Callable, Iterator
from dataclasses import replace
from datetime import UTC, datetime, timedelta
from pathlib import Path
from urllib.parse import urlsplit

import pytest

from storage.backup.choice import find_manifest
from storage.backup.drill import RunDrill
from storage.backup.local import LocalTarget
from storage.backup.manifest import backup_ids, manifests, read_manifest
from storage.backup.part import RestorePart
from storage.backup.place import Place
from storage.backup.prune import Prune
from storage.backup.repository import make_repository, open_repository, pack_path
from storage.backup.s3 import S3Target, s3_target
from storage.backup.seal import Seal, Unsealed, make_key, seal_of
from storage.backup.target import Target
from storage.backup.verify import verify_backup
from storage.engine import Engine
from storage.progress import silent
from storage.retention import Policy
from storage.trail import Actor
from strongroom.errors import BackupDamaged, BackupKeyError, ConfigurationError, TargetUnreachable
from tasks.backup import take_backup
from tests.support.archive import body, document
from tests.support.backups import NOW, back_up, filled, repository_at, told, told_after
from tests.support.flaky import Flaky, flaky
from tests.support.processes import CHECKOUT
from tests.support.s3 import Store

WORD = "a word that nobody else may read"

Bucket = Callable[..., S3Target]


@pytest.fixture
def sealed(scratch: Path) -> Seal:
    make_key(scratch / "key", NOW)
    return seal_of(scratch / "key")


def test_a_bucket_gives_back_what_was_backed_up_and_sealed(engine: Engine, bucket: Bucket, sealed: Seal, scratch: Path) -> None:
    repository = make_repository(bucket(), sealed, NOW)
    filled(engine)
    first, before = back_up(engine, repository), told(engine)
    engine.store([document("/new", "1.0", body(text=WORD))])
    second = back_up(engine, repository)
    assert second.parent == first.backup_id
    for one in (first, second):
        assert verify_backup(repository, one).problems == ()
    assert told_after(repository, scratch / "restored", first.backup_id) == before
    assert told_after(repository, scratch / "restored") == told(engine)


def test_in_a_bucket_backups_are_drilled_pruned_and_restored_in_part(
    engine: Engine, bucket: Bucket, store: Store, sealed: Seal, scratch: Path
) -> None:
    place = Place(f"s3://{store.bucket}/{bucket().prefix}", scratch / "key", store.access)
    for number in range(3):
        engine.store([document("/a", f"{number}.0", body(n=number))])
        take_backup(engine, place, silent, full=number < 2)
    found = RunDrill(engine, place).run()
    assert (found.verdict, found.proofs[0].documents) == ("fresh", 3)
    repository = place.open()
    latest = find_manifest(repository, "latest")
    names = backup_ids(repository)
    lost = next(name for name in latest.packs if name not in find_manifest(repository, names[1]).packs)
    repository.target.remove(pack_path(lost))
    assert RunDrill(engine, place).run().verdict == "failed"
    made = take_backup(engine, place, silent, full=False)
    assert (made["kind"], read_manifest(repository, made["id"]).parent) == ("incremental", names[0])
    done = Prune(repository, engine.database, Policy(keep_last=1)).apply(datetime.now(UTC))
    assert backup_ids(repository) == sorted(one.backup_id for one in done.fates if one.keep)
    assert done.doomed > 0
    last = Prune(repository, engine.database, Policy(keep_last=1)).apply(datetime.now(UTC) + timedelta(days=2))
    assert last.removed == done.doomed
    done_of = RestorePart(repository, find_manifest(repository, "latest"), "/a", "1.0")
    assert done_of.run(scratch / "part", Actor("person:test"), NOW).counts.documents == 1
    assert RunDrill(engine, place).run().verdict == "fresh"


def everything(target: Target) -> dict[str, bytes]:
    return {one.name: b"".join(target.read(one.name)) for one in target.names()}


def test_of_what_is_sealed_the_target_can_read_nothing(engine: Engine, sealed: Seal, scratch: Path) -> None:
    repository = repository_at(scratch / "backups", sealed)
    engine.store([document("/acme/secret", "1.0", body(text=WORD))])
    back_up(engine, repository)
    kept = everything(repository.target)
    assert len(kept) > 2
    for name, data in kept.items():
        assert name == "strongroom-backup.json" or data.startswith(b"age-encryption.org/v1\n"), name
        assert b"acme" not in data
    assert b"AGE-SECRET" not in b"".join(kept.values())


def test_the_wrong_key_and_none_are_called_that_before_anything_is_read(engine: Engine, sealed: Seal, scratch: Path) -> None:
    repository = repository_at(scratch / "backups", sealed)
    filled(engine)
    back_up(engine, repository)
    make_key(scratch / "other", NOW)
    for wrong in (Unsealed(), seal_of(scratch / "other")):
        with pytest.raises(BackupKeyError, match=sealed.recipients[0]):
            open_repository(repository.target, wrong)


def test_what_rots_under_a_seal_is_found_with_the_key_and_without(engine: Engine, sealed: Seal, scratch: Path) -> None:
    repository = repository_at(scratch / "backups", sealed)
    filled(engine)
    made = back_up(engine, repository)
    pack = next(path for path in (scratch / "backups" / "packs").rglob("*") if path.is_file())
    content = bytearray(pack.read_bytes())
    content[len(content) // 2] ^= 1
    pack.write_bytes(content)
    assert verify_backup(repository, made).verdict == "damaged"
    with pytest.raises(BackupDamaged):
        for _ in replace(repository, seal=Unsealed()).stored(pack.name):
            pass


@pytest.fixture
def proxy(store: Store) -> Iterator[Flaky]:
    port = urlsplit(store.access.endpoint or "").port
    assert port is not None
    with flaky(port) as started:
        yield started


def test_a_store_that_goes_away_half_way_leaves_no_backup_and_the_next_one_is_whole(
    engine: Engine, bucket: Bucket, store: Store, proxy: Flaky, scratch: Path
) -> None:
    access = replace(store.access, endpoint=f"http://127.0.0.1:{proxy.port}", tries=1, timeout_s=5.0)
    behind: Target = replace(s3_target(f"s3://{store.bucket}", access), prefix=bucket().prefix)
    repository = make_repository(behind, Unsealed(), NOW)
    filled(engine)
    proxy.calls_left = 5
    with pytest.raises(TargetUnreachable):
        back_up(engine, repository)
    assert proxy.calls_left == 0
    proxy.calls_left = None
    assert list(manifests(repository)) == []
    made = back_up(engine, repository)
    assert verify_backup(repository, made).problems == ()
    assert told_after(repository, scratch / "restored") == told(engine)


def test_what_a_worker_loads_to_know_its_place_is_small() -> None:
    """Resident memory of workers is a figure: the libraries come when they are used."""
    script = """
import sys
from config.settings import Settings
from workers.backups import backup_place
from workers.composition import ProcessServices
import tasks.registry
place = backup_place(Settings(backup_target="s3://bucket", backup_s3_access_key="a", backup_s3_secret_key="b"))
assert place.access.secret_key == "b" and "'b'" not in repr(place)
print(sorted({"boto3", "botocore", "apprise", "pyrage", "requests"} & set(sys.modules)))
"""
    ran = subprocess.run([sys.executable, "-c", script], capture_output=True, text=True, check=True, cwd=CHECKOUT)
    assert ran.stdout == "[]\n"


def test_a_place_that_is_none_is_named_without_its_secret() -> None:
    with pytest.raises(ConfigurationError) as caught:
        Place("https://key:s3cret@host/x").target()
    assert "s3cret" not in caught.value.message
    assert isinstance(Place("file:///x%20y").target(), LocalTarget)
