"""The one library that speaks S3, set up."""

from __future__ import annotations

from typing import TYPE_CHECKING
from urllib.parse import urlsplit

import boto3
from botocore.config import Config

from storage.backup.s3_access import Access
from strongroom.errors import ConfigurationError

if TYPE_CHECKING:
    from types_boto3_s3.client import S3Client


def client_of(access: Access) -> S3Client:
    """Return a client. Nothing is asked of the store yet.

    Raises:
        ConfigurationError: half of the credentials is there (the library would look for others), or the address cannot be one.
            The message does not hold it: some clients take the keys within it.
    """
    if access.endpoint is not None and not _is_address(access.endpoint):
        raise ConfigurationError(
            "STRONGROOM_BACKUP_S3_ENDPOINT is no address such as https://s3.example.org.",
            "Begin it with https:// or http://, and leave out keys; those have settings of their own: STRONGROOM_BACKUP_S3_...",
        )
    if (access.access_key is None) != (access.secret_key is None):
        raise ConfigurationError(
            "Only one of STRONGROOM_BACKUP_S3_ACCESS_KEY and STRONGROOM_BACKUP_S3_SECRET_KEY is set.", "Set both, or none."
        )
    config = Config(
        retries={"mode": "standard", "total_max_attempts": access.tries},
        connect_timeout=min(10.0, access.timeout_s),
        read_timeout=access.timeout_s,
        # The store checks the SHA-256 of what it gets; the library's own checksums go by trailers that not every store knows.
        s3={"addressing_style": "path" if access.endpoint else "auto", "payload_signing_enabled": True},
        request_checksum_calculation="when_required",
        response_checksum_validation="when_required",
        ignore_configured_endpoint_urls=True,
        tcp_keepalive=True,
    )
    client: S3Client = boto3.session.Session().client(
        "s3",
        endpoint_url=access.endpoint,
        region_name=access.region,
        aws_access_key_id=access.access_key,
        aws_secret_access_key=access.secret_key,
        config=config,
    )
    return client


def _is_address(endpoint: str) -> bool:
    try:
        parts = urlsplit(endpoint)
        usable = parts.port != 0  # reading it raises, too, when it is no number of a port
    except ValueError:
        return False
    return usable and parts.scheme in {"http", "https"} and bool(parts.hostname) and not {"@", "?", "#"} & set(endpoint)
