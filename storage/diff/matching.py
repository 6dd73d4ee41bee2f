"""Which section of one document is which of the other."""

from __future__ import annotations

from collections import Counter, defaultdict
from collections.abc import Sequence
from dataclasses import replace

from storage.diff.sections import IDENTITIES, PATHS, Path, Section, tail_of

Pairs = list[tuple[Section, Section]]
Matched = tuple[Pairs, list[Section], list[Section]]
"""What is in both, what only in the first, what only in the second."""


def match(old: Sequence[Section], new: Sequence[Section]) -> Matched:
    """Find each section in the other document: by key, by the name that both documents use, by content, by order."""
    olds, news = _by_container(old), _by_container(new)
    pairs: Pairs = []
    gone: list[Section] = []
    come: list[Section] = []
    for container in dict.fromkeys([*olds, *news]):
        first, second = (_with_tails(some.get(container, [])) for some in (olds, news))
        name = _identity(first, second)
        (left, without), (right, within) = _keyed(first, name), _keyed(second, name)
        pairs += [(left[key], right[key]) for key in left if key in right]
        gone += [one for key, one in left.items() if key not in right]
        come += [one for key, one in right.items() if key not in left]
        more, *rest = _by_content(without, within)
        pairs += more
        gone += rest[0]
        come += rest[1]
    return pairs, gone, come


def _by_content(old: Sequence[Section], new: Sequence[Section]) -> Matched:
    """Pair nameless sections that are equal; of the others the first with the first, the second with the second."""
    waiting: dict[bytes, list[Section]] = defaultdict(list)
    for one in reversed(new):
        waiting[one.digest].append(one)
    pairs: Pairs = []
    gone: list[Section] = []
    for one in old:
        if waiting[one.digest]:
            pairs.append((one, waiting[one.digest].pop()))
        else:
            gone.append(one)
    left = {one.path for some in waiting.values() for one in some}
    come = [one for one in new if one.path in left]
    both = min(len(gone), len(come))
    return [*pairs, *zip(gone[:both], come[:both], strict=True)], gone[both:], come[both:]


def _by_container(sections: Sequence[Section]) -> dict[Path, list[Section]]:
    groups: dict[Path, list[Section]] = defaultdict(list)
    for one in sections:
        groups[one.container].append(one)
    return groups


def _identity(old: Sequence[Section], new: Sequence[Section]) -> str | None:
    """Return the field that names the sections: the one by which most of them are found in both documents, once in each.

    Where none is shared, the first that is there and differs from section to section; None: their place must do.
    """
    best, most = None, 0
    for name in IDENTITIES:
        shared = len(_once(old, name) & _once(new, name))
        if shared > most:
            best, most = name, shared
    if best is not None:
        return best
    return next((name for name in IDENTITIES if all(len(_once(some, name)) == len(some) for some in (old, new))), None)


def _with_tails(sections: Sequence[Section]) -> list[Section]:
    """Add to paths what is left of them behind the folder that all have in common, which may bear the version in its name."""
    tails: dict[Path, dict[str, str]] = defaultdict(dict)
    for name in PATHS:
        paths = [one.names[name] for one in sections if name in one.names]
        folder = _common_start(min(paths, default=""), max(paths, default="")).rpartition("/")[0]
        for one in sections:
            if name in one.names:
                tails[one.path][tail_of(name)] = one.names[name].removeprefix(folder)
    return [replace(one, names={**one.names, **tails[one.path]}) if tails.get(one.path) else one for one in sections]


def _common_start(first: str, last: str) -> str:
    same = next((at for at, (a, b) in enumerate(zip(first, last, strict=False)) if a != b), min(len(first), len(last)))
    return first[:same]


def _once(sections: Sequence[Section], name: str) -> set[str]:
    counts = Counter(one.names[name] for one in sections if name in one.names)
    return {value for value, count in counts.items() if count == 1}


def _keyed(sections: Sequence[Section], name: str | None) -> tuple[dict[tuple[str, int], Section], list[Section]]:
    """Return sections by name and number among those of the same name, fields and items of objects by key; and the nameless."""
    seen: Counter[str] = Counter()
    keyed: dict[tuple[str, int], Section] = {}
    nameless: list[Section] = []
    for one in sections:
        key = one.step if isinstance(one.step, str) else one.names.get(name or "")
        if key is None:
            nameless.append(one)
            continue
        seen[key] += 1
        keyed[key, seen[key]] = one
    return keyed, nameless


def moves_among(gone: Sequence[Section], come: Sequence[Section]) -> Matched:
    """Pair what has gone with what has come by its text, where that is the only one of its kind."""
    old, new = _by_text(gone), _by_text(come)
    pairs = [(one, new[text]) for text, one in old.items() if text in new]
    moved = {one.path for one, _ in pairs}, {one.path for _, one in pairs}
    return pairs, [one for one in gone if one.path not in moved[0]], [one for one in come if one.path not in moved[1]]


def _by_text(sections: Sequence[Section]) -> dict[bytes, Section]:
    counts = Counter(one.text_digest for one in sections)
    return {one.text_digest: one for one in sections if one.text_digest is not None and counts[one.text_digest] == 1}
