"""Compare versions of a library as they are stored."""

from __future__ import annotations

import re
from dataclasses import dataclass
from functools import partial

from models.catalogue import list_versions
from models.rows import StoredVersion
from storage.diff.compare import Diff, diff
from storage.engine import Engine
from storage.parsing import parse_document
from strongroom.errors import LimitExceeded, NotFound

MAX_BYTES = 256 << 20
"""The largest document that is compared: a document takes about three times its size of memory then."""

_REVISION = re.compile(r"(?P<version>.+)@(?P<revision>[0-9]{1,9})")


@dataclass(frozen=True, slots=True)
class Comparison:
    """Two revisions and what made one the other."""

    before: StoredVersion
    after: StoredVersion
    diff: Diff


def compare(engine: Engine, library_id: str, before: str, after: str) -> Comparison:
    """Compare two versions of a library; each may be a label, ``latest``, or a revision of any of these as in ``2.0@1``.

    Raises:
        NotFound: one of them is not stored.
        IntegrityError: the bytes of one are damaged, and no good copy was found.
        LimitExceeded: one is larger than 256 MiB, or has more than 200,000 sections.
    """
    old, new = (find_revision(engine, library_id, name) for name in (before, after))
    for one in (old, new):
        if one.place.size_bytes > MAX_BYTES:
            raise LimitExceeded(
                f"{library_id} {one.version} has {one.place.size_bytes:,} bytes; up to {MAX_BYTES:,} are compared.",
                "`strongroom get` writes each to a file, for tools that compare files.",
            )
    if old.place.content_sha256 == new.place.content_sha256:
        return Comparison(old, new, Diff((), (), (), (), 0))
    loads = (lambda one=one, name=name: parse_document(_read(engine, one, name)) for one, name in ((old, before), (new, after)))
    return Comparison(old, new, diff(*loads))


def find_revision(engine: Engine, library_id: str, name: str) -> StoredVersion:
    """Return a version's current revision, or the one that ``version@number`` names. A version may itself be called so.

    For ``version`` a label or ``latest`` will do.

    Raises:
        NotFound: it is not stored.
    """
    revision = _REVISION.fullmatch(name)
    try:
        return engine.find(library_id, name)
    except NotFound:
        if revision is None:
            raise
    current, number = engine.find(library_id, revision["version"]), int(revision["revision"])
    version = current.version
    with engine.database.read() as connection:
        there = {one.revision: one for one in list_versions(connection, current.library_id, version, history=True)}
    if number in there:
        return there[number]
    raise NotFound(
        f"{library_id} {version} has no revision {number}; its newest is {max(there, default=current.revision)}.",
        f"`strongroom history {library_id} {version}` lists them, and what was removed.",
    )


def _read(engine: Engine, one: StoredVersion, name: str) -> bytes:
    return engine.reader.read(one, partial(find_revision, engine, one.library_id, name))
