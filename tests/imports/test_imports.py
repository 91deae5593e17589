"""Claims about bulk imports: the API's own rules, all or nothing, once, and nothing left behind."""

import csv
import io
import json
from datetime import UTC, datetime, timedelta

import duckdb
import pytest
from hypothesis import HealthCheck, example, given, settings
from hypothesis import strategies as st

from chalicelib import jobs
from chalicelib.base import leases, messages
from chalicelib.base.catalog import Attribute, Catalog
from chalicelib.base.table import Choice
from chalicelib.imports import header, imports, judge, reader
from chalicelib.lake import layout
from tests.builders import problem
from tests.imports.uploads import csv_of, imported, rejected, started
from tests.lake.history import compacted, found_in_storage, objects

pytestmark = pytest.mark.slow

CODED = {"choices": [{"code": 1, "label": "Female"}, {"code": 2, "label": "Male"}]}
ATTRIBUTES = {
    "Nick": ("text", {}), "Age": ("number", {}), "Vip": ("boolean", {}), "Born": ("date", {}), "Seen": ("datetime", {}),
    "Sex": ("choice", CODED), "Pets": ("choice", {"multiple": True, "choices": [{"code": 3, "label": "Cat"},
                                                                             {"code": 4, "label": "Dog"}]}),
}  # fmt: skip


def define_all(community):
    for name, (kind, more) in ATTRIBUTES.items():
        assert community.define(name, kind, **more).status == 201


PEOPLE = [
    {"participant_id": "p1", "membership": "subscribed", "email": "a@example.org", "created_at": "2026-01-01T00:00:00+02:00",
     "attributes": {"Nick": "Ann, \"A\"\nof é", "Age": 41.5, "Vip": True, "Born": "1985-02-28", "Sex": "Female",
                    "Seen": "2026-03-01T10:00:00.25-08:00", "Pets": ["Dog", "Cat"]}},
    {"participant_id": "p2", "membership": "one_time", "attributes": {"Age": 7, "Vip": False, "Sex": 2, "Pets": ["Dog"]}},
    {"participant_id": "p3", "membership": "purged"},
]  # fmt: skip


def people_csv() -> bytes:
    names = ["participant_id", "membership", "email", "created_at", *(f"attributes.{name}" for name in ATTRIBUTES)]
    rows = [names]
    for one in PEOPLE:
        values = {**one, **{f"attributes.{name}": value for name, value in one.get("attributes", {}).items()}}
        cells = [values.get(name) for name in names]
        cells = [
            ";".join(cell) if isinstance(cell, list) else str(cell).lower() if isinstance(cell, bool) else cell
            for cell in cells
        ]
        rows.append([None if cell is None else str(cell) for cell in cells])
    return csv_of(*rows)


def people_parquet(folder) -> bytes:
    path = folder / "people.parquet"
    flat = [
        {**{name: value for name, value in one.items() if name != "attributes"},
         **{f"attributes.{name}": one.get("attributes", {}).get(name) for name in ATTRIBUTES}}
        for one in PEOPLE
    ]  # fmt: skip
    for one in flat:
        one["attributes.Sex"] = {"Female": 1}.get(one["attributes.Sex"], one["attributes.Sex"])
    types = {"attributes.Age": "DOUBLE", "attributes.Vip": "BOOLEAN", "attributes.Born": "DATE", "attributes.Sex": "INTEGER",
             "attributes.Pets": "VARCHAR[]"}  # fmt: skip
    names = ["participant_id", "membership", "email", "created_at", *(f"attributes.{name}" for name in ATTRIBUTES)]
    shape = [{name: types.get(name, "VARCHAR") for name in names}]
    con = duckdb.connect()
    con.execute(
        "CREATE TABLE t AS SELECT unnest(from_json(?, ?), recursive := true)", [json.dumps(flat), json.dumps(shape)]
    )
    con.execute(f"COPY t TO '{path}' (FORMAT parquet)")
    return path.read_bytes()


def ndjson(items) -> bytes:
    return "".join(json.dumps(item) + "\n" for item in items).encode()


