"""The command that looks at what is stored: verify, and with --repair sees to what it finds. No service needs to run."""

from __future__ import annotations

from functools import partial
from typing import Annotated, Any

import typer

from strongroom.contracts import VerifyReceipt
from strongroom.errors import InvalidRequest
from workers.cli.output import (
    FAILED,
    AsJson,
    Data,
    Quiet,
    console,
    counted,
    engine_on,
    print_json,
    progress_bar,
    reported,
    size,
    told,
)
from workers.cli.styled import in_bytes_a_second, joined, new_table, styled
from workers.cli.who import asker

_AGAIN = "`strongroom verify --all --repair` looks for a good copy; else store these versions again from their source."
_NO_DAMAGE = frozenset({"tree_missing", "orphan", "foreign", "segment_without_row"})
"""Findings that are no damage: the tree is derived and built again, and what no row names is none of what is stored."""


def register(app: typer.Typer) -> None:
    """Add the command to ``app``."""
    app.command()(verify)


def verify(
    library: Annotated[str | None, typer.Argument(metavar="[LIBRARY]", help="Only this library.")] = None,
    version: Annotated[str | None, typer.Argument(metavar="[VERSION]", help="Only this version.")] = None,
    everything: Annotated[bool, typer.Option("--all", help="Everything; the same as naming no library.")] = False,
    repair: Annotated[bool, typer.Option("--repair", help="Repair what is damaged, from a good source.")] = False,
    data: Data = None,
    quiet: Quiet = False,
    as_json: AsJson = False,
) -> None:
    """Read the stored bytes again and compare them with what was promised. Repairs nothing without --repair.

    With --repair what is damaged is taken from another copy, the tree, or a payload of the inbox that holds it, checked, put in
    place, and checked again. The damaged bytes are kept in quarantine/.

    JSON: `checked` (versions), `read_bytes`, `damaged` (versions that are), `findings` (indexes, segments, copies in the tree,
    orphans among the segments), and with --repair `repaired` (an array of `library_id`, `version`, `revision`, `code`, `from`)
    and `mended` (findings that were seen to: `code`, `path`, `from`); `damaged` and `findings` are then what remains.

    Exit codes: 0 nothing is damaged (any more), 1 a version is, or an index, a segment or a copy in the tree. Two kinds
    of findings are named and do not count: files that are only missing from the tree, which are built again, and files among the
    segments that the catalogue has not known for a day; `strongroom doctor` says what becomes of those.
    """
    with reported(as_json=as_json):
        if everything and library is not None:
            raise InvalidRequest("--all and a library are two requests.", "Leave one of them out.")
        bar = progress_bar("verifying", in_bytes_a_second, shown=not (quiet or as_json))
        with engine_on(data) as engine, bar as tick:
            look = partial(engine.verify_and_repair, by=asker()) if repair else engine.verify
            receipt = look(library, version, tick)
    if as_json:
        print_json(_fields(receipt, repair=repair))
    elif not quiet or receipt.damaged or receipt.findings:
        _print_verification(receipt)
    if receipt.damaged or any(finding.code not in _NO_DAMAGE for finding in receipt.findings):
        raise typer.Exit(FAILED)


def _fields(receipt: VerifyReceipt, *, repair: bool) -> dict[str, Any]:  # JSON, printed as it is
    fields = receipt.model_dump(exclude={"request_id", "repaired", "mended"})
    if repair:
        for name in ("repaired", "mended"):
            entries = [one.model_dump() for one in getattr(receipt, name)]
            fields[name] = [{"from" if key == "source" else key: value for key, value in one.items()} for one in entries]
    return fields


def _print_verification(receipt: VerifyReceipt) -> None:
    out = console()
    for whole in receipt.repaired:
        what = told(f"  {whole.library_id} {whole.version} (revision {whole.revision}), from {whole.source}")
        out.print(joined(("repaired", "bold green"), what), soft_wrap=True)
    for mended in receipt.mended:
        out.print(joined(("mended", "bold green"), told(f"  {mended.path}: {mended.code}, from {mended.source}")), soft_wrap=True)
    if receipt.damaged:
        table = new_table("library", "version", "damage", "where")
        for one in receipt.damaged:
            where = f"{one.segment} at {one.offset}"
            version = told(f"{one.version} (revision {one.revision})")
            table.add_row(told(one.library_id), version, styled(one.code, "bold red"), where)
        out.print(table)
    for finding in receipt.findings:
        out.print(joined((finding.code, "bold yellow"), told(f"  {finding.path}  {finding.message}")), soft_wrap=True)
    good, bad = styled("nothing is damaged", "bold green"), styled("damaged", "bold red")
    verdict = joined(counted(len(receipt.damaged), "version"), " ", bad) if receipt.damaged else good
    out.print(joined(f"{counted(receipt.checked, 'version')} checked, {size(receipt.read_bytes)} read: ", verdict, "."))
    if receipt.damaged:
        out.print(styled(f"Nothing damaged is served. {_AGAIN}", "dim"), soft_wrap=True)
