"""The messages that cross the queue and what comes back: released once, then they only gain fields with defaults."""

from __future__ import annotations

from typing import Annotated, Any, Literal, TypeVar

from pydantic import AfterValidator, BaseModel, ConfigDict, Field, ValidationError

from strongroom.answers import Damage, DocumentReceipt, ErrorInfo, Finding, Mended, Repaired, StoreReceipt, VerifyReceipt
from strongroom.errors import InvalidMessage
from strongroom.numbering import CONTRACT, FIRST_CONTRACT, refuse_newer
from strongroom.routes import Priority

__all__ = [  # the answers and the number belong to the contracts as producers see them
    "CONTRACT",
    "INLINE_LIMIT_BYTES",
    "METADATA_DEPTH",
    "Damage",
    "DocumentOptions",
    "DocumentReceipt",
    "ErrorInfo",
    "Finding",
    "IfExists",
    "InboxName",
    "InlineDocument",
    "Manifest",
    "Mended",
    "Metadata",
    "Repaired",
    "RequestId",
    "Sha256",
    "StagedDocument",
    "StoreMessage",
    "StoreReceipt",
    "Text",
    "VerifyMessage",
    "VerifyReceipt",
    "parse_message",
]

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
