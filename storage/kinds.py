"""The kinds of findings: how bad each is, what it means, and the command that mends it."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Literal

Severity = Literal["loss", "harm", "note"]
"""loss: a document cannot be read, or would not survive the next accident; harm: what is derived is wrong, or protection is
thinner; note: nothing is wrong for a reader, and it goes by itself or costs room."""


@dataclass(frozen=True, slots=True)
class Kind:
    """One kind. ``mend`` is a command that can be typed as it is, or what a person must do where no command can."""

    code: str
    severity: Severity
    meaning: str
    mend: str

    @property
    def needs_person(self) -> bool:
        """Whether somebody should do something about it."""
        return self.severity != "note"


_VERIFY = "strongroom verify --all --repair"
_REBUILD = "strongroom rebuild"
_STORE = "strongroom store FILE.json --wait"
_SWEEP = "strongroom schedule run integrity-sweep, and when that fails too, look at memory and disk (dmesg)"
_SCRUB = "strongroom schedule run integrity-sweep, then strongroom coverage"
_CLEAR = "strongroom cleanup, strongroom cleanup sweep; docs/how-to/disk-full.md says what else may go"
_BACKUPS = "strongroom backup list says why; docs/how-to/backup.md says when its file may go"
_OWN = "give each data folder a target of its own: STRONGROOM_BACKUP_TARGET"
_CLEAN_UP = "nothing: the sweep removes it when its grace period is over"

_TABLE: tuple[tuple[str, Severity, str, str], ...] = (
    ("missing", "loss", "a segment or a version's bytes are not there", _VERIFY),
    ("damaged", "loss", "stored bytes do not hash to the recorded digest", _VERIFY),
    ("truncated", "loss", "stored bytes end too early", _VERIFY),
    ("wrong_size", "harm", "a segment is longer than recorded", _VERIFY),
    ("wrong_codec", "loss", "stored bytes are in another encoding than recorded", _VERIFY),
    ("unreadable", "loss", "the operating system cannot read it", "look at the disk (dmesg, smartctl) and at the permissions"),
    ("renamed", "loss", "a segment lies under another name", "mv the file back to the name that the finding tells"),
    ("segment_damaged", "harm", "a segment does not hash to its name, no version is hurt", _VERIFY),
    ("row_without_bytes", "loss", "a version is known and nothing holds its content", _STORE),
    ("catalogue_out_of_step", "loss", "a version is known and nothing holds its content", _STORE),
    ("segment_without_row", "harm", "a segment tells of versions that the catalogue does not know", _REBUILD),
    ("orphan", "note", "a segment that no row names: a store crashed before its commit", _CLEAN_UP),
    ("foreign", "note", "a file among the segments that is none", "look at it, then move it away"),
    ("duplicate", "note", "contents that lie in several segments", _CLEAN_UP),
    ("index_missing", "loss", "a segment has no index: the disk alone does not tell what it holds", _VERIFY),
    ("index_damaged", "loss", "an index does not hash to its last line", _VERIFY),
    ("index_out_of_step", "loss", "catalogue and index differ about what a segment holds", _REBUILD),
    ("untold", "loss", "the catalogue knows a version that the disk does not tell of: a rebuild would lose it", _VERIFY),
    ("journal_damaged", "loss", "lines of the journal do not hold what was written", _VERIFY),
    ("journal_missing", "loss", "the journal is gone, and versions are told by it alone", _VERIFY),
    ("sums_out_of_step", "harm", "a library's sums are not those of its versions", _REBUILD),
    ("latest_out_of_step", "harm", "a library's latest version is none of its versions", _REBUILD),
    ("current_out_of_step", "harm", "not the newest revision of a version is its current one", _REBUILD),
    ("tree_missing", "harm", "the tree lacks a version", _VERIFY),
    ("tree_damaged", "harm", "a copy in the tree does not hold what it should", _VERIFY),
    ("tree_stale", "harm", "the tree shows another content than the catalogue", _VERIFY),
    ("tree_out_of_step", "harm", "the tree shows another content, or another latest, than the catalogue", _VERIFY),
    ("tree_extra", "note", "the tree shows a version that is not stored", "rm the link that the finding names"),
    ("stale_link", "harm", "a link of the tree points at nothing", _VERIFY),
    ("payload_damaged", "harm", "an accepted file's manifest does not hold: it is no job", "ask its producer to send it again"),
    ("payload_missing", "harm", "a job waits whose payload is gone", "strongroom jobs --state queued"),
    ("canary_missed", "loss", "a sweep did not report damage that was planted for it: its word is worth nothing", _SWEEP),
    ("coverage_late", "harm", "a segment has waited nearly as long, or longer, than is promised to be read", _SCRUB),
    ("backup_late", "loss", "no good backup was begun for longer than is allowed", "strongroom backup create --wait"),
    ("backup_unusable", "harm", "nobody can use the manifest of a backup: backups go on behind an older one", _BACKUPS),
    ("backup_shared", "harm", "two data folders take their backups to one place: prune counts both as one series", _OWN),
    ("drill_failed", "loss", "a backup was not what it promised when it was restored", "strongroom backup drill --wait"),
    ("drill_late", "harm", "backups are taken, and nobody proves that they can be restored", "strongroom backup drill --wait"),
    ("alerts_failed", "harm", "a message about what is wrong, or the daily test, did not arrive", "strongroom notify test"),
    ("space_low", "harm", "the disk of the data folder fills up", _CLEAR),
    ("space_critical", "harm", "the disk of the data folder is nearly full: jobs wait for space, or soon will", _CLEAR),
    ("quota_near", "note", "a library, or all together, is near its quota", "strongroom quota"),
    ("quota_full", "harm", "a library, or all together, is at its quota: jobs wait for room", "strongroom quota"),
    ("index_made_anew", "note", "a rebuild made a lost index anew, from its segment and what else tells of versions", "nothing"),
    ("history_lost", "note", "the old catalogue could not be read: jobs and schedules begin anew", "nothing"),
)
KINDS = {row[0]: Kind(*row) for row in _TABLE}


def kind_of(code: str) -> Kind:
    """Return the kind of a finding; one for codes that a later release has recorded."""
    return KINDS.get(code) or Kind(code, "harm", "a kind of finding that this release does not know", "strongroom verify")
