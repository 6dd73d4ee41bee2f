"""What the demo promises, each promise with the check that breaks it: a demo that only looks well proves nothing."""

from __future__ import annotations

import hashlib
import json
import time
from collections.abc import Callable, Sequence
from dataclasses import replace

from models.rows import StoredVersion
from storage.engine import Engine
from strongroom.contracts import DocumentReceipt
from strongroom.errors import IntegrityError, StorageError
from workers.demo.command import Answer
from workers.demo.document import Made


class PromiseBroken(StorageError):
    """Something that strongroom promises did not hold in the demo."""

    code = "promise_broken"
    default_hint = "This should not happen: please report it, with the log of the service."


def demand(holds: bool, otherwise: str) -> None:
    """Raise PromiseBroken with what happened ``otherwise``."""
    if not holds:
        raise PromiseBroken(otherwise)


def prove_receipts(receipts: Sequence[DocumentReceipt], sent: Sequence[Made], status: str) -> None:
    """Demand a receipt of this status for each document, with the digest of the bytes that were sent."""
    for receipt in receipts:
        if receipt.error is not None:
            raise PromiseBroken(f"{receipt.name} was not stored: {receipt.error.message}", receipt.error.hint)
        demand(receipt.status == status, f"{receipt.library_id} {receipt.version} was {receipt.status}, not {status}.")
    answered = sorted((one.library_id or "", one.version or "", one.content_sha256 or "") for one in receipts)
    expected = sorted((one.library_id, one.version, one.sha256) for one in sent)
    demand(answered == expected, "The receipts do not name what was sent.")


def prove_read_back(engine: Engine, sent: Sequence[Made], tick: Callable[[int], None]) -> float:
    """Read every document and demand the digest of the bytes that were sent; return the seconds it took."""
    started_s = time.monotonic()
    for number, one in enumerate(sent, start=1):
        try:
            back = engine.read(one.library_id, one.version)
        except StorageError as error:
            raise PromiseBroken(f"{one.library_id} {one.version} cannot be read: {error.message}") from error
        same = hashlib.sha256(back).hexdigest() == one.sha256
        demand(same, f"{one.library_id} {one.version} came back with other bytes than were sent.")
        tick(number)
    return time.monotonic() - started_s


def prove_found(answer: Answer, damaged: Sequence[StoredVersion], versions: int) -> int:
    """Demand that ``verify --json`` has looked at all and names exactly these versions; return how many bytes it read."""
    try:
        report = json.loads(answer.output)
        named = [(one["library_id"], one["version"]) for one in report["damaged"]]
        checked, findings, read_bytes = report["checked"], report["findings"], int(report["read_bytes"])
    except (ValueError, LookupError, TypeError):
        raise PromiseBroken(f"`strongroom verify` failed: {answer.errors.strip() or answer.output!r}") from None
    expected = [(one.library_id, one.version) for one in damaged]
    demand(checked == versions, f"`strongroom verify` checked {checked} of {versions} versions.")
    demand(named == expected, f"`strongroom verify` names {_list(named)} as damaged, where {_list(expected)} was.")
    demand(not findings, f"`strongroom verify` found what nobody did: {findings}.")
    code = 1 if damaged else 0
    demand(answer.code == code, f"`strongroom verify` ended with exit code {answer.code}, not {code}.")
    return read_bytes


def prove_kept_from_readers(engine: Engine, damaged: StoredVersion) -> None:
    """Demand that a damaged version is not handed out: a reader that may not repair it gets an error."""
    try:
        with Engine(engine.folder.root, replace(engine.options, mend_reads=False)) as reader:
            reader.read(damaged.library_id, damaged.version)
    except IntegrityError:
        return
    raise PromiseBroken(f"{damaged.library_id} {damaged.version} was handed out damaged.")


def _list(versions: Sequence[tuple[str, str]]) -> str:
    return ", ".join(" ".join(one) for one in versions) or "nothing"