@pytest.mark.parametrize("form", ["csv", "ndjson", "parquet"])
def test_participants_of_a_file_are_those_of_the_api(community, tmp_path, form):
    from tests.deployed import Community

    define_all(community)
    body = {"csv": people_csv, "ndjson": lambda: ndjson(PEOPLE), "parquet": lambda: people_parquet(tmp_path)}[form]()
    found = imported(community, "participants", form, body)
    assert (found["status"], found["rows_accepted"], found["rows_rejected"]) == ("completed", 3, 0), found
    assert found["rejected_url"] is None
    other = Community(community.deployment)
    define_all(other)
    assert other.report(*PEOPLE).status == 202
    expected = other.rows()
    assert community.rows() == expected
    compacted(community)
    assert community.rows() == expected


EVENTS = [
    {"event_id": "e1", "participant_id": "p1", "name": "chat_invited", "occurred_at": "2026-01-01T00:00:00Z",
     "params": {"conversation_id": "7", "score": 1.5, "n": 12, "yes": True, "zip": "00501"}},
    {"event_id": "e2", "participant_id": "p1", "name": "question_answered", "occurred_at": "2026-01-02T00:00:00+01:00",
     "params": {"conversation_id": "7", "question_id": "q1"}},
    {"event_id": "e3", "participant_id": "p2", "name": "journey_entered", "occurred_at": "2026-01-03T00:00:00.123Z",
     "params": {"journey_id": 1421}},
    {"event_id": "e4", "participant_id": "p2", "name": "custom", "occurred_at": "2026-01-04T00:00:00Z", "params": {}},
]  # fmt: skip
PARAMS = ["conversation_id", "question_id", "score", "n", "yes", "zip", "journey_id"]


def events_csv() -> bytes:
    rows = [["event_id", "participant_id", "name", "occurred_at", *(f"params.{name}" for name in PARAMS)]]
    for one in EVENTS:
        given = [one["params"].get(name) for name in PARAMS]
        cells = [str(cell).lower() if isinstance(cell, bool) else cell for cell in given]
        rows.append([one["event_id"], one["participant_id"], one["name"], one["occurred_at"],
                     *(None if cell is None else str(cell) for cell in cells)])  # fmt: skip
    return csv_of(*rows)


def events_parquet(folder) -> bytes:
    path = folder / "events.parquet"
    con = duckdb.connect()
    types = {"n": "BIGINT", "score": "DOUBLE", "yes": "BOOLEAN", "journey_id": "INTEGER"}
    shape = ", ".join(f"'params.{name}': '{types.get(name, 'VARCHAR')}'" for name in PARAMS)
    shape = (
        f"{{'event_id': 'VARCHAR', 'participant_id': 'VARCHAR', 'name': 'VARCHAR', 'occurred_at': 'VARCHAR', {shape}}}"
    )
    (folder / "events.csv").write_bytes(events_csv())
    con.execute(
        f"COPY (FROM read_csv('{folder / 'events.csv'}', columns = {shape}, header = true)) TO '{path}' (FORMAT parquet)"
    )
    return path.read_bytes()


@pytest.mark.parametrize("form", ["csv", "ndjson", "parquet"])
def test_events_of_a_file_are_those_of_the_api(community, tmp_path, form):
    from tests.deployed import Community

    body = {"csv": events_csv, "ndjson": lambda: ndjson(EVENTS), "parquet": lambda: events_parquet(tmp_path)}[form]()
    found = imported(community, "events", form, body)
    assert (found["status"], found["rows_accepted"], found["rows_rejected"]) == ("completed", 4, 0), found
    other = Community(community.deployment)
    assert other.tell(*EVENTS).status == 202
    for one in (community, other):
        one.report(*({"participant_id": who, "membership": "subscribed"} for who in ("p1", "p2")))
    asked = {
        "kind": "events",
        "events": ["chat_invited", "question_answered", "journey_enter", "custom"],
        "params": PARAMS,
    }
    expected = other.rows(dataset=asked)
    assert len(expected) == 4
    assert community.rows(dataset=asked) == expected
    compacted(community)
    assert community.rows(dataset=asked) == expected


