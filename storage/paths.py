"""Library ids and versions as names of files: one to one, never outside the folder they stand in."""

from __future__ import annotations

import hashlib
import re
from functools import lru_cache
from urllib.parse import unquote_to_bytes

from strongroom.errors import InvalidIdentifier

MAX_IDENTIFIER_BYTES = 1024
"""The longest library id or version, in bytes of UTF-8."""

MAX_COMPONENT_BYTES = 200
"""The longest name made here: file systems allow 255, and a part file or a generation adds to it."""

LATEST = "latest"
"""The alias for the newest release. It names no version, so no version may have it as its name."""

_LAYOUT_NAMES = frozenset({LATEST, "metadata.json"})
_CONTROL = re.compile("[\x00-\x1f\x7f-\x9f]")
_HALF_ESCAPE = re.compile(r"(?:%[0-9a-f]?|\^)\Z")
_PREFIX_CHARS = MAX_COMPONENT_BYTES - len("~") - 2 * hashlib.sha256().digest_size
# Up to two characters less where the cut fell into an escape.
_SHORTENED = re.compile(rf"[a-z0-9._+^%-]{{{_PREFIX_CHARS - 2},{_PREFIX_CHARS}}}~[0-9a-f]{{64}}")


def check_identifier(value: str, what: str) -> str:
    """Return ``value`` unchanged if it may name a library or a version; ``what`` is "library id" or "version".

    ``.`` and ``..`` as a part between slashes are refused although they could be stored safely: nobody names a library
    so, and whoever sends it is testing a lock.

    Raises:
        InvalidIdentifier: it is empty or blank, longer than 1,024 bytes, holds a control character (C0, DEL, C1), a lone
            surrogate or a path step, or it is a version or a label called ``latest``.
    """
    fault = _fault(value)
    if fault is not None:
        raise InvalidIdentifier(f"The {what} {fault}: {_excerpt(value)}")
    if what == "version" and value == LATEST:
        raise InvalidIdentifier(
            "A version cannot be called 'latest'.",
            "`latest` is the alias for the newest release: store the document under its own version, such as 3.1.3.",
        )
    if what == "label" and value == LATEST:
        raise InvalidIdentifier(
            "A label cannot be called 'latest'.",
            "Nobody could read it. `strongroom rollback LIBRARY VERSION` has `latest` mean another version.",
        )
    return value


@lru_cache(maxsize=4096)  # a library comes with each of its versions
def encode_component(identifier: str) -> str:
    """Return the one name that stands for ``identifier`` on disk: lower-case ASCII, at most 200 bytes.

    Lower-case letters, digits, ``-``, ``_`` and ``.`` stand for themselves, ``/`` is ``+``, an upper-case letter is ``^``
    and its lower case, every other byte of the UTF-8 form is ``%xx``. The first character is escaped in names that the
    layout uses itself and before a leading dot, the last where it is a dot. What would be longer is a prefix of that,
    ``~`` and the SHA-256 of the identifier.

    Different identifiers give names that also differ on file systems that fold case or normalise Unicode. Safe for any
    text, ``..`` included: this is a mapping, ``check_identifier`` is the gate.

    Raises:
        InvalidIdentifier: it is empty or holds a lone surrogate, so that it has no UTF-8 form.
    """
    plain = _utf8(identifier)
    if not plain:
        raise InvalidIdentifier("An empty identifier has no name on disk.")
    encoded = _escape_ends(plain.decode("latin-1").translate(_FORMS))
    if len(encoded) <= MAX_COMPONENT_BYTES:
        return encoded
    prefix = _HALF_ESCAPE.sub("", encoded[:_PREFIX_CHARS])
    return f"{prefix}~{hashlib.sha256(plain).hexdigest()}"


def decode_component(component: str) -> str | None:
    """Return the identifier that ``encode_component`` made this name of, or None for a shortened name.

    A shortened name cannot be turned back: the identifier stands in the ``metadata.json`` below it.

    Raises:
        InvalidIdentifier: ``encode_component`` makes no such name, so whatever bears it was put there by someone else.
    """
    if _SHORTENED.fullmatch(component):
        return None
    unfolded = re.sub(r"\^([a-z])", lambda match: match[1].upper(), component.replace("+", "/"))
    try:
        identifier = unquote_to_bytes(unfolded).decode("utf-8")
        canonical = encode_component(identifier)
    except (UnicodeError, InvalidIdentifier):
        canonical = None
    if canonical != component:
        raise InvalidIdentifier(f"No library id or version is stored under this name: {_excerpt(component)}")
    return identifier


def _fault(value: str) -> str | None:
    try:
        size = len(value.encode("utf-8"))
    except UnicodeEncodeError:
        return "holds a lone surrogate"
    if not value.strip():
        return "is blank" if value else "is empty"
    if size > MAX_IDENTIFIER_BYTES:
        # Not how many it has: a document's own is cut before it comes here (identity.FACT_CHARS).
        return f"has more than the {MAX_IDENTIFIER_BYTES:,} bytes that are allowed"
    if _CONTROL.search(value):
        return "holds a control character"
    if (value[0] == "." or "/." in value) and {".", ".."} & set(value.split("/")):
        return "has '.' or '..' as a step of a path"
    return None


def _excerpt(value: str) -> str:
    # repr escapes control characters and surrogates: an error message must not be able to break a terminal or a log.
    return repr(value) if len(value) <= 80 else f"{value[:60]!r}..."


def _utf8(identifier: str) -> bytes:
    try:
        return identifier.encode("utf-8")
    except UnicodeEncodeError:
        raise InvalidIdentifier(f"The identifier holds a lone surrogate: {_excerpt(identifier)}") from None


def tree_path(library_id: str, version: str) -> str:
    """Return where other programs find a version, below the data folder."""
    return f"documentation/{encode_component(library_id)}/{encode_component(version)}/documentation.json.gz"


def _form(byte: int) -> str:
    char = chr(byte)
    if char == "/":
        return "+"
    if "A" <= char <= "Z":
        return "^" + char.lower()
    if "a" <= char <= "z" or "0" <= char <= "9" or char in "-_.":
        return char
    return _hex(char)


def _hex(char: str) -> str:
    return f"%{ord(char):02x}"


def _escape_ends(encoded: str) -> str:
    # A dot at the end is dropped by some file systems, one at the start hides the file and is how the layout names its own.
    if encoded.endswith("."):
        encoded = encoded[:-1] + _hex(".")
    if encoded.startswith(".") or encoded in _LAYOUT_NAMES:
        encoded = _hex(encoded[0]) + encoded[1:]
    return encoded


_FORMS = {byte: _form(byte) for byte in range(256)}
