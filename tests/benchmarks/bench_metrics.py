"""How long all twelve metrics of 500,000 participants and 10 million events take to CSV, beside bare DuckDB and pandas.

Run `python -m tests.benchmarks.bench_metrics [participants events]`. All sides start from the same Parquet files. Bare
DuckDB does the same query and its own COPY; ours makes the result, then the file as a run does it, with labels, the
formula guard, wall clocks and the hash. Ours takes at most 1.3 times bare DuckDB; pandas at least eight times ours.
"""

import hashlib
import sys
import tempfile
import time
from collections.abc import Callable
from datetime import UTC, datetime, timedelta
from pathlib import Path

import duckdb

from chalicelib.base.zones import months_back
from chalicelib.datasets.participants import MEMBERSHIPS, PARTICIPATION, Selection, table
from chalicelib.files import csv_file
from chalicelib.files.contract import Rendering
from tests.benchmarks.community import open_community, write_community

AT_LEAST = 8.0
AT_MOST = 1.3
AS_OF = datetime(2026, 11, 1, tzinfo=UTC)
ZONE = "America/Los_Angeles"
THREADS = 2
ENDINGS = {"chat_completed": "ChatsCompleted", "chat_disqualified": "ChatsDQ", "chat_over_quota": "ChatsOQ"}
DATES = {
    "LastActiveDate": list(ENDINGS),
    "LastInvitedDate": ["chat_invited"],
    "LastStartedDate": ["chat_started"],
    "LastCompletionDate": ["chat_completed"],
}


def export(folder: Path) -> None:
    asked = table((), Selection("all", (), "all"), tuple(MEMBERSHIPS), AS_OF, ZONE)
    with open_community(folder) as connection:
        connection.execute(f"SET threads = {THREADS}; SET enable_progress_bar = false")
        connection.execute(f"CREATE TEMP TABLE result AS {asked.sql}", asked.parameters)
        connection.execute(f"COPY result TO '{folder}/ours.csv' (HEADER)")


class Hashed:
    """Takes a file's bytes as the upload does, but for the network."""

    def __init__(self) -> None:
        self.digest = hashlib.sha256()

    def write(self, data: bytes) -> None:
        self.digest.update(data)


def export_as_a_run(folder: Path) -> None:
    """What a run's worker does between reading the lake and the upload."""
    asked = table((), Selection("all", (), "all"), tuple(MEMBERSHIPS), AS_OF, ZONE)
    with open_community(folder) as connection:
        connection.execute(f"SET threads = {THREADS}; SET enable_progress_bar = false")
        connection.execute(f"CREATE TEMP TABLE result AS {asked.sql}", asked.parameters)
        csv_file.write(Rendering(connection, asked.columns, csv_file.CsvOptions(), ZONE, folder, Hashed()))


def export_bare(folder: Path) -> None:
    """The same query and DuckDB's own COPY."""
    asked = table((), Selection("all", (), "all"), tuple(MEMBERSHIPS), AS_OF, ZONE)
    with open_community(folder) as connection:
        connection.execute(f"SET threads = {THREADS}; SET enable_progress_bar = false")
        connection.execute(f"COPY ({asked.sql}) TO '{folder}/bare.csv' (HEADER)", asked.parameters)