def test_bad_rows_are_reported_by_line_and_reason_and_the_good_ones_taken(community):
    define_all(community)
    header = [
        "participant_id",
        "membership",
        "email",
        "created_at",
        "attributes.Age",
        "attributes.Sex",
        "attributes.Nick",
    ]
    body = csv_of(
        header,
        ["p1", "subscribed", "a@b.org", "2026-01-01T00:00:00Z", "1", "Male", "x"],
        ["no id", "subscribed", None, None, None, None, None],
        ["p2", "member", None, None, None, None, "two\nlines"],
        ["p3", "subscribed", None, "2026-01-01 00:00:00", None, None, None],
        ["p4", "subscribed", None, None, "many", None, None],
        ["p5", "subscribed", None, None, None, "Unknown", "=1+1"],
        ["p6", "subscribed", None, None, None, None, "ok"],
    ) + b"p7,subscribed\n" + b'p8,"sub"scribed,,,,,\n' + b"p9,subscribed,,,,,nul\0\n"  # fmt: skip
    found = imported(community, "participants", "csv", body)
    assert (found["status"], found["rows_accepted"], found["rows_rejected"]) == ("completed", 2, 8)
    told = sorted(rejected(community, found))
    assert [line for line, _, _ in told] == [3, 4, 6, 7, 8, 10, 11, 12]
    reasons = {line: reason for line, reason, _ in told}
    assert reasons[3].startswith("participant_id ")
    assert reasons[4].startswith("membership ")
    assert "offset" in reasons[6]
    assert reasons[7] == "attributes.Age must be a number"
    assert reasons[8].startswith("attributes.Sex ")
    assert "cells" in reasons[10]
    assert "NUL" in reasons[12]
    assert {line: row for line, _, row in told}[8] == "p5,subscribed,,,,Unknown,'=1+1"
    assert [row["Participant_Id"] for row in community.rows()] == ["p1", "p6"]


def test_what_a_row_of_rejects_could_run_in_a_spreadsheet_is_guarded(community):
    found = imported(community, "participants", "csv", b"participant_id,membership\n=cmd|' /C calc'!A0,subscribed\n")
    ((line, _, row),) = rejected(community, found)
    assert line == 2
    assert row.startswith("'=cmd")


@pytest.mark.parametrize(
    ("form", "body"),
    [
        ("csv", b""),
        ("csv", b"participant_id\np1\n"),
        ("csv", b"participant_id,membership,participant_id\np1,subscribed,p1\n"),
        ("csv", b"participant_id,membership,shoe\np1,subscribed,4\n"),
        ("csv", b"participant_id,membership,attributes.Nope\np1,subscribed,4\n"),
        ("csv", b'participant_id,membership\np1,subscribed\n"p2,subscribed\np3,subscribed\n'),
        ("parquet", b"participant_id,membership\np1,subscribed\n"),
        ("parquet", b"PAR1 and nothing else PAR1"),
    ],
)
def test_a_broken_file_fails_whole_with_a_reason_and_leaves_nothing(community, form, body):
    found = imported(community, "participants", form, body)
    assert found["status"] == "failed", found
    assert len(found["error"]["detail"]) > 10
    assert found["rows_accepted"] is None
    assert community.rows() == []
    assert not objects(community, "imports/")
    assert not [key for key in objects(community) if "/imports/" in key]


def test_a_header_alone_is_an_import_of_no_rows(community):
    found = imported(community, "participants", "csv", b"\xef\xbb\xbfparticipant_id,membership\r\n")
    assert (found["status"], found["rows_accepted"], found["rows_rejected"]) == ("completed", 0, 0)


def test_nothing_uploaded_is_a_conflict_and_a_second_start_changes_nothing(community):
    made = community.call("POST", "/v1/imports", {"kind": "events", "format": "csv"}).json()
    assert set(made) == {"id", "status", "upload"}
    assert set(made["upload"]) == {"url", "headers", "expires_at"}
    problem(community.call("POST", f"/v1/imports/{made['id']}/start"), 409)
    problem(community.call("POST", "/v1/imports/imp_none/start"), 404)
    import_id = started(community, "events", "csv", b"event_id,participant_id,name,occurred_at\n")
    again = community.call("POST", f"/v1/imports/{import_id}/start")
    assert (again.status, again.json()["status"]) == (202, "pending")
    imports.work(community.deployment.services, community.domain, import_id, "invocation-1")
    assert community.call("POST", f"/v1/imports/{import_id}/start").json()["status"] == "completed"


