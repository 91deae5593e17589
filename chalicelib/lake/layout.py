"""Where things lie in the lake: one prefix a domain, immutable objects below it.

    lake/<domain>/participants/batches/<accepted>.ndjson.gz     whole rows as they were accepted
    lake/<domain>/events/batches/<accepted>.ndjson.gz           events as they were accepted
    lake/<domain>/<kind>/imports/<accepted>-<fence>.parquet     the accepted rows of an import
    lake/<domain>/participants/parts/<made>/rows-<n>.parquet    compacted: the newest row of each participant
    lake/<domain>/events/parts/<made>/participation-<n>.parquet compacted: chat_* and question_answered events
    lake/<domain>/events/parts/<made>/others-<n>.parquet        compacted: journey and custom events
    lake/<domain>/events/parts/<made>/fold-<n>.parquet          of the participation: what the metrics need, folded
    lake/<domain>/events/parts/<made>/ahead-<n>.parquet         of the participation: what is not in the fold
    lake/<domain>/events/parts/<made>/ids-<n>.parquet           48-bit hashes of the event ids, sorted
    lake/<domain>/events/parts/<made>/people-<n>.parquet        the participants who have an event
    lake/<domain>/manifests/<version>-<made>.json               which parts count, and what is on its way out
    lake/<domain>/assignments/<conversation>/<n>.ndjson.gz      to whom a conversation's links were assigned
    inbox/<domain>/<kind>/<any name>.<csv|ndjson|parquet>       files that a customer's own pipeline puts there, until
                                                                they are imported (not below further folders, not
                                                                with a name that begins with _ or .)

`<accepted>` is a batch's ULID, so that the names sort by acceptance. Every row of a batch repeats it, with its line
in the batch: among rows of one event the smallest (accepted, line) counts, among rows of one participant the newest
`updated_at`, then the greatest (accepted, line). Reading a row twice therefore changes nothing.

What counts is the manifest that the item `manifest` of the table's partition `lake/<domain>` points to, and beside
its parts every batch (and import, by the items `import/...`) that the manifest does not list among what is `leaving`.
A reader lists batches and imports first and reads the manifest then: what was accepted is in one or in both. Events
of a part are never in another part; an event of a batch that is in a part already is a repeat. What is leaving is
erased, all versions, an hour after it was superseded.

In parts, attributes are typed columns `a_<name>__<generation>`: an attribute that was deleted and defined again with
another type has another generation, and the values of the earlier one are not its values.
"""

from dataclasses import dataclass
from typing import Literal

from chalicelib.base.catalog import Attribute

Kind = Literal["participants", "events"]
KINDS: tuple[Kind, ...] = ("participants", "events")

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

INBOX = "inbox/"
FORMATS = ("csv", "ndjson", "parquet")

BATCH = ".ndjson.gz"
IMPORT = ".parquet"


@dataclass(frozen=True, slots=True)
class Dropped:
    """What the key of a file in the inbox says that it is."""

    domain: str
    kind: Kind
    format: str


def dropped(key: str) -> Dropped | str:
    """What a key below `inbox/` says, or what about it is unknown."""
    match key.removeprefix(INBOX).split("/"):
        case [domain, "participants" | "events" as kind, name]:
            form = name.rpartition(".")[2]
            if form in FORMATS and not name.startswith(("_", ".")):
                return Dropped(domain, kind, form)
            return "unknown name"
    return "unknown folder"


def batches(domain: str, kind: Kind) -> str:
    """The prefix of a domain's accepted batches."""
    return f"lake/{domain}/{kind}/batches/"


def batch(domain: str, kind: Kind, accepted: str) -> str:
    """The key of one accepted batch."""
    return f"{batches(domain, kind)}{accepted}{BATCH}"


def imported(domain: str, kind: Kind, accepted: str, fence: int) -> str:
    """The key of an import's accepted rows, as one attempt wrote them."""
    return f"lake/{domain}/{kind}/imports/{accepted}-{fence}{IMPORT}"


def parts(domain: str, kind: Kind) -> str:
    """The prefix of a domain's parts."""
    return f"lake/{domain}/{kind}/parts/"


def manifest(domain: str, version: int, made: str) -> str:
    """The key of one manifest; `made` is the ULID of the compaction that wrote it."""
    return f"{manifests(domain)}{version:08d}-{made}.json"


def manifests(domain: str) -> str:
    """The prefix of a domain's manifests."""
    return f"lake/{domain}/manifests/"


def work(domain: str) -> tuple[str, str]:
    """Where the item lies that says when the domain's lake is to be compacted next."""
    return f"lake/{domain}", "work"


def generation(attribute: Attribute) -> str:
    """The name of the attribute's column in parts, without its `a_`."""
    return f"{attribute.name}__{attribute.defined_in}"
