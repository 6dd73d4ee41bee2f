"""How an object store is reached: its address, the credentials, and the one library that speaks S3."""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import TYPE_CHECKING

import boto3
from botocore.config import Config

if TYPE_CHECKING:
    from types_boto3_s3.client import S3Client

TRIES = 6


@dataclass(frozen=True, slots=True)
class Access:
    """How a store is reached. Without keys it is as the AWS tools find them: a profile, a role of the machine."""

    endpoint: str | None = None
    region: str = "us-east-1"
    access_key: str | None = field(default=None, repr=False)
    secret_key: str | None = field(default=None, repr=False)
    tries: int = TRIES
    """How often a request is made before it is given up, with growing pauses."""
    timeout_s: float = 60.0


def client_of(access: Access) -> S3Client:
    """Return a client. Nothing is asked of the store yet."""
    own = access.access_key is not None and access.secret_key is not None
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
        aws_access_key_id=access.access_key if own else None,
        aws_secret_access_key=access.secret_key if own else None,
        config=config,
    )
    return client
