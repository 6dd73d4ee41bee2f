"""What somebody made who can write to the target: it is refused, and nothing outside the new folder is touched."""

from __future__ import annotations

import hashlib
import json
from dataclasses import replace
from pathlib import Path

import orjson
import pytest

from storage.backup.choice import find_manifest
from storage.backup.lists import add_item, read_lists
from storage.backup.manifest import Manifest, Part, manifests, new_backup_id, write_manifest
from storage.backup.packs import Pack, PackWriter
from storage.backup.place import Place
from storage.backup.repository import Repository
from storage.backup.restore import Restore
from storage.backup.verify import verify_backup
from storage.engine import Engine
from storage.erase.backups import BackupHolders
from storage.erase.from_backups import FromBackups
from storage.erase.run import Erasure
from storage.trail import Actor
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


@pytest.mark.parametrize(
    ("at", "value"),
    [
        (("packs",), ""),
        (("packs", "../../victim"), 1),
        (("marks",), []),
        (("finished_at",), "2026-01-01T00:00:00"),
        (("lists", 0, "refs", 0, "pack"), "../../victim"),
        (("rows", 0, "table"), 1.5),
        (("rows", 0, "ref", "offset"), 1 << 70),
        (("rows", 0, "ref", "size_bytes"), -1),
        (("rows", 0, "ref", "sha256"), []),
        (("journal", "parts", 0, "offset"), "1"),
    ],
)
def test_a_forged_manifest_is_a_damaged_one_and_stops_nothing(
    engine: Engine, repository: Repository, scratch: Path, at: tuple[str | int, ...], value: object
) -> None:
    engine.store([document("/a", "1.0", body(n=1))])
    made = back_up(engine, repository)
    path = scratch / "backups" / "backups" / f"{made.backup_id}.json"
    told = orjson.loads(path.read_bytes())["manifest"]
    inner = told
    for key in at[:-1]:
        inner = inner[key]
    inner[at[-1]] = value
    text = json.dumps(told, sort_keys=True)
    path.write_text(f'{{"manifest_sha256": "{hashlib.sha256(text.encode()).hexdigest()}", "manifest": {text}}}\n')
    assert [type(one) for _, one in manifests(repository)] == [BackupDamaged]
    place, ada = Place(str(scratch / "backups")), Actor("person:ada", "request 4711")
    others = [BackupHolders(place, engine.folder, engine.database)]
    work = Erasure(engine.archive, engine.tree, "all", engine.options.limits, others)
    done = work.apply(work.plan([("/a", None)]), ada)
    assert ["cannot be used" in one.what for one in done.backups] == [True]
    eraser = FromBackups(engine, place)
    assert ["cannot be used" in one.what for one in eraser.apply(eraser.plan(), ada).left] == [True]


@pytest.mark.parametrize("line", [b"[]", b'{"gone": []}', b'{"segment": "%b"}' % (b"a" * 64), b'{"segment": 1, "index": 2}'])
def test_a_forged_list_is_a_damaged_one(engine: Engine, repository: Repository, scratch: Path, line: bytes) -> None:
    engine.store([document("/a", "1.0", body(n=1))])
    made, kept = back_up(engine, repository), list[Pack]()
    with PackWriter(repository, scratch, kept.append) as packs:
        add_item(packs, "list", line)
        packs.finish()
    [(_, ref)] = kept[0].items
    with pytest.raises(BackupDamaged):
        read_lists(repository, (*made.lists, Part(NOW, (ref,), 1, 0)))
