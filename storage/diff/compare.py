"""Compare two documents, section by section: digests first, texts of what differs afterwards."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Mapping
from dataclasses import dataclass

from storage.diff.lines import LineDiff, LineDiffs
from storage.diff.matching import match, moves_among
from storage.diff.sections import Json, Path, Section, canonical, counted, describe, json_path, leaves, split, text_of, title_of

Load = Callable[[], Json]
"""Returns a document. Called twice, since holding two large documents at once would take twice the memory."""

VALUE_CHARS = 200
FIELDS = 50
"""Fields of one section that are told one by one."""


@dataclass(frozen=True, slots=True)
class Part:
    """A section, or a field outside of any, as it stands in one document. Sizes are of its JSON, without what never counts."""

    kind: str
    path: str
    title: str
    size_bytes: int
    words: int


@dataclass(frozen=True, slots=True)
class FieldChange:
    """A value inside a section that differs, cut to a readable length. None: not there."""

    path: str
    before: str | None
    after: str | None


@dataclass(frozen=True, slots=True)
class Change:
    """A section that is in both documents and differs. ``text`` tells how its text does, None when that is the same."""

    before: Part
    after: Part
    text: LineDiff | None
    fields: tuple[FieldChange, ...]


@dataclass(frozen=True, slots=True)
class Diff:
    """What made one document the other. ``moved``: the same text, in another place or under another name."""

    added: tuple[Part, ...]
    removed: tuple[Part, ...]
    changed: tuple[Change, ...]
    moved: tuple[tuple[Part, Part], ...]
    unchanged: int

    @property
    def empty(self) -> bool:
        """Whether nothing that counts differs."""
        return not (self.added or self.removed or self.changed or self.moved)


def diff(before: Load, after: Load) -> Diff:
    """Return what made one document the other. Times, ids and the like of the downloads themselves do not count.

    Raises:
        LimitExceeded: a document has too many sections.
    """
    old, new = (_described(load()) for load in (before, after))
    pairs, gone, come = match(old, new)
    moves, gone, come = moves_among(gone, come)
    differing = [(a, b) for a, b in pairs if a.digest != b.digest]
    wanted = [*differing, *moves]
    olds = _values(before(), [*gone, *(a for a, _ in wanted)])
    parts = [_part(one, olds[one.path]) for one in gone]
    news = _values(after(), [*come, *(b for _, b in wanted)])
    texts = LineDiffs()
    return Diff(
        tuple(_part(one, news[one.path]) for one in come),
        tuple(parts),
        tuple(_change(a, b, olds[a.path], news[b.path], texts) for a, b in differing),
        tuple((_part(a, olds[a.path]), _part(b, news[b.path])) for a, b in moves),
        len(pairs) - len(differing),
    )


def _described(document: Json) -> list[Section]:
    return [describe(path, value, is_field=is_field) for path, is_field, value in split(document)]


def _values(document: Json, sections: Iterable[Section]) -> dict[Path, Json]:
    wanted = {one.path for one in sections}
    return {path: value for path, _, value in split(document) if path in wanted} if wanted else {}


def _part(section: Section, value: Json) -> Part:
    kind = "field" if section.is_field else "section"
    words = len(text_of(value).split())
    return Part(kind, json_path(section.path), title_of(value, section.path), len(canonical(value)), words)


def _change(old: Section, new: Section, before: Json, after: Json, texts: LineDiffs) -> Change:
    first, second = text_of(before), text_of(after)
    text = texts.of(first, second) if first != second else None
    left, right = (_leaves(value) for value in (before, after))
    names = [name for name in dict.fromkeys([*left, *right]) if left.get(name) != right.get(name)]
    told = [
        FieldChange(name, left.get(name), right.get(name))
        for name in names
        if {left.get(name), right.get(name)} - {first, second}
    ]
    cut = tuple(FieldChange(one.path, _cut(one.before), _cut(one.after)) for one in told[:FIELDS])
    return Change(_part(old, before), _part(new, after), text, cut)


def _leaves(value: Json) -> Mapping[str, str]:
    """Return what counts in a value, by path, as text."""
    return {json_path(path): one if isinstance(one, str) else canonical(one).decode() for path, one in leaves(counted(value))}


def _cut(text: str | None) -> str | None:
    return text if text is None or len(text) <= VALUE_CHARS else f"{text[:VALUE_CHARS]}…"
