"""What the lake costs: exports as history grows and as batches pile up, accepting rows, importing files.

Run `python -m tests.benchmarks.bench_lake [participants events]` (50,000 and 500,000 by default; the long history is
ten times as long, and imports have six times the participants and ten times the events). Limits: ten times the history
takes at most twice the time; batches that pile up cost nothing once they are compacted; what the API accepts in a
second; an import takes a few times what DuckDB alone takes to copy the same file to Parquet, and less than half a GB of
memory; each planted bad row is reported by line and reason; exports are the same to the byte, whatever the format that
the community was imported from.
"""

import csv
import json
import logging
import os
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
from tests.builders import export
from tests.deployed import Community, deployed

HISTORY_LIMIT = 2.0
MEMORY_LIMIT_MB = 500
BATCHES = 10_000
BAD_ROWS = 1000
# An export after compaction against one that reads all the batches.
COMPACTED_LIMIT = 0.2
# Events a second, by way of the local gateway and an S3 that is Python too.
API_LIMIT = 5_000
# Times what DuckDB alone takes for the same file.
IMPORT_LIMITS = {"csv": 6.0, "ndjson": 9.0, "parquet": 3.5}

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
    return timed(lambda: jobs.compact(services, community.domain, "bench"))


def seconds_of_export(folder: Path, participants: int, events: int) -> float:
    with deployed(folder) as deployment:
        community = Community(deployment)
        compacting = filled(community, participants, events)
        exported(community)
        seconds = timed(lambda: exported(community), 3)
        print(f"  {participants:,} participants, {events:,} events: compacted in {compacting:.1f} s, "
              f"all metrics exported in {seconds:.2f} s")  # fmt: skip
    return seconds


def exported(community: Community) -> dict:
    """The run of an export of all metrics, at its end."""
    from chalicelib.runs import worker

    run = community.call("POST", "/v1/exports", {**export(), "run": True}).json()["run"]
    worker.work(community.deployment.services, community.domain, run["id"], run["id"])
    found = community.call("GET", f"/v1/runs/{run['id']}").json()
    assert found["status"] == "completed", found
    return found


def history(folder: Path, participants: int, events: int) -> bool:
    once, ten_times = (seconds_of_export(folder / str(times), participants, events * times) for times in (1, 10))
    ratio = ten_times / once
    print(f"  ten times the history / once = {ratio:.2f} (at most {HISTORY_LIMIT})")
    return ratio <= HISTORY_LIMIT


def small_batches(folder: Path) -> bool:
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
        compacting = timed(lambda: jobs.compact(services, community.domain, "bench"))
        after = timed(lambda: exported(community), 3)
        print(f"  {BATCHES:,} batches of one event: accepted in {wrote:.1f} s; exported in {before:.2f} s before and "
              f"{after:.2f} s after compaction (which took {compacting:.1f} s): {after / before:.2f} of it "
              f"(at most {COMPACTED_LIMIT})")  # fmt: skip
    return after <= COMPACTED_LIMIT * before


def accepting(folder: Path) -> bool:
    with deployed(folder / "api") as deployment:
        community = Community(deployment)
        batches = [
            [{"event_id": f"e{b}-{n}", "participant_id": f"p{n}", "name": "chat_invited",
              "occurred_at": "2026-01-01T00:00:00Z", "params": {"conversation_id": "c1"}} for n in range(1000)]
            for b in range(10)
        ]  # fmt: skip
        seconds = timed(lambda: [community.tell(*batch) for batch in batches])
        print(f"  API: {10_000 / seconds:,.0f} events a second, in batches of 1,000, by way of the local gateway "
              f"(at least {API_LIMIT:,})")  # fmt: skip
    return 10_000 / seconds >= API_LIMIT


def importing(folder: Path, participants: int, events: int) -> bool:
    """Import the same community from a file of each format, each in a process of its own; the exports must be the same."""
    files = written(folder, participants, events)
    held, exports = True, set()
    with deployed(folder / "imports") as deployment:
        for form in ("csv", "ndjson", "parquet"):
            community = Community(deployment)
            community.define("Age", "number")
            community.define("City")
            for kind in ("participants", "events"):
                held = imported(community, files[kind, form], kind, form) and held
            jobs_done(community)
            exports.add(exported(community)["file"]["sha256"])
    print(f"  exports of all metrics after each import: {'identical' if len(exports) == 1 else 'NOT IDENTICAL'}")
    return held and len(exports) == 1


