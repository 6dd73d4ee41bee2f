"""storage/backup/unusable.py: a manifest that nobody can use stops no backup, is told, and is never taken for another one."""

from __future__ import annotations

import errno
import hashlib
import json
from collections.abc import Callable, Iterator
from contextlib import AbstractContextManager, contextmanager, nullcontext
from dataclasses import replace
from datetime import UTC, datetime, timedelta
from pathlib import Path

import pytest

from models.findings import OpenFinding, open_findings
from storage.backup.choice import find_manifest
from storage.backup.drill import RunDrill
from storage.backup.manifest import Manifest, backup_ids, manifests, read_manifest
from storage.backup.place import Place
from storage.backup.prune import Prune
from storage.backup.repository import MARK, Repository
from storage.backup.seal import make_key, seal_of
from storage.backup.unusable import passed_over
from storage.backup.verify import remember, verify_backup
from storage.engine import Engine
from storage.progress import silent
from storage.retention import Policy
from strongroom.errors import BackupDamaged, BackupError, BackupKeyError, StorageError, TransientIO
from tasks.backup import check_backup, take_backup
from tests.support.archive import body, document
from tests.support.backups import back_up, repository_at, told, told_after
from tests.support.faults import bad_sectors

Harm = Callable[[Repository, Path], AbstractContextManager[object]]


def store(engine: Engine, number: int) -> None:
    engine.store([document("/a", f"{number}.0", body(n=number))])


def path_of(repository: Repository, backup_id: str = "") -> Path:
    """Return the manifest's file; the newest one's."""
    name = backup_id or backup_ids(repository)[-1]
    return Path(repository.target.root) / "backups" / f"{name}.json"  # type: ignore[attr-defined]  # it is a folder


def cut(_repository: Repository, path: Path) -> AbstractContextManager[object]:
    path.write_bytes(path.read_bytes()[:-9])
    return nullcontext()


def seal_for_another(repository: Repository, path: Path) -> AbstractContextManager[object]:
    other = path.parent.parent.parent / "other-key"
    make_key(other, datetime.now(UTC))
    path.write_bytes(b"".join(seal_of(other).sealed(repository.seal.opened([path.read_bytes()]))))
    return nullcontext()


def be_of_a_later_release(repository: Repository, path: Path) -> AbstractContextManager[object]:
    fields = {**json.loads(b"".join(repository.seal.opened([path.read_bytes()])))["manifest"], "format": 99}
    said = json.dumps(fields, sort_keys=True)
    whole = f'{{"manifest_sha256": "{hashlib.sha256(said.encode()).hexdigest()}", "manifest": {said}}}\n'
    path.write_bytes(b"".join(repository.seal.sealed([whole.encode()])))
    return nullcontext()


def lose_a_sector(_repository: Repository, path: Path) -> AbstractContextManager[object]:
    return bad_sectors(path)


HARMS: list[tuple[Harm, type[StorageError]]] = [
    (cut, BackupDamaged),
    (lose_a_sector, BackupDamaged),
    (seal_for_another, BackupKeyError),
    (be_of_a_later_release, BackupError),
]
each = pytest.mark.parametrize(("harm", "kind"), HARMS, ids=[one.__name__ for one, _ in HARMS])


@pytest.fixture
def key_file(scratch: Path) -> Path:
    make_key(scratch / "key", datetime.now(UTC))
    return scratch / "key"


@pytest.fixture
def sealed(scratch: Path, key_file: Path, engine: Engine) -> Repository:
    """A sealed place with two backups: a full one, and an incremental one behind it."""
    made = repository_at(scratch / "backups", seal_of(key_file))
    for number in range(2):
        store(engine, number)
        back_up(engine, made)
    return made


def lasting(engine: Engine) -> list[OpenFinding]:
    with engine.database.read() as connection:
        return open_findings(connection)


@contextmanager
def harmed(repository: Repository, harm: Harm) -> Iterator[str]:
    """Yield the id of the newest backup, whose manifest nobody can use meanwhile."""
    newest = backup_ids(repository)[-1]
    with harm(repository, path_of(repository, newest)):
        yield newest


@each
def test_the_next_backup_builds_on_the_newest_that_is_whole_and_says_so(
    engine: Engine, sealed: Repository, scratch: Path, harm: Harm, kind: type[StorageError]
) -> None:
    older = backup_ids(sealed)[0]
    with harmed(sealed, harm) as newest:
        store(engine, 2)
        made = back_up(engine, sealed)
        assert (made.kind, made.parent, list(passed_over(made))) == ("incremental", older, [newest])
        assert [(one.code, one.subject, one.severity) for one in lasting(engine)] == [
            ("backup_unusable", f"backup {newest}", "harm")
        ]
        assert newest in lasting(engine)[0].message
        assert verify_backup(sealed, made).problems == ()
        assert told_after(sealed, scratch / "to", made.backup_id)["version"] == told(engine)["version"]
        after = back_up(engine, sealed)
        assert (after.parent, passed_over(after)) == (made.backup_id, {})
        assert len(lasting(engine)) == 1, "it is not looked at any more, and lasts"
        said = dict(manifests(sealed))
    assert isinstance(said[newest], kind)
    assert [name for name, one in said.items() if isinstance(one, Manifest)] == [after.backup_id, made.backup_id, older]
    path_of(sealed, newest).unlink()
    back_up(engine, sealed)
    assert lasting(engine) == []


def test_where_the_only_manifest_is_unreadable_a_full_backup_is_taken_once(engine: Engine, repository: Repository) -> None:
    store(engine, 1)
    back_up(engine, repository)
    with harmed(repository, lose_a_sector) as newest:
        made = back_up(engine, repository)
        assert (made.kind, list(passed_over(made))) == ("full", [newest])
        assert back_up(engine, repository).kind == "incremental"
    assert back_up(engine, repository).kind == "incremental"
    assert lasting(engine) == [], "it can be read again"


