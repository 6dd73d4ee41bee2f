"""The messages that cross the queue and what comes back: released once, then they only gain fields with defaults."""

from __future__ import annotations

from typing import Annotated, Any, Literal, TypeVar, cast

from pydantic import AfterValidator, BaseModel, ConfigDict, Field, ValidationError

from strongroom.errors import Category, InvalidMessage
from strongroom.numbering import CONTRACT as CONTRACT  # noqa: PLC0414 - it belongs to the contracts as producers see them
from strongroom.numbering import FIRST_CONTRACT, refuse_newer
from strongroom.result import Problem
from strongroom.routes import Priority

INLINE_LIMIT_BYTES = 256 * 1024
"""The largest document a message may carry itself; larger ones go through the inbox (claim check)."""

IfExists = Literal["revise", "refuse"]
"""What to do when the version is stored with other content: add a revision, or refuse."""

RequestId = Annotated[str, Field(pattern=r"^[0-9A-Za-z][0-9A-Za-z_-]{7,63}$", description="Names the job; unique.")]
InboxName = Annotated[str, Field(pattern=r"^[0-9A-Za-z][0-9A-Za-z_-]{7,63}\.inbox$", description="A file in the inbox folder.")]
Sha256 = Annotated[str, Field(pattern=r"^[0-9a-f]{64}$")]
M = TypeVar("M", bound=BaseModel)


class _Contract(BaseModel):
    """What is asked of us: an unknown field is an error, since ignoring it might ignore what matters to the sender."""

    model_config = ConfigDict(extra="forbid", frozen=True)


class _Answer(BaseModel):
    """What we answer: an older client passes over what a newer worker adds."""

    model_config = ConfigDict(extra="ignore", frozen=True)


def _encodable(text: str) -> str:
    try:
        text.encode("utf-8")
    except UnicodeEncodeError:
        raise ValueError("holds a lone surrogate") from None
    return text


Text = Annotated[str, AfterValidator(_encodable)]

METADATA_DEPTH = 64
"""Levels of metadata. A manifest is written down to 255 and read down to 200: deeper, an accepted job could not be read."""


def _shallow(metadata: dict[str, Any]) -> dict[str, Any]:
    level: list[Any] = [metadata]
    for _ in range(METADATA_DEPTH):
        inside = (value for one in level for value in (one.values() if isinstance(one, dict) else one))
        level = [value for value in inside if isinstance(value, dict | list | tuple)]
        if not level:
            return metadata
    raise ValueError(f"nests deeper than {METADATA_DEPTH} levels")


Metadata = Annotated[dict[str, Any], AfterValidator(_shallow)]
"""A JSON object of the producer's own: any shape."""


class DocumentOptions(_Contract):
    """What the producer says about a document. Empty fields are taken from the document itself."""

    library_id: Text | None = Field(None, description="Such as /owner/name; default: the document's own.")
    version: Text | None = Field(None, description="Such as 3.1.3; default: the document's own.")
    sort_as: Text | None = Field(None, max_length=1024, description="Order this version as if it had this name.")
    if_exists: IfExists = Field("revise", description="When the version is there with other content.")
    source: Text | None = Field(None, max_length=4096, description="Where it was downloaded from.")
    metadata: Metadata = Field(default_factory=dict, description="Kept with the version as it is.")


class InlineDocument(DocumentOptions):
    """A document inside a message. ``text`` keeps the exact bytes; ``content`` is written compactly in UTF-8."""

    text: str | None = Field(None, description="The document's exact JSON text.")
    content: dict[str, Any] | None = Field(None, description="The document as a JSON object.")


class StagedDocument(DocumentOptions):
    """One document of an inbox file: where it lies and what its bytes hash to (as staged, packed or not)."""

    name: Text = Field("", max_length=4096, description="What the producer calls it, such as a file name.")
    offset: int = Field(ge=0)
    length: int = Field(ge=0)
    sha256: Sha256


class Manifest(_Contract):
    """What stands at the end of an inbox file. A file with a complete manifest is an accepted job."""

    contract: int = Field(FIRST_CONTRACT, ge=1)
    request_id: RequestId
    receipt: bool = Field(False, description="Write a receipt file when the job has ended.")
    priority: Priority = Field("normal", description="Which of the waiting jobs goes first; contract 2.")
    documents: list[StagedDocument]