def test_the_same_idempotency_key_is_one_import_and_one_answer(community):
    asked = {"kind": "events", "format": "csv"}
    first = community.call("POST", "/v1/imports", asked, Idempotency_Key="k")
    assert first.status == 201
    community.deployment.clock.advance(seconds=5)
    assert community.call("POST", "/v1/imports", asked, Idempotency_Key="k").body == first.body


def test_only_a_feed_may_import_and_a_domain_sees_its_own(community):
    from tests.deployed import Community

    made = community.call("POST", "/v1/imports", {"kind": "events", "format": "csv"}).json()
    problem(Community(community.deployment).call("GET", f"/v1/imports/{made['id']}"), 404)
    key = community.call("POST", "/v1/keys", {"name": "e", "role": "editor"}).json()["key"]
    assert community.deployment.call("GET", f"/v1/imports/{made['id']}", key).status == 403
    problem(community.call("POST", "/v1/imports", {"kind": "links", "format": "xls"}), 422)


def test_the_upload_is_erased_and_the_rejects_expire(community):
    body = b"participant_id,membership\np1,subscribed\nbad id,subscribed\n"
    found = imported(community, "participants", "csv", body)
    assert len(objects(community, "imports/")) == 1
    services = community.deployment.services
    community.deployment.clock.advance(days=7, seconds=1)
    jobs.work(services, messages.ReadImport(domain=community.domain, import_id=found["id"]), "invocation-2")
    assert not objects(community, "imports/")
    assert community.call("GET", f"/v1/imports/{found['id']}").json()["rejected_url"] is None
    token = found["rejected_url"].rpartition("/d/")[2]
    assert community.deployment.call("GET", f"/d/{token}").status == 410


def test_an_import_that_is_never_started_is_given_up(community):
    made = community.call("POST", "/v1/imports", {"kind": "participants", "format": "csv"}).json()
    services = community.deployment.services
    services.bucket.put(imports.uploaded(community.domain, made["id"]), b"canary-upload", "text/csv")
    community.deployment.clock.advance(hours=13)
    imports.work(services, community.domain, made["id"], "invocation-1")
    assert community.call("GET", f"/v1/imports/{made['id']}").json()["status"] == "failed"
    imports.work(services, community.domain, made["id"], "invocation-2")
    assert not found_in_storage(community, b"canary-upload")


def test_a_repeated_message_and_two_workers_take_the_rows_once(community):
    body = b"event_id,participant_id,name,occurred_at,params.conversation_id\n" \
           b"e1,p1,chat_invited,2026-01-01T00:00:00Z,c1\n"  # fmt: skip
    services = community.deployment.services
    import_id = started(community, "events", "csv", body)
    item = imports.get(services, community.domain, import_id)
    first = leases.take(services, imports.TERMS, (item["pk"], item["sk"]), "invocation-1")
    imports.work(services, community.domain, import_id, "invocation-2")
    assert imports.get(services, community.domain, import_id)["status"] == "processing"
    community.deployment.clock.advance(seconds=61)
    imports.work(services, community.domain, import_id, "invocation-3")
    assert imports.get(services, community.domain, import_id)["status"] == "completed"
    services.bucket.put(imports.uploaded(community.domain, import_id), body, "text/csv")
    assert imports._attempt(services, first) is False
    community.report({"participant_id": "p1", "membership": "subscribed"})
    assert community.rows()[0]["ChatsInvited"] == "1"
    assert len([key for key in objects(community) if "/imports/" in key]) == 1


# The two sides of the rules

