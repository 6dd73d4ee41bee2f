"""The manifest: what a backup is made of. It is written last, once; a backup exists if and only if its manifest does."""

from __future__ import annotations

import hashlib
import json
import secrets
from collections.abc import Iterator
from dataclasses import asdict, dataclass, field
from datetime import UTC, datetime, timedelta
from typing import Any, Literal

from storage.backup.repository import BACKUPS, FORMAT, Ref, Repository, is_digest, is_size, ref_of, time_of
from storage.events import REDACTED
from strongroom.errors import BackupDamaged, BackupError, BackupKeyError, NotFound

_SUFFIX = ".json"
_TIME = "%Y%m%dT%H%M%SZ"
_DIGEST = "manifest_sha256"
Kind = Literal["full", "incremental"]

Unusable = BackupDamaged | BackupError
"""What is wrong with a manifest that is there: damaged, cut short, unreadable, sealed for another key, of a later release."""


@dataclass(frozen=True, slots=True)
class Counts:
    """What the catalogue held at the snapshot. ``documents`` are current versions; bytes are those of the segments."""

    libraries: int = 0
    documents: int = 0
    revisions: int = 0
    segments: int = 0
    segment_bytes: int = 0


@dataclass(frozen=True, slots=True)
class Part:
    """A part of the list of segments: entries that were added, and the names of those that went. Parts apply in their order."""

    as_of: datetime
    refs: tuple[Ref, ...]
    segments: int
    gone: int


@dataclass(frozen=True, slots=True)
class Dump:
    """Rows of a table. ``whole``: all of its rows; else those that changed since the dump before it."""

    table: str
    whole: bool
    ref: Ref
    rows: int


@dataclass(frozen=True, slots=True)
class Untold:
    """A version of which an index or the journal tells though it was not committed: a store was under way, or had died."""

    library_id: str
    version: str
    stored_at: datetime
    content_sha256: str
    since: datetime


@dataclass(frozen=True, slots=True)
class Journal:
    """Parts of the journal one after another, up to ``offset``; ``tail_sha256`` is that of the last bytes before it."""

    parts: tuple[Ref, ...] = ()
    offset: int = 0
    tail_sha256: str = ""
    untold: tuple[Untold, ...] = ()


@dataclass(frozen=True, slots=True)
class Manifest:
    """A backup. ``packs`` are all packs it needs, with their sizes; ``change`` numbers the last change of a segment it saw."""

    backup_id: str
    kind: Kind
    parent: str | None
    as_of: datetime
    finished_at: datetime
    schema: str
    counts: Counts
    packs: dict[str, int]
    lists: tuple[Part, ...]
    journal: Journal
    rows: tuple[Dump, ...]
    change: int
    removed: int
    new_segments: int
    excluded: dict[str, str]
    new_bytes: int
    seconds: float
    format: int = FORMAT
    marks: dict[str, Any] = field(default_factory=dict)
    """How far each table was dumped: keys and times, by table."""

    @property
    def stored_bytes(self) -> int:
        """What its packs take at the target, with those that it shares."""
        return sum(self.packs.values())


def new_backup_id(repository: Repository, now: datetime) -> str:
    """Return an id that sorts by time, behind those that there are: two may be made within a second, or a clock be put back."""
    for last in backup_ids(repository)[-1:]:
        now = max(now, begun_at(last) + timedelta(seconds=1))
    return f"{now.astimezone(UTC):{_TIME}}-{secrets.token_hex(4)}"


def begun_at(backup_id: str) -> datetime:
    """Return the time that an id begins with; the beginning of all time for what somebody else has named."""
    try:
        return datetime.strptime(backup_id.partition("-")[0], _TIME).replace(tzinfo=UTC)
    except ValueError:
        return datetime.min.replace(tzinfo=UTC)


def write_manifest(repository: Repository, manifest: Manifest) -> int:
    """Keep a manifest and read it back: from now on the backup exists. Returns its bytes at the target.

    Raises:
        NameTaken: another backup has this id.
        BackupDamaged: the target gives back something else; the backup does not exist then.
    """
    told = json.dumps(asdict(manifest), default=_plain, sort_keys=True)
    digest = hashlib.sha256(told.encode()).hexdigest()
    body = f'{{"{_DIGEST}": "{digest}", "manifest": {told}}}\n'.encode()
    sealed = list(repository.seal.sealed([body]))
    repository.target.create(manifest_path(manifest.backup_id), sealed)
    try:
        if read_manifest(repository, manifest.backup_id) != manifest:
            raise BackupDamaged(f"The manifest of {manifest.backup_id} does not read back as it was written.")
    except (BackupDamaged, NotFound):
        remove_manifest(repository, manifest.backup_id)
        raise
    return sum(map(len, sealed))


