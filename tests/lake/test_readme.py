"""Claim: who reads the lake as its README says, in DuckDB or in Spark, reads what an export reads."""

import json
import os
import re
import shutil
import subprocess
import sys
from pathlib import Path

import boto3
import duckdb
import pytest

from chalicelib.lake import views
from tests.imports.uploads import csv_of, imported
from tests.intake.purges import purged
from tests.lake.history import compacted, happened, instant, known, someone

pytestmark = pytest.mark.slow

PROJECT = Path(__file__).resolve().parents[2]
TEXT = (PROJECT / "chalicelib" / "lake" / "README.md").read_text()
PEOPLE = "participant_id, email, membership, created_at, subscribed_at, subscription_ended_at"


def example(language: str) -> str:
    """The README's code in that language, for the domain acme."""
    (code,) = re.findall(rf"^```{language}\n(.*?)^```", TEXT, re.DOTALL | re.MULTILINE)
    return code


def of_domain(code: str, domain: str) -> str:
    return code.replace("acme", domain)


def busy(community) -> None:
    """Parts, batches and imports that no part has yet, repeats that came late, and purges that no part knows of."""
    community.define("Age", "number")
    community.report(*(someone(n, attributes={"Age": 20 + n}, created_at=instant(n)) for n in range(8)))
    community.tell(*(happened(n, n % 8, "chat_invited", n, n=n) for n in range(20)))
    compacted(community)
    community.tell(happened(100, 1, "journey_enter", 30, None, journey_id=7), happened(101, 2, "chat_started", 31))
    community.report(someone(3, attributes={"Age": 33.5}), someone(8, membership="one_time", email=None))
    compacted(community)
    # Late: an older row, an event's repeat with other content, both in a batch and in an import.
    community.report(someone(4, email="late@example.org", updated_at=instant(-9)), someone(5, email="new@example.org"))
    community.tell(happened(3, 6, "chat_completed", 99, n=99), happened(102, 3, "note", 32, None, text='a "b" é'))
    rows = [[f"e{n}", "p7", "chat_started", instant(40 + n), "c2"] for n in (102, 103, 104, 4)]
    header = ["event_id", "participant_id", "name", "occurred_at", "params.conversation_id"]
    assert imported(community, "events", "csv", csv_of(header, *rows))["status"] == "completed"
    people = csv_of(
        ["participant_id", "membership", "attributes.Age"], ["p6", "unsubscribed", "66"], ["p9", "purged", "9"]
    )
    assert imported(community, "participants", "csv", people)["status"] == "completed"
    purged(community, "p2")


def gathered(community, folder: Path) -> None:
    """What the README's commands leave in the folder, in their order."""
    table, s3 = boto3.client("dynamodb"), community.deployment.services.aws.s3
    settings = community.deployment.services.settings
    lake = {":pk": {"S": f"lake/{community.domain}"}}

    def query(condition: str, values: dict) -> str:
        found = table.query(TableName=settings.table, ConsistentRead=True, KeyConditionExpression=condition,
                            ExpressionAttributeValues=values)  # fmt: skip
        return json.dumps({name: found[name] for name in ("Items", "Count", "ScannedCount")})

    (folder / "imports.json").write_text(query("pk = :pk AND begins_with(sk, :sk)", {**lake, ":sk": {"S": "import/"}}))
    keys = [key for key, _ in community.deployment.services.bucket.keys(f"lake/{community.domain}/")]
    (folder / "keys.json").write_text(json.dumps(keys, indent=4))
    pointer = table.get_item(
        TableName=settings.table, ConsistentRead=True, Key={"pk": lake[":pk"], "sk": {"S": "manifest"}}
    )
    s3.download_file(settings.bucket, pointer["Item"]["key"]["S"], str(folder / "manifest.json"))
    (folder / "purged.json").write_text(query("pk = :pk", {":pk": {"S": f"purged/{community.domain}"}}))
    for key in keys:
        (folder / key).parent.mkdir(parents=True, exist_ok=True)
        s3.download_file(settings.bucket, key, str(folder / key))


