"""Inbox files: accepted whole or not at all, and nothing a stranger does to one goes unnoticed."""

from __future__ import annotations

import errno
import hashlib
import io
import os
import resource
import subprocess
import sys
from collections.abc import Callable
from itertools import pairwise
from pathlib import Path

import pytest

from strongroom import durable
from strongroom.contracts import DocumentOptions, DocumentReceipt, ErrorInfo, StoreReceipt
from strongroom.errors import MessageTooNew, PayloadDamaged, PayloadMissing, PermissionRefused, StorageError, TransientIO
from strongroom.inbox import (
    FOOTER_BYTES,
    MAGIC,
    PIECE_BYTES,
    InboxFile,
    InboxWriter,
    new_request_id,
    take_receipt,
    write_receipt,
)

DOCUMENTS = [b'{"a": 1}', b"", os.urandom(3_000_000), b'{"b": "\xc3\xa9"}']


def stage(inbox: Path, documents: list[bytes] | None = None, request_id: str | None = None) -> Path:
    with InboxWriter(inbox, request_id, receipt=True) as writer:
        for number, document in enumerate(DOCUMENTS if documents is None else documents):
            writer.add(document, f"{number}.json", DocumentOptions(library_id=f"/l/{number}", metadata={"n": number}))
        return writer.commit()


def small(inbox: Path) -> Path:
    return stage(inbox, [b'{"a": 1}', b'{"b": 2}'])


def rewrite(path: Path, body: bytes) -> Path:
    """Write an inbox file whose manifest is this one and whose footer holds."""
    path.write_bytes(body + len(body).to_bytes(8, "big") + hashlib.sha256(body).digest() + MAGIC)
    return path


def test_what_was_staged_comes_back_in_order_with_what_was_said(inbox: Path) -> None:
    with InboxFile(stage(inbox)) as file:
        assert [file.read(document) for document in file.manifest.documents] == DOCUMENTS
        assert [file.open(document).read() for document in file.manifest.documents] == DOCUMENTS
        assert [document.library_id for document in file.manifest.documents] == ["/l/0", "/l/1", "/l/2", "/l/3"]
        assert [document.metadata for document in file.manifest.documents] == [{"n": n} for n in range(4)]
        assert [document.name for document in file.manifest.documents] == ["0.json", "1.json", "2.json", "3.json"]
        assert [document.sha256 for document in file.manifest.documents] == [hashlib.sha256(d).hexdigest() for d in DOCUMENTS]
        assert file.manifest.receipt is True


def test_a_streamed_document_is_staged_like_its_bytes(inbox: Path) -> None:
    with InboxWriter(inbox) as writer:
        writer.add(io.BytesIO(DOCUMENTS[2]))
        assert (len(writer), writer.staged_bytes) == (1, 3_000_000)
        path = writer.commit()
    with InboxFile(path) as file:
        assert file.read(file.manifest.documents[0]) == DOCUMENTS[2]


@pytest.mark.parametrize("size", [6, PIECE_BYTES, PIECE_BYTES + 1], ids=["small", "a piece", "large"])
def test_a_reader_stays_inside_its_document(inbox: Path, size: int) -> None:
    second = b"sec" + bytes(size - 5) + b"nd"
    with InboxFile(stage(inbox, [b"first", second, b"third"])) as file:
        reader = file.open(file.manifest.documents[1])
        assert (reader.read(3), reader.read(size), reader.read(1)) == (second[:3], second[3:], b"")
        assert (reader.seek(-2, io.SEEK_END), reader.read()) == (size - 2, b"nd")
        assert (reader.seek(0), reader.read()) == (0, second)


@pytest.mark.parametrize("size", [6, PIECE_BYTES + 1], ids=["small", "large"])
def test_a_reader_that_seeks_behind_its_document_reads_nothing(inbox: Path, size: int) -> None:
    with InboxFile(stage(inbox, [b"first", bytes(size), b"third"])) as file:
        reader = file.open(file.manifest.documents[1])
        assert (reader.seek(2 * size), reader.read()) == (2 * size, b"")