PEOPLE = """
SELECT 'p' || i AS participant_id, ['subscribed', 'unsubscribed', 'one_time'][1 + i % 3] AS membership,
    'person' || i || '@example.org' AS email,
    strftime(TIMESTAMP '2019-01-01' + to_seconds(i * 700), '%Y-%m-%dT%H:%M:%SZ') AS created_at,
    '2026-11-01T00:00:00Z' AS updated_at, 18 + i % 70 AS "attributes.Age", 'City ' || (i % 400) AS "attributes.City"
FROM range({participants}) AS made(i)
"""
# Every so many rows one is bad, in four ways by turns.
HAPPENED = """
SELECT CASE WHEN fault = 1 THEN repeat('e', 129) ELSE 'e' || i END AS event_id,
    CASE WHEN fault = 0 THEN 'no id ' || i ELSE 'p' || (hash(i) % {participants}) END AS participant_id,
    ['chat_invited', 'chat_started', 'chat_interacted', 'chat_completed', 'chat_disqualified'][1 + i // 7 % 5] AS name,
    strftime(TIMESTAMP '2026-11-20' - to_seconds(i * 37 % 200000000), '%Y-%m-%dT%H:%M:%S')
        || CASE WHEN fault = 2 THEN '' ELSE 'Z' END AS occurred_at,
    CASE WHEN fault <> 3 THEN 'c' || (hash(i + 1) % 500) END AS "params.conversation_id", i % 7 AS "params.n"
FROM (SELECT i, CASE WHEN i % {every} = {every} - 1 THEN i // {every} % 4 ELSE -1 END AS fault FROM range({rows}) AS made(i))
"""
REASONS = ("participant_id ", "event_id ", "occurred_at ", "params.conversation_id ")
NESTED = {
    "participants": '* EXCLUDE ("attributes.Age", "attributes.City"), '
    '{Age: "attributes.Age", City: "attributes.City"} AS attributes',
    "events": '* EXCLUDE ("params.conversation_id", "params.n"), '
    '{conversation_id: "params.conversation_id", n: "params.n"} AS params',
}


def written(folder: Path, participants: int, events: int) -> dict[tuple[str, str], Path]:
    """The files by kind and format: `events` good events and among them the bad ones."""
    made = {}
    every = events // BAD_ROWS + 1
    sources = {"participants": PEOPLE, "events": HAPPENED}
    for kind, sql in sources.items():
        made |= {(kind, form): folder / f"{kind}.{form}" for form in ("csv", "ndjson", "parquet")}
        source = sql.format(participants=participants, rows=every * BAD_ROWS, every=every)
        duckdb.execute(f"COPY ({source}) TO '{made[kind, 'parquet']}' (FORMAT parquet)")
        duckdb.execute(f"COPY (FROM '{made[kind, 'parquet']}') TO '{made[kind, 'csv']}' (HEADER)")
        nested = f"SELECT {NESTED[kind]} FROM '{made[kind, 'parquet']}'"
        duckdb.execute(f"COPY ({nested}) TO '{made[kind, 'ndjson']}' (FORMAT json)")
    return made


def imported(community: Community, path: Path, kind: str, form: str) -> bool:
    """Read the file in a process of its own, put what it gives into the lake; whether every limit held."""
    from chalicelib.lake import compaction, layout

    reader = f"read_json('{path}', format = 'newline_delimited')" if form == "ndjson" else f"'{path}'"
    copied = path.parent / "bare.parquet"
    bare = timed(lambda: duckdb.execute(f"COPY (FROM {reader}) TO '{copied}' (FORMAT parquet, COMPRESSION zstd)"))
    services = community.deployment.services
    accepted = services.seed().ulid()
    command = [sys.executable, "-m", "tests.benchmarks.bench_lake", "read", str(path), form, kind, accepted]
    ran = subprocess.run(command, capture_output=True, text=True, check=True)
    told = json.loads(ran.stdout.splitlines()[-1])
    key = layout.imported(community.domain, kind, accepted, 1)
    rows_file = path.parent / "accepted.parquet"
    compaction.send(services, rows_file, key)
    pointer = {"pk": f"lake/{community.domain}", "sk": f"import/{accepted}", "kind": kind}
    services.store.put({**pointer, "key": key, "bytes": rows_file.stat().st_size})
    ratio = told["seconds"] / bare
    print(f"  import of {told['accepted']:,} {kind}, {form}: {told['accepted'] / told['seconds']:,.0f} rows a second, "
          f"{ratio:.1f} x bare DuckDB to Parquet (at most {IMPORT_LIMITS[form]}), peak {told['megabytes']:.0f} MB "
          f"(below {MEMORY_LIMIT_MB}), {told['rejected']:,} rows rejected")  # fmt: skip
    is_told = kind == "participants" or are_told(path.parent / "rejects.csv", told["accepted"], form)
    # Small files are all overhead.
    is_fast = ratio <= IMPORT_LIMITS[form] or kind == "participants"
    return is_told and is_fast and told["megabytes"] < MEMORY_LIMIT_MB


