"""A community of any size as two Parquet files, made by DuckDB alone: the same for the same seed, in bounded memory."""

from pathlib import Path

import duckdb

CHUNK = 2_000_000  # events a statement, which bounds the memory of the making

PARTICIPANTS = """
COPY (
    SELECT
        'p' || lpad(CAST(i AS VARCHAR), 9, '0') AS participant_id,
        CASE WHEN kept THEN 'person' || i || '@example.org' END AS email,
        membership,
        created_at,
        created_at + to_seconds(h0 % 864000) AS subscribed_at,
        CASE WHEN membership IN ('unsubscribed', 'purged')
             THEN created_at + to_seconds(864000 + h0 % 8640000) END AS subscription_ended_at,
        created_at AS updated_at,
        CASE WHEN kept THEN CAST(18 + h1 % 70 AS DOUBLE) END AS "a_Age",
        CASE WHEN kept THEN CAST(1 + h2 % 3 AS INTEGER) END AS "a_Gender",
        CASE WHEN kept AND h3 % 5 > 0 THEN 'City ' || (h3 % 400) END AS "a_City",
        CASE WHEN kept THEN h4 % 2 = 0 END AS "a_Owns_Car",
        CASE WHEN kept THEN DATE '1940-01-01' + CAST(h5 % 24000 AS INTEGER) END AS "a_Birthday",
        CASE WHEN kept THEN [CAST(1 + h6 % 4 AS INTEGER), CAST(5 + h6 % 3 AS INTEGER)] END AS "a_Devices"
    FROM (
        SELECT
            *,
            CASE WHEN h7 % 100 < 70 THEN 'subscribed' WHEN h7 % 100 < 90 THEN 'unsubscribed'
                 WHEN h7 % 100 < 94 THEN 'purged' ELSE 'one_time' END AS membership,
            h7 % 100 NOT BETWEEN 90 AND 93 AS kept,
            TIMESTAMP '2016-01-01' + to_seconds(h8 % 343000000) AS created_at
        FROM (SELECT i, {hashes} FROM range({participants}) AS made(i))
    )
) TO '{folder}/participants.parquet' (FORMAT parquet, COMPRESSION zstd)
"""

# Twenty events are nine meetings of a participant with a conversation: each is what happens there, step by step, some
# hours apart. A few participants meet far more conversations than the others; of 2,000 conversations, every tenth is
# of kind other. Years pass evenly with the events, which lie in the file by time.
MEETINGS = (
    ("chat_invited",),
    ("chat_invited",),
    ("chat_invited", "chat_started"),
    ("chat_invited", "chat_started", "chat_interacted"),
    ("chat_invited", "chat_started", "question_answered", "chat_completed"),
    ("chat_invited", "chat_started", "chat_completed"),
    ("chat_invited", "chat_started", "chat_disqualified"),
    ("chat_invited", "chat_over_quota"),
    ("chat_completed",),
)
PARTICIPATION = """
COPY (
    SELECT
        'e' || lpad(CAST(i AS VARCHAR), 12, '0') AS event_id,
        'p' || lpad(CAST(CAST(floor({participants} * power((h0 % 1000003) / 1000003.0, 1.3)) AS BIGINT) AS VARCHAR),
                    9, '0') AS participant_id,
        name,
        TIMESTAMP '2016-01-01' + to_microseconds(CAST(343e12 * (i // 20) / ({events} // 20 + 1) AS BIGINT)
                                                 + h1 % 86400000000 + step * 7200000000) AS occurred_at,
        'cnv_' || lpad(CAST(h2 % 2000 AS VARCHAR), 22, '0') AS conversation_id,
        CASE WHEN name = 'question_answered' THEN 'q' || (h3 % 20) END AS question_id
    FROM (
        SELECT i, name, step, {hashes}
        FROM (
            SELECT i, i // 20 * 9 + meeting AS pair, name, step
            FROM range({first}, {last}) AS made(i) JOIN steps ON steps.slot = i % 20
        )
    )
    ORDER BY occurred_at
) TO '{folder}/participation-{first}.parquet' (FORMAT parquet, COMPRESSION zstd)
"""


def write_community(folder: Path, participants: int, events: int, seed: int = 1) -> None:
    """Write participants.parquet, participation.parquet and other_conversations.parquet, with the lake's columns."""
    folder.mkdir(parents=True, exist_ok=True)
    with duckdb.connect(config={"memory_limit": "2GB", "temp_directory": str(folder / "spill")}) as connection:
        connection.execute("SET enable_progress_bar = false")
        connection.execute(_filled(PARTICIPANTS, "i", 9, seed, folder=folder, participants=participants))
        steps = [(meeting, step, name) for meeting, names in enumerate(MEETINGS) for step, name in enumerate(names)]
        connection.execute("CREATE TABLE steps (slot BIGINT, meeting BIGINT, step BIGINT, name VARCHAR)")
        connection.executemany("INSERT INTO steps VALUES (?, ?, ?, ?)", [(n, *row) for n, row in enumerate(steps)])
        for first in range(0, max(events, 1), CHUNK):
            sizes = {"participants": participants, "events": events, "first": first, "last": min(first + CHUNK, events)}
            connection.execute(_filled(PARTICIPATION, "pair", 4, seed + 1, folder=folder, **sizes))
        parts = [f"{folder}/participation-{first}.parquet" for first in range(0, max(events, 1), CHUNK)]
        _copy(connection, f"SELECT * FROM read_parquet({parts})", folder / "participation.parquet")
        others = "SELECT 'cnv_' || lpad(CAST(10 * i AS VARCHAR), 22, '0') AS conversation_id FROM range(200) AS made(i)"
        _copy(connection, others, folder / "other_conversations.parquet")
    for part in parts:
        Path(part).unlink()


def open_community(folder: Path) -> duckdb.DuckDBPyConnection:
    """A connection with the lake's views over the files of `write_community`."""
    connection = duckdb.connect()
    for view in ("participants", "participation", "other_conversations"):
        connection.execute(f"CREATE VIEW {view} AS SELECT * FROM read_parquet('{folder}/{view}.parquet')")
    return connection


def _filled(statement: str, key: str, count: int, seed: int, **values: object) -> str:
    hashes = ", ".join(f"CAST(hash({key}, {seed * 100 + n}) >> 2 AS BIGINT) AS h{n}" for n in range(count))
    return statement.format(hashes=hashes, **values)


def _copy(connection: duckdb.DuckDBPyConnection, query: str, path: Path) -> None:
    connection.execute(f"COPY ({query}) TO '{path}' (FORMAT parquet, COMPRESSION zstd)")
