"""Every place of a data folder beside the segments that may hold what is erased: the tree, trash, quarantine, inbox, tmp.

Each function may run again: what a crash left is found by what the files themselves say.
"""

from __future__ import annotations

import hashlib
import secrets
import shutil
from collections.abc import Set
from pathlib import Path

import orjson

from storage.documents import Limits
from storage.erase.needles import PIECE_BYTES, Gone, holds, index_tells
from storage.erase.note import Note
from storage.erase.plan import payload_contents
from storage.generation import METADATA
from storage.layout import DataFolder
from storage.paths import encode_component
from storage.treesync import GENERATIONS
from strongroom import durable
from strongroom.disposal import DONE
from strongroom.errors import StorageError
from strongroom.inbox import MAGIC, RECEIPTS, InboxFile

Stored = Set[tuple[str, str]]
"""Libraries and versions that are stored now: of what is erased, those that came back afterwards."""


def scrub_tree(folder: DataFolder, note: Note, gone: Gone, stored: Stored) -> None:
    """Take versions out of the tree, with every generation of them, superseded and shelved ones too.

    In other libraries an old generation may still show a content that nobody else has any more.
    """
    left = {encode_component(library) for library, _ in stored}
    whole = {encode_component(library) for library, version in note.targets if version is None} - left
    for home in list(folder.documentation.iterdir()):
        if home.is_symlink() or not home.is_dir():
            continue
        for link in list(home.iterdir()):
            if link.is_symlink() and _shows(link, note, gone, stored):
                durable.step("erase: unlink")
                link.unlink()
        _scrub_generations(home / GENERATIONS, note, gone, stored)
        if home.name in whole:
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


def scrub_strays(folder: DataFolder, gone: Gone) -> None:
    """Delete what holds it in quarantine, ``tmp/`` and the receipts, notes of restores, and catalogues of before a rebuild."""
    places = [folder.quarantine, folder.tmp, folder.trash, folder.inbox / RECEIPTS, folder.inbox / DONE]
    places.append(folder.restores)
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


def _unlink(path: Path) -> None:
    durable.step("erase: unlink")
    path.unlink(missing_ok=True)


def _remove(path: Path) -> None:
    durable.step("erase: remove")
    shutil.rmtree(path, ignore_errors=True)