def export_with_pandas(folder: Path) -> None:
    """The same columns as somebody fluent in pandas computes them: whole columns at a time, no loop over rows."""
    import pandas as pd

    with open_community(folder) as connection:
        connection.execute(f"SET threads = {THREADS}; SET enable_progress_bar = false")
        people = connection.execute("FROM participants").df().drop(columns=["updated_at"])
        events = connection.execute("SELECT participant_id, conversation_id, name, occurred_at FROM participation").df()
        others = connection.execute("FROM other_conversations").df()["conversation_id"]
    as_of = pd.Timestamp(AS_OF.replace(tzinfo=None))
    since = pd.Timestamp(months_back(AS_OF, 6, ZONE).replace(tzinfo=None))
    events["name"] = events["name"].astype("category")
    events = events[(events["occurred_at"] <= as_of) & ~events["conversation_id"].isin(others)]
    pair = ["participant_id", "conversation_id"]

    result = people.set_index("participant_id")[
        ["email", "membership", "created_at", "subscribed_at", "subscription_ended_at"]
    ]
    result["membership"] = result["membership"].map({word: choice.code for word, choice in MEMBERSHIPS.items()})
    for column, names in DATES.items():
        result[column] = events[events["name"].isin(names)].groupby("participant_id")["occurred_at"].max()
    result["ChatsInvited"] = events[events["name"] == "chat_invited"].groupby("participant_id").size()

    # The last ending in order of time and, of simultaneous ones, of precedence.
    ended = events[events["name"].isin(list(ENDINGS))].copy()
    ended["rank"] = ended["name"].map({name: -place for place, name in enumerate(ENDINGS)}).astype("int8")
    ended = ended.sort_values(["occurred_at", "rank"]).drop_duplicates(pair, keep="last")
    for name, column in ENDINGS.items():
        result[column] = ended[ended["name"] == name].groupby("participant_id").size()
    ends = pd.MultiIndex.from_frame(ended[pair])
    interacted = events[events["name"].isin(["chat_interacted", "question_answered"])][pair].drop_duplicates()
    started = events[events["name"] == "chat_started"][pair].drop_duplicates()
    open_index = pd.MultiIndex.from_frame(interacted)
    begun = pd.MultiIndex.from_frame(started)
    result["ChatsStartedOnly"] = started[~begun.isin(ends) & ~begun.isin(open_index)].groupby("participant_id").size()
    result["ChatsIncomplete"] = interacted[~open_index.isin(ends)].groupby("participant_id").size()
    counts = ["ChatsInvited", *ENDINGS.values(), "ChatsStartedOnly", "ChatsIncomplete"]
    result[counts] = result[counts].fillna(0).astype("int64")

    invited = result["ChatsInvited"].where(result["ChatsInvited"] > 0)
    result["ResponseRate"] = (20_000 * result[list(ENDINGS.values())].sum(axis=1) + invited) // (2 * invited) / 100
    joined = result["subscribed_at"].fillna(result["created_at"])
    result["EngagementStatus"] = 4
    result.loc[result["LastInvitedDate"] >= since, "EngagementStatus"] = 3
    result.loc[result["LastActiveDate"] >= since, "EngagementStatus"] = 2
    result.loc[joined >= as_of - timedelta(days=90), "EngagementStatus"] = 1
    result.sort_index().to_csv(folder / "pandas.csv")


def difference(folder: Path) -> list[tuple]:
    """The metrics that the two files do not agree on, with how many rows of each."""
    names = [column.name for column in PARTICIPATION]
    unlike = ", ".join(f'count(*) FILTER (ours."{n}" IS DISTINCT FROM pandas."{n}") AS "{n}"' for n in names)
    row = duckdb.execute(
        f"SELECT count(*), {unlike} FROM '{folder}/ours.csv' ours "
        f"FULL JOIN '{folder}/pandas.csv' pandas ON ours.Participant_Id = pandas.participant_id"
    ).fetchone()
    return [(name, count) for name, count in zip(names, row[1:], strict=True) if count]


def seconds_of(work: Callable[[Path], None], folder: Path) -> tuple[float, float]:
    """Wall-clock and processor seconds of the work."""
    wall, processor = time.perf_counter(), time.process_time()
    work(folder)
    return time.perf_counter() - wall, time.process_time() - processor


def main(participants: int = 500_000, events: int = 10_000_000) -> bool:
    """Print the two times and their ratio; False if the files differ or the ratio is below the limit."""
    with tempfile.TemporaryDirectory(prefix="community-") as made:
        folder = Path(made)
        write_community(folder, participants, events)
        export(folder)  # both then read files that the system has at hand
        pairs = [(seconds_of(export_bare, folder), seconds_of(export_as_a_run, folder)) for _ in range(4)]
        bare, ours = min(pair[0] for pair in pairs), min(pair[1] for pair in pairs)
        theirs = seconds_of(export_with_pandas, folder)
        unlike = difference(folder)
    print(f"metrics: {participants:,} participants, {events:,} events, 12 metrics to CSV, {THREADS} threads")
    print(f"  DuckDB  {bare[0]:7.2f} s ({bare[1]:.2f} s of processor)")
    print(f"  ours    {ours[0]:7.2f} s ({ours[1]:.2f} s of processor)")
    print(f"  pandas  {theirs[0]:7.2f} s ({theirs[1]:.2f} s of processor)")
    print(f"  ours / DuckDB = {ours[0] / bare[0]:.2f} (at most {AT_MOST})")
    print(f"  pandas / ours = {theirs[0] / ours[0]:.1f} (at least {AT_LEAST:.0f})")
    if unlike:
        print(f"  THE FILES DIFFER: {unlike}")
    return not unlike and theirs[0] / ours[0] >= AT_LEAST and ours[0] / bare[0] <= AT_MOST


if __name__ == "__main__":
    sys.exit(0 if main(*map(int, sys.argv[1:])) else 1)
