"""storage/compress.py: old versions refer to newer ones, each stays readable; nothing old goes before the new reads back."""

from __future__ import annotations

import errno
import gzip
import hashlib
import os
import shutil
import subprocess
from datetime import UTC, datetime, timedelta
from itertools import pairwise
from pathlib import Path

import pytest
from backports import zstd
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from models.recompress import dependents, replace_places
from models.rows import Place
from storage.chains import link_of
from storage.compress import Compress, Compressed
from storage.encodings import SHOWN, Kept, Plain, encode_with
from storage.engine import Engine, Options
from storage.read import MAX_DEPTH
from storage.segments import SegmentWriter
from storage.sweep import Sweep
from storage.tidy import tidy
from storage.tree import Mode
from strongroom.errors import IntegrityError, NotFound, TransientIO
from strongroom.locks import locked
from strongroom.result import Ok, capture
from tests.conftest import OpenEngine
from tests.support.alike import store_versions, text
from tests.support.archive import check_promises, document, revisions, shown, unfinished, view
from tests.support.crash import crash_at, start_child, steps_of, wait_for
from tests.support.faults import faults
from tests.support.thorough import crash_places, stride

NOW = datetime(2027, 1, 1, tzinfo=UTC)


def compress(engine: Engine, kept: Kept = "gzip", library: str | None = None) -> Compressed:
    work = Compress(engine.folder, engine.database, engine.tree, engine.options.tree, kept)
    return work.run(NOW, library)


def places(engine: Engine, library: str) -> dict[str, Place]:
    return {one.version: one.place for one in revisions(engine) if one.library_id == library}


def stored_bytes(engine: Engine) -> int:
    """Return the bytes below segments/ and documentation/, hard links once."""
    files = [path for top in (engine.folder.segments, engine.folder.documentation) for path in top.rglob("*")]
    sizes = {path.stat().st_ino: path.stat().st_size for path in files if path.is_file() and not path.is_symlink()}
    return sum(sizes.values())


def test_old_versions_refer_to_newer_ones_and_read_back(open_engine: OpenEngine) -> None:
    engine = open_engine(tree="latest").create()
    store_versions(engine, "/a/b", 5)
    engine.tree.catch_up()
    before = view(engine), stored_bytes(engine)
    done = compress(engine)
    found = places(engine, "/a/b")
    assert done.rewritten == 5
    assert found["5.0"].codec == "gzip"
    assert {found[f"{one}.0"].codec for one in range(1, 5)} == {"zstd-ref"}
    assert (view(engine), done.damaged) == (before[0], [])
    assert stored_bytes(engine) < before[1] / 2
    check_promises(engine)
    assert [engine.read("/a/b", f"{one + 1}.0") for one in range(5)] == [text(1, range(one)) for one in range(5)]
    assert b"".join(engine.stream("/a/b", "1.0")) == text(1)


def test_what_the_tree_shows_is_plain_gzip_and_the_segment_itself(open_engine: OpenEngine) -> None:
    engine = open_engine(tree="latest").create()
    store_versions(engine, "/a/b", 3)
    engine.tree.catch_up()
    compress(engine)
    found = engine.find("/a/b")
    path = engine.folder.root / found.file_path
    assert gzip.decompress(path.read_bytes()) == text(1, range(2))
    assert path.samefile(engine.folder.segment(found.place.segment_sha256))


def test_where_the_tree_shows_everything_all_current_versions_stay_gzip(open_engine: OpenEngine) -> None:
    engine = open_engine(tree="all").create()
    store_versions(engine, "/a/b", 3)
    engine.store([document("/a/b", "1.0", text(9))])  # revision 2: the first one is history
    engine.tree.catch_up()
    before = shown(engine)
    compress(engine)
    codecs = {(one.version, one.revision): one.place.codec for one in revisions(engine)}
    assert codecs == {("1.0", 1): "zstd-ref", ("1.0", 2): "gzip", ("2.0", 1): "gzip", ("3.0", 1): "gzip"}
    after = shown(engine)
    assert {path: gzip.decompress(data) for path, data in after.items()} == {
        path: gzip.decompress(data) for path, data in before.items()
    }
    check_promises(engine)


def test_the_second_run_does_nothing(open_engine: OpenEngine) -> None:
    engine = open_engine(tree="latest").create()
    store_versions(engine, "/a/b", 4)
    store_versions(engine, "/a/c", 2, seed=2)
    compress(engine)
    before = {one.version_id: one.place for one in revisions(engine)}
    done = compress(engine)
    assert (done.libraries, done.rewritten) == (2, 0)
    assert {one.version_id: one.place for one in revisions(engine)} == before


