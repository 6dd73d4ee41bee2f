"""Every place of a data folder beside the segments that may hold what is erased: the tree, trash, quarantine, inbox, tmp.

Each function may run again: what a crash left is found by what the files themselves say.
"""

from __future__ import annotations

import hashlib
import re
import secrets
import shutil
import zlib
from collections.abc import Iterator, Set
from dataclasses import dataclass
from pathlib import Path

import orjson
from backports import zstd

from storage.documents import Limits
from storage.erase.note import Note
from storage.erase.plan import payload_contents
from storage.generation import METADATA
from storage.index import read_index
from storage.layout import DataFolder
from storage.paths import encode_component
from storage.treesync import GENERATIONS
from strongroom import durable
from strongroom.disposal import DONE
from strongroom.errors import IntegrityError, StorageError
from strongroom.inbox import MAGIC, RECEIPTS, InboxFile

DIGEST = re.compile(rb"(?<![0-9a-f])[0-9a-f]{64}(?![0-9a-f])")
PIECE_BYTES = 1 << 20
_MAGICS = {b"\x1f\x8b": "gzip", b"\x28\xb5\x2f\xfd": "zstd"}


@dataclass(frozen=True, slots=True)
class Gone:
    """What is to be nowhere: contents by their digest, and the segments that held them."""

    contents: frozenset[str]
    segments: frozenset[str]

    def told_in(self, data: bytes) -> bool:
        """Whether bytes name one of the contents."""
        return any(found[0].decode() in self.contents for found in DIGEST.finditer(data))


Stored = Set[tuple[str, str]]
"""Libraries and versions that are stored now: of what is erased, those that came back afterwards."""


def scrub_tree(folder: DataFolder, note: Note, gone: Gone, stored: Stored) -> None:
    """Take versions out of the tree, with every generation of them, superseded and shelved ones too."""
    for library_id in {name for name, _ in note.targets} | set(note.names):
        home = folder.documentation / encode_component(library_id)
        if home.is_symlink():
            continue
        for link in list(home.iterdir()) if home.is_dir() else ():
            if link.is_symlink() and _shows(link, note, gone, stored):
                durable.step("erase: unlink")
                link.unlink()
        _scrub_generations(home / GENERATIONS, note, gone, stored)
        if note.hits(library_id, None) and home.is_dir() and not any(library == library_id for library, _ in stored):
            _remove(home)
    for shelf in folder.trash.iterdir():
        if shelf.is_dir() and not shelf.is_symlink():
            for generations in [shelf.parent, shelf / GENERATIONS, *shelf.glob(f"*/{GENERATIONS}")]:
                _scrub_generations(generations, note, gone, stored)


def _scrub_generations(generations: Path, note: Note, gone: Gone, stored: Stored) -> None:
    for generation in list(generations.iterdir()) if generations.is_dir() else ():
        if (generation / METADATA).exists() and _shows(generation, note, gone, stored):
            target = generation.resolve()
            _remove(target)
            if generation.is_symlink():
                generation.unlink()


def _shows(generation: Path, note: Note, gone: Gone, stored: Stored) -> bool:
    try:
        told = orjson.loads((generation / METADATA).read_bytes())
    except (OSError, ValueError):
        return not generation.exists()  # a link to nothing shows nothing, and goes
    library, version = told.get("library_id"), told.get("version")
    hit = note.hits(library, version) or (library in note.names and any(note.hits(real, version) for real, _ in note.targets))
    return (hit and (library, version) not in stored) or told.get("content_sha256") in gone.contents


def scrub_trash(folder: DataFolder, gone: Gone) -> None:
    """Delete segments that a sweep threw away and that hold it, with their indexes, and replaced files of the tree."""
    for index in folder.trash.glob("swept-*.index"):
        name = index.name.removesuffix(".index")[-64:]
        if name in gone.segments or index_tells(index, name, gone):
            _unlink(index)
            _unlink(index.with_suffix(".segment"))
    for path in folder.trash.iterdir():
        mine = path.suffix == ".segment" and path.name.removesuffix(".segment")[-64:] in gone.segments
        if mine or path.name.endswith(".replaced"):
            _unlink(path)


def index_tells(path: Path, name: str, gone: Gone) -> bool:
    """Whether an index says that its segment holds one of the contents, or what refers to one."""
    try:
        places = read_index(path, name).places
    except IntegrityError:
        return gone.told_in(path.read_bytes()) if path.exists() else False
    return any(one.content_sha256 in gone.contents or one.reference_sha256 in gone.contents for one in places)