def test_a_read_that_fails_once_costs_nothing(engine: Engine, repository: Repository, monkeypatch: pytest.MonkeyPatch) -> None:
    store(engine, 1)
    first, left = back_up(engine, repository), [1]
    real = type(repository.target).read

    def read(target: object, name: str, *more: int) -> Iterator[bytes]:
        if name.startswith("backups/") and left:
            left.pop()
            raise TransientIO("cannot read")
        yield from real(target, name, *more)  # type: ignore[arg-type]  # it is one

    monkeypatch.setattr(type(repository.target), "read", read)
    made = back_up(engine, repository)
    assert not left, "the fault did not fire"
    assert (made.parent, passed_over(made)) == (first.backup_id, {})


@pytest.mark.parametrize("code", [errno.EIO, errno.ESTALE, errno.EACCES], ids=["EIO", "ESTALE", "EACCES"])
def test_a_target_that_is_gone_as_a_whole_is_an_error_and_no_backup_begins_anew(
    engine: Engine, repository: Repository, code: int
) -> None:
    store(engine, 1)
    back_up(engine, repository)
    before = [one.name for one in repository.target.names()]
    root = path_of(repository).parent.parent
    with bad_sectors(path_of(repository), root / MARK, errno_=code), pytest.raises(StorageError) as refused:
        back_up(engine, repository)
    assert not isinstance(refused.value, BackupDamaged | BackupError)
    assert refused.value.retryable is (code != errno.EACCES)
    assert [one.name for one in repository.target.names()] == before
    assert lasting(engine) == []


@each
def test_nothing_takes_an_older_backup_for_the_latest(
    engine: Engine, sealed: Repository, key_file: Path, scratch: Path, harm: Harm, kind: type[StorageError]
) -> None:
    place, now = Place(str(scratch / "backups"), key_file), datetime.now(UTC) + timedelta(days=2)
    with harmed(sealed, harm) as newest:
        with pytest.raises(kind, match=newest) as refused:
            find_manifest(sealed, "latest")
        assert not refused.value.retryable
        if kind is BackupDamaged:
            found = check_backup(place, "latest", silent, engine.database)
            assert (found["id"], found["verdict"]) == (newest, "damaged")
            assert newest in found["problems"][0]
        else:
            with pytest.raises(kind, match=newest):
                check_backup(place, "latest", silent, engine.database)
        drilled = RunDrill(engine, place).run()
        assert drilled.verdict == "failed"
        assert [newest in one for one in drilled.problems] == [True]
        pruned = Prune(sealed, engine.database, Policy(keep_last=1)).apply(now)
        assert (pruned.damaged, pruned.doomed, pruned.removed) == ((newest,), 0, 0)
        assert [one.backup_id for one in pruned.fates if one.keep] == backup_ids(sealed)[:1]
        made = take_backup(engine, place, silent, full=False)
        assert [one["id"] for one in made["passed_over"]] == [newest]
    assert verify_backup(sealed, read_manifest(sealed, made["id"])).problems == ()


def test_findings_of_another_target_are_left_to_it(engine: Engine, repository: Repository, scratch: Path) -> None:
    store(engine, 1)
    back_up(engine, repository)
    elsewhere = repository_at(scratch / "elsewhere")
    with harmed(repository, lose_a_sector):
        back_up(engine, repository)
    back_up(engine, elsewhere)
    assert len(lasting(engine)) == 1
    back_up(engine, repository)
    assert lasting(engine) == []


def test_a_damaged_backup_whose_manifest_cannot_be_opened_may_share_anything(engine: Engine, sealed: Repository) -> None:
    newest = backup_ids(sealed)[-1]
    check = replace(verify_backup(sealed, read_manifest(sealed, newest)), problems=("rotten",))
    remember(engine.database, check, datetime.now(UTC))
    with harmed(sealed, seal_for_another):
        assert back_up(engine, sealed).kind == "full"


def test_what_dooms_packs_and_cannot_be_read_says_what_to_do_and_can_be_removed(engine: Engine, repository: Repository) -> None:
    for number in range(2):
        store(engine, number)
        back_up(engine, repository, full=True)
    later = datetime.now(UTC) + timedelta(days=2)
    Prune(repository, engine.database, Policy(keep_last=1)).apply(later)
    [doomed] = repository.target.names("doomed/")
    path = Path(repository.target.root) / doomed.name  # type: ignore[attr-defined]  # it is a folder
    with bad_sectors(path), pytest.raises(BackupDamaged, match=doomed.name) as refused:
        back_up(engine, repository)
    assert "Remove that file" in refused.value.hint
    path.unlink()
    assert back_up(engine, repository).kind == "incremental"
    assert Prune(repository, engine.database, Policy(keep_last=1)).apply(later).doomed > 0


def test_two_folders_at_one_place_are_noticed_until_one_of_them_is_alone(engine: Engine, scratch: Path) -> None:
    shared = repository_at(scratch / "backups")
    store(engine, 0)
    with Engine(scratch / "another").create() as another:
        store(another, 1)
        back_up(engine, shared)
        theirs = back_up(another, shared)
        assert lasting(another) == [], "it may be what the first one was restored to"
        back_up(engine, shared)
        assert [(one.code, one.subject) for one in lasting(engine)] == [("backup_shared", f"backup {theirs.backup_id}")]
        back_up(another, shared)
        assert [one.code for one in lasting(another)] == ["backup_shared"]
    back_up(engine, shared, full=True)
    assert [one.code for one in lasting(engine)] == ["backup_shared"], "nobody has looked"
    back_up(engine, shared)
    assert lasting(engine) == []
