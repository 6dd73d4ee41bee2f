"""What somebody made who can write to the target: it is refused, and nothing outside the new folder is touched."""

from __future__ import annotations

import hashlib
from dataclasses import replace
from pathlib import Path

import orjson
import pytest

from storage.backup.choice import find_manifest
from storage.backup.lists import add_item
from storage.backup.manifest import Manifest, Part, new_backup_id, write_manifest
from storage.backup.packs import Pack, PackWriter
from storage.backup.repository import Repository
from storage.backup.restore import Restore
from storage.backup.verify import verify_backup
from storage.engine import Engine
from strongroom.errors import BackupDamaged
from tests.support.archive import body, document
from tests.support.backups import NOW, back_up


def forged(repository: Repository, made: Manifest, tmp: Path, segment: str) -> Manifest:
    """Return a manifest, kept at the target, whose list names a segment like this; its bytes and its index are there."""
    data, kept = b"of the attacker's choice", list[Pack]()
    with PackWriter(repository, tmp, kept.append) as packs:
        packs.add("segment", data, hashlib.sha256(data).hexdigest())
        packs.finish()
        [(_, at)] = kept[0].items
        index = ["", at.offset, at.size_bytes, at.sha256]
        add_item(
            packs, "list", orjson.dumps({"segment": segment, "pack": at.pack, "offset": 0, "size": at.size_bytes, "index": index})
        )
        packs.finish()
    [(_, ref)] = kept[1].items
    lists = (*made.lists, Part(NOW, (ref,), 1, 0))
    sizes = {**made.packs, **{one.name: one.size_bytes for one in kept}}
    new = replace(made, backup_id=new_backup_id(repository, NOW), lists=lists, packs=sizes)
    write_manifest(repository, new)
    return new


@pytest.mark.parametrize("segment", ["../../victim", "/{root}/victim", "..", "", "a" * 63 + "/", "a" * 64 + "\n"])
def test_a_list_cannot_name_a_file_outside_the_new_folder(
    engine: Engine, repository: Repository, scratch: Path, segment: str
) -> None:
    engine.store([document("/a", "1.0", body(n=1))])
    new = forged(repository, back_up(engine, repository), scratch, segment.format(root=scratch))
    for name in ("victim", "victim.index"):
        (scratch / name).write_text("of somebody else's")
    with pytest.raises(BackupDamaged, match="no digest"):
        Restore(repository, new).run(scratch / "to", NOW)
    assert {name: (scratch / name).read_text() for name in ("victim", "victim.index")} == dict.fromkeys(
        ("victim", "victim.index"), "of somebody else's"
    )
    assert not (scratch / "to" / "strongroom.json").exists()
    assert verify_backup(repository, new).verdict == "damaged"


def test_a_manifest_under_another_name_is_not_that_backup(engine: Engine, repository: Repository, scratch: Path) -> None:
    made = []
    for number in range(2):
        engine.store([document("/a", f"{number}.0", body(n=number))])
        made.append(back_up(engine, repository))
    older, newest = (scratch / "backups" / "backups" / f"{one.backup_id}.json" for one in made)
    newest.write_bytes(older.read_bytes())
    with pytest.raises(BackupDamaged, match=f"that of {made[0].backup_id}"):
        find_manifest(repository, "latest")
