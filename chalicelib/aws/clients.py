"""The clients themselves: the one place where endpoints, time limits and retries are chosen."""

from functools import cached_property
from typing import Any, cast

import boto3
from botocore.config import Config

from chalicelib.aws.retries import raise_busy

# An execution environment sleeps between requests, and a connection that died meanwhile tells nobody: it is found out
# in seconds, so that an authorizer's ten and a request's twenty-nine have room for another attempt.
CONFIG = Config(
    retries={"mode": "standard", "max_attempts": 4},
    connect_timeout=2,
    read_timeout=5,
    tcp_keepalive=True,
    max_pool_connections=32,
)
# URLs leave the service, and S3 redirects nobody whose URL is signed: the host is the region's own, in every region.
S3_CONFIG = CONFIG.merge(
    Config(
        retries={"mode": "standard", "max_attempts": 5},
        connect_timeout=5,
        read_timeout=30,
        signature_version="s3v4",
        s3={"addressing_style": "virtual", "us_east_1_regional_endpoint": "regional"},
        request_checksum_calculation="when_required",
        response_checksum_validation="when_required",
    )
)


class Aws:
    """The clients, each made when first used. Endpoints and credentials come from botocore's own variables.

    Every call that AWS throttles for longer than the retries last ends as Busy.
    """

    @cached_property
    def dynamodb(self) -> Any:
        """A client that takes and gives plain Python values."""
        return _watched(boto3.resource("dynamodb", config=CONFIG).meta.client)

    @cached_property
    def s3(self) -> Any:
        return _watched(boto3.client("s3", config=S3_CONFIG))

    @cached_property
    def sqs(self) -> Any:
        return _watched(boto3.client("sqs", config=CONFIG))

    @cached_property
    def scheduler(self) -> Any:
        return _watched(boto3.client("scheduler", config=CONFIG))

    @cached_property
    def ses(self) -> Any:
        # A mail is not worth a second one because the reply took its time.
        return _watched(boto3.client("sesv2", config=CONFIG.merge(Config(read_timeout=30))))

    def secret(self, arn: str) -> bytes:
        """The secret's text as bytes."""
        client = _watched(boto3.client("secretsmanager", config=CONFIG))
        return cast(str, client.get_secret_value(SecretId=arn)["SecretString"]).encode()


def _watched(client: Any) -> Any:
    client.meta.events.register("after-call", raise_busy)
    return client
