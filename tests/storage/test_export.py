"""storage/export.py and storage/bring_in.py: a library goes into one file and comes out of it, whole or not at all."""

from __future__ import annotations

import errno
import hashlib
import io
import json
import shutil
import subprocess
import tarfile
from collections.abc import Callable
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

import pytest

from models.curation import list_labels, list_pins
from storage.bring_in import Brought, import_file
from storage.compress import Compress
from storage.engine import Engine
from storage.export import Written, export
from storage.names import alias, rename
from storage.portable import Manifest
from storage.rollback import rollback
from storage.trail import Actor
from storage.versions import label, pin
from strongroom.errors import InvalidRequest, NotFound, StorageError
from tests.conftest import OpenEngine
from tests.storage.test_rebuild import rebuilt, tables
from tests.support.alike import store_versions
from tests.support.archive import body, check_promises, document, large_body, view
from tests.support.crash import crash_at, steps_of
from tests.support.faults import faults
from tests.support.thorough import crash_places

ADA = Actor("person:ada", "to the other site")
LIBRARY = "/a/b"


@pytest.fixture
def filled(open_engine: OpenEngine) -> Engine:
    """Revisions, references to other contents, a large document, a pin, a label and a latest by hand."""
    engine = open_engine(tree="none")
    store_versions(engine, LIBRARY, 4)
    Compress(engine.folder, engine.database, engine.tree, "none", "gzip").run(datetime.now(UTC))
    engine.store([document(LIBRARY, "2.0", body(n=2), source="https://there", metadata={"a": [1]}, sort_as="9.9")])
    engine.store([document(LIBRARY, "large", large_body(5 << 20)), document("/other/one", "1", body(n=3))])
    pin(engine.archive, LIBRARY, "1.0", ADA)
    label(engine.archive, LIBRARY, "stable", "2.0", ADA)
    rollback(engine.archive, LIBRARY, "3.0", ADA)
    return engine


@pytest.fixture
def other(fresh_folder: Path, scratch: Path) -> Engine:
    return Engine(Path(shutil.copytree(fresh_folder, scratch / "other"))).open()


def contents(engine: Engine) -> dict[tuple[str, int], str]:
    return {
        (version, revision): told[2]
        for (library, version, revision), told in view(engine)["versions"].items()
        if library == LIBRARY
    }


def test_what_goes_in_comes_out_elsewhere_with_revisions_pins_and_labels(filled: Engine, other: Engine, tmp_path: Path) -> None:
    written = export(filled.archive, LIBRARY, tmp_path / "b.tar", ADA)
    assert (written.versions, written.revisions, written.documents) == (5, 6, 6)
    assert written.sha256 == hashlib.sha256(written.path.read_bytes()).hexdigest()
    done = import_file(other, written.path, ADA)
    assert done == Brought(LIBRARY, 5, 6, 0, 1, 1, 0)
    assert contents(other) == contents(filled)
    one = other.find(LIBRARY, "2.0")
    assert (one.source, dict(one.details), one.order_key) == ("https://there", {"a": [1]}, filled.find(LIBRARY, "2.0").order_key)
    with other.database.read() as connection:
        assert [one.version for one in list_pins(connection)] == ["1.0"]
        assert [(one.label, one.version) for one in list_labels(connection)] == [("stable", "2.0")]
    check_promises(other)
    before = tables(other)
    assert import_file(other, written.path, ADA) == Brought(LIBRARY, 5, 0, 6, 0, 0)
    assert tables(other) == before
    rebuilt(other)
    other.open()
    assert tables(other) == before


def test_plain_tools_read_the_file(filled: Engine, tmp_path: Path) -> None:
    export(filled.archive, LIBRARY, tmp_path / "b.tar", ADA)
    script = "tar xf ../b.tar && sha256sum -c --quiet manifest.json.sha256 && for f in documents/*; do zcat $f | sha256sum; done"
    (tmp_path / "out").mkdir()
    done = subprocess.run(["bash", "-c", script], cwd=tmp_path / "out", capture_output=True, text=True, check=True, timeout=60)
    assert {line.split()[0] for line in done.stdout.splitlines()} == set(contents(filled).values())


def test_it_may_come_under_another_name_and_an_alias_is_followed(filled: Engine, tmp_path: Path) -> None:
    export(filled.archive, LIBRARY, tmp_path / "b.tar", ADA)
    assert import_file(filled, tmp_path / "b.tar", ADA, "/copy/of").stored == 6
    rename(filled.archive, LIBRARY, "/moved", ADA)
    assert export(filled.archive, LIBRARY, tmp_path / "b.tar", ADA).library_id == "/moved"
    assert import_file(filled, tmp_path / "b.tar", ADA, LIBRARY) == Brought("/moved", 5, 0, 6, 0, 0)
    check_promises(filled)


