"""Errors of requests: the same request will be refused again."""

from __future__ import annotations

from strongroom.failure import StorageError


class InvalidRequest(StorageError):
    """The request itself is wrong: the same request will be refused again."""

    code = "invalid_request"
    category = "validation"
    default_hint = "Correct the request and send it again."


class InvalidMessage(InvalidRequest):
    """A message that does not follow the contract: an unknown field, a wrong type, a missing part."""

    code = "invalid_message"
    default_hint = "Compare the message with docs/reference/tasks.md; fields are never guessed."


class MessageTooNew(InvalidMessage):
    """A message of a contract that this worker does not know yet."""

    code = "message_too_new"
    default_hint = "Upgrade the workers; nothing else: the message waits, and is offered again every half minute."


class InvalidIdentifier(InvalidRequest):
    """A library id or version that cannot be one: empty, too long, with NUL or a lone surrogate."""

    code = "invalid_identifier"
    default_hint = "Use an id such as /owner/name and a version such as 3.1.3 (1 to 1,024 bytes of UTF-8, no control characters)."


class MissingIdentifier(InvalidIdentifier):
    """Neither the request nor the document says which library or version this is."""

    code = "missing_identifier"
    default_hint = "Name them with --library and --version, or add library_id and version_id to the document."


class InvalidDocument(InvalidRequest):
    """The bytes are not a document that strongroom accepts."""

    code = "invalid_document"
    default_hint = "A document is one JSON object in UTF-8 without a byte order mark, plain or gzipped."


class EmptyDocument(InvalidDocument):
    """No bytes at all."""

    code = "empty_document"
    default_hint = "The file is empty: download it again."


class NotJson(InvalidDocument):
    """The text breaks JSON's grammar (RFC 8259), NaN, a byte order mark and invalid UTF-8 included."""

    code = "not_json"


class NotAnObject(InvalidDocument):
    """The JSON is a list, a string, a number or null where an object must stand."""

    code = "not_an_object"
    default_hint = "Wrap the value in an object: a document is {...}."


class DuplicateKey(InvalidDocument):
    """An object names one key twice: readers would disagree about its value."""

    code = "duplicate_key"
    default_hint = "Remove one of the two: no reader could tell which value is meant."


class LoneSurrogate(InvalidDocument):
    """A string holds half of a surrogate pair, which no UTF-8 text can hold."""

    code = "lone_surrogate"
    default_hint = "Write the character itself or its whole pair of \\u escapes."


class DamagedGzip(InvalidDocument):
    """A gzip stream that ends early or fails its own checksum."""

    code = "damaged_gzip"
    default_hint = "The download is truncated or damaged: fetch it again (`gzip -t FILE` tells)."


class LimitExceeded(InvalidDocument):
    """A document past one of the limits: size, depth, keys in an object, length of a string or number."""

    code = "limit_exceeded"
    default_hint = (
        "Split the document: how deep it nests, how many keys it has and how long a text may be is fixed, and no setting."
    )


class DocumentTooLarge(LimitExceeded):
    """More plain bytes than the largest document allowed (a gzip bomb ends here too)."""

    code = "document_too_large"
    default_hint = "Split the document, or raise STRONGROOM_MAX_DOCUMENT_BYTES."


class VersionExists(InvalidRequest):
    """The version is stored with other content, and the request says to refuse then."""

    code = "version_exists"
    default_hint = "Store it under another version, or drop --if-exists refuse to add a revision."


class StalePlan(InvalidRequest):
    """What a plan was made from has changed since: carrying it out would do what nobody was shown."""

    code = "stale_plan"
    default_hint = "Look at the new plan with `strongroom cleanup`, then apply that."
