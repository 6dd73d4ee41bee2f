"""Errors that pass: waiting alone can heal them."""

from __future__ import annotations

from strongroom.failure import StorageError


class Transient(StorageError):
    """Something that waiting can heal."""

    code = "transient"
    retryable = True
    default_hint = "It is tried again by itself."


class CatalogueBusy(Transient):
    """The database was locked or its connection dropped."""

    code = "catalogue_busy"
    category = "timeout"


class TransientIO(Transient):
    """The disk or file system answered with an error that may pass (EAGAIN, EINTR, EIO once)."""

    code = "io_error"
    category = "filesystem"


class DiskFull(Transient):
    """No space left. What was accepted stays in the inbox and goes on when there is space."""

    code = "disk_full"
    category = "filesystem"
    default_hint = "Free some space: accepted documents wait in the inbox and are stored then."


class NotEnoughSpace(DiskFull):
    """Less space is free than a job is predicted to need. It was not begun; it goes on by itself when there is enough."""

    code = "not_enough_space"
    default_hint = (
        "`strongroom cleanup sweep` frees what was removed long ago; docs/how-to/disk-full.md says what else may go. "
        "The job goes on by itself."
    )


class QuotaExceeded(Transient):
    """A library, or all of them together, would take more than its quota. Nothing of the job was stored; it waits for room."""

    code = "quota_exceeded"
    category = "configuration"
    default_hint = (
        "`strongroom quota` shows what is used: remove versions (`strongroom cleanup`) or raise STRONGROOM_QUOTAS. "
        "An accepted job goes on by itself then."
    )


class QueueFull(Transient):
    """More jobs wait already than the service allows. Nothing of this call's next message was staged or sent."""

    code = "queue_full"
    category = "timeout"
    default_hint = "The workers are behind: wait, send more slowly, or raise STRONGROOM_MAX_WAITING. Calling again is safe."


class OutboxFull(Transient):
    """The client's outbox holds as much as it may. This message was not accepted; those in it stay."""

    code = "outbox_full"
    category = "filesystem"
    default_hint = (
        "It empties itself when the broker answers (`strongroom outbox --folder` shows it); or raise outbox_limit_bytes."
    )


class BrokerUnavailable(Transient):
    """The broker did not answer within the time given."""

    code = "broker_unavailable"
    category = "network"
    default_hint = "Start the service (`strongroom up`) or correct STRONGROOM_BROKER_URL, then call again: it is safe to."


class TargetUnreachable(Transient):
    """The place where backups are kept does not answer, or says that it cannot now. It was asked several times."""

    code = "target_unreachable"
    category = "network"
    default_hint = "Look at the network and at STRONGROOM_BACKUP_S3_ENDPOINT; the job is tried again by itself."


class WaitTimeout(Transient):
    """The job had not finished when the waiting time was over. It still runs."""

    code = "wait_timeout"
    category = "timeout"
    default_hint = "The job goes on; `strongroom jobs` shows it. Wait again or longer."