def test_where_the_policy_allows_it_the_tree_shows_zstd(open_engine: OpenEngine) -> None:
    engine = open_engine(tree="latest").create()
    store_versions(engine, "/a/b", 3)
    engine.tree.catch_up()
    compress(engine, "zstd")
    found = engine.find("/a/b")
    folder = (engine.folder.root / found.file_path).parent
    assert sorted(path.name for path in folder.iterdir()) == ["checksum.sha256", "documentation.json.zst", "metadata.json"]
    assert zstd.decompress((folder / "documentation.json.zst").read_bytes()) == text(1, range(2))
    digest, name = (folder / "checksum.sha256").read_text().split()
    assert hashlib.sha256((folder / name).read_bytes()).hexdigest() == digest
    assert (folder / name).samefile(engine.folder.segment(found.place.segment_sha256))
    check_promises(engine)
    compress(engine, "gzip")
    assert gzip.decompress((engine.folder.root / found.file_path).read_bytes()) == text(1, range(2))
    check_promises(engine)


@pytest.mark.skipif(shutil.which("zstd") is None, reason="the zstd tool is not installed")
def test_a_plain_tool_unpacks_what_refers_to_another(open_engine: OpenEngine, scratch: Path) -> None:
    engine = open_engine(tree="none").create()
    store_versions(engine, "/a/b", 2)
    compress(engine)
    place = places(engine, "/a/b")["1.0"]
    assert place.reference_sha256 == places(engine, "/a/b")["2.0"].content_sha256
    stored = engine.folder.segment(place.segment_sha256).read_bytes()[place.offset : place.offset + place.length]
    (scratch / "object.zst").write_bytes(stored)
    (scratch / "base").write_bytes(engine.read("/a/b", "2.0"))
    command = ["zstd", "-q", "-d", f"--patch-from={scratch / 'base'}", str(scratch / "object.zst"), "-o", str(scratch / "plain")]
    subprocess.run(command, check=True, timeout=30)
    assert (scratch / "plain").read_bytes() == text(1)


def test_whoever_resolved_a_generation_still_reads_it_until_its_grace_period_is_over(open_engine: OpenEngine) -> None:
    engine = open_engine(tree="latest").create()
    store_versions(engine, "/a/b", 1)
    engine.tree.catch_up()
    resolved = (engine.folder.root / engine.find("/a/b").file_path).parent.resolve()
    before = sorted((path.name, path.read_bytes()) for path in resolved.iterdir())
    compress(engine)
    assert resolved.is_symlink(), "it still lies where it counts"
    assert sorted((path.name, path.read_bytes()) for path in resolved.iterdir()) == before
    tidy(engine.folder, datetime.now(UTC) + timedelta(hours=2))
    assert not os.path.lexists(resolved)
    assert [path.name for path in engine.folder.trash.iterdir() if path.name.startswith("shelved")] == []


def test_one_library_leaves_the_others_as_they_are(open_engine: OpenEngine) -> None:
    engine = open_engine(tree="latest").create()
    engine.store([document(f"/a/{name}", "1.0", text(seed)) for seed, name in enumerate("bcdefgh")])
    compress(engine, library="/a/b")
    assert places(engine, "/a/b")["1.0"].effort == SHOWN
    assert {places(engine, f"/a/{name}")["1.0"].effort for name in "cdefgh"} == {0}
    check_promises(engine)
    with pytest.raises(NotFound):
        compress(engine, library="/no/such")


def test_a_new_version_takes_over_and_no_chain_grows_too_long(open_engine: OpenEngine) -> None:
    engine = open_engine(tree="latest").create()
    for one in range(8):
        engine.store([document("/a/b", f"{one + 1}.0", text(1, range(one)))])
        compress(engine)
        depths = {version: _depth(engine, place) for version, place in places(engine, "/a/b").items()}
        assert max(depths.values()) <= MAX_DEPTH
        codecs = [place.codec for place in places(engine, "/a/b").values()]
        assert (depths[f"{one + 1}.0"], codecs.count("gzip")) == (0, 1)
        check_promises(engine)


def _depth(engine: Engine, place: Place) -> int:
    link = link_of(place, engine.folder.find_place)
    assert link is not None, "a chain is too deep, or ends nowhere"
    return link.depth