def are_told(rejects: Path, accepted: int, form: str) -> bool:
    """Whether each planted bad row, and no other, is reported by its line and its reason."""
    every = accepted // BAD_ROWS + 1
    first = 2 if form == "csv" else 1
    with rejects.open(encoding="utf-8", newline="") as file:
        told = {int(line): reason for line, reason, _ in list(csv.reader(file))[1:]}
    expected = {n * every + every - 1 + first: REASONS[n % 4] for n in range(BAD_ROWS)}
    wrong = [line for line in told.keys() | expected.keys()
             if not told.get(line, "").startswith(expected.get(line, "none"))]  # fmt: skip
    print(f"    {len(told):,} of {BAD_ROWS:,} bad rows reported, {len(wrong)} of them wrongly")
    if wrong:
        print(f"    such as line {wrong[0]}: {told.get(wrong[0])!r}, not {expected.get(wrong[0])!r}")
    return not wrong


def jobs_done(community: Community) -> None:
    from chalicelib import jobs

    jobs.compact(community.deployment.services, community.domain, "invocation-1")


def read_file(path: str, form: str, kind: str, accepted: str) -> None:
    """Read one file as an import does; print rows, seconds and the process's peak memory. The accepted rows and the
    rejects are left beside it."""
    from chalicelib.base.catalog import Attribute, Catalog
    from chalicelib.imports import reader

    class Quiet:
        def at(self, percent: int) -> None:
            pass

    ages = Attribute("Age", "", "number", defined_in=1)
    catalog = Catalog(2, {"Age": ages, "City": Attribute("City", "", "text", defined_in=2)})
    with tempfile.TemporaryDirectory(dir=Path(path).parent) as name:
        folder = Path(name)
        (folder / "upload").hardlink_to(path)
        arrival = datetime(2026, 1, 1, tzinfo=UTC).strftime("%Y-%m-%dT%H:%M:%S.%fZ")
        asked = reader.Asked(kind, form, accepted, arrival, catalog, "500MB")
        begun = time.perf_counter()
        outcome = reader.read(asked, folder, Quiet())
        seconds = time.perf_counter() - begun
        outcome.rows.replace(Path(path).parent / "accepted.parquet")
        outcome.rejects.replace(Path(path).parent / "rejects.csv")
    # Not getrusage: it begins with the peak of the process that started this one.
    peak = int(re.search(r"VmHWM:\s+(\d+)", Path("/proc/self/status").read_text())[1]) / 1024
    counts = {"accepted": outcome.accepted, "rejected": outcome.rejected}
    print(json.dumps({**counts, "seconds": seconds, "megabytes": peak}))


def main(participants: int = 50_000, events: int = 500_000) -> bool:
    """Print what was measured; False when a limit was missed."""
    logging.disable(logging.CRITICAL)
    os.environ["POWERTOOLS_METRICS_DISABLED"] = "true"
    with tempfile.TemporaryDirectory(prefix="lake-") as name:
        folder = Path(name)
        held = [history(folder, participants, events), small_batches(folder), accepting(folder)]
        return importing(folder, 6 * participants, 10 * events) and all(held)


if __name__ == "__main__":
    if sys.argv[1:2] == ["read"]:
        read_file(*sys.argv[2:6])
    else:
        sys.exit(0 if main(*map(int, sys.argv[1:])) else 1)