CATALOG = Catalog(
    7,
    {
        "Nick": Attribute("Nick", "", "text", defined_in=1),
        "Age": Attribute("Age", "", "number", defined_in=1),
        "Vip": Attribute("Vip", "", "boolean", defined_in=1),
        "Born": Attribute("Born", "", "date", defined_in=1),
        "Seen": Attribute("Seen", "", "datetime", defined_in=1),
        "Sex": Attribute("Sex", "", "choice", (Choice(1, "Female"), Choice(2, "7"), Choice(7, "it's")), defined_in=1),
    },
)
INSTANTS = st.one_of(
    st.datetimes(timezones=st.sampled_from([UTC])).map(lambda at: at.isoformat()),
    *[st.just("2026-02-28T23:59:59.5-08:00")] * 4,
    st.builds(
        "{}-{:02}-{:02}{}{:02}:{:02}:{:02}{}{}".format,
        st.sampled_from(["2026", "0000", "0001", "9999", "999", "2024"]), st.integers(0, 13), st.integers(0, 32),
        st.sampled_from(["T", " ", "t", ""]), st.integers(0, 25), st.integers(0, 61), st.integers(0, 61),
        st.sampled_from(["", ".5", ".123456", ".1234567", "."]), st.sampled_from(["Z", "z", "", "+02:00", "-23:59", "+24:00", "+0200"]),
    ),
)  # fmt: skip
TEXTS = st.one_of(
    st.text(max_size=5), st.sampled_from(["", " ", "é" * 128, "x" * 129, "a\0b", "1", "true", "NULL", "'", '"', "a,b"])
)
CELLS = st.one_of(TEXTS, INSTANTS, st.sampled_from(["0", "-0", "1.50", "1e5", "007", "12345678901234567890", "0.1", "-5",
    "1.", ".5", "TRUE", "False", "Female", "7", "2", "1985-02-28", "1985-02-30", "it's", "NaN", "Infinity", "1;2"]))  # fmt: skip
IDS = st.sampled_from([*["p1"] * 20, "a" * 128, "a" * 129, "", "x y", "p\n", "é", "p:1@x.y-_"])
ROWS = {
    "participants": st.fixed_dictionaries(
        {"participant_id": IDS, "membership": st.sampled_from([*["subscribed"] * 6, "purged", "Subscribed", ""])},
        optional={
            "email": TEXTS | st.just("e" * 321), "created_at": INSTANTS, "updated_at": INSTANTS,
            **{f"attributes.{name}": CELLS for name in CATALOG.attributes},
        },
    ),
    "events": st.fixed_dictionaries(
        {"event_id": TEXTS, "participant_id": IDS, "occurred_at": INSTANTS,
         "name": st.sampled_from(["chat_invited", "question_answered", "journey_entered", "custom", "", "n" * 129])},
        optional={f"params.{name}": CELLS for name in ("conversation_id", "question_id", "x", 'odd "name')},
    ),
}  # fmt: skip


class Quiet:
    def at(self, percent: int) -> None:
        pass


def read_both_ways(folder, kind: str, cases: list[dict]):
    """What comes of the rows by the file's reader, and by the API's rules alone: line -> row, and the lines refused."""
    names = sorted({name for case in cases for name in case} | set(header.REQUIRED[kind]))
    body = csv_of(names, *([case.get(name) for name in names] for case in cases))
    for entry in folder.iterdir():
        if entry.is_file():
            entry.unlink()
    (folder / "upload").write_bytes(body)
    asked = reader.Asked(kind, "csv", "01K0", "2026-11-21T16:36:13.250000Z", CATALOG, "500MB")
    outcome = reader.read(asked, folder, Quiet())
    found = duckdb.sql(f"SELECT * FROM '{outcome.rows}'")
    got = {row[1]: dict(zip(found.columns, row, strict=True)) for row in found.fetchall()}
    sink = io.StringIO()
    slowly = judge.Judge(asked, sink, csv.writer(io.StringIO()))
    number, empty = 0, 0
    fields = [(header.Field(place, name), "cell") for place, name in enumerate(names)]
    for case in cases:
        values = [case.get(name) for name in names]
        if not any(value and value.strip() for value in values):
            empty += 1
            continue
        number += 0 if any("\0" in value for value in values if value) else 1
        slowly.judge(judge.Record(number, 0, judge.item_of(asked, fields, values), ""))
    expected = {row["line"]: row for row in map(json.loads, sink.getvalue().split("\n")[:-1])}
    return got, expected, outcome, len(cases) - empty


