"""What becomes of one document of a store: what the disk is told, what the catalogue is told, what the producer is told."""

from __future__ import annotations

from dataclasses import dataclass, replace
from datetime import datetime

from models.rows import Committed, NewVersion
from storage.index import VersionRecord
from storage.intake import Checked, Incoming, Named
from storage.paths import tree_path
from strongroom.contracts import DocumentReceipt, ErrorInfo
from strongroom.errors import StorageError, VersionExists
from strongroom.result import Problem


@dataclass(slots=True)
class Outcome:
    """One document on its way: to be checked, then either ``checked`` or failed with an ``error``.

    ``stored_at`` differs from document to document of a store, so that the times alone tell the order of revisions.
    """

    incoming: Incoming
    stored_at: datetime
    checked: Checked | None = None
    error: StorageError | None = None
    stored_bytes: int = 0
    answer: Committed | None = None
    """What the catalogue did with it."""

    @property
    def refuses_other(self) -> bool:
        """Whether it is not to be added beside other content of its version."""
        return self.incoming.options.if_exists == "refuse"

    @property
    def known(self) -> Checked:
        """What the check found. Only for a document that passed it."""
        assert self.checked is not None
        return self.checked

    @property
    def named(self) -> Named:
        """Which version it is. Only for a document that passed the check."""
        return self.known.named

    def rename(self, library_id: str) -> None:
        """Have it be of this library, which is what its name means."""
        path = tree_path(library_id, self.named.version)
        self.checked = replace(self.known, named=replace(self.named, library_id=library_id, file_path=path))

    def let_go(self) -> None:
        """Drop the plain bytes, which are written now."""
        known = self.known
        self.checked = Checked(known.incoming, known.named, known.content_sha256, known.size_bytes, None)

    def fail(self, error: StorageError) -> None:
        """Fail it, and let go of the document: the frames that led to the error hold its bytes, and the error would hold them."""
        link: BaseException | None = error
        while link is not None:
            link.__traceback__ = link.__context__ = None
            link = link.__cause__
        self.error = error

    def refuse(self) -> None:
        """Fail it, since its version is there with other content."""
        self.error = VersionExists(f"{self.named.library_id} {self.named.version} is stored with other content.")

    def record(self) -> VersionRecord:
        """Return what the disk remembers of it."""
        options, known = self.incoming.options, self.known
        named = known.named
        return VersionRecord(
            named.library_id,
            named.version,
            known.content_sha256,
            self.stored_at,
            sort_as=options.sort_as or "",
            refuse_other=self.refuses_other,
            source=options.source or "",
            library=named.identity.library,
            details=options.metadata,
        )

    def new_version(self, *, recorded: bool) -> NewVersion:
        """Return what the catalogue is asked to add. ``recorded``: the disk remembers it."""
        options, known = self.incoming.options, self.known
        named = known.named
        return NewVersion(
            named.library_id,
            named.version,
            named.order_rank,
            named.order_key,
            named.file_path,
            known.content_sha256,
            known.size_bytes,
            self.stored_bytes,
            self.stored_at,
            refuse_other=self.refuses_other,
            source=options.source or "",
            library=named.identity.library,
            details=options.metadata,
            recorded=recorded,
        )

    def receipt(self) -> DocumentReceipt:
        """Return what the producer is told. Only for a document that has failed or has its answer."""
        answer = self.answer
        if answer is not None and answer.status == "refused":
            self.refuse()
        if self.error is not None or answer is None:
            assert self.error is not None
            return DocumentReceipt(name=self.incoming.name, status="failed", error=ErrorInfo.of(Problem.of(self.error)))
        known = self.known
        return DocumentReceipt(
            name=self.incoming.name,
            status="unchanged" if answer.status == "unchanged" else "stored",
            library_id=known.named.library_id,
            version=known.named.version,
            revision=answer.revision,
            content_sha256=known.content_sha256,
            size_bytes=known.size_bytes,
            stored_bytes=self.stored_bytes,
        )
