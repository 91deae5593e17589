"""The lake as a job sees it: its own domain's rows, each once, and nothing else of the machine."""

import json
from contextlib import contextmanager

import duckdb
import pytest

from chalicelib.intake import attributes
from chalicelib.lake import views
from chalicelib.lake.views import Wanted
from tests.deployed import Community

AT = "2026-11-01T00:00:00Z"
EVENT = {"event_id": "e-1", "participant_id": "p-1", "name": "custom", "occurred_at": AT}
P1 = {"participant_id": "p-1", "membership": "subscribed"}


@contextmanager
def opened(community, tmp_path, purged=(), other=()):
    """A connection on the community's lake, as a worker opens it."""
    services, domain = community.deployment.services, community.domain
    views.download(services, domain, Wanted(participation=True, events=True), tmp_path)
    with views.connection(tmp_path, "500MB") as con:
        views.create_views(con, tmp_path, attributes.catalog(services, domain), list(purged), list(other))
        yield con


def test_an_empty_lake_has_every_view_and_no_row(community, tmp_path):
    with opened(community, tmp_path) as con:
        for view in ("participants", "participation", "events", "other_conversations"):
            assert con.execute(f"SELECT count(*) FROM {view}").fetchone() == (0,)


def test_each_event_is_there_once_as_first_accepted_under_its_canonical_name(community, tmp_path):
    community.tell(
        {**EVENT, "event_id": "e1", "name": "journey_entered", "params": {"journey_id": 5}},
        {**EVENT, "event_id": "e2", "name": "journey_exited", "occurred_at": "2026-11-01T01:00:00.123456789+01:00"},
        {**EVENT, "event_id": "e1", "name": "second"},
    )
    community.tell({**EVENT, "event_id": "e2", "name": "third"}, {**EVENT, "event_id": "e3", "name": "journey_enter"})
    community.tell(
        {**EVENT, "event_id": "e4", "name": "question_answered", "params": {"conversation_id": "c", "question_id": 7}}
    )
    community.tell({**EVENT, "event_id": "e5", "name": "Journey_entered", "params": {"conversation_id": "c"}})
    with opened(community, tmp_path) as con:
        found = con.execute(
            "SELECT event_id, name, CAST(occurred_at AS VARCHAR) FROM events ORDER BY event_id"
        ).fetchall()
        assert found == [
            ("e1", "journey_enter", "2026-11-01 00:00:00"),
            ("e2", "journey_exit", "2026-11-01 00:00:00.123456"),
            ("e3", "journey_enter", "2026-11-01 00:00:00"),
            ("e4", "question_answered", "2026-11-01 00:00:00"),
            ("e5", "Journey_entered", "2026-11-01 00:00:00"),
        ]
        # A custom event that names a conversation is no participation.
        found = con.execute("SELECT event_id, name, conversation_id, question_id FROM participation").fetchall()
        assert found == [("e4", "question_answered", "c", "7")]


HOSTILE = {
    "text": 'a\n"b" \\ \u2028 \uffff \U0001f600 \x7f \x01',
    "": "no name",
    "a.b['c']": 1,
    "big": 2**63,
    "huge": 10**308,
    "tiny": 5e-324,
    "negative": -(10**308),
    "fraction": 0.1,
    "yes": True,
    "nothing": None,
    "UNKNOWN": "\ud7ff",
    "action_code": 99999,
    "x" * 5000: "y" * 50000,
}


def test_params_come_back_as_they_were_sent(community, tmp_path):
    assert community.tell({**EVENT, "params": HOSTILE}).status == 202
    with opened(community, tmp_path) as con:
        (found,) = con.execute("SELECT params FROM events").fetchone()
    assert json.loads(found) == HOSTILE


def test_a_purged_participant_keeps_its_row_and_loses_what_tells_who_it_is(community, tmp_path):
    assert community.define("Words").status == 201
    row = {**P1, "email": "a@example.org", "created_at": AT, "attributes": {"Words": "w"}}
    community.report(row, {**row, "participant_id": "p-2"}, {**row, "participant_id": "p-3", "membership": "purged"})
    with opened(community, tmp_path, purged=["p-2", "p-never"]) as con:
        found = con.execute(
            "SELECT participant_id, membership, email, a_Words, created_at FROM participants ORDER BY 1"
        )
        rows = found.fetchall()
    assert [row[:4] for row in rows] == [
        ("p-1", "subscribed", "a@example.org", "w"),
        ("p-2", "purged", None, None),
        ("p-3", "purged", None, None),
    ]
    assert all(row[4] is not None for row in rows)


def test_a_domain_whose_name_begins_like_another_sees_only_its_own(shared, tmp_path):
    short, long = Community(shared, "lake"), Community(shared, "lake-1")
    short.tell({**EVENT, "event_id": "short"})
    long.tell({**EVENT, "event_id": "long"})
    for community, expected in ((short, "short"), (long, "long")):
        folder = tmp_path / expected
        folder.mkdir()
        with opened(community, folder) as con:
            assert con.execute("SELECT event_id FROM events").fetchall() == [(expected,)]


@pytest.mark.parametrize(
    "sql",
    [
        "SELECT * FROM read_text('/etc/hostname')",
        "SELECT * FROM glob('/etc/*')",
        "SELECT * FROM read_csv('/proc/self/environ')",
        "SELECT * FROM read_json('../../*.gz')",
        "COPY (SELECT 1) TO '/tmp/panelport-outside.csv'",
        "ATTACH '/tmp/panelport-outside.db'",
        "INSTALL httpfs",
        "LOAD httpfs",
        "SELECT * FROM read_csv('https://example.org/x.csv')",
        "SET enable_external_access = true",
        "SET allowed_directories = ['/']",
        "RESET lock_configuration",
        "SET memory_limit = '100GB'",
    ],
)
def test_a_connection_reaches_nothing_but_its_own_folder(tmp_path, sql):
    folder = tmp_path / "job"
    folder.mkdir()
    (tmp_path / "secret.gz").write_bytes(b"")
    with views.connection(folder, "500MB") as con, pytest.raises(duckdb.Error):
        con.execute(sql).fetchall()


def test_a_connection_reads_and_writes_in_its_own_folder(tmp_path):
    with views.connection(tmp_path, "500MB") as con:
        con.execute(f"COPY (SELECT 42 AS n) TO '{tmp_path}/out.csv'")
        assert con.execute(f"SELECT n FROM read_csv('{tmp_path}/out.csv')").fetchone() == (42,)


def test_no_attribute_is_no_column(community, tmp_path):
    with opened(community, tmp_path) as con:
        names = [name for name, *_ in con.execute("DESCRIBE participants").fetchall()]
    known = ["participant_id", "email", "membership", "created_at", "subscribed_at", "subscription_ended_at"]
    assert names == [*known, "updated_at"]