def scrub_strays(folder: DataFolder, gone: Gone) -> None:
    """Delete what holds it in quarantine, ``tmp/`` and the receipts, and catalogues of before a rebuild."""
    places = [folder.quarantine, folder.tmp, folder.trash, folder.inbox / RECEIPTS, folder.inbox / DONE]
    for place in places:
        for path in list(place.iterdir()) if place.is_dir() else ():
            if path.is_file() and not path.is_symlink() and holds(path, gone):
                _unlink(path)
                _unlink(path.with_name(f"{path.name}.json"))
    for path in folder.metadata.glob("*.before-*"):
        _unlink(path)


def scrub_payloads(folder: DataFolder, gone: Gone, limits: Limits) -> None:
    """Take documents out of payloads that were kept for a person; the others in them stay."""
    for path in [*folder.inbox.glob("failed/*.inbox"), *folder.inbox.glob(f"{DONE}/*.inbox")]:
        try:
            with InboxFile(path) as file:
                contents = list(payload_contents(file, limits))
                kept = [number for number, content in enumerate(contents) if content not in gone.contents]
                if kept and len(kept) < len(contents):
                    _rewrite_payload(folder, file, kept)
        except StorageError:
            continue
        if not kept:
            _unlink(path)


def _rewrite_payload(folder: DataFolder, file: InboxFile, kept: list[int]) -> None:
    part = folder.tmp / f"{secrets.token_hex(8)}.part"
    documents, offset = [], 0
    with part.open("xb") as target:
        for number in kept:
            document = file.manifest.documents[number]
            with file.open(document) as source:
                shutil.copyfileobj(source, target, PIECE_BYTES)
            documents.append(document.model_copy(update={"offset": offset}))
            offset += document.length
        body = file.manifest.model_copy(update={"documents": documents}).model_dump_json(exclude_defaults=True).encode()
        target.write(body + len(body).to_bytes(8, "big") + hashlib.sha256(body).digest() + MAGIC)
        target.flush()
        durable.fsync_file(target.fileno(), "erase")
    durable.rename(part, file.path, "erase")
    durable.fsync_folder(file.path.parent, "erase")


def scrub_lines(path: Path, gone: Gone) -> None:
    """Leave out the lines of a text file that name it, by writing the file anew."""
    if not path.exists():
        return
    lines = path.read_bytes().splitlines(keepends=True)
    kept = [line for line in lines if not gone.told_in(line) and not any(name.encode() in line for name in gone.segments)]
    if len(kept) < len(lines):
        part = path.with_name(f"{path.name}.part")
        with part.open("wb") as file:
            file.writelines(kept)
            file.flush()
            durable.fsync_file(file.fileno(), "erase")
        durable.rename(part, path, "erase")
        durable.fsync_folder(path.parent, "erase")


def holds(path: Path, gone: Gone) -> bool:
    """Whether a file is one of the contents, packed or not, is made of such objects, or names one by its digest."""
    if any(name in path.name for name in gone.segments):
        return True
    return names_any(path, gone) or any(content in gone.contents for content in _contents(path))


def names_any(path: Path, gone: Gone) -> bool:
    """Whether a file holds the digest of one of the contents as text; also in pages that a database has freed."""
    before = b""
    try:
        with path.open("rb") as file:
            while piece := file.read(PIECE_BYTES):
                if gone.told_in(before[-64:] + piece):
                    return True
                before = piece
    except FileNotFoundError:
        pass
    return False


def _contents(path: Path) -> Iterator[str]:
    """Yield what a file may be the content of: its own digest, and that of each gzip member or Zstandard frame in a row."""
    try:
        data = path.read_bytes() if path.stat().st_size <= 256 << 20 else b""
    except FileNotFoundError:
        return
    yield hashlib.sha256(data).hexdigest()
    while data:
        codec = next((name for magic, name in _MAGICS.items() if data.startswith(magic)), None)
        if codec is None:
            return
        plain, data = first_object(data, codec)
        if plain is None:
            return
        yield hashlib.sha256(plain).hexdigest()


def first_object(data: bytes, codec: str) -> tuple[bytes | None, bytes]:
    """Return the first object of several, unpacked, and what is behind it; None for one that does not unpack."""
    unpacker = zlib.decompressobj(31) if codec == "gzip" else zstd.ZstdDecompressor()
    try:
        plain = unpacker.decompress(data)
    except (zlib.error, zstd.ZstdError, EOFError):
        return None, b""
    return (plain, unpacker.unused_data) if unpacker.eof else (None, b"")


def _unlink(path: Path) -> None:
    durable.step("erase: unlink")
    path.unlink(missing_ok=True)


def _remove(path: Path) -> None:
    durable.step("erase: remove")
    shutil.rmtree(path, ignore_errors=True)