def test_aliases_come_along_where_they_are_asked_for_and_mean_nothing_yet(
    engine: Engine, small: Path, other: Engine, tmp_path: Path
) -> None:
    for name in ("/free", "/library", "/alias", "/mine"):
        alias(engine.archive, name, LIBRARY, ADA)
    export(engine.archive, LIBRARY, small, ADA)
    other.store([document("/library", "1.0", body(n=7)), document("/mine", "1.0", body(n=8))])
    alias(other.archive, "/alias", "/library", ADA)
    assert import_file(other, small, ADA).aliases == 0
    assert other.real_name("/free") == "/free", "what a name means is not a stranger's to say"
    before = tables(other)
    for hostile in ("../x", "", "a\nb"):
        told = repacked(small, in_manifest(lambda told, name=hostile: told["aliases"][0].update(alias=name)))  # type: ignore[misc]
        with pytest.raises(StorageError):
            import_file(other, told, ADA, aliases=True)
        assert tables(other) == before
        export(engine.archive, LIBRARY, small, ADA)
    assert import_file(other, small, ADA, "/mine", aliases=True).aliases == 1
    meant = {name: other.real_name(name) for name in ("/free", "/library", "/alias", "/mine")}
    assert meant == {"/free": "/mine", "/library": "/library", "/alias": "/library", "/mine": "/mine"}
    assert import_file(other, small, ADA, "/mine", aliases=True).aliases == 0
    assert other.read("/free", "1.0") == body(n=2)
    before = tables(other)
    rebuilt(other)
    other.open()
    assert tables(other) == before


def test_a_release_that_knows_of_no_aliases_reads_the_file_and_one_of_before_has_none(small: Path) -> None:
    """What such a release does: it takes the fields that it knows, and says nothing of the others."""
    with tarfile.open(small) as tar:
        told = json.loads(tar.extractfile("manifest.json").read())  # type: ignore[union-attr]  # it is there
    assert "aliases" not in told, "where there are none, nothing is told"
    assert "a later field" not in Manifest.model_validate({**told, "a later field": [1]}).model_dump()