class StoreMessage(_Contract):
    """The arguments of ``strongroom.store``: an inbox file, or one document, or a few, inside the message."""

    contract: int = Field(FIRST_CONTRACT, ge=1)
    request_id: RequestId | None = Field(None, description="Default: the Celery task id.")
    inbox: InboxName | None = Field(None, description="A file that the client staged.")
    documents: list[InlineDocument] = Field(default_factory=list, max_length=1000)
    text: str | None = Field(None, description="One document's exact JSON text.")
    content: dict[str, Any] | None = Field(None, description="One document as a JSON object.")
    library_id: Text | None = None
    version: Text | None = None
    sort_as: Text | None = Field(None, max_length=1024)
    if_exists: IfExists = "revise"
    source: Text | None = Field(None, max_length=4096)
    metadata: Metadata = Field(default_factory=dict)
    receipt: bool = Field(False, description="Write a receipt file when the job has ended.")
    priority: Priority = Field("normal", description="Which of the waiting jobs goes first; contract 2.")


class VerifyMessage(_Contract):
    """The arguments of ``strongroom.verify``: everything, a library, or one version."""

    contract: int = Field(FIRST_CONTRACT, ge=1)
    request_id: RequestId | None = None
    library_id: Text | None = None
    version: Text | None = None
    receipt: bool = False
    priority: Priority = Field("normal", description="Which of the waiting jobs goes first; contract 2.")
    repair: bool = Field(False, description="Repair what is damaged from a good source, if there is one; contract 3.")


class ErrorInfo(_Answer):
    """An error as data: see docs/reference/errors.md for the codes."""

    code: str
    message: str
    hint: str
    category: str = "unknown"
    retryable: bool = False
    context: dict[str, Any] = Field(default_factory=dict)

    @classmethod
    def of(cls, problem: Problem) -> ErrorInfo:
        """Return the problem without its cause and time."""
        return cls(
            code=problem.code,
            message=problem.message,
            hint=problem.hint,
            category=problem.category,
            retryable=problem.retryable,
            context=problem.context,
        )

    def as_problem(self) -> Problem:
        """Return it as what an ``Err`` holds."""
        category = cast("Category", self.category)
        return Problem(self.code, self.message, self.hint, category, self.retryable, self.context)


class DocumentReceipt(_Answer):
    """What became of one document. ``size_bytes`` counts plain bytes, ``stored_bytes`` those on disk."""

    name: str = ""
    status: Literal["stored", "unchanged", "failed"]
    library_id: str | None = None
    version: str | None = None
    revision: int | None = None
    content_sha256: str | None = None
    size_bytes: int | None = None
    stored_bytes: int | None = None
    error: ErrorInfo | None = None


class StoreReceipt(_Answer):
    """What became of a store job: one entry a document, in the order they were sent."""

    request_id: str
    state: Literal["done", "failed", "quarantined"]
    documents: list[DocumentReceipt] = Field(default_factory=list)
    error: ErrorInfo | None = None


class Damage(_Answer):
    """A version whose stored bytes do not hold what was promised."""

    library_id: str
    version: str
    revision: int
    code: str
    message: str
    segment: str
    offset: int
    length: int


class Finding(_Answer):
    """Something out of step that is not a version's own bytes: an index, a file of the tree."""

    code: str
    path: str
    message: str


class Repaired(_Answer):
    """A version that was damaged and is whole again. ``source`` says where its bytes were had from."""

    library_id: str
    version: str
    revision: int
    code: str
    source: str


class Mended(_Answer):
    """A finding that a repair has seen to."""

    code: str
    path: str
    source: str


class VerifyReceipt(_Answer):
    """What a verification found. ``checked`` counts versions, ``read_bytes`` what was read from disk.

    When a repair was asked for, ``damaged`` and ``findings`` are what remains; ``repaired`` and ``mended`` what was seen to.
    """

    request_id: str = ""
    checked: int
    read_bytes: int
    damaged: list[Damage]
    findings: list[Finding] = Field(default_factory=list)
    repaired: list[Repaired] = Field(default_factory=list)
    mended: list[Mended] = Field(default_factory=list)


def parse_message(kind: type[M], fields: dict[str, Any]) -> M:
    """Return the message, checked.

    Raises:
        MessageTooNew: its contract is newer than this release's.
        InvalidMessage: a field is unknown, missing or of the wrong type.
    """
    refuse_newer(fields.get("contract"))
    try:
        return kind.model_validate(fields)
    except ValidationError as error:
        raise InvalidMessage(_describe(error)) from None


def _describe(error: ValidationError) -> str:
    faults = (f"{'.'.join(str(part) for part in fault['loc']) or 'message'}: {fault['msg']}" for fault in error.errors()[:5])
    return "; ".join(faults)
