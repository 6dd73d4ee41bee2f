"""The corpus: real documentation in, the same bytes out, and how much is saved."""

from __future__ import annotations

import hashlib
from functools import partial
from pathlib import Path
from typing import Any

import pytest

from storage.engine import Engine
from storage.intake import Incoming, incoming
from strongroom.contracts import DocumentOptions


def _incoming(entry: dict[str, Any]) -> Incoming:
    path: Path = entry["path"]
    options = DocumentOptions(library_id=entry["library_id"], version=entry["version"])
    return incoming(partial(path.open, "rb"), path.stat().st_size, entry["file"], options, entry["sha256_gz"])


@pytest.mark.slow
def test_the_corpus_is_stored_in_one_go_and_comes_back_as_it_was(corpus: list[dict[str, Any]], tmp_path: Path) -> None:
    expected = {(entry["library_id"], entry["version"]): entry for entry in corpus}
    assert len(expected) == len(corpus) == 215
    with Engine(tmp_path / "data").create() as engine:
        receipts = engine.store([_incoming(entry) for entry in corpus])
        assert [one.error for one in receipts if one.error is not None] == []
        for entry, receipt in zip(corpus, receipts, strict=True):
            assert receipt.content_sha256 == entry["sha256"]
            assert receipt.size_bytes == entry["bytes"]
            saved = 1 - (receipt.stored_bytes or 0) / entry["bytes"]
            assert saved > 0.6, f"{entry['file']}: {saved:.1%} saved"
        saved = engine.totals().compression_ratio
        assert saved > 0.72, f"{saved:.2%} saved in total"
    with Engine(tmp_path / "data").open() as engine:
        assert {(one.library_id, one.version) for one in engine.versions()} == expected.keys()
        for (library_id, version), entry in expected.items():
            digest = hashlib.sha256()
            for piece in engine.stream(library_id, version):
                digest.update(piece)
            assert digest.hexdigest() == entry["sha256"]
        receipt = engine.verify()
        assert (receipt.checked, receipt.damaged, receipt.findings) == (215, [], [])


def test_the_latest_of_the_corpus_is_the_newest_release(corpus: list[dict[str, Any]], engine: Engine) -> None:
    wanted = {"/pallets/flask", "/tiangolo/fastapi", "/fastapi/fastapi", "/sveltejs/svelte"}
    small = [entry for entry in corpus if entry["library_id"] in wanted or entry["bytes"] < 60_000]
    assert small
    engine.store([_incoming(entry) for entry in small])
    for library in engine.libraries():
        versions = engine.versions(library.library_id)
        assert versions[0].version == library.latest_version
        assert versions[0].latest