def same(mine: dict, theirs: dict) -> bool:
    """Whether a stored row is what the API would have stored."""
    for name, of in layout.FIELDS["events" if "event_id" in theirs else "participants"].items():
        left, right = mine[name], theirs[name]
        if of == "JSON":
            left = json.loads(left)
        elif of == "TIMESTAMP" and right is not None:
            right = datetime.fromisoformat(right).replace(tzinfo=None)
        if left != right or (of == "JSON" and [type(v) for v in left.values() if not isinstance(v, float)] != [
            type(v) for v in right.values() if not isinstance(v, float)
        ]):  # fmt: skip
            return False
    return True


@pytest.mark.parametrize("kind", ["participants", "events"])
def test_the_reader_of_files_and_the_api_agree_about_every_row(tmp_path_factory, kind):
    folder = tmp_path_factory.mktemp("both")
    seen = {"accepted": 0, "refused": 0}

    @settings(max_examples=20, deadline=None, suppress_health_check=list(HealthCheck))
    @given(st.lists(ROWS[kind], min_size=1, max_size=30))
    def agree(cases):
        got, expected, outcome, count = read_both_ways(folder, kind, cases)
        assert got.keys() == expected.keys()
        for line, row in expected.items():
            assert same(got[line], row), (got[line], row)
        assert outcome.accepted == len(expected)
        assert outcome.rejected == count - len(expected)
        seen["accepted"] += len(expected)
        seen["refused"] += outcome.rejected

    agree()
    assert min(seen.values()) > 2


SCALARS = st.one_of(TEXTS, INSTANTS, st.sampled_from([0, 1, 2, 7, -5, 1.5, 0.1, 1e-7, 2**53 + 1, 10**15, -0.0, True, False,
    None, [1], [], {"a": 1}, "Female", "2", "1985-02-28", "2026-01-01T00:00:00Z"]))  # fmt: skip
PLAIN_IDS = st.sampled_from([*["p1"] * 20, "x y", 7, None])
ITEMS = {
    "participants": st.fixed_dictionaries(
        {"participant_id": PLAIN_IDS, "membership": st.sampled_from([*["subscribed"] * 6, "Subscribed", 1])},
        optional={"email": TEXTS | st.none(), "created_at": INSTANTS | st.none(), "odd": st.just(1),
                  "attributes": st.none() | st.dictionaries(st.sampled_from([*CATALOG.attributes, "nick"]), SCALARS, max_size=3)},
    ),
    "events": st.fixed_dictionaries(
        {"event_id": TEXTS, "participant_id": PLAIN_IDS, "occurred_at": INSTANTS,
         "name": st.sampled_from(["chat_invited", "question_answered", "journey_exited", "custom", None])},
        optional={"params": st.none() | st.dictionaries(
            st.sampled_from(["conversation_id", "question_id", "x", 'odd "na\\me', "[", "é"]), SCALARS, max_size=4)},
    ),
}  # fmt: skip
# Lines of which readers of JSON think differently; `%` stands for the rest of a good row.
ODD_LINES = [
    "", "nonsense", "[]", "1", "{", '{"a":1,}', "{%} x", "{%}//x", '{%,"email":"a","email":"b"}', "{%,}", '{%,"params":{"x":NaN}}',
    '{%,"params":{"x":Infinity}}', '{%,"params":{"x":-Infinity}}', '{%,"params":{"x":nan}}', '{%,"params":{"x":1e400}}',
    '{%,"params":{"x":1E5}}', '{%,"params":{"x":01}}', '{%,"params":{"x":1.}}', '{%,"params":{"x":.5}}', '{%,"params":{"x":+1}}',
    '{%,"params":{"x":1.50,"y":10.0}}', '{%,"params":{"x":123456789012345678901234567890}}', '{%,"params":{"x":"\\ud800"}}',
    '{%,"params":{"x":"\\u0000"}}', '{%,"params":{"x":"\\u00e9\\n\\/"}}', '{%,"params":{"x":1,"x":2}}', '{%,"params":{"x":"a\tb"}}',
    '{%,"params":{"x":0.00001}}', '{%,"params":{"x":-0}}', '{%,"params":{"x":tru}}', "  {%}  ", '{%,"params":{}}', '{%,"params":[1]}',
    "{'a':1}", '{%,"attributes":{"Age":5,"Age":6}}', '{%,"attributes":{"Nick":"\\u0000"}}', '{%,"attributes":{"Age":0.1000}}',
    '{%,"attributes":[]}', '{%,"par\\u0061ms":{"x":1}}', '{%,"attributes":{"Age":9007199254740993}}',
]  # fmt: skip
GOOD = {
    "participants": '"participant_id":"p1","membership":"subscribed"',
    "events": '"event_id":"e1","participant_id":"p1","name":"custom","occurred_at":"2026-01-01T00:00:00Z"',
}


