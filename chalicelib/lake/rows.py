"""The rows of the lake as SQL over local files: batches as they were accepted, and the parts made of them."""

from collections.abc import Iterable, Mapping, Sequence
from pathlib import Path

from chalicelib.base.catalog import Attribute, Catalog
from chalicelib.base.table import PHYSICAL, quoted
from chalicelib.lake import layout

PERSON = ("participant_id", "email", "membership", "created_at", "subscribed_at", "subscription_ended_at", "updated_at")
ARRIVAL = ("accepted", "line")
EVENT = ("event_id", "participant_id", "name", "occurred_at", "conversation_id", "question_id", "params")
OTHER = ("event_id", "participant_id", "name", "occurred_at", "params")


def hashed(expression: str) -> str:
    """48 bits of the MD5 of an event id: enough to tell what is surely new, in a fifth of the id's bytes."""
    return f"CAST(md5_number_lower({expression}) >> 16 AS BIGINT)"


def parquet(files: Iterable[Path]) -> str:
    """The rows of Parquet files of one schema."""
    return f"SELECT * FROM read_parquet([{', '.join(f"'{file}'" for file in files)}])"


def of_batches(folder: Path, kind: layout.Kind) -> str:
    """The rows of the batches and imports in a folder, with the columns of `layout.FIELDS`."""
    fields = layout.FIELDS[kind]
    sources = []
    if any(folder.glob(f"*{layout.BATCH}")):
        columns = ", ".join(f"{name}: '{kind_of}'" for name, kind_of in fields.items())
        sources.append(
            f"SELECT * FROM read_json('{folder}/*{layout.BATCH}', format = 'newline_delimited', "
            f"columns = {{{columns}}}, maximum_object_size = 16777216)"
        )
    if any(folder.glob(f"*{layout.IMPORT}")):
        names = ", ".join(f"CAST({name} AS {kind_of}) AS {name}" for name, kind_of in fields.items())
        sources.append(f"SELECT {names} FROM read_parquet('{folder}/*{layout.IMPORT}')")
    return " UNION ALL ".join(sources) if sources else none(fields)


def none(fields: Mapping[str, str]) -> str:
    """No rows, of these columns."""
    empty = ", ".join(f"CAST(NULL AS {kind}) AS {quoted(name)}" for name, kind in fields.items())
    return f"SELECT {empty} WHERE false"


def typed(batches: str, catalog: Catalog) -> str:
    """Rows of participants with an `a_<name>` for each attribute: null in a row that is older than the definition."""
    attributes = catalog.attributes.values()
    plain = ", ".join((*PERSON, *ARRIVAL))
    if not attributes:
        return f"SELECT {plain} FROM ({batches})"
    # One pass over the JSON whatever the number of attributes; a value of another type, of an attribute that had
    # this name before, becomes NULL and is not read anyhow.
    shape = ", ".join(f'"{attribute.name}": "{PHYSICAL[attribute.column.type]}"' for attribute in attributes)
    values = ", ".join(
        f"CASE WHEN catalog >= {attribute.defined_in} THEN a.{quoted(attribute.name)} END AS {_a(attribute)}"
        for attribute in attributes
    )
    return f"SELECT {plain}, {values} FROM (SELECT *, json_transform(attributes, '{{{shape}}}') AS a FROM ({batches}))"


def of_part(file: Path, columns: Iterable[str], catalog: Catalog) -> str:
    """The same rows of a part that has these generations of attributes."""
    held = set(columns)
    values = "".join(
        f", {quoted('a_' + layout.generation(attribute)) if layout.generation(attribute) in held else _null(attribute)}"
        f" AS {_a(attribute)}"
        for attribute in catalog.attributes.values()
    )
    return f"SELECT {', '.join((*PERSON, *ARRIVAL))}{values} FROM read_parquet('{file}')"


def newest(large: str | None, others: Sequence[str]) -> str:
    """One row a participant, the newest. `large` has each participant once; most of its rows are taken as they are."""
    if not others:
        return large or "SELECT NULL WHERE false"
    several = " UNION ALL ".join(f"({one})" for one in others)
    latest = (
        "QUALIFY row_number() OVER (PARTITION BY participant_id ORDER BY updated_at DESC, accepted DESC, line DESC) = 1"
    )
    if large is None:
        return f"SELECT * FROM ({several}) {latest}"
    touched = f"SELECT participant_id FROM ({several})"
    return (
        f"SELECT * FROM ({large}) WHERE participant_id NOT IN ({touched}) UNION ALL "
        f"(SELECT * FROM (SELECT * FROM ({large}) WHERE participant_id IN ({touched}) UNION ALL {several}) {latest})"
    )


def blanked(rows: str, catalog: Catalog, *, arrival: bool, generations: bool) -> str:
    """The rows with e-mail and attributes only where the participant is not purged; reads the table `purged`.

    With `generations`, attributes are called as parts call them.
    """
    values = "".join(
        f", CASE WHEN NOT is_purged THEN {_a(attribute)} END AS "
        f"{quoted('a_' + layout.generation(attribute)) if generations else _a(attribute)}"
        for attribute in catalog.attributes.values()
    )
    plain = ", ".join((*PERSON[3:], *(ARRIVAL if arrival else ())))
    return f"""
    SELECT participant_id, CASE WHEN NOT is_purged THEN email END AS email,
           CASE WHEN is_purged THEN 'purged' ELSE membership END AS membership, {plain}{values}
    FROM (SELECT *, membership = 'purged' OR participant_id IN (SELECT participant_id FROM purged) AS is_purged
          FROM ({rows}))
    """


def _a(attribute: Attribute) -> str:
    return quoted("a_" + attribute.name)


def _null(attribute: Attribute) -> str:
    return f"CAST(NULL AS {PHYSICAL[attribute.column.type]})"