def expected(community, folder: Path) -> tuple[list, list]:
    """Participants who are not purged, and events, as an export's query sees them."""
    folder.mkdir()
    services = community.deployment.services
    views.download(services, community.domain, views.Wanted(events=True), folder)
    with views.connection(folder, "500MB") as con:
        views.create_views(con, folder, *known(community)(), [])
        people = con.execute(
            f"SELECT {PEOPLE}, \"a_Age\" FROM participants WHERE membership <> 'purged' ORDER BY 1"
        ).fetchall()
        events = con.execute(
            "SELECT event_id, participant_id, name, occurred_at, params FROM events ORDER BY 1"
        ).fetchall()
    return people, [(*row[:4], json.loads(row[4])) for row in events]


def test_the_example_in_duckdb_reads_what_an_export_reads(community, tmp_path, monkeypatch):
    busy(community)
    gathered(community, tmp_path)
    people, events = expected(community, tmp_path / "job")
    assert {row[0] for row in people} == {f"p{n}" for n in (0, 1, 3, 4, 5, 6, 7, 8)}
    assert len(events) == 25
    monkeypatch.chdir(tmp_path)
    con = duckdb.connect()
    con.execute(of_domain(example("sql"), community.domain))
    assert con.execute(f"SELECT {PEOPLE}, Age FROM participants ORDER BY 1").fetchall() == people
    found = con.execute("SELECT event_id, participant_id, name, occurred_at, params FROM events ORDER BY 1").fetchall()
    assert [(*row[:4], json.loads(row[4])) for row in found] == events


def test_the_example_in_duckdb_reads_a_lake_without_anything_loose(community, tmp_path, monkeypatch):
    community.report(someone(1))
    compacted(community)
    gathered(community, tmp_path)
    monkeypatch.chdir(tmp_path)
    con = duckdb.connect()
    con.execute(of_domain(example("sql"), community.domain))
    assert con.execute("SELECT participant_id FROM participants").fetchall() == [("p1",)]
    assert con.execute("SELECT count(*) FROM events").fetchone() == (0,)


# What the example leaves is printed as JSON lines, by Spark itself.
TOLD = """
for rows in (participants.select({people}, "Age"), events):
    print("rows", *rows.toJSON().collect(), sep="\\n")
"""


@pytest.mark.judge
def test_the_example_in_spark_reads_what_an_export_reads(community, tmp_path):
    """`make judges` installs PySpark (the group `spark`) for this; it also takes a Java."""
    if shutil.which("java") is None:
        pytest.skip("Spark takes a Java, and there is none here")
    pytest.importorskip("pyspark")
    busy(community)
    gathered(community, tmp_path)
    people, events = expected(community, tmp_path / "job")
    names = PEOPLE.split(", ")
    code = of_domain(example("python"), community.domain) + TOLD.format(people=", ".join(map(repr, names)))
    environment = {**os.environ, "SPARK_LOCAL_IP": "127.0.0.1", "SPARK_LOCAL_DIRS": str(tmp_path / "spark")}
    ran = subprocess.run([sys.executable, "-c", code], cwd=tmp_path, capture_output=True, text=True, env=environment)
    assert ran.returncode == 0, ran.stderr[-3000:]
    told_people, told_events = _told(ran.stdout)
    assert [[_plain(row.get(name)) for name in (*names, "Age")] for row in told_people] == [
        [_plain(value) for value in row] for row in people
    ]
    shown = ("event_id", "participant_id", "name", "occurred_at", "params")
    assert [[_plain(row[name]) for name in shown[:4]] + [json.loads(row["params"])] for row in told_events] == [
        [*map(_plain, row[:4]), row[4]] for row in events
    ]


def _told(printed: str) -> list[list[dict]]:
    """The rows of each group that was printed, in the order of their ids."""
    groups = printed.split("rows\n")[1:]
    found = [[json.loads(line) for line in group.splitlines() if line.startswith("{")] for group in groups]
    return [sorted(rows, key=lambda row: row.get("event_id") or row["participant_id"]) for rows in found]


def _plain(value: object) -> object:
    """A value such that an instant and its text in JSON compare equal."""
    from datetime import datetime

    if isinstance(value, str) and re.match(r"\d{4}-\d\d-\d\dT", value):
        value = datetime.fromisoformat(value).replace(tzinfo=None)
    return value