@pytest.mark.parametrize("kind", ["participants", "events"])
def test_the_reader_of_json_lines_and_the_api_agree_about_every_line(tmp_path_factory, kind):
    folder = tmp_path_factory.mktemp("json")
    seen = {"accepted": 0, "refused": 0}
    odd = st.sampled_from([line.replace("%", GOOD[kind]) for line in ODD_LINES if line])
    line = st.one_of(
        ITEMS[kind].map(json.dumps), ITEMS[kind].map(lambda item: json.dumps(item, ensure_ascii=False)), odd
    )

    @settings(max_examples=20, deadline=None, suppress_health_check=list(HealthCheck))
    @example([line.replace("%", GOOD[kind]) for line in ODD_LINES if line])
    @example(["", *(line.replace("%", GOOD[kind]) for line in ODD_LINES)])
    @given(st.lists(line, min_size=1, max_size=30))
    def agree(lines):
        lines = ["{" + GOOD[kind] + "}", *lines]  # what the first line is decides about the file
        for entry in folder.iterdir():
            if entry.is_file():
                entry.unlink()
        (folder / "upload").write_text("\n".join(lines), encoding="utf-8", newline="")
        asked = reader.Asked(kind, "ndjson", "01K0", "2026-11-21T16:36:13.250000Z", CATALOG, "500MB")
        outcome = reader.read(asked, folder, Quiet())
        found = duckdb.sql(f"SELECT * FROM '{outcome.rows}'")
        got = {row[1]: dict(zip(found.columns, row, strict=True)) for row in found.fetchall()}
        sink = io.StringIO()
        slowly = judge.Judge(asked, sink, csv.writer(io.StringIO()))
        for number, text in enumerate([text for text in lines if text.strip(" \t\r")], 1):
            slowly.judge(reader._json_record(asked, number, number, text))
        expected = {row["line"]: row for row in map(json.loads, sink.getvalue().split("\n")[:-1])}
        assert got.keys() == expected.keys(), [lines[n - 1] for n in got.keys() ^ expected.keys()]
        for number, row in expected.items():
            assert same(got[number], row), (got[number], row)
        assert outcome.rejected == sum(1 for text in lines if text.strip(" \t\r")) - len(expected)
        seen["accepted"] += len(expected)
        seen["refused"] += outcome.rejected

    agree()
    assert min(seen.values()) > 2


def test_the_plain_rows_of_a_file_need_no_judging_one_by_one(tmp_path):
    cases = [
        {"participant_id": f"p{n}", "membership": "subscribed", "email": "a@b.org", "created_at": "2026-01-01T00:00:00+02:00",
         "attributes.Age": "4.5", "attributes.Sex": "Female", "attributes.Nick": "n", "attributes.Vip": "true"}
        for n in range(50)
    ]  # fmt: skip
    _, expected, outcome, _ = read_both_ways(tmp_path, "participants", cases)
    assert len(expected) == outcome.accepted == 50
    assert (tmp_path / "judged.ndjson").read_text() == ""


def test_updated_at_is_by_default_when_the_import_was_started(community):
    imported(community, "participants", "csv", b"participant_id,membership,email\np1,subscribed,first@x.org\n")
    community.deployment.clock.advance(seconds=1)
    stamp = (community.deployment.clock.now - timedelta(hours=1)).isoformat()
    community.report({"participant_id": "p1", "membership": "one_time", "email": "older@x.org", "updated_at": stamp})
    assert community.rows()[0]["EmailAddress"] == "first@x.org"
