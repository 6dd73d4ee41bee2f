"""Sealing: what leaves for a target is encrypted, at the operator's choice, in the format of age (age-encryption.org/v1).

The operator's own ``age`` opens what is sealed here, with the key file as it is: docs/how-to/backup-encryption.md.
"""

from __future__ import annotations

import os
import re
from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass
from datetime import datetime
from pathlib import Path
from typing import TYPE_CHECKING, Protocol

from storage.backup.pump import Sink, Source, pumped
from strongroom import durable
from strongroom.errors import BackupDamaged, BackupKeyError, InvalidRequest

if TYPE_CHECKING:
    import pyrage

NONE, AGE = "none", "age"
"""How a target can be sealed."""

_READABLE_BY_ALL = 0o007
_LARGEST_KEY_FILE = 64 * 1024
HEAD_BYTES = 64 << 10
"""The header of a sealed file is shorter: some 100 bytes for each recipient."""
_NONCE_BYTES, _TAG_BYTES, _CHUNK_BYTES = 16, 16, 64 << 10
_MAC = re.compile(rb"^--- [A-Za-z0-9+/]+\n", re.MULTILINE)
_MAKE_ONE = "Set STRONGROOM_BACKUP_KEY_FILE to the key file; docs/how-to/backup-encryption.md says what to do without it."


class Seal(Protocol):
    """Turns bytes into what a target may see, and back."""

    @property
    def kind(self) -> str:
        """Return ``none`` or ``age``."""

    @property
    def recipients(self) -> tuple[str, ...]:
        """For whom it seals: public keys, fit to be shown. The first is that of the first secret key."""

    def sealed(self, pieces: Iterable[bytes]) -> Iterator[bytes]:
        """Yield what a target keeps of these pieces. Holds few of them; takes them in the caller's thread."""

    def opened(self, pieces: Iterable[bytes]) -> Iterator[bytes]:
        """Yield the bytes that were sealed; none that was not authenticated, and none out of order.

        Raises:
            BackupKeyError: they were sealed for another key.
            BackupDamaged: they are not what was sealed, or end too early. What was yielded before is right as far as it goes.
        """

    def plain_bytes(self, sealed_bytes: int, head: bytes) -> int:
        """Return how many bytes are sealed in a file of so many, of which ``head`` is the beginning: ``HEAD_BYTES``, or all.

        Raises:
            BackupDamaged: this is no beginning of such a file.
        """

    def check(self, kind: str, recipients: Sequence[str]) -> None:
        """Compare with how a target says that it is sealed, before anything else is done with it.

        Raises:
            BackupKeyError: this seal cannot open it; the message says what is missing.
        """


class Unsealed:
    """Leaves the bytes as they are."""

    kind = NONE
    recipients: tuple[str, ...] = ()

    def sealed(self, pieces: Iterable[bytes]) -> Iterator[bytes]:
        """Yield the pieces."""
        yield from pieces

    def opened(self, pieces: Iterable[bytes]) -> Iterator[bytes]:
        """Yield the pieces."""
        yield from pieces

    def plain_bytes(self, sealed_bytes: int, head: bytes) -> int:  # noqa: ARG002 - a seal's
        """Return that very number."""
        return sealed_bytes

    def check(self, kind: str, recipients: Sequence[str]) -> None:
        """Refuse a target that is sealed."""
        if kind != NONE:
            raise BackupKeyError(f"The backups are sealed for {_these(recipients)}, and no key is set.", _MAKE_ONE)


