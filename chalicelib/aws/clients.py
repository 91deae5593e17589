"""The clients themselves: the one place where endpoints, time limits and retries are chosen."""

from functools import cached_property
from typing import Any, cast

import boto3
from botocore.config import Config

CONFIG = Config(
    retries={"mode": "standard", "max_attempts": 5},
    connect_timeout=5,
    read_timeout=30,
    max_pool_connections=32,
    signature_version="s3v4",
    request_checksum_calculation="when_required",
    response_checksum_validation="when_required",
)


class Aws:
    """The clients, each made when first used. Endpoints and credentials come from botocore's own variables."""

    @cached_property
    def dynamodb(self) -> Any:
        """A client that takes and gives plain Python values."""
        return boto3.resource("dynamodb", config=CONFIG).meta.client

    @cached_property
    def s3(self) -> Any:
        return boto3.client("s3", config=CONFIG)

    @cached_property
    def sqs(self) -> Any:
        return boto3.client("sqs", config=CONFIG)

    @cached_property
    def scheduler(self) -> Any:
        return boto3.client("scheduler", config=CONFIG)

    @cached_property
    def ses(self) -> Any:
        return boto3.client("sesv2", config=CONFIG)

    def secret(self, arn: str) -> bytes:
        """The secret's text as bytes."""
        client = boto3.client("secretsmanager", config=CONFIG)
        return cast(str, client.get_secret_value(SecretId=arn)["SecretString"]).encode()