def test_a_damaged_library_is_not_exported_and_the_old_file_stays(filled: Engine, tmp_path: Path) -> None:
    target = tmp_path / "b.tar"
    target.write_bytes(b"from before")
    with pytest.raises(NotFound):
        export(filled.archive, "/no/such", target, ADA)
    path = filled.folder.segment(filled.find(LIBRARY, "large").place.segment_sha256)
    data = bytearray(path.read_bytes())
    data[len(data) // 2] ^= 1
    path.write_bytes(data)
    with pytest.raises(StorageError, match="large, revision 1, is damaged"):
        export(filled.archive, LIBRARY, target, ADA)
    assert [file.name for file in tmp_path.iterdir() if file.is_file()] == ["b.tar"]
    assert target.read_bytes() == b"from before"


@pytest.fixture
def small(engine: Engine, tmp_path: Path) -> Path:
    """An export of two documents, one of which is a later revision of the same version."""
    engine.store([document(LIBRARY, "1.0", body(n=1))])
    engine.store([document(LIBRARY, "1.0", body(n=2))])
    pin(engine.archive, LIBRARY, "1.0", ADA)
    return export(engine.archive, LIBRARY, tmp_path / "b.tar", ADA).path


Members = dict[str, bytes]


def repacked(path: Path, change: Callable[[Members], None], *, sign: bool = True) -> Path:
    """The same file with other members; the manifest's digest is right unless it is to be wrong."""
    with tarfile.open(path) as tar:
        members = {one.name: tar.extractfile(one).read() for one in tar}  # type: ignore[union-attr] # files all
    change(members)
    if sign and "manifest.json" in members:
        members["manifest.json.sha256"] = hashlib.sha256(members["manifest.json"]).hexdigest().encode() + b"  manifest.json\n"
    with tarfile.open(path, "w") as tar:
        for name, data in members.items():
            one = tarfile.TarInfo(name)
            one.size = len(data)
            tar.addfile(one, io.BytesIO(data))
    return path


def in_manifest(change: Callable[[Any], object]) -> Callable[[Members], None]:
    def edit(members: Members) -> None:
        told = json.loads(members["manifest.json"])
        change(told)
        members["manifest.json"] = json.dumps(told).encode()

    return edit


def first(members: Members) -> str:
    return next(name for name in members if name.startswith("documents/"))


HOSTILE: dict[str, Callable[[Members], object]] = {
    "a document is missing": lambda members: members.pop(first(members)),
    "a document is damaged": lambda members: members.update({first(members): members[first(members)][:-9] + b"123456789"}),
    "a document is cut short": lambda members: members.update({first(members): members[first(members)][:-9]}),
    "a document is another one": lambda members: members.update({first(members): members[sorted(members)[1]]}),
    "a path that leads out": lambda members: members.update({"../../etc/passwd": b"x"}),
    "no manifest": lambda members: members.pop("manifest.json"),
    "the manifest is no JSON": lambda members: members.update({"manifest.json": b"{"}),
    "a version without its document": in_manifest(lambda told: told["revisions"][0].update(content_sha256="0" * 64)),
    "a name that cannot be": in_manifest(lambda told: told["revisions"][0].update(version="a\nb")),
    "a library that cannot be": in_manifest(lambda told: told.update(library_id="../x")),
    "a pin of nothing": in_manifest(lambda told: told["pins"][0].update(version="7")),
    "a bomb": in_manifest(lambda told: told["documents"][0].update(size_bytes=1)),
    "a document of a terabyte": in_manifest(lambda told: told["documents"][0].update(size_bytes=1 << 40)),
    "a codec that nobody knows": in_manifest(lambda told: told["documents"][0].update(codec="lzma")),
    "a path in place of a digest": in_manifest(lambda told: told["documents"][0].update(content_sha256="../x")),
    "a later format": in_manifest(lambda told: told.update(strongroom_export=2)),
}


@pytest.mark.parametrize("kind", HOSTILE)
def test_what_does_not_hold_is_refused_whole(small: Path, other: Engine, kind: str) -> None:
    repacked(small, HOSTILE[kind])  # type: ignore[arg-type] # what it returns is not looked at
    with pytest.raises(StorageError) as error:
        import_file(other, small, ADA)
    assert error.value.hint
    assert nothing(other)


def nothing(engine: Engine) -> bool:
    left = [*engine.folder.segments.glob("??/*"), *engine.folder.tmp.iterdir()]
    return engine.libraries() == [] and not left and not engine.folder.journal.exists()


def test_a_document_that_is_none_leaves_nothing_of_the_others(small: Path, other: Engine) -> None:
    no_object = b"[]"
    digest = hashlib.sha256(no_object).hexdigest()

    def change(members: Members) -> None:
        told = json.loads(members["manifest.json"])
        del members[f"documents/{told['documents'][1]['content_sha256']}.json.gz"]
        told["documents"][1] = {"content_sha256": digest, "size_bytes": 2, "codec": "none"}
        told["revisions"][1]["content_sha256"] = digest
        members["manifest.json"] = json.dumps(told).encode()
        members[f"documents/{digest}.json"] = no_object

    with pytest.raises(InvalidRequest, match="Nothing was imported"):
        import_file(other, repacked(small, change), ADA)
    assert other.libraries() == []
    rebuilt(other)
    other.open()
    assert other.libraries() == []


def test_a_header_that_claims_too_much_takes_no_memory_and_a_link_is_refused(small: Path, other: Engine) -> None:
    for kind, size in ((tarfile.XHDTYPE, 1 << 33), (tarfile.SYMTYPE, 0), (tarfile.GNUTYPE_LONGNAME, 1 << 33)):
        header = tarfile.TarInfo("x")
        header.type, header.size, header.linkname = kind, size, "/etc/passwd"
        path = small.with_name("hostile.tar")
        path.write_bytes(header.tobuf(tarfile.GNU_FORMAT) + small.read_bytes())
        with pytest.raises(InvalidRequest):
            import_file(other, path, ADA)
    assert nothing(other)


def test_cut_short_anywhere_it_is_refused(small: Path, other: Engine) -> None:
    data = small.read_bytes()
    ends = [at for at in range(0, len(data), 512) if data[at:].strip(b"\0")]
    for at in [*ends, 100, 700]:
        small.write_bytes(data[:at])
        with pytest.raises(InvalidRequest):
            import_file(other, small, ADA)
    assert nothing(other)


def test_a_crash_anywhere_imports_all_or_nothing_and_the_rerun_heals(small: Path, fresh_folder: Path, scratch: Path) -> None:
    def fresh(name: str) -> Engine:
        return Engine(Path(shutil.copytree(fresh_folder, scratch / name))).open()

    def bring(engine: Engine) -> Brought:
        return import_file(engine, small, ADA)

    engine = fresh("whole")
    steps = steps_of(lambda: bring(engine))
    after = view(engine)
    assert {"journal: fsync", "catalogue: commit"} <= set(steps)
    for number in crash_places(steps):
        step, engine = steps[number - 1], fresh(f"at{number}")
        with crash_at(number):
            bring(engine)
        done = "catalogue: committed" in steps[:number]
        assert view(engine) == (after if done else {"libraries": {}, "versions": {}}), step
        bring(engine)
        assert view(engine) == after, step
        engine.close()


def test_a_full_disk_leaves_no_file_and_the_next_export_succeeds(engine: Engine, tmp_path: Path) -> None:
    engine.store([document(LIBRARY, "1.0", body(n=1))])

    def write() -> Written:
        return export(engine.archive, LIBRARY, tmp_path / "b.tar", ADA)

    with faults() as counted:
        write()
    assert "rename" in counted.calls
    (tmp_path / "b.tar").unlink()
    for number in range(1, counted.calls.index("rename") + 2):
        with faults(number, errno.ENOSPC) as injected, pytest.raises(StorageError):
            write()
        assert injected.fired
        assert not [path for path in tmp_path.iterdir() if path.is_file()], number
    assert write().documents == 1