def test_the_trailer_of_a_document_is_its_own_whatever_stands_around_it(inbox: Path) -> None:
    with InboxFile(stage(inbox, [b"magic", b"magic....tail", b"magi", b"", b"mag", b"ic"])) as file:
        trailers = [file.trailer_if(b"magic", document) for document in file.manifest.documents]
    assert trailers == [b"agic", b"tail", None, None, None, None]


def test_nothing_is_accepted_before_commit_and_abort_leaves_nothing(inbox: Path) -> None:
    with InboxWriter(inbox) as writer:
        writer.add(b"{}")
        assert [path.suffix for path in inbox.iterdir()] == [".part"]
    assert list(inbox.iterdir()) == []


def test_abort_after_commit_leaves_the_accepted_file(inbox: Path) -> None:
    path = small(inbox)
    assert list(inbox.iterdir()) == [path]


def test_the_inbox_and_its_files_are_their_owners_alone(tmp_path: Path) -> None:
    path = small(tmp_path / "deep" / "inbox")
    assert path.stat().st_mode & 0o777 == 0o600
    assert path.parent.stat().st_mode & 0o777 == 0o700


def test_two_writers_of_one_request_do_not_write_into_each_other(inbox: Path) -> None:
    request_id = new_request_id()
    with InboxWriter(inbox, request_id) as first, InboxWriter(inbox, request_id) as second:
        first.add(b"first")
        second.add(b"second")
        first.commit()
        path = second.commit()
    with InboxFile(path) as file:
        assert file.read(file.manifest.documents[0]) == b"second"


def test_request_ids_are_unique_and_sort_by_time() -> None:
    made = [new_request_id() for _ in range(1000)]
    assert len(set(made)) == 1000
    assert all(one[:16] <= other[:16] for one, other in pairwise(made))


# Crashes


def test_bytes_are_durable_before_the_rename_and_the_rename_before_commit_returns(inbox: Path, steps: list[str]) -> None:
    small(inbox)
    assert steps == ["inbox: write manifest", "inbox: fsync", "inbox: rename", "inbox: fsync folder"]


def test_a_new_inbox_folder_is_durable_in_the_folder_above(tmp_path: Path, steps: list[str]) -> None:
    small(tmp_path / "inbox")
    assert steps[:2] == ["inbox: make folder", "inbox: fsync folder"]


def test_a_crash_at_any_step_leaves_a_whole_job_or_none(
    tmp_path: Path, steps: list[str], crash_at: Callable[[int, Callable[[], object]], None]
) -> None:
    small(tmp_path / "rehearsal")
    renamed_at = steps.index("inbox: rename")
    count = len(steps)
    durable.step.observer = None
    for number in range(count):
        inbox = tmp_path / str(number)
        crash_at(number, lambda inbox=inbox: small(inbox))  # type: ignore[misc] # mypy cannot infer the default's type
        accepted = list(inbox.glob("*.inbox"))
        assert len(accepted) == (1 if number > renamed_at else 0)
        for path in accepted:
            with InboxFile(path) as file:
                assert [file.read(document) for document in file.manifest.documents] == [b'{"a": 1}', b'{"b": 2}']
        small(inbox)  # and the next attempt is not in the way of what the crash left


@pytest.mark.parametrize("limit", [0, 1, 8, 16, 100, 300, 500])
def test_a_full_disk_leaves_no_job_and_no_part_file(inbox: Path, limit: int) -> None:
    script = (
        "import resource, sys, pathlib\n"
        "from strongroom.errors import DiskFull\n"
        "from strongroom.inbox import InboxWriter\n"
        "limit = int(sys.argv[2])\n"
        "resource.setrlimit(resource.RLIMIT_FSIZE, (limit, limit))\n"
        "try:\n"
        "    with InboxWriter(pathlib.Path(sys.argv[1])) as writer:\n"
        "        writer.add(b'x' * 150)\n"
        "        writer.add(b'y' * 150)\n"
        "        writer.commit()\n"
        "except DiskFull:\n"
        "    print('full')\n"
    )
    command = [sys.executable, "-W", "error", "-c", script, str(inbox), str(limit)]
    done = subprocess.run(command, capture_output=True, text=True, check=True)
    assert (done.stdout, done.stderr) == ("full\n", "")
    assert list(inbox.iterdir()) == []


