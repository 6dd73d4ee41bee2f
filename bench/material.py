"""What is measured on: the corpus where it lies beside the checkout, else the docstrings of the installed packages."""

from __future__ import annotations

import gzip
import json
import random
from dataclasses import dataclass
from pathlib import Path

CORPUS = Path(__file__).resolve().parents[2] / "shared" / "data" / "corpus"
SMALL_BYTES = 30_000


@dataclass(frozen=True, slots=True)
class CorpusEntry:
    """A document of the corpus: its file and what the manifest says."""

    path: Path
    library_id: str
    version: str
    sha256: str
    compressed_bytes: int


def corpus() -> list[CorpusEntry]:
    """Return the corpus; empty when it is not there."""
    manifest = CORPUS / "manifest.json"
    if not manifest.exists():
        return []
    entries = json.loads(manifest.read_bytes())["entries"]
    return [
        CorpusEntry(CORPUS / one["file"], one["library_id"], one["version"], one["sha256"], one["compressed_bytes"])
        for one in entries
    ]


def text() -> str:
    """Return some ten million characters of real documentation."""
    entries = [one for one in corpus() if one.compressed_bytes < 400_000]
    if entries:
        parts = []
        for one in entries[:60]:
            document = json.loads(gzip.decompress(one.path.read_bytes()))
            parts += [chunk.get("content", "") for chunk in document.get("chunks", [])]
        return "".join(parts)
    folder = Path(json.__file__).parents[1]
    return "".join(path.read_text("utf-8", "ignore") for path in sorted(folder.rglob("*.py"))[:800])


def write_small_documents(folder: Path, count: int, seed: int = 1, first: int = 0) -> list[Path]:
    """Write documents of about 30 KB, all different, of 200 libraries, numbered from ``first``, and return their paths."""
    source = text()
    chooser = random.Random(seed)
    folder.mkdir(parents=True, exist_ok=True)
    paths = []
    for number in range(first, first + count):
        start = chooser.randrange(len(source) - SMALL_BYTES)
        path = folder / f"{number:05}.json"
        path.write_text(_document(f"/bench/library-{number % 200}", f"1.{number}", source[start : start + SMALL_BYTES]), "utf-8")
        paths.append(path)
    return paths


def _document(library_id: str, version: str, words: str) -> str:
    body = words.encode()[: SMALL_BYTES - 2500].decode("utf-8", "ignore")
    step = max(1, len(body) // 12)
    chunks = [
        {"chunk_id": f"{version}-{at}", "content": body[at : at + step], "token_count": step // 4}
        for at in range(0, len(body), step)
    ]
    return json.dumps({"library_id": library_id, "version_id": version, "chunks": chunks}, ensure_ascii=False, indent=2)


def write_large_document(path: Path, size: int) -> None:
    """Write one document of ``size`` bytes, made of real text."""
    source = text()
    chooser = random.Random(2)
    with path.open("w", encoding="utf-8") as file:
        file.write('{"library_id": "/bench/large", "version_id": "1.0", "chunks": [\n')
        while file.tell() < size:
            start = chooser.randrange(len(source) - 40_000)
            file.write(
                json.dumps({"content": source[start : start + chooser.randrange(500, 40_000)]}, ensure_ascii=False) + ",\n"
            )
        file.write('{"content": ""}]}')