@dataclass(frozen=True, slots=True, repr=False)
class Keys:
    """The secret keys of a key file. They open what was sealed for any of them; all recipients can open what they seal."""

    identities: tuple[pyrage.x25519.Identity, ...]
    recipients: tuple[str, ...]

    kind = AGE

    def __repr__(self) -> str:
        return f"Keys({', '.join(self.recipients)})"

    def sealed(self, pieces: Iterable[bytes]) -> Iterator[bytes]:
        """Yield an age file."""
        import pyrage  # noqa: PLC0415 - only who seals loads it

        to = [pyrage.x25519.Recipient.from_str(one) for one in self.recipients]
        return pumped(pieces, lambda source, sink: pyrage.encrypt_io(source, sink, to))

    def opened(self, pieces: Iterable[bytes]) -> Iterator[bytes]:
        """Yield what is in an age file."""
        return pumped(pieces, self._decrypt)

    def _decrypt(self, source: Source, sink: Sink) -> None:
        import pyrage  # noqa: PLC0415 - as above

        try:
            pyrage.decrypt_io(source, sink, list(self.identities))
        except pyrage.DecryptError as error:
            if "No matching keys" in str(error):
                raise BackupKeyError(f"It is not sealed for {_these(self.recipients)}: the key is another one.") from None
            raise BackupDamaged(f"It is no sealed file: {error}.") from None
        except OSError as error:  # the library's word for a piece that fails its authentication, or is missing
            raise BackupDamaged(f"A sealed file is damaged or cut short: {error}.") from None

    def plain_bytes(self, sealed_bytes: int, head: bytes) -> int:
        """Take off what age adds: a header that ends with a MAC, a nonce, and a tag behind every 64 KiB."""
        found = _MAC.search(head)
        if found is None:
            raise BackupDamaged("It is no sealed file: its header has no end.")
        payload = sealed_bytes - found.end() - _NONCE_BYTES
        return payload - _TAG_BYTES * -(-payload // (_CHUNK_BYTES + _TAG_BYTES))

    def check(self, kind: str, recipients: Sequence[str]) -> None:
        """Refuse a target that is not sealed, or for others alone."""
        if kind == NONE:
            raise BackupKeyError(
                "A key is set, and what is there is not sealed: part of it would be readable by all who can read the place.",
                "Unset STRONGROOM_BACKUP_KEY_FILE, or name a new STRONGROOM_BACKUP_TARGET: its first backup holds everything.",
            )
        own = {str(one.to_public()) for one in self.identities}
        if own.isdisjoint(recipients):
            raise BackupKeyError(
                f"The backups are sealed for {_these(recipients)}, and the key is that of {_these(sorted(own))}.", _MAKE_ONE
            )


def seal_of(key_file: Path | None) -> Seal:
    """Return the seal of a key file; without one, the bytes stay as they are.

    Raises:
        BackupKeyError: the file is not there, holds no key, or everybody can read it. The message never holds a part of it.
    """
    return Unsealed() if key_file is None else _read_keys(key_file)


def make_key(key_file: Path, now: datetime) -> str:
    """Write a new secret key to a new file that its owner alone may read; return its public key. Durable on return.

    Raises:
        InvalidRequest: the file exists. It is as it was: it may be the only key to a backup.
        DiskFull, PermissionRefused: nothing was left behind.
    """
    import pyrage  # noqa: PLC0415 - as above

    identity = pyrage.x25519.Identity.generate()
    public = str(identity.to_public())
    text = f"# created: {now:%Y-%m-%dT%H:%M:%SZ}\n# public key: {public}\n{identity}\n"
    with durable.os_errors(f"{key_file} cannot be written"):
        durable.step("backup key: create")
        try:
            descriptor = os.open(key_file, os.O_WRONLY | os.O_CREAT | os.O_EXCL | os.O_CLOEXEC, 0o600)
        except FileExistsError:
            said = f"{key_file} exists, and is left as it is: it may be the only key to a backup."
            raise InvalidRequest(said, "Name another file with --out.") from None
        try:
            with open(descriptor, "w", encoding="ascii") as file:
                file.write(text)
                file.flush()
                durable.fsync_file(file.fileno(), "backup key")
            durable.fsync_folder(key_file.absolute().parent, "backup key")
        except OSError:
            key_file.unlink(missing_ok=True)
            raise
    return public


def _read_keys(key_file: Path) -> Keys:
    import pyrage  # noqa: PLC0415 - as above

    identities, others = [], []
    for number, line in enumerate(_lines(key_file), start=1):
        if not line or line.startswith("#"):
            continue
        try:
            if line.startswith("age1"):
                others.append(str(pyrage.x25519.Recipient.from_str(line)))
            else:
                identities.append(pyrage.x25519.Identity.from_str(line))
        except (pyrage.IdentityError, pyrage.RecipientError):
            raise _no_key(f"line {number} of {key_file} is no key of age (X25519)") from None
    if not identities:
        raise _no_key(f"{key_file} holds no secret key")
    own = [str(one.to_public()) for one in identities]
    return Keys(tuple(identities), tuple(dict.fromkeys([*own, *others])))


def _lines(key_file: Path) -> list[str]:
    try:
        with open(key_file, "rb") as file:
            if os.fstat(file.fileno()).st_mode & _READABLE_BY_ALL:
                raise BackupKeyError(f"Everybody on this machine can read the key {key_file}.", f"chmod 600 {key_file}")
            content = file.read(_LARGEST_KEY_FILE + 1)
    except OSError as error:
        raise _no_key(f"the key file {key_file} cannot be read: {error.strerror}") from None
    if len(content) > _LARGEST_KEY_FILE or not content.isascii():
        raise _no_key(f"{key_file} is no key file")
    return [line.strip() for line in content.decode("ascii").splitlines()]


def _no_key(said: str) -> BackupKeyError:
    return BackupKeyError(f"{said[0].upper()}{said[1:]}.", _MAKE_ONE)


def _these(recipients: Sequence[str]) -> str:
    return " and ".join(recipients) or "nobody"
