"""SyncStorageManager: the same engine for programs without an event loop, from any thread."""

from __future__ import annotations

import gzip
import hashlib
import json
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import pytest

from storage.deposits import Content, Deposit
from storage.engine import Engine, Options
from storage.sync_manager import SyncStorageManager
from strongroom.errors import DataFolderError, NotFound
from strongroom.result import Err, Ok

TEXT = '{"text": "ä", "n": 1.0}'


@pytest.mark.parametrize(
    "content",
    [TEXT, TEXT.encode(), gzip.compress(TEXT.encode()), {"text": "ä", "n": 1.0}],
    ids=["text", "bytes", "gzip", "object"],
)
def test_every_form_of_a_document_comes_back_equal(tmp_path: Path, content: Content) -> None:
    with SyncStorageManager(tmp_path / "data") as manager:
        path = Path(manager.store_documentation("/a/b", "1.0", content))
        assert manager.get_documentation("/a/b", "1.0") == {"text": "ä", "n": 1.0}
        plain = manager.get_documentation_bytes("/a/b")
        assert b"".join(manager.stream_documentation("/a/b")) == plain == gzip.decompress(path.read_bytes())
        if not isinstance(content, dict):
            assert plain == TEXT.encode()


def test_a_file_comes_back_byte_for_byte_whether_it_is_held_or_streamed(tmp_path: Path) -> None:
    with SyncStorageManager(tmp_path / "data") as manager:
        whole_bytes = Options().limits.whole_bytes
        for name, size in (("small", 1000), ("large", whole_bytes + 1)):
            file = tmp_path / f"{name}.json"
            file.write_text(json.dumps({"words": "so " * (size // 3 + 10)}))
            for source in (file, tmp_path / f"{name}.json.gz"):
                if source != file:
                    source.write_bytes(gzip.compress(file.read_bytes()))
                manager.store_documentation(f"/{name}", source.name, source)
                assert manager.get_documentation_bytes(f"/{name}", source.name) == file.read_bytes()


def test_what_is_closed_is_there_for_the_next_manager_and_for_the_same_one(tmp_path: Path) -> None:
    with SyncStorageManager(tmp_path) as manager:
        manager.store_documentation("/a/b", "1", {"n": 1})
    with pytest.raises(DataFolderError, match="not in use"):
        manager.get_documentation("/a/b")
    with SyncStorageManager(str(tmp_path)) as another, manager:
        assert another.get_documentation("/a/b") == manager.get_documentation("/a/b") == {"n": 1}


def test_before_initialize_every_operation_says_what_to_call(tmp_path: Path) -> None:
    manager = SyncStorageManager(tmp_path / "data")
    answer = manager.results.store_documentation("/a/b", "1", {})
    assert isinstance(answer, Err)
    assert "initialize" in answer.problem.hint
    assert not (tmp_path / "data").exists()


def test_a_folder_with_other_things_is_refused_and_left_alone(tmp_path: Path) -> None:
    (tmp_path / "photos").mkdir()
    answer = SyncStorageManager(tmp_path).results.initialize()
    assert isinstance(answer, Err)
    assert answer.problem.code == "data_folder"
    assert [entry.name for entry in tmp_path.iterdir()] == ["photos"]


def test_two_threads_that_initialize_at_once_share_one_engine(tmp_path: Path) -> None:
    manager = SyncStorageManager(tmp_path)
    with ThreadPoolExecutor(4) as threads:
        engines = list(threads.map(lambda _: (manager.initialize(), manager._room.engine)[1], range(8)))
    assert len(set(map(id, engines))) == 1
    manager.close()


def test_stores_from_many_threads_are_all_kept_and_latest_is_the_newest(tmp_path: Path) -> None:
    jobs = [(library, version) for library in range(6) for version in range(10)]
    with SyncStorageManager(tmp_path) as manager, ThreadPoolExecutor(8) as threads:
        paths = list(threads.map(lambda job: manager.store_documentation(f"/l/{job[0]}", f"{job[1]}.0", {"job": job}), jobs))
        assert len(set(paths)) == len(jobs)
        for (library, version), path in zip(jobs, paths, strict=True):
            assert json.loads(gzip.decompress(Path(path).read_bytes())) == {"job": [library, version]}
            assert manager.get_documentation(f"/l/{library}", f"{version}.0") == {"job": [library, version]}
        for library in range(6):
            assert manager.get_documentation(f"/l/{library}") == {"job": [library, 9]}
            assert (Path(paths[0]).parents[2] / f"+l+{library}" / "latest").readlink() == Path("9.0")
        assert manager.verify_integrity().damaged == []
        assert manager.get_storage_stats()["total_versions"] == len(jobs)


def test_a_batch_is_one_segment_and_its_bad_document_harms_no_other(tmp_path: Path) -> None:
    missing = tmp_path / "missing.json"
    with SyncStorageManager(tmp_path / "data") as manager:
        receipts = manager.store_many(
            [
                Deposit({"n": 1}, "/a/b", "1"),
                Deposit(b"{", "/a/b", "2"),
                Deposit('{"library_id": "/a/c", "version": "3"}', name="says it itself"),
                Deposit(missing, "/a/b", "4"),
                Deposit({"n": 1}),
                Deposit({"n": 5}, "/a/b", "latest"),
                Deposit({"n": 6}, "/a/b", "6", sort_as="0.1", source="https://example.org", metadata={"by": "hand"}),
            ]
        )
        codes = [one.error.code if one.error else one.status for one in receipts]
        assert codes == ["stored", "not_json", "stored", "not_found", "missing_identifier", "invalid_identifier", "stored"]
        assert [receipts[2].name, receipts[3].name] == ["says it itself", str(missing)]
        assert len(list((tmp_path / "data" / "segments").glob("*/*.index"))) == 1
        newest, oldest = manager.list_versions("/a/b")
        assert [newest.version, oldest.version] == ["1", "6"]
        assert (oldest.download_source, oldest.metadata) == ("https://example.org", {"by": "hand"})
        for one in (newest, oldest):
            shown = tmp_path / "data" / one.file_path
            assert hashlib.sha256(gzip.decompress(shown.read_bytes())).hexdigest() == one.content_sha256
            assert hashlib.sha256(shown.read_bytes()).hexdigest() == one.checksum_sha256


def test_a_batch_of_nothing_has_no_receipts(tmp_path: Path) -> None:
    with SyncStorageManager(tmp_path) as manager:
        assert manager.store_many([]) == []


def test_the_same_content_again_changes_nothing_and_has_the_same_path(tmp_path: Path) -> None:
    with SyncStorageManager(tmp_path) as manager:
        first = manager.store_documentation("/a/b", "1", {"n": 1})
        assert manager.store_documentation("/a/b", "1", {"n": 1}) == first
        assert manager.list_versions("/a/b")[0].revision == 1
        assert manager.store_documentation("/a/b", "1", {"n": 2}) == first
        assert manager.list_versions("/a/b")[0].revision == 2
        assert gzip.decompress(Path(first).read_bytes()) == b'{"n":2}'


def test_a_version_that_the_tree_lacks_is_shown_when_it_is_stored_again(tmp_path: Path) -> None:
    with Engine(tmp_path).create() as engine:
        engine.store([Deposit({"n": 1}, "/a/b", "1").incoming(engine.options.limits)])
        assert engine.tree.lag() == 1
    with SyncStorageManager(tmp_path) as manager:
        path = Path(manager.store_documentation("/a/b", "1", {"n": 1}))
        assert "documentation" in path.parts
        assert gzip.decompress(path.read_bytes()) == b'{"n":1}'


def test_without_a_tree_the_path_is_the_segment_that_holds_the_document(tmp_path: Path) -> None:
    with SyncStorageManager(tmp_path) as shown:
        shown.store_documentation("/a/b", "1", {"n": 1})
    with SyncStorageManager(tmp_path, Options(tree="none")) as manager:
        path = Path(manager.store_documentation("/a/b", "1", {"n": 2}))
        assert path.parts[-3] == "segments"
        assert gzip.decompress(path.read_bytes()) == b'{"n":2}'


def test_with_a_tree_of_the_latest_an_older_version_has_its_segment_as_path(tmp_path: Path) -> None:
    with SyncStorageManager(tmp_path, Options(tree="latest")) as manager:
        assert "documentation" in Path(manager.store_documentation("/a/b", "2", {"n": 2})).parts
        old = Path(manager.store_documentation("/a/b", "1", {"n": 1}))
        assert "segments" in old.parts
        assert gzip.decompress(old.read_bytes()) == b'{"n":1}'


def is_shown(data: Path, version: str) -> bool:
    return (data / "documentation" / "+a+b" / version).exists()


def test_without_options_the_tree_goes_on_as_the_folder_has_it(tmp_path: Path) -> None:
    with SyncStorageManager(tmp_path, Options(tree="latest")) as manager:
        manager.store_documentation("/a/b", "2", {"n": 2})
    with SyncStorageManager(tmp_path) as manager:
        manager.store_documentation("/a/b", "1", {"n": 1})
        assert is_shown(tmp_path, "2")
        assert not is_shown(tmp_path, "1")


def test_a_tree_that_is_asked_for_in_another_mode_is_built_at_once(tmp_path: Path) -> None:
    with SyncStorageManager(tmp_path, Options(tree="none")) as manager:
        manager.store_documentation("/a/b", "1", {"n": 1})
        assert not is_shown(tmp_path, "1")
    with SyncStorageManager(tmp_path, Options(tree="all")):
        assert is_shown(tmp_path, "1")


def test_a_small_file_is_read_when_it_is_handed_over(tmp_path: Path) -> None:
    file = tmp_path / "document.json"
    file.write_text(TEXT)
    document = Deposit(file).incoming(Options().limits)
    file.unlink()
    with document.open() as source:
        assert source.read() == TEXT.encode()


def test_figures_are_of_a_library_or_of_everything(tmp_path: Path) -> None:
    with SyncStorageManager(tmp_path) as manager:
        for library, version in (("/a/b", "1"), ("/a/b", "v2"), ("/c/d", "x")):
            manager.store_documentation(library, version, {"library_info": {"stars": 7}, "text": f"{library} {version} " * 999})
        one, everything = manager.get_storage_stats("/a/b"), manager.get_storage_statistics()
        versions = manager.list_versions("/a/b")
        assert one["total_size_bytes"] == sum(info.file_size_bytes for info in versions)
        assert one["compressed_size_bytes"] == sum(info.compressed_size_bytes for info in versions)
        assert (one["total_libraries"], one["total_versions"], one["latest_version"]) == (1, 2, "v2")
        assert (everything["total_libraries"], everything["total_versions"], everything["latest_version"]) == (2, 3, None)
        assert everything["saved_bytes"] == everything["total_size_bytes"] - everything["compressed_size_bytes"]
        assert one["compression_ratio"] == 1 - one["compressed_size_bytes"] / one["total_size_bytes"]
        library = manager.get_library("/a/b")
        assert (library.total_versions, library.facts["star_count"]) == (2, 7)
        assert list(manager.list_libraries()) == ["/a/b", "/c/d"]


def test_a_result_says_the_same_as_the_exception(tmp_path: Path) -> None:
    with SyncStorageManager(tmp_path) as manager:
        manager.store_documentation("/a/b", "1", {"n": 1})
        assert manager.results.get_documentation("/a/b") == Ok({"n": 1})
        with pytest.raises(NotFound) as caught:
            manager.get_documentation("/a/b", "2")
        answer = manager.results.get_documentation("/a/b", "2")
        assert isinstance(answer, Err)
        assert (answer.problem.code, answer.problem.message) == (caught.value.code, caught.value.message)
        assert [one.is_ok() for one in manager.results.stream_documentation("/a/b", "2")] == [False]
