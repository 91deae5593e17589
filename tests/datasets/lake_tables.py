"""The lake's tables in an in-memory DuckDB, filled from plain Python rows: what the datasets' queries are run on."""

import json
from datetime import UTC

import duckdb

from chalicelib.base.table import PHYSICAL

PARTICIPANT_FIELDS = {
    "participant_id": "VARCHAR",
    "email": "VARCHAR",
    "membership": "VARCHAR",
    "created_at": "TIMESTAMP",
    "subscribed_at": "TIMESTAMP",
    "subscription_ended_at": "TIMESTAMP",
    "updated_at": "TIMESTAMP",
}
EVENT_FIELDS = {
    "event_id": "VARCHAR",
    "participant_id": "VARCHAR",
    "name": "VARCHAR",
    "occurred_at": "TIMESTAMP",
    "params": "VARCHAR",
}


def opened(profile, participants, events):
    """A connection with the tables participants, events, participation and other_conversations."""
    con = duckdb.connect(":memory:", config={"threads": 1})
    fields = PARTICIPANT_FIELDS | {f"a_{column.name}": PHYSICAL[column.type] for column in profile}
    con.execute(f"CREATE TABLE participants ({', '.join(f'"{name}" {kind}' for name, kind in fields.items())})")
    con.execute(f"CREATE TABLE events ({', '.join(f'{name} {kind}' for name, kind in EVENT_FIELDS.items())})")
    con.execute("CREATE VIEW participation AS SELECT event_id, participant_id, name, occurred_at, "
                "json_extract_string(params, '/conversation_id') AS conversation_id, "
                "json_extract_string(params, '/question_id') AS question_id FROM events "
                "WHERE name LIKE 'chat_%' OR name = 'question_answered'")  # fmt: skip
    con.execute("CREATE TABLE other_conversations (conversation_id VARCHAR)")
    fill(con, profile, participants, events)
    return con


def fill(con, profile, participants, events):
    """Put these participants and events in the place of those that are there."""
    con.execute("DELETE FROM participants; DELETE FROM events")
    fields = PARTICIPANT_FIELDS | {f"a_{column.name}": PHYSICAL[column.type] for column in profile}
    insert(con, "participants", fields, [participant_row(one, fields) for one in participants])
    insert(con, "events", EVENT_FIELDS, [event_row(event) for event in events])


def insert(con, table, fields, rows):
    """All rows as one JSON value: executemany, and a statement of thousands of parameters, are slow."""
    if rows:
        told = json.dumps([dict(zip(fields, row, strict=True)) for row in rows], default=str)
        sql = f"INSERT INTO {table} SELECT unnest(from_json(?, ?), recursive := true)"
        con.execute(sql, [told, json.dumps([fields])])


def participant_row(one, fields):
    cells = [naive(one.get(name)) for name in PARTICIPANT_FIELDS]
    return cells + [naive(one["attributes"].get(name.removeprefix("a_"))) for name in list(fields)[len(cells) :]]


def event_row(event):
    params = json.dumps(event["params"], ensure_ascii=False)
    return [event["event_id"], event["participant_id"], event["name"], naive(event["occurred_at"]), params]


def naive(value):
    """Instants as the lake holds them; anything else as it is."""
    return value.astimezone(UTC).replace(tzinfo=None) if getattr(value, "tzinfo", None) else value


def person(participant_id, membership="subscribed", **more):
    """A participant of whom nothing else is known, but for what is given."""
    empty = dict.fromkeys(PARTICIPANT_FIELDS)
    return {**empty, "participant_id": participant_id, "membership": membership, "attributes": {}, **more}


def event(event_id, participant_id, name, occurred_at, **params):
    """An event as the lake tells it."""
    return {
        "event_id": event_id,
        "participant_id": participant_id,
        "name": name,
        "occurred_at": occurred_at,
        "params": params,
    }
