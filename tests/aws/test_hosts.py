"""URLs that leave the service name the region's own host: whoever follows one is never redirected."""

from typing import Any
from urllib.parse import urlsplit

import pytest

from chalicelib.aws.bucket import Bucket
from chalicelib.aws.clients import Aws

# Regions from before and after S3 redirected to them, and those that an account must ask for.
REGIONS = (
    "us-east-1", "us-west-2", "eu-central-1", "ca-central-1", "eu-south-1", "af-south-1", "me-south-1", "ap-southeast-4",
)  # fmt: skip


def urls(bucket: str) -> list[str]:
    """What the service gives away: where to fetch a file, and where to send one."""
    opened = Bucket(Aws().s3, bucket)
    return [
        opened.presigned_get("exports/demo/a b.csv", disposition="attachment", media_type="text/csv", seconds=300),
        opened.presigned_put("imports/demo/upload", media_type="text/csv", seconds=300),
    ]


def addressed(url: str) -> str:
    parts = urlsplit(url)
    return f"{parts.scheme}://{parts.netloc}"


@pytest.fixture(autouse=True)
def _real_aws(monkeypatch: pytest.MonkeyPatch) -> None:
    for name in ("AWS_ENDPOINT_URL", "AWS_ENDPOINT_URL_S3", "AWS_PROFILE", "AWS_REGION"):
        monkeypatch.delenv(name, raising=False)


@pytest.mark.parametrize("region", REGIONS)
def test_downloads_and_uploads_go_to_the_regions_own_host(region: str, monkeypatch: pytest.MonkeyPatch):
    monkeypatch.setenv("AWS_DEFAULT_REGION", region)
    assert {addressed(url) for url in urls("panelport-files")} == {f"https://panelport-files.s3.{region}.amazonaws.com"}


@pytest.mark.parametrize("region", REGIONS)
def test_a_bucket_with_dots_is_named_in_the_path_where_its_certificate_holds(region: str, monkeypatch: Any):
    """A wildcard certificate covers one label: `a.b.s3...` would fail in every browser."""
    monkeypatch.setenv("AWS_DEFAULT_REGION", region)
    assert {addressed(url) for url in urls("files.panelport.example")} == {f"https://s3.{region}.amazonaws.com"}
    assert all(urlsplit(url).path.startswith("/files.panelport.example/") for url in urls("files.panelport.example"))


@pytest.mark.parametrize(
    ("region", "host"),
    [
        ("cn-north-1", "panelport-files.s3.cn-north-1.amazonaws.com.cn"),
        ("us-gov-west-1", "panelport-files.s3.us-gov-west-1.amazonaws.com"),
    ],
)
def test_other_partitions_have_their_own_hosts(region: str, host: str, monkeypatch: pytest.MonkeyPatch):
    monkeypatch.setenv("AWS_DEFAULT_REGION", region)
    assert {addressed(url) for url in urls("panelport-files")} == {f"https://{host}"}


def test_the_signature_covers_the_region_and_the_host(monkeypatch: pytest.MonkeyPatch):
    """Another host, or the region's name in another scope, and S3 answers SignatureDoesNotMatch."""
    monkeypatch.setenv("AWS_DEFAULT_REGION", "eu-south-1")
    for url in urls("panelport-files"):
        assert "%2Feu-south-1%2Fs3%2Faws4_request" in url
        assert "host" in url.partition("X-Amz-SignedHeaders=")[2].partition("&")[0].split("%3B")


def test_a_local_endpoint_is_addressed_by_its_path(monkeypatch: pytest.MonkeyPatch):
    """No name server knows `panelport.127.0.0.1`."""
    monkeypatch.setenv("AWS_ENDPOINT_URL", "http://127.0.0.1:5005")
    for url in urls("panelport-local"):
        assert addressed(url) == "http://127.0.0.1:5005"
        assert urlsplit(url).path.startswith("/panelport-local/")
