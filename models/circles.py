"""Contents that refer to each other in a circle: each has places enough, and the wrong one of them is the newest.

What compress has replaced may still lie in a segment that others need. A catalogue that is made anew finds it there, and where
times are equal cannot tell which came later. Read as it was before, a content may refer to one that refers to it by now.
"""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Collection, Mapping, Sequence
from itertools import pairwise

from sqlalchemy import Connection, select

from models.parts import in_parts
from models.rows import Place
from models.tables import StoredObject, table_of

_OBJECT = table_of(StoredObject)

Ways = Mapping[str, Sequence[str | None]]
"""For each content what its places refer to, the newest last; None: to nothing."""


def without_end(ways: Ways, most: int) -> set[str]:
    """Return the contents that cannot be read by following at most so many references, each by the newest place."""
    return {content for content in ways if not _ends(ways, content, most)}


def ways_out(ways: Ways, most: int) -> dict[str, int]:
    """Return for each content that ``without_end`` names the number of the place by which it is read with the fewest references.

    One that has no such place is left out: something that it refers to is in a circle of its own.
    """
    wanted = without_end(ways, most)
    open_ones = dict(ways) if wanted else {}
    found: dict[str, int] = {}
    while open_ones:
        ready = {content: number for content, among in open_ones.items() if (number := _ready(among, open_ones)) is not None}
        if not ready:
            break
        found.update(ready)
        for content in ready:
            del open_ones[content]
    return {content: found[content] for content in wanted & found.keys() if found[content] != len(ways[content]) - 1}


def _ends(ways: Ways, content: str, most: int) -> bool:
    reference: str | None = content
    for _ in range(most + 1):
        among = ways.get(reference) if reference is not None else None
        if among is None:
            return True
        reference = among[-1]
    return reference is None


def _ready(among: Sequence[str | None], open_ones: Mapping[str, Sequence[str | None]]) -> int | None:
    """Return the newest place that refers to nothing, or to what can be read by now."""
    return next((number for number in reversed(range(len(among))) if among[number] not in open_ones), None)


def circling(connection: Connection, most: int) -> set[str]:
    """Return the contents that cannot be read, however whole all bytes are: following their references does not end."""
    return without_end(_ways(connection, _long_ones(connection)), most)


def break_circles(connection: Connection, most: int) -> int:
    """Have every content that refers to itself in the end be read by another of its places; return how many those were."""
    changed = ways_out(_ways(connection, _long_ones(connection)), most)
    columns = [_OBJECT.c[name] for name in Place.__slots__]
    for part in in_parts(sorted(changed)):
        query = select(_OBJECT.c.object_id, *columns).where(_OBJECT.c.content_sha256.in_(part)).order_by(_OBJECT.c.object_id)
        rows: dict[str, list[tuple[int, tuple[object, ...]]]] = defaultdict(list)
        for row in connection.execute(query):
            rows[row[1]].append((row[0], tuple(row[1:])))
        for content, among in rows.items():
            _put_last(connection, among, changed[content])
    return len(changed)


def _put_last(connection: Connection, among: Sequence[tuple[int, tuple[object, ...]]], number: int) -> None:
    """Give the rows of one content their numbers anew, so that this one has the highest."""
    ids = [one for one, _ in among]
    places = [place for _, place in among]
    places.append(places.pop(number))
    connection.execute(_OBJECT.delete().where(_OBJECT.c.object_id.in_(ids)))
    connection.execute(
        _OBJECT.insert(),
        [{"object_id": one, **dict(zip(Place.__slots__, place, strict=True))} for one, place in zip(ids, places, strict=True)],
    )


def _long_ones(connection: Connection) -> set[str]:
    """Return the contents from which more than three references lead on, by any of the places: few, and most often none."""
    if connection.execute(select(_OBJECT.c.object_id).where(_OBJECT.c.reference_sha256.is_not(None)).limit(1)).first() is None:
        return set()  # SQLite would go through all contents to find that out
    links = [_OBJECT.alias() for _ in range(4)]
    joined = links[0]
    for link, behind in pairwise(links):
        joined = joined.join(behind, behind.c.content_sha256 == link.c.reference_sha256)  # type: ignore[assignment] # a join is a table
    query = select(links[0].c.content_sha256).select_from(joined).where(links[-1].c.reference_sha256.is_not(None))
    return set(connection.scalars(query.distinct()))


def _ways(connection: Connection, contents: Collection[str]) -> dict[str, list[str | None]]:
    """Return what these contents refer to, and what those refer to, and so on, by each of their places."""
    columns = _OBJECT.c
    found: dict[str, list[str | None]] = {}
    wanted, looked_for = set(contents), set[str]()
    while wanted:
        more: set[str] = set()
        for part in in_parts(sorted(wanted)):
            query = select(columns.content_sha256, columns.reference_sha256).where(columns.content_sha256.in_(part))
            for content, reference in connection.execute(query.order_by(columns.object_id)):
                found.setdefault(content, []).append(reference)
                more |= {reference} if reference is not None else set()
        looked_for |= wanted
        wanted = more - looked_for
    return found