def remove_manifest(repository: Repository, backup_id: str) -> None:
    """Have a backup be no more. Nothing happens when it is not there; what it alone needed stays, for a prune."""
    repository.target.remove(manifest_path(backup_id))


def manifest_path(backup_id: str) -> str:
    """Return the name under which a target keeps a manifest."""
    return f"{BACKUPS}{backup_id}{_SUFFIX}"


def read_manifest(repository: Repository, backup_id: str) -> Manifest:
    """Read a manifest and prove it by its own digest.

    Raises:
        NotFound: there is no such backup.
        BackupDamaged: it is damaged or cut short, or it alone at the target cannot be read, each time.
        BackupKeyError: it is sealed for another key, though the target is not.
        BackupError: a newer release wrote it.
        StorageError: the target does not answer.
    """
    body = _opened(repository, backup_id)
    try:
        head, _, told = body.partition(b'"manifest": ')
        told = told.removesuffix(b"}\n")
        if json.loads(head.rstrip(b", ") + b"}")[_DIGEST] != hashlib.sha256(told).hexdigest():
            raise ValueError("it does not hash to its digest")
        fields = json.loads(told)
        if fields["backup_id"] != backup_id:
            raise ValueError(f"it is that of {fields['backup_id']}")
        if fields["format"] > FORMAT:
            hint = "Use the release that made it, or a newer one."
            raise BackupError(f"The backup {backup_id} has format {fields['format']}.", hint, {"backup_id": backup_id})
        return _manifest(fields)
    except (ValueError, KeyError, TypeError) as error:
        message = f"The manifest of {backup_id} in {repository.target.url} is damaged: {error}."
        raise BackupDamaged(message, None, {"backup_id": backup_id}) from error


def _opened(repository: Repository, backup_id: str) -> bytes:
    try:
        return b"".join(repository.seal.opened([repository.file(manifest_path(backup_id))]))
    except NotFound:
        raise NotFound(f"There is no backup {backup_id} in {repository.target.url}.", "`strongroom backup list`") from None
    except (BackupDamaged, BackupKeyError) as error:
        message = f"The manifest of {backup_id} in {repository.target.url} cannot be used: {error.message}"
        raise type(error)(message, error.hint, {"backup_id": backup_id}) from error


def backup_ids(repository: Repository) -> list[str]:
    """Return the ids of all backups, the oldest first."""
    names = (one.name.removeprefix(BACKUPS) for one in repository.target.names(BACKUPS))
    return sorted(name.removesuffix(_SUFFIX) for name in names if name.endswith(_SUFFIX))


def manifests(repository: Repository) -> Iterator[tuple[str, Manifest | Unusable]]:
    """Yield each backup with its manifest, or with what is wrong with that, the newest first.

    Raises:
        StorageError: the target does not answer.
    """
    for backup_id in reversed(backup_ids(repository)):
        try:
            yield backup_id, read_manifest(repository, backup_id)
        except NotFound:  # removed since it was listed
            continue
        except (BackupDamaged, BackupError) as error:
            if "backup_id" not in error.context:  # it is the target that is unfit, and not the manifest
                raise
            yield backup_id, error


def _plain(value: object) -> str:
    if isinstance(value, datetime):
        return value.isoformat()
    raise TypeError(value)


def _manifest(told: dict[str, Any]) -> Manifest:
    packs, marks = told["packs"], told.get("marks", {})
    plain = isinstance(packs, dict) and isinstance(marks, dict) and all(isinstance(one["table"], str) for one in told["rows"])
    if not plain or not all(is_digest(name) and is_size(size) for name, size in packs.items()):
        raise ValueError("it tells of something else than packs and tables")
    fields = {
        **told,
        "as_of": time_of(told["as_of"]),
        "finished_at": time_of(told["finished_at"]),
        "counts": Counts(**told["counts"]),
        "lists": tuple(
            Part(time_of(one["as_of"]), tuple(map(_ref, one["refs"])), one["segments"], one["gone"]) for one in told["lists"]
        ),
        "journal": _journal(told["journal"]),
        "rows": tuple(Dump(one["table"], one["whole"], _ref(one["ref"]), one["rows"]) for one in told["rows"]),
    }
    return Manifest(**fields)


def _journal(told: dict[str, Any]) -> Journal:
    untold = [Untold(**{**one, "stored_at": time_of(one["stored_at"]), "since": time_of(one["since"])}) for one in told["untold"]]
    named = (one.content_sha256 == REDACTED or is_digest(one.content_sha256) for one in untold)
    if not all(named):
        raise ValueError("it tells of a store of nothing")
    return Journal(tuple(map(_ref, told["parts"])), told["offset"], told["tail_sha256"], tuple(untold))


def _ref(told: dict[str, Any]) -> Ref:
    return ref_of(told["pack"], told["offset"], told["size_bytes"], told["sha256"])
