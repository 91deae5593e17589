"""A batch is one immutable object, durable when accepted; written again it changes nothing."""

import gzip
import json

from chalicelib.lake.accept import accept

ACCEPTED = "01M7ZFEAA2N3KH726V2M2X9T9C"


def test_a_batch_is_one_object_of_the_domain_alone(community):
    services, domain = community.deployment.services, community.domain
    accept(services, domain, "events", ACCEPTED, [{"event_id": "é\n"}, {"event_id": "e2"}])
    keys = [key for key, _ in services.bucket.keys(f"lake/{domain}/")]
    assert keys == [f"lake/{domain}/events/batches/{ACCEPTED}.ndjson.gz"]
    lines = gzip.decompress(services.bucket.get(keys[0])).decode().split("\n")
    assert [json.loads(line) for line in lines] == [
        {"accepted": ACCEPTED, "line": 0, "event_id": "é\n"},
        {"accepted": ACCEPTED, "line": 1, "event_id": "e2"},
    ]


def test_the_same_batch_again_changes_nothing(community):
    services, domain = community.deployment.services, community.domain
    for value in ("first", "second"):
        accept(services, domain, "events", ACCEPTED, [{"event_id": value}])
    (key, _), *others = services.bucket.keys(f"lake/{domain}/")
    assert not others
    assert b"first" in gzip.decompress(services.bucket.get(key))
    versions = services.aws.s3.list_object_versions(Bucket=services.settings.bucket, Prefix=f"lake/{domain}/")[
        "Versions"
    ]
    assert len(versions) == 1


def test_a_refused_or_empty_batch_writes_no_object(community):
    community.tell()
    community.report()
    community.tell(5)
    community.report({"participant_id": "p-1"})
    assert list(community.deployment.services.bucket.keys(f"lake/{community.domain}/")) == []
