"""The command that tells what differs between two versions: sections added, removed, moved, changed."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import asdict
from typing import TYPE_CHECKING, Annotated, Any

import typer

from workers.cli.output import AsJson, Data, console, counted, engine_on, print_json, reported, size, told
from workers.cli.read import Library
from workers.cli.styled import joined, styled

if TYPE_CHECKING:
    from rich.text import Text

    from models.rows import StoredVersion
    from storage.comparing import Comparison
    from storage.diff.compare import Change, Part

Before = Annotated[str, typer.Argument(metavar="A", help="A version, `latest`, or a revision such as 2.0@1.")]
After = Annotated[str, typer.Argument(metavar="B", help="Likewise.")]
Brief = Annotated[bool, typer.Option("--brief", "-b", help="Name the sections, show no lines.")]
Limit = Annotated[int, typer.Option("--limit", "-n", min=0, help="Show the lines of so many changed sections; 0: of all.")]


def register(app: typer.Typer) -> None:
    """Add the command to ``app``."""
    app.command("diff")(show_diff)


def show_diff(
    library: Library,
    before: Before,
    after: After,
    brief: Brief = False,
    limit: Limit = 20,
    data: Data = None,
    as_json: AsJson = False,
) -> None:
    """Show what differs between two versions of a library, section by section.

    Sections are found by their names, whatever the shape of the documents; what differs with each download (times, ids) does not
    count. With --json: `added`, `removed`, `changed`, `moved`, each with `path` and `title`, and the lines of changed texts.

    Exit codes: 0 compared, whether they differ or not; 1 one of them is not stored or damaged.
    """
    from storage.comparing import compare  # noqa: PLC0415 - see output.engine_on

    with reported(as_json=as_json), engine_on(data) as engine:
        found = compare(engine, library, before, after)
    if as_json:
        print_json(_fields(found))
    else:
        _print(found, None if limit == 0 else limit, brief=brief)


def _fields(found: Comparison) -> dict[str, Any]:  # JSON, printed as it is
    return {
        "library_id": found.before.library_id,
        "before": _version_fields(found.before),
        "after": _version_fields(found.after),
        "identical": found.before.place.content_sha256 == found.after.place.content_sha256,
        "added": [asdict(one) for one in found.diff.added],
        "removed": [asdict(one) for one in found.diff.removed],
        "changed": [_change_fields(one) for one in found.diff.changed],
        "moved": [{**asdict(new), "path_before": old.path, "title_before": old.title} for old, new in found.diff.moved],
        "unchanged": found.diff.unchanged,
    }


def _version_fields(one: StoredVersion) -> dict[str, Any]:
    return {
        "version": one.version,
        "revision": one.revision,
        "content_sha256": one.place.content_sha256,
        "size_bytes": one.place.size_bytes,
    }


def _change_fields(one: Change) -> dict[str, Any]:
    text = one.text
    return {
        **asdict(one.after),
        "path_before": one.before.path,
        "title_before": one.before.title,
        "size_bytes_before": one.before.size_bytes,
        "words_before": one.before.words,
        "lines_added": text.added if text else 0,
        "lines_removed": text.removed if text else 0,
        "diff": list(text.lines) if text and text.lines is not None else None,
        "diff_omitted": text.omitted if text else "",
        "fields": [asdict(field) for field in one.fields],
    }


def _print(found: Comparison, limit: int | None, *, brief: bool) -> None:
    out, diff = console(), found.diff
    for part in diff.removed:
        out.print(_line("-", "red", part), soft_wrap=True)
    for part in diff.added:
        out.print(_line("+", "green", part), soft_wrap=True)
    for old, new in diff.moved:
        out.print(joined(_line(">", "cyan", new), told(f"  was {old.title}  {old.path}", "dim")), soft_wrap=True)
    for number, change in enumerate(diff.changed):
        _print_change(change, shown=not brief and (limit is None or number < limit))
    counts = (("added", diff.added), ("removed", diff.removed), ("moved", diff.moved), ("changed", diff.changed))
    told_counts = ", ".join(f"{len(some):,} {word}" for word, some in counts if some)
    if found.before.place.content_sha256 == found.after.place.content_sha256:
        out.print(styled("The same content.", "dim"))
    else:
        out.print(
            styled(f"{told_counts or 'nothing that counts differs'}; {counted(diff.unchanged, 'section')} unchanged", "dim")
        )
    if not brief and limit is not None and len(diff.changed) > limit:
        out.print(styled(f"The lines of {len(diff.changed) - limit:,} more changed sections: --limit 0.", "dim"))


def _line(sign: str, style: str, part: Part) -> Text:
    where = "" if part.title == part.path else f"  {part.path}"
    words = f", {counted(part.words, 'word')}" if part.words else ""
    return joined(told(f"{sign} {part.title}", f"bold {style}"), told(f"{where}  {size(part.size_bytes)}{words}", "dim"))


def _print_change(change: Change, *, shown: bool) -> None:
    out, text = console(), change.text
    counts = f"  +{text.added} -{text.removed} lines" if text else ""
    out.print(joined(_line("~", "yellow", change.after), counts), soft_wrap=True)
    if not shown:
        return
    for field in change.fields:
        name = field.path or "value"
        out.print(
            joined(told(f"    {name}: ", "dim"), _value(field.before, "red"), " → ", _value(field.after, "green")),
            soft_wrap=True,
        )
    if text and text.lines is None:
        out.print(styled(f"    not shown: {text.omitted}", "dim"))
    _print_lines(text.lines or () if text else ())


_STYLES = {"+": "green", "-": "red", "@": "cyan"}


def _print_lines(lines: Sequence[str]) -> None:
    for line in lines:
        console().print(told(f"    {line}", _STYLES.get(line[0], "")), soft_wrap=True)


def _value(value: str | None, style: str) -> Text:
    return styled("absent", "dim") if value is None else told(value, style)
