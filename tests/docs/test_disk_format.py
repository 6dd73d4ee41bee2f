"""docs/reference/disk-format.md and its reader, held against folders that the engine wrote."""

from __future__ import annotations

import hashlib
import io
import json
import random
import re
import shutil
import subprocess
import sys
from dataclasses import fields
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import get_args

import pytest
from hypothesis import given
from hypothesis import strategies as st

from models.catalogue import list_versions
from models.rows import Place, StoredVersion
from storage.compress import Compress
from storage.engine import Engine, Options
from storage.events import Event, LatestHeld, Removed, Restored, append_events
from storage.index import Index, read_index, write_index
from storage.intake import Incoming, incoming
from storage.journal import append_journal
from storage.paths import encode_component
from strongroom.contracts import DocumentOptions, IfExists
from strongroom.inbox import InboxFile
from tests.support.alike import store_versions
from tests.support.sessions import blocks_of

ROOT = Path(__file__).resolve().parents[2]
PAGE = ROOT / "docs" / "reference" / "disk-format.md"
READER = ROOT / "docs" / "reference" / "read_strongroom.py"


def document(library: str, version: str, body: object, *, if_exists: IfExists = "revise") -> Incoming:
    sent = json.dumps({"library_id": library, "version_id": version, "body": body}).encode()
    return incoming(lambda: io.BytesIO(sent), len(sent), options=DocumentOptions(if_exists=if_exists))


def renamed(same: Incoming, library: str, version: str) -> Incoming:
    """The same bytes under another name: what only the journal can tell."""
    return incoming(same.open, same.sent_bytes, options=DocumentOptions(library_id=library, version=version))


def large_body() -> str:
    """Six MiB that hardly compress: streamed, with several blocks."""
    return random.Random(2).randbytes(3 << 20).hex()


@pytest.fixture(scope="module")
def folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Batches, revisions, a refused one, a large document, one content under two names, and three encodings."""
    root = tmp_path_factory.mktemp("disk") / "data"
    first = [document(f"/owner/lib{number}", "1.0", f"text {number} " * 50) for number in range(20)]
    with Engine(root, Options(tree="none")).create() as engine:
        engine.store(first)
        engine.store([document("/owner/lib0", "1.0", "a second revision"), document("/x/文档", "v_1787258924_035491", 1)])
        engine.store([document("/owner/lib0", "1.0", "refused", if_exists="refuse")])
        engine.store([document("/owner/large", "6.x", large_body())])
        engine.store([renamed(first[3], "/Owner/Copy", "2.0-RC 1"), renamed(first[4], "a" * 1024, "b" * 1024)])
    with Engine(root, Options(tree="none", codec="none")).open() as engine:
        engine.store([document("/owner/lib0", "1.0", "a third revision, as it came")])
    with Engine(root, Options(tree="none", codec="gzip-best")).open() as engine:
        engine.store([document("/owner/best", "1", "squeezed " * 99)])
    return root


@pytest.fixture
def copy(folder: Path, tmp_path: Path) -> Path:
    return shutil.copytree(folder, tmp_path / "data")


def read(data: Path, *out: Path) -> tuple[int, list[list[str]], str]:
    """Run the reader without any installed package; return its exit code, its rows and what it complained about."""
    command = [sys.executable, "-I", "-S", str(READER), str(data), *map(str, out)]
    done = subprocess.run(command, capture_output=True, encoding="utf-8", timeout=60, check=False, env={"PYTHONUTF8": "1"})
    assert "Traceback" not in done.stderr
    return done.returncode, [line.split("\t") for line in done.stdout.splitlines()], done.stderr


def catalogued(data: Path) -> list[list[str]]:
    with Engine(data).open() as engine, engine.database.read() as connection:
        versions = list(list_versions(connection, history=True))
    return [[one.library_id, one.version, str(one.revision), one.place.content_sha256] for one in versions]


def remove_catalogue(data: Path) -> None:
    for file in data.glob("metadata/catalogue.db*"):
        file.unlink()


def segment_of(data: Path, library: str) -> tuple[Path, int, int]:
    with Engine(data).open() as engine:
        place = engine.find(library).place
        return engine.folder.segment(place.segment_sha256), place.offset, place.length


def flip(path: Path, at: int) -> None:
    data = bytearray(path.read_bytes())
    data[at] ^= 0x40
    path.write_bytes(data)


def test_the_reader_lists_every_revision_that_the_catalogue_knows_without_the_catalogue(copy: Path) -> None:
    wanted = catalogued(copy)
    remove_catalogue(copy)
    code, rows, complaints = read(copy)
    assert (code, complaints) == (0, "")
    assert sorted(rows) == sorted(wanted)
    assert len(wanted) == 27


def test_the_reader_extracts_exactly_the_bytes_that_came_in(copy: Path, tmp_path: Path) -> None:
    digests = {row[3] for row in catalogued(copy)}
    remove_catalogue(copy)
    out = tmp_path / "new" / "out"
    code, rows, _ = read(copy, out)
    files = list(out.iterdir())
    assert code == 0
    assert len(files) == len(rows)
    assert {hashlib.sha256(file.read_bytes()).hexdigest() for file in files} == digests
    assert json.loads(next(out.glob("*lib0@1.0.3.*")).read_bytes())["body"] == "a third revision, as it came"


def test_the_large_document_has_block_digests_and_the_copies_are_in_the_journal(folder: Path) -> None:
    """What the reader's tests rest on: without these the fixture would prove nothing."""
    indexes = [read_index(path) for path in folder.glob("segments/*/*.index")]
    assert sum(len(index.places) > 1 for index in indexes) >= 2
    assert any(place.blocks and len(place.blocks) > 3 * 32 for index in indexes for place in index.places)
    journal = (folder / "metadata" / "journal").read_text("utf-8")
    assert "/Owner/Copy" in journal
    assert not any("/Owner/Copy" in path.read_text("utf-8") for path in folder.glob("segments/*/*.index"))


