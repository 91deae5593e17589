"""Open a domain's lake for one job: its files on local disk, and a DuckDB connection that can see nothing else."""

from collections.abc import Iterator, Sequence
from concurrent.futures import ThreadPoolExecutor
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING

from chalicelib.catalog import Catalog
from chalicelib.lake import layout
from chalicelib.services import Services
from chalicelib.table import PHYSICAL, quoted

if TYPE_CHECKING:
    from duckdb import DuckDBPyConnection

DOWNLOADS_AT_ONCE = 16


@dataclass(frozen=True, slots=True)
class Wanted:
    """What a job reads of the lake."""

    participants: bool = True
    participation: bool = False
    events: bool = False


def download(services: Services, domain: str, wanted: Wanted, folder: Path) -> None:
    """Copy what is wanted of the domain's lake to `folder`/participants and `folder`/events.

    All that was accepted before the call began is in it: S3 lists what it has acknowledged.
    """
    kinds: list[layout.Kind] = ["participants"] if wanted.participants else []
    if wanted.participation or wanted.events:
        kinds.append("events")
    with ThreadPoolExecutor(DOWNLOADS_AT_ONCE, thread_name_prefix="download") as pool:
        copies = []
        for kind in kinds:
            (folder / kind).mkdir()
            for n, (key, _) in enumerate(services.bucket.keys(layout.batches(domain, kind))):
                # Names of our own: a name from outside could be a pattern that matches other files.
                copies.append(pool.submit(services.bucket.download, key, folder / kind / f"{n:08d}.ndjson.gz"))
        for copy in copies:
            copy.result()


@contextmanager
def connection(folder: Path, memory_limit: str) -> Iterator["DuckDBPyConnection"]:
    """A DuckDB connection that can read and write below `folder` and nowhere else, and cannot be told otherwise."""
    import duckdb

    spill = folder / "spill"
    spill.mkdir(exist_ok=True)
    con = duckdb.connect(":memory:")
    try:
        con.execute(f"SET memory_limit = '{memory_limit}'")
        con.execute(f"SET temp_directory = '{spill}'")
        con.execute("SET autoinstall_known_extensions = false; SET autoload_known_extensions = false")
        con.execute(f"SET allowed_directories = ['{folder}/']")
        con.execute("SET enable_external_access = false")
        con.execute("SET lock_configuration = true")
        yield con
    finally:
        con.close()


def create_views(
    con: "DuckDBPyConnection", folder: Path, catalog: Catalog, purged: Sequence[str], other: Sequence[str]
) -> None:
    """Make the tables and views that datasets read, of the files that were downloaded.

    `purged` are the ids of purged participants, `other` those of the registered conversations of kind other.
    """
    for name, column, values in (
        ("purged", "participant_id", purged),
        ("other_conversations", "conversation_id", other),
    ):
        con.execute(f"CREATE TABLE {name} ({column} VARCHAR)")
        if values:
            con.execute(f"INSERT INTO {name} SELECT unnest(?)", [list(values)])
    con.execute(f"CREATE VIEW participant_rows AS {_rows(folder, 'participants')}")
    con.execute(f"CREATE TABLE participants AS {_participants(catalog)}")
    con.execute(f"CREATE VIEW event_rows AS {_rows(folder, 'events')}")
    con.execute(f"CREATE VIEW first_events AS {_FIRST_EVENTS}")
    con.execute(f"CREATE VIEW events AS {_EVENTS}")
    con.execute(f"CREATE VIEW participation AS {_PARTICIPATION}")


# Which row of an event counts is decided by its acceptance, so it never changes once it was accepted.
_FIRST_EVENTS = """
    SELECT * FROM event_rows
    QUALIFY row_number() OVER (PARTITION BY event_id ORDER BY accepted, line) = 1
"""
_EVENTS = """
    SELECT event_id, participant_id, name, occurred_at, CAST(params AS VARCHAR) AS params FROM first_events
"""
_PARTICIPATION = """
    SELECT event_id, participant_id, name, occurred_at, conversation_id, question_id
    FROM first_events
    WHERE conversation_id IS NOT NULL
"""


def _rows(folder: Path, kind: layout.Kind) -> str:
    fields = layout.FIELDS[kind]
    if not any((folder / kind).glob("*.ndjson.gz")):
        empty = ", ".join(f"CAST(NULL AS {kind_of}) AS {name}" for name, kind_of in fields.items())
        return f"SELECT {empty} WHERE false"
    columns = ", ".join(f"{name}: '{kind_of}'" for name, kind_of in fields.items())
    return (
        f"SELECT * FROM read_json('{folder}/{kind}/*.ndjson.gz', format = 'newline_delimited', "
        f"columns = {{{columns}}}, maximum_object_size = 16777216)"
    )


def _participants(catalog: Catalog) -> str:
    attributes = catalog.attributes.values()
    # One pass over the JSON whatever the number of attributes; a value of another type, of an attribute that had
    # this name before, becomes NULL and is not read anyhow.
    shape = ", ".join(f'"{attribute.name}": "{PHYSICAL[attribute.column.type]}"' for attribute in attributes)
    values = "".join(
        f", CASE WHEN NOT is_purged AND catalog >= {attribute.defined_in} THEN a.{quoted(attribute.name)} END"
        f" AS {quoted('a_' + attribute.name)}"
        for attribute in attributes
    )
    unpacked = f"json_transform(attributes, '{{{shape}}}')" if shape else "NULL"
    return f"""
    SELECT
        participant_id,
        CASE WHEN NOT is_purged THEN email END AS email,
        CASE WHEN is_purged THEN 'purged' ELSE membership END AS membership,
        created_at, subscribed_at, subscription_ended_at, updated_at{values}
    FROM (
        SELECT newest.*, {unpacked} AS a,
               newest.membership = 'purged' OR purged.participant_id IS NOT NULL AS is_purged
        FROM (
            SELECT * FROM participant_rows
            QUALIFY row_number() OVER (
                PARTITION BY participant_id ORDER BY updated_at DESC, accepted DESC, line DESC) = 1
        ) AS newest
        LEFT JOIN purged ON purged.participant_id = newest.participant_id
    )
    """
