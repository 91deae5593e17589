"""What the lake costs: exports as history grows and as batches pile up, accepting rows, importing files.

Run `python -m tests.benchmarks.bench_lake [participants events]` (50,000 and 500,000 by default; the long history is
ten times as long). Limits: ten times the history takes at most twice the time, and reading an import's file stays
below 1 GB of memory.
"""

import json
import logging
import re
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable
from datetime import UTC, datetime
from pathlib import Path

import duckdb

from tests.benchmarks.community import write_community
from tests.deployed import Community, deployed, export

HISTORY_LIMIT = 2.0
MEMORY_LIMIT_MB = 1000
BATCHES = 10_000

LAKE_PARTICIPANTS = """
COPY (
    SELECT '{accepted}' AS accepted, CAST(row_number() OVER () AS INTEGER) AS line, 1000 AS catalog, participant_id,
        email, membership, created_at, subscribed_at, subscription_ended_at, updated_at, '{{}}' AS attributes
    FROM '{folder}/participants.parquet'
) TO '{folder}/import.parquet' (FORMAT parquet)
"""
LAKE_EVENTS = """
COPY (
    SELECT '{accepted}' AS accepted, CAST(row_number() OVER () AS INTEGER) AS line, event_id, participant_id, name,
        occurred_at, conversation_id, question_id, '{{"conversation_id":"' || conversation_id || '"}}' AS params
    FROM '{folder}/participation.parquet'
) TO '{folder}/import.parquet' (FORMAT parquet)
"""


def timed(act: Callable[[], object], times: int = 1) -> float:
    """The shortest of some runs, in seconds."""
    found = []
    for _ in range(times):
        begun = time.perf_counter()
        act()
        found.append(time.perf_counter() - begun)
    return min(found)


def filled(community: Community, participants: int, events: int) -> float:
    """Put a community of that size into the lake, compacted; the seconds that the compaction took."""
    from chalicelib import jobs
    from chalicelib.lake import compaction, layout

    services = community.deployment.services
    with tempfile.TemporaryDirectory() as name:
        folder = Path(name)
        write_community(folder, participants, events)
        for kind, sql in (("participants", LAKE_PARTICIPANTS), ("events", LAKE_EVENTS)):
            accepted = services.seed().ulid()
            duckdb.execute(sql.format(accepted=accepted, folder=folder))
            key = layout.imported(community.domain, kind, accepted, 1)
            compaction.send(services, folder / "import.parquet", key)
            size = (folder / "import.parquet").stat().st_size
            pointer = {"pk": f"lake/{community.domain}", "sk": f"import/{accepted}", "kind": kind}
            services.store.put({**pointer, "key": key, "bytes": size})
    return timed(lambda: jobs.compact(services, community.domain))


def seconds_of_export(folder: Path, participants: int, events: int) -> float:
    with deployed(folder) as deployment:
        community = Community(deployment)
        compacting = filled(community, participants, events)
        exported(community)
        seconds = timed(lambda: exported(community), 3)
        print(f"  {participants:,} participants, {events:,} events: compacted in {compacting:.1f} s, "
              f"all metrics exported in {seconds:.2f} s")  # fmt: skip
    return seconds


def exported(community: Community) -> None:
    """Run an export of all metrics to its end."""
    from chalicelib.exports import worker

    run = community.call("POST", "/v1/exports", {**export(), "run": True}).json()["run"]
    worker.work(community.deployment.services, community.domain, run["id"], run["id"])
    found = community.call("GET", f"/v1/runs/{run['id']}").json()
    assert found["status"] == "completed", found


def history(folder: Path, participants: int, events: int) -> bool:
    once, ten_times = (seconds_of_export(folder / str(times), participants, events * times) for times in (1, 10))
    ratio = ten_times / once
    print(f"  ten times the history / once = {ratio:.2f} (at most {HISTORY_LIMIT})")
    return ratio <= HISTORY_LIMIT


def small_batches(folder: Path) -> None:
    from chalicelib import jobs
    from chalicelib.intake import events

    with deployed(folder / "batches") as deployment:
        community = Community(deployment)
        services = deployment.services
        community.report(*({"participant_id": f"p{n}", "membership": "subscribed"} for n in range(1000)))

        def accepted() -> None:
            from chalicelib.lake.accept import accept

            for n in range(BATCHES):
                body = {"event_id": f"e{n}", "participant_id": f"p{n % 1000}", "name": "chat_invited",
                        "occurred_at": "2026-01-01T00:00:00Z", "params": {"conversation_id": f"c{n % 9}"}}  # fmt: skip
                row = events.stored(events.EventRow.model_validate(body))
                accept(services, community.domain, "events", services.seed().ulid(), [row])

        wrote = timed(accepted)
        before = timed(lambda: exported(community))
        compacting = timed(lambda: jobs.compact(services, community.domain))
        after = timed(lambda: exported(community), 3)
        print(f"  {BATCHES:,} batches of one event: accepted in {wrote:.1f} s; exported in {before:.2f} s before and "
              f"{after:.2f} s after compaction (which took {compacting:.1f} s)")  # fmt: skip