def test_what_refers_to_a_content_of_another_library_stays_readable(open_engine: OpenEngine) -> None:
    engine = open_engine(tree="none").create()
    k, v, t, u, d = (text(1, range(count)) for count in range(1, 6))
    engine.store([document("/b", "1", d), document("/b", "2", u), document("/c", "1", t), document("/c", "2", v)])
    compress(engine)  # d refers to u, and t to v
    engine.store([document("/b", "3", text(6)), document("/c", "3", text(7))])  # u and v may refer, too
    engine.store([document("/a", "4", k), document("/a", "3", t), document("/a", "2", u), document("/a", "1", v)])
    for rewrites in (True, False):
        done = compress(engine)
        assert (bool(done.rewritten), done.damaged) == (rewrites, [])
        assert max(_depth(engine, one.place) for one in revisions(engine)) == MAX_DEPTH
        check_promises(engine)


def test_a_chain_that_is_too_long_is_read_and_made_short(open_engine: OpenEngine) -> None:
    engine = open_engine(tree="none").create()
    bodies = [text(1, range(count)) for count in range(7)]
    engine.store([document("/a", f"{number}", data) for number, data in enumerate(bodies)])
    plain = [Plain(hashlib.sha256(data).hexdigest(), data) for data in bodies]
    for one, newer in pairwise(plain):
        writer = SegmentWriter(engine.folder)
        writer.append(encode_with(one, newer))
        with engine.database.write("test") as connection:
            replace_places(connection, [writer.finish([]).segment], "none", NOW)
    assert [link_of(one.place, engine.folder.find_place) for one in revisions(engine)].count(None) == 6 - MAX_DEPTH
    check_promises(engine)
    assert compress(engine).damaged == []
    assert max(_depth(engine, one.place) for one in revisions(engine)) <= MAX_DEPTH
    assert [engine.read("/a", f"{number}") for number in range(7)] == bodies


def test_a_version_that_is_called_back_stands_alone_again(open_engine: OpenEngine) -> None:
    engine = open_engine(tree="latest").create()
    store_versions(engine, "/a/b", 3)
    compress(engine)
    engine.store([document("/a/b", "9.0", text(1))])  # the content of the first version
    engine.tree.catch_up()
    compress(engine)
    found = places(engine, "/a/b")
    assert (found["9.0"].codec, found["1.0"]) == ("gzip", found["9.0"])
    assert {_depth(engine, place) <= MAX_DEPTH for place in found.values()} == {True}
    check_promises(engine)


def test_a_base_stays_for_as_long_as_something_refers_to_it(open_engine: OpenEngine) -> None:
    engine = open_engine(tree="none").create()
    store_versions(engine, "/a/b", 2)
    compress(engine)
    base = places(engine, "/a/b")["2.0"]
    with engine.database.write() as connection:
        connection.exec_driver_sql("DELETE FROM version WHERE version = '2.0'")
    Sweep(engine.folder, engine.database).run(NOW + timedelta(days=60))
    assert engine.folder.segment(base.segment_sha256).exists()
    assert engine.read("/a/b", "1.0") == text(1)
    with engine.database.write() as connection:
        connection.exec_driver_sql("DELETE FROM version")
    for day in (70, 80):
        Sweep(engine.folder, engine.database).run(NOW + timedelta(days=day))
    assert not engine.folder.segment(base.segment_sha256).exists()


