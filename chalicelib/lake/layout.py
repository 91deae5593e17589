"""Where things lie in the lake: one prefix a domain, immutable objects below it.

    lake/<domain>/participants/batches/<accepted>.ndjson.gz   whole rows as they were accepted
    lake/<domain>/events/batches/<accepted>.ndjson.gz         events as they were accepted

`<accepted>` is the batch's ULID, so that the names sort by acceptance. Every row repeats it, with its line in the
batch: among rows of one event the smallest (accepted, line) counts, among rows of one participant the newest
`updated_at`, then the greatest (accepted, line). Reading a row twice therefore changes nothing.
"""

from typing import Literal

Kind = Literal["participants", "events"]

# The members of a row, with the SQL type in which each is read.
PARTICIPANT_FIELDS = {
    "accepted": "VARCHAR",
    "line": "INTEGER",
    "catalog": "INTEGER",
    "participant_id": "VARCHAR",
    "email": "VARCHAR",
    "membership": "VARCHAR",
    "created_at": "TIMESTAMP",
    "subscribed_at": "TIMESTAMP",
    "subscription_ended_at": "TIMESTAMP",
    "updated_at": "TIMESTAMP",
    "attributes": "JSON",
}
EVENT_FIELDS = {
    "accepted": "VARCHAR",
    "line": "INTEGER",
    "event_id": "VARCHAR",
    "participant_id": "VARCHAR",
    "name": "VARCHAR",
    "occurred_at": "TIMESTAMP",
    "conversation_id": "VARCHAR",
    "question_id": "VARCHAR",
    "params": "JSON",
}
FIELDS: dict[Kind, dict[str, str]] = {"participants": PARTICIPANT_FIELDS, "events": EVENT_FIELDS}


def batches(domain: str, kind: Kind) -> str:
    """The prefix of a domain's accepted batches."""
    return f"lake/{domain}/{kind}/batches/"


def batch(domain: str, kind: Kind, accepted: str) -> str:
    """The key of one accepted batch."""
    return f"{batches(domain, kind)}{accepted}.ndjson.gz"