def accepting(folder: Path) -> None:
    with deployed(folder / "api") as deployment:
        community = Community(deployment)
        batches = [
            [{"event_id": f"e{b}-{n}", "participant_id": f"p{n}", "name": "chat_invited",
              "occurred_at": "2026-01-01T00:00:00Z", "params": {"conversation_id": "c1"}} for n in range(1000)]
            for b in range(10)
        ]  # fmt: skip
        seconds = timed(lambda: [community.tell(*batch) for batch in batches])
        print(f"  API: {10_000 / seconds:,.0f} events a second, in batches of 1,000, by way of the local gateway")


def importing(folder: Path, rows: int) -> bool:
    """Read files of that many events in a process of their own, beside DuckDB alone on the same CSV."""
    path = folder / "events.csv"
    duckdb.execute(
        f"COPY (SELECT 'e' || i AS event_id, 'p' || (i % 300000) AS participant_id, 'chat_invited' AS name, "
        f"strftime(TIMESTAMP '2020-01-01' + to_seconds(i), '%Y-%m-%dT%H:%M:%SZ') AS occurred_at, "
        f'\'c\' || (i % 500) AS "params.conversation_id", i % 7 AS "params.n" FROM range({rows}) AS made(i)) '
        f"TO '{path}' (HEADER)"
    )
    bare = timed(lambda: duckdb.execute(f"COPY (FROM '{path}') TO '{folder}/bare.parquet' (FORMAT parquet)"))
    params = '{conversation_id: "params.conversation_id", n: "params.n"}'
    duckdb.execute(
        f"COPY (SELECT event_id, participant_id, name, strftime(occurred_at, '%Y-%m-%dT%H:%M:%SZ') AS occurred_at, "
        f"{params} AS params FROM '{path}') TO '{folder}/events.ndjson' (FORMAT json)"
    )
    typed = f'SELECT * REPLACE (CAST("params.n" AS BIGINT) AS "params.n") FROM read_csv(\'{path}\', all_varchar = true)'
    duckdb.execute(f"COPY ({typed}) TO '{folder}/events.parquet' (FORMAT parquet)")
    is_small = True
    for form in ("csv", "parquet", "ndjson"):
        ran = subprocess.run(
            [sys.executable, "-m", "tests.benchmarks.bench_lake", "read", str(folder / f"events.{form}"), form],
            capture_output=True, text=True, check=True,
        )  # fmt: skip
        told = json.loads(ran.stdout.splitlines()[-1])
        assert told["accepted"] == rows, told
        is_small = is_small and told["megabytes"] < MEMORY_LIMIT_MB
        print(f"  import of {rows:,} events, {form}: {rows / told['seconds']:,.0f} rows a second ({told['seconds'] / bare:.1f} "
              f"x bare DuckDB from CSV to Parquet), peak {told['megabytes']:.0f} MB (below {MEMORY_LIMIT_MB})")  # fmt: skip
    return is_small


def read_file(path: str, form: str) -> None:
    """Read one file as an import does; print rows, seconds and the process's peak memory."""
    from chalicelib.catalog import Catalog
    from chalicelib.intake import import_files

    class Quiet:
        def at(self, percent: int) -> None:
            pass

    with tempfile.TemporaryDirectory() as name:
        folder = Path(name)
        (folder / "upload").symlink_to(path) if form != "parquet" else (folder / "upload").hardlink_to(path)
        arrival = datetime(2026, 1, 1, tzinfo=UTC).strftime("%Y-%m-%dT%H:%M:%S.%fZ")
        asked = import_files.Asked("events", form, "01K0", arrival, Catalog(0, {}), "500MB")
        begun = time.perf_counter()
        outcome = import_files.read(asked, folder, Quiet())
        seconds = time.perf_counter() - begun
    # Not getrusage: it begins with the peak of the process that started this one.
    peak = int(re.search(r"VmHWM:\s+(\d+)", Path("/proc/self/status").read_text())[1]) / 1024
    print(json.dumps({"accepted": outcome.accepted, "seconds": seconds, "megabytes": peak}))


def main(participants: int = 50_000, events: int = 500_000) -> bool:
    """Print what was measured; False when a limit was missed."""
    logging.disable(logging.CRITICAL)
    with tempfile.TemporaryDirectory(prefix="lake-") as name:
        folder = Path(name)
        held = history(folder, participants, events)
        small_batches(folder)
        accepting(folder)
        return importing(folder, 10 * events) and held


if __name__ == "__main__":
    if sys.argv[1:2] == ["read"]:
        read_file(*sys.argv[2:4])
    else:
        sys.exit(0 if main(*map(int, sys.argv[1:])) else 1)