def test_an_inbox_without_write_permission_says_so(short_folder: Path) -> None:
    short_folder.chmod(0o555)
    child = os.fork()
    if child == 0:
        try:
            if os.geteuid() == 0:
                os.setuid(65534)  # root may write everywhere
            InboxWriter(short_folder)
        except PermissionRefused:
            os._exit(7)
        finally:
            os._exit(0)
    assert os.waitstatus_to_exitcode(os.waitpid(child, 0)[1]) == 7
    short_folder.chmod(0o700)


# Damage


def test_a_file_cut_short_anywhere_is_damaged(inbox: Path) -> None:
    path = small(inbox)
    whole = path.read_bytes()
    for length in range(len(whole)):
        path.write_bytes(whole[:length])
        with pytest.raises(PayloadDamaged):
            InboxFile(path)


def test_a_file_with_something_behind_its_footer_is_damaged(inbox: Path) -> None:
    path = small(inbox)
    path.write_bytes(path.read_bytes() + b"\0")
    with pytest.raises(PayloadDamaged):
        InboxFile(path)


def test_a_flipped_bit_anywhere_in_manifest_or_footer_is_damage(inbox: Path) -> None:
    path = small(inbox)
    whole = path.read_bytes()
    for place in range(16, len(whole)):
        for bit in (1, 0x80):
            path.write_bytes(whole[:place] + bytes([whole[place] ^ bit]) + whole[place + 1 :])
            with pytest.raises(PayloadDamaged):
                InboxFile(path)


def test_a_flipped_bit_in_a_document_shows_in_its_digest(inbox: Path) -> None:
    path = small(inbox)
    whole = path.read_bytes()
    for place in range(16):
        path.write_bytes(whole[:place] + bytes([whole[place] ^ 1]) + whole[place + 1 :])
        with InboxFile(path) as file:
            wrong = [d for d in file.manifest.documents if hashlib.sha256(file.read(d)).hexdigest() != d.sha256]
        assert len(wrong) == 1


@pytest.mark.parametrize(
    "body",
    [
        b"",
        b"[]",
        b"{}",
        b'{"request_id": "abcdefgh", "documents": [], "unknown": 1}',
        b'{"request_id": "../../etc", "documents": []}',
        b'{"request_id": "abcdefgh", "documents": [{"offset": 0, "length": 1000, "sha256": "' + b"0" * 64 + b'"}]}',
        b'{"request_id": "abcdefgh", "documents": [{"offset": -1, "length": 0, "sha256": "' + b"0" * 64 + b'"}]}',
        b'{"request_id": "abcdefgh", "documents": [{"offset": 0, "length": -1, "sha256": "' + b"0" * 64 + b'"}]}',
        b'{"request_id": "abcdefgh", "documents": [{"offset": 1e400, "length": 0, "sha256": "' + b"0" * 64 + b'"}]}',
        b"\xff",
        b"[" * 100_000,
    ],
)
def test_a_sealed_manifest_that_breaks_its_contract_is_damaged(inbox: Path, body: bytes) -> None:
    with pytest.raises(PayloadDamaged):
        InboxFile(rewrite(inbox / "abcdefgh.inbox", body))


@pytest.mark.parametrize(
    "body", [b'{"contract": 99, "request_id": "abcdefgh", "documents": []}', b'{"contract": 99, "shade": "blue"}']
)
def test_a_manifest_of_a_newer_contract_is_left_for_a_newer_worker_and_is_not_called_damaged(inbox: Path, body: bytes) -> None:
    with pytest.raises(MessageTooNew, match="contract 99"):
        InboxFile(rewrite(inbox / "abcdefgh.inbox", body))