def test_a_damaged_base_is_told_and_never_yields_a_wrong_byte(open_engine: OpenEngine) -> None:
    engine = open_engine(tree="none", mend_reads=False).create()
    store_versions(engine, "/a/b", 2)
    compress(engine)
    base = places(engine, "/a/b")["2.0"]
    path = engine.folder.segment(base.segment_sha256)
    data = bytearray(path.read_bytes())
    data[len(data) // 2] ^= 1
    path.write_bytes(data)
    with pytest.raises(IntegrityError):
        engine.read("/a/b", "1.0")
    with pytest.raises(IntegrityError):
        list(engine.stream("/a/b", "1.0"))
    assert compress(engine).damaged == []  # it is not looked at again: it has its encoding


def test_what_cannot_be_read_is_named_and_the_rest_is_done(open_engine: OpenEngine) -> None:
    engine = open_engine(tree="none", mend_reads=False).create()
    engine.store([document("/a/bad", "1.0", text(1))])
    store_versions(engine, "/a/good", 2, seed=2)
    path = engine.folder.segment(places(engine, "/a/bad")["1.0"].segment_sha256)
    data = bytearray(path.read_bytes())
    data[100] ^= 1
    path.write_bytes(data)
    done = compress(engine)
    assert (done.damaged, done.rewritten) == (["/a/bad"], 2)
    assert path.exists()


def test_two_do_not_compress_at_once(open_engine: OpenEngine) -> None:
    engine = open_engine().create()
    store_versions(engine, "/a/b", 1)
    with locked(engine.folder.metadata / "compress.lock"), pytest.raises(TransientIO):
        compress(engine)


def test_a_crash_anywhere_breaks_no_promise_and_the_rerun_heals(fresh_folder: Path, scratch: Path) -> None:
    options = Options(tree="latest")
    prepared = scratch / "prepared"
    shutil.copytree(fresh_folder, prepared)
    with Engine(prepared, options).create() as engine:
        store_versions(engine, "/a/b", 2)
        engine.tree.catch_up()
        before = view(engine)
    with Engine(_copy(prepared, scratch), options).open() as engine:
        steps = steps_of(lambda: compress(engine))
        final = {one.version: one.place.codec for one in revisions(engine)}
    assert len(steps) > 30
    for number in crash_places(steps):
        with Engine(_copy(prepared, scratch), options).open() as engine:
            with crash_at(number):
                compress(engine)
            engine.tree.catch_up()
            assert view(engine) == before, steps[number - 1]
            assert _all_read(engine), steps[number - 1]
            compress(engine)
            check_promises(engine)
            assert {one.version: one.place.codec for one in revisions(engine)} == final


def _all_read(engine: Engine) -> bool:
    return all(
        hashlib.sha256(engine.read(one.library_id, one.version)).hexdigest() == one.place.content_sha256
        for one in revisions(engine)
    )


def _copy(prepared: Path, scratch: Path) -> Path:
    shutil.rmtree(scratch / "data", ignore_errors=True)
    return Path(shutil.copytree(prepared, scratch / "data", symlinks=True, copy_function=shutil.copy2))


@pytest.mark.parametrize("code", [errno.ENOSPC, errno.EIO])
def test_a_call_that_fails_anywhere_loses_nothing_and_the_next_run_succeeds(code: int, fresh_folder: Path, scratch: Path) -> None:
    options = Options(tree="none")
    prepared = scratch / "prepared"
    shutil.copytree(fresh_folder, prepared)
    with Engine(prepared, options).create() as engine:
        store_versions(engine, "/a/b", 2)
        before = view(engine)
    number, fired = 0, True
    while fired:
        number += stride(4)
        with Engine(_copy(prepared, scratch), options).open() as engine:
            with faults(number, code) as injected:
                outcome = capture(lambda: compress(engine))
            assert isinstance(outcome, Ok) or outcome.problem.code in {"disk_full", "io_error"}, injected.calls[-1]
            fired = injected.fired
            assert unfinished(engine) == [], injected.calls[-1]
            assert view(engine) == before
            assert _all_read(engine)
            compress(engine)
            check_promises(engine)
    assert number > 15, "hardly anything was made to fail"


def test_readers_beside_it_see_every_document_whole(open_engine: OpenEngine, data: Path) -> None:
    engine = open_engine(tree="none").create()
    for seed in range(3):
        store_versions(engine, f"/a/{seed}", 3, seed=seed)
    expected = {(one.library_id, one.version): one.place.content_sha256 for one in revisions(engine)}

    def read_on() -> None:
        with Engine(data, Options(tree="none")).open() as other:
            for _ in range(4):
                for (library, version), digest in expected.items():
                    assert hashlib.sha256(other.read(library, version)).hexdigest() == digest

    readers = [start_child(read_on) for _ in range(2)]
    compress(engine)
    assert [wait_for(reader) for reader in readers] == [0, 0]


@settings(max_examples=8, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(
    history=st.lists(
        st.tuples(st.integers(1, 6), st.lists(st.integers(0, 30), max_size=6), st.sampled_from([30, 400, 1500])),
        min_size=1,
        max_size=9,
    ),
    every=st.integers(1, 4),
    mode=st.sampled_from(["all", "latest", "none"]),
    kept=st.sampled_from(["gzip", "zstd"]),
)
def test_any_sequence_of_versions_compresses_and_reads_back(
    history: list[tuple[int, list[int], int]], every: int, mode: Mode, kept: Kept, fresh_folder: Path, scratch: Path
) -> None:
    root = scratch / "property"
    shutil.rmtree(root, ignore_errors=True)
    shutil.copytree(fresh_folder, root)
    with Engine(root, Options(tree=mode)).create() as engine:
        for number, (version, changes, words) in enumerate(history):
            engine.store([document("/a/b", f"{version}.0", text(1, changes, words))])
            if number % every == 0:
                compress(engine, kept)
        before = view(engine)
        compress(engine, kept)
        engine.tree.catch_up()
        assert view(engine) == before
        check_promises(engine)
        for one in revisions(engine):
            assert _depth(engine, one.place) <= MAX_DEPTH
            if one.place.reference_sha256 is not None:
                with engine.database.read() as connection:
                    mine = dependents(connection, one.place.reference_sha256)
                assert one.place.content_sha256 in {place.content_sha256 for place in mine}