def test_a_damaged_object_is_reported_and_all_others_are_served(copy: Path, tmp_path: Path) -> None:
    segment, offset, length = segment_of(copy, "/owner/lib7")
    flip(segment, offset + length // 2)
    (tmp_path / "out").mkdir()
    code, rows, complaints = read(copy, tmp_path / "out")
    assert code == 1
    assert "/owner/lib7 1.0" in complaints
    assert len(complaints.splitlines()) == 1
    assert len(list((tmp_path / "out").iterdir())) == len(rows) - 1


KINDS = ["truncated", "missing", "index damaged", "index cut short", "index missing", "journal torn", "journal damaged"]


@pytest.mark.parametrize("kind", KINDS)
def test_every_kind_of_damage_is_reported_and_none_crashes_the_reader(copy: Path, kind: str) -> None:
    segment, _, _ = segment_of(copy, "/owner/large")
    index = segment.with_name(segment.name + ".index")
    rows_before = len(catalogued(copy))
    {
        "truncated": lambda: segment.write_bytes(segment.read_bytes()[:1000]),
        "missing": segment.unlink,
        "index damaged": lambda: flip(index, 5),
        "index cut short": lambda: index.write_bytes(index.read_bytes()[:-40]),
        "index missing": index.unlink,
        "journal torn": lambda: append(copy / "metadata" / "journal", b'0123456789abcdef {"version": {"libr\xff'),
        "journal damaged": lambda: flip(copy / "metadata" / "journal", 30),
    }[kind]()
    code, rows, complaints = read(copy)
    told = kind != "journal torn"  # that is no damage: what a crash cut short was never acknowledged
    assert (code, bool(complaints)) == (int(told), told)
    assert len(rows) == rows_before - (kind.startswith("index") or kind == "journal damaged")


def test_what_a_crash_tore_in_the_journal_is_no_damage_once_the_next_writer_has_said_so(copy: Path) -> None:
    append(copy / "metadata" / "journal", b'0123456789abcdef {"version"')
    append_journal(copy / "metadata" / "journal", [{"later": "entries"}])
    assert read(copy)[0::2] == (0, "")


def append(path: Path, data: bytes) -> None:
    with path.open("ab") as file:
        file.write(data)


@pytest.mark.parametrize("library", ["/owner/lib7", "/owner/best"])
def test_what_was_damaged_and_stored_again_is_whole_again(copy: Path, library: str) -> None:
    segment, offset, length = segment_of(copy, library)
    with Engine(copy).open() as engine:
        sent = engine.read(library)
        flip(segment, offset + length // 2)
        engine.store([incoming(lambda: io.BytesIO(sent), len(sent))])
    assert read(copy)[0::2] == (0, "")


@pytest.mark.skipif(sys.version_info >= (3, 14), reason="this Python reads zstd by itself")
def test_the_reader_says_what_zstd_needs(tmp_path: Path) -> None:
    with Engine(tmp_path / "data", Options(tree="none", codec="zstd")).create() as engine:
        engine.store([document("/owner/zstd", "1", "small")])
    code, rows, complaints = read(tmp_path / "data")
    assert code == 1
    assert len(rows) == 1
    assert "needs Python 3.14" in complaints


def test_the_reader_names_what_refers_to_another_content_and_the_tool_for_it(tmp_path: Path) -> None:
    with Engine(tmp_path / "data", Options(tree="none")).create() as engine:
        store_versions(engine, "/a/b", 2)
        Compress(engine.folder, engine.database, engine.tree, "none", "gzip").run(datetime.now(UTC))
        assert [one.place.codec for one in engine.versions()] == ["gzip", "zstd-ref"]
    code, rows, complaints = read(tmp_path / "data")
    assert (code, [row[1] for row in rows]) == (1, ["1.0", "2.0"])
    (complaint,) = complaints.splitlines()
    assert complaint.startswith("/a/b 1.0, revision 1")
    assert "zstd -d --patch-from" in complaint


def test_an_empty_folder_holds_no_documents(tmp_path: Path) -> None:
    Engine(tmp_path / "data", Options(tree="none")).create().close()
    assert read(tmp_path / "data") == (0, [], "")


def test_the_reader_is_short_and_imports_the_standard_library_alone() -> None:
    lines = READER.read_text("utf-8").splitlines()
    imported = {line.split()[1].partition(".")[0] for line in lines if line.startswith(("import ", "from "))}
    assert len(lines) <= 60
    assert imported <= sys.stdlib_module_names


def code_of_page(function: str) -> dict[str, object]:
    """Run the Python block of the page that defines a function; return what it defines."""
    source = next(block.text for block in blocks_of(PAGE) if f"def {function}(" in block.text)
    names: dict[str, object] = {}
    exec(source, names)
    return names


def test_an_inbox_file_written_as_the_page_says_is_an_accepted_job(tmp_path: Path) -> None:
    stage = code_of_page("stage")["stage"]
    sent = b'{"library_id": "/a/b", "version_id": "1"}'
    stage(tmp_path, "job-0000001", sent, version="2", name="by hand")
    (path,) = tmp_path.iterdir()
    with InboxFile(path) as file:
        (staged,) = file.manifest.documents
        assert (path.name, file.manifest.request_id, file.manifest.receipt) == ("job-0000001.inbox", "job-0000001", True)
        assert (file.read(staged), staged.version, staged.name) == (sent, "2", "by hand")


@given(st.text(st.characters(exclude_categories=["Cs"]), min_size=1) | st.text("/.aA~^%+文latest", min_size=1, max_size=400))
def test_the_rule_for_names_on_the_page_is_the_rule_of_the_engine(identifier: str) -> None:
    assert NAME_ON_DISK(identifier) == encode_component(identifier)


NAME_ON_DISK = code_of_page("name_on_disk")["name_on_disk"]


def test_the_names_on_the_page_are_those_of_the_engine() -> None:
    section = PAGE.read_text("utf-8").partition("| Identifier |")[2].partition("\n\n")[0]
    rows = re.findall(r"^\| `(.*?)` \| `(.*?)` \|$", section, re.MULTILINE)
    assert len(rows) > 5
    assert [(identifier, encode_component(identifier)) for identifier, _ in rows] == rows


def fields_of_page(title: str) -> set[str]:
    table = PAGE.read_text("utf-8").partition(f"{title}\n\n| Field |")[2].partition("\n\n")[0]
    return {name for row in table.splitlines()[2:] for name in re.findall(r"`(\w+)`", row.split("|")[1])}


def test_the_page_lists_exactly_the_fields_of_an_index(tmp_path: Path) -> None:
    everything = DocumentOptions(if_exists="refuse", sort_as="9", source="here", metadata={"a": 1})
    sent = json.dumps({"library_info": {"id": "/a/b", "version": "1", "name": "b"}, "body": large_body()}).encode()
    with Engine(tmp_path / "data", Options(tree="all")).create() as engine:
        engine.store([incoming(lambda: io.BytesIO(sent), len(sent), options=everything)])
        engine.tree.catch_up()
    index = next(tmp_path.glob("data/segments/*/*.index")).read_bytes()
    head, thing, version, end = map(json.loads, index.splitlines())
    assert fields_of_page("Head:") == set(head)
    referring = Place("", 1, "zstd-ref", "", 0, 1, "", reference_sha256="of another", reference_length=1, effort=1)
    line = json.loads(write_index(Index("", 1, (referring,), ())).splitlines()[1])
    assert fields_of_page("Object:") == set(thing["object"]) | set(line["object"])
    assert fields_of_page("Version:") == set(version["version"])
    assert set(end) == {"index_sha256"}
    metadata = next(tmp_path.glob("data/documentation/*/1/metadata.json")).read_bytes()
    assert fields_of_page("The fields of a version's `metadata.json`:") == set(json.loads(metadata))


def test_the_page_lists_every_folder_that_the_engine_makes(tmp_path: Path) -> None:
    with Engine(tmp_path / "data").create():
        made = {entry.name for entry in (tmp_path / "data").iterdir()}
    listed = PAGE.read_text("utf-8").partition("## What lies where")[2].partition("\n## ")[0]
    assert made <= {name.partition("/")[0] for name in re.findall(r"`([\w./{}…*]+)`", listed)}


def test_the_reader_leaves_out_a_record_that_the_journal_calls_void(tmp_path: Path) -> None:
    with Engine(tmp_path).create() as engine:
        engine.store([document("/a/b", "1.0", {"n": 1})])
        assert [row[:2] for row in read(tmp_path)[1]] == [["/a/b", "1.0"]]
        (index,) = engine.folder.segments.glob("??/*.index")
        record = next(json.loads(line)["version"] for line in index.read_bytes().splitlines() if b'"version":{' in line)
        append_journal(
            engine.folder.journal,
            [{"void": {key: record[key] for key in ("version", "stored_at", "library_id", "content_sha256")}}],
        )
    assert read(tmp_path) == (0, [], "")


def at(seconds: int) -> datetime:
    """A time after every store of a test."""
    return datetime.now(UTC) + timedelta(seconds=seconds)


def test_the_reader_leaves_out_what_is_removed_and_no_number_is_given_twice(tmp_path: Path) -> None:
    def stored(engine: Engine, body: int) -> datetime:
        engine.store([document("/a/b", "1.0", body)])
        return engine.find("/a/b", "1.0").created_at

    with Engine(tmp_path).create() as engine:
        first, second = stored(engine, 1), stored(engine, 2)
        journal = engine.folder.journal
        append_events(journal, [Removed("/a/b", "1.0", second, 2, datetime.now(UTC), "schedule")])
        assert [row[2] for row in read(tmp_path)[1]] == ["1"]
        stored(engine, 3)
        assert [row[2] for row in read(tmp_path)[1]] == ["1", "3"]
        append_events(journal, [Restored("/a/b", "1.0", second, 2, at(1), "person:ada")])
        assert [row[2] for row in read(tmp_path)[1]] == ["1", "2", "3"]
        append_events(journal, [Removed("/a/b", "1.0", first, 1, at(2), "schedule")])
        for name in ("", ".index"):
            place = versions_of(engine)[0].place
            Path(f"{engine.folder.segment(place.segment_sha256)}{name}").unlink()
        assert [row[2] for row in read(tmp_path)[1]] == ["2", "3"], "the first record is gone from the disk"


def versions_of(engine: Engine) -> list[StoredVersion]:
    with engine.database.read() as connection:
        return sorted(list_versions(connection, history=True), key=lambda one: one.revision)


def test_the_reader_says_what_latest_means_by_hand(tmp_path: Path) -> None:
    with Engine(tmp_path).create() as engine:
        engine.store([document("/a/b", "1.0", 1), document("/a/b", "2.0", 2)])
        append_events(engine.folder.journal, [LatestHeld("/a/b", "1.0", at(1), "person:ada")])
        assert [row[1] for row in read(tmp_path)[1] if row[4:] == ["latest by hand"]] == ["1.0"]
        append_events(engine.folder.journal, [LatestHeld("/a/b", None, at(2), "person:ada")])
        assert not any(row[4:] for row in read(tmp_path)[1])


def test_the_page_lists_every_kind_of_entry_with_its_fields() -> None:
    section = PAGE.read_text("utf-8").partition("| Kind | Fields |")[2].partition("\n\n")[0]
    rows = [[re.findall(r"`(\w+)`", cell) for cell in row.split("|")[1:3]] for row in section.splitlines()[2:]]
    listed = {kind: set(names) for kinds, names in rows for kind in kinds}
    listed["restored"] = listed["removed"] - {"content_sha256"}
    told = {kind.key: {field.name for field in fields(kind)} for kind in get_args(Event)}
    assert {kind: listed.get(kind) for kind in told} == told
    assert listed.keys() - told.keys() == {"version", "torn", "lost", "wiped"}