def test_a_footer_that_claims_more_manifest_than_there_is_file_is_damaged(inbox: Path) -> None:
    path = inbox / "abcdefgh.inbox"
    path.write_bytes((2**63).to_bytes(8, "big") + bytes(32) + MAGIC)
    assert path.stat().st_size == FOOTER_BYTES
    with pytest.raises(PayloadDamaged):
        InboxFile(path)


# Hostile files


def test_no_file_is_missing_and_not_damaged(inbox: Path) -> None:
    with pytest.raises(PayloadMissing):
        InboxFile(inbox / "abcdefgh.inbox")


def test_a_symlink_is_not_followed(inbox: Path, tmp_path: Path) -> None:
    target = small(tmp_path / "elsewhere")
    (inbox / "abcdefgh.inbox").symlink_to(target)
    with pytest.raises(PayloadDamaged):
        InboxFile(inbox / "abcdefgh.inbox")


def test_a_fifo_a_folder_and_a_device_are_no_inbox_files(inbox: Path) -> None:
    os.mkfifo(inbox / "fifo0000.inbox")
    (inbox / "folder00.inbox").mkdir()
    for path in (inbox / "fifo0000.inbox", inbox / "folder00.inbox", Path("/dev/zero")):
        with pytest.raises(PayloadDamaged):
            InboxFile(path)


def test_a_process_out_of_descriptors_does_not_call_an_accepted_job_damaged(inbox: Path) -> None:
    path = small(inbox)
    soft, hard = resource.getrlimit(resource.RLIMIT_NOFILE)
    resource.setrlimit(resource.RLIMIT_NOFILE, (0, hard))
    try:
        with pytest.raises(TransientIO, match="open files"):
            InboxFile(path)
    finally:
        resource.setrlimit(resource.RLIMIT_NOFILE, (soft, hard))
    InboxFile(path).close()


def test_a_file_exchanged_after_it_was_opened_changes_nothing(inbox: Path) -> None:
    path = small(inbox)
    with InboxFile(path) as file:
        rewrite(path.with_suffix(".new"), b"{}").rename(path)
        assert file.read(file.manifest.documents[0]) == b'{"a": 1}'


def test_a_refused_file_leaves_no_descriptor_open(inbox: Path) -> None:
    path = rewrite(inbox / "abcdefgh.inbox", b"{}")
    before = len(os.listdir("/proc/self/fd"))
    for _ in range(10):
        with pytest.raises(StorageError):
            InboxFile(path)
    assert len(os.listdir("/proc/self/fd")) == before


# Receipts


def test_a_receipt_is_taken_once_and_says_what_was_written(inbox: Path) -> None:
    receipt = StoreReceipt(
        request_id="abcdefgh",
        state="failed",
        documents=[DocumentReceipt(name="é", status="failed", error=ErrorInfo(code="not_json", message="m", hint="h"))],
    )
    assert take_receipt(inbox, "abcdefgh") is None
    write_receipt(inbox, receipt)
    assert take_receipt(inbox, "abcdefgh") == receipt
    assert take_receipt(inbox, "abcdefgh") is None
    assert list((inbox / "receipts").iterdir()) == []


def test_a_receipt_written_again_replaces_the_first(inbox: Path) -> None:
    write_receipt(inbox, StoreReceipt(request_id="abcdefgh", state="failed"))
    write_receipt(inbox, StoreReceipt(request_id="abcdefgh", state="done"))
    taken = take_receipt(inbox, "abcdefgh")
    assert taken is not None
    assert taken.state == "done"


class _BreaksHalfWay(io.BytesIO):
    """A source that gives some bytes and then fails."""

    def read(self, size: int | None = -1) -> bytes:
        if self.tell():
            raise OSError(errno.EIO, "the source is gone")
        return super().read(10)


def test_a_source_that_fails_half_way_leaves_no_bytes_before_the_next_document(inbox: Path) -> None:
    with InboxWriter(inbox) as writer:
        writer.add(b"first")
        with pytest.raises(TransientIO):
            writer.add(_BreaksHalfWay(b"0123456789abcdef"))
        writer.add(b"second")
        path = writer.commit()
    with InboxFile(path) as file:
        assert [file.read(one) for one in file.manifest.documents] == [b"first", b"second"]
