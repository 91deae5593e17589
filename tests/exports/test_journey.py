"""Journey data through real runs: users, events and raw user data, in every format that carries them."""

import csv
import gzip
import io
import json
from datetime import UTC, datetime
from itertools import count

import duckdb
import pytest

from chalicelib.datasets import codes
from tests.builders import pointers
from tests.deployed import Community

pytestmark = pytest.mark.slow

ACTION = "journey_product_action"
UNDEFINED = (*range(5, 13), 15, 17, 31, 99)


def act(number, who, name, at, **params):
    return {"event_id": f"e{number:03}", "participant_id": who, "name": name, "occurred_at": at, "params": params}


ANN = {"Region": "BC", "Age": 34, "Brands": [3, 1], "Vip": True}
PEOPLE = [
    {"participant_id": "u2", "membership": "one_time", "email": "=b@x.example", "created_at": "2026-01-02T03:04:05.678Z"},
    {"participant_id": "u10", "membership": "unsubscribed", "attributes": {"Region": "Ontario", "Age": 0.5, "Vip": False}},
    {"participant_id": "u1", "membership": "subscribed", "email": "ann@x.example", "attributes": ANN},
    {"participant_id": "u3", "membership": "purged"},
    {"participant_id": "u4", "membership": "subscribed", "email": "gone@x.example", "attributes": {"Region": "BC"}},
]  # fmt: skip
EVENTS = [
    act(2, "u2", "journey_entered", "2026-10-02T00:00:00Z", journey_id=1421, reason="signed up"),
    act(1, "u1", "journey_enter", "2026-10-02T00:00:00Z", journey_id=1422, is_dry_run=True),
    # The same instant: the id decides.
    act(4, "u1", ACTION, "2026-10-01T00:00:00.5Z", journey_id=1421, action_code=2, channel_code="EM", campaign_id=7),
    act(3, "u1", ACTION, "2026-10-01T00:00:00.5Z", journey_id=1421, action_code=17, channel_code="XY"),
    act(5, "u10", "journey_exited", "2026-10-03T00:00:00Z", journey_id=1421, reason="goal, reached"),
    act(6, "u10", "bought", "2026-10-03T00:00:01Z", price=9.5, items=3, gift=False, note='a "b"\n;c', none=None),
    # Of purged participants, and of one that is not known.
    act(7, "u3", "journey_enter", "2026-10-02T00:00:00Z", journey_id=1421),
    act(8, "u4", "journey_enter", "2026-10-02T00:00:00Z", journey_id=1421),
    act(9, "u9", "journey_enter", "2026-10-02T00:00:00Z", journey_id=1421),
]


def defined(community):
    for name, kind in (("Region", "text"), ("Age", "number"), ("Vip", "boolean")):
        assert community.define(name, kind, label=name).status == 201
    choices = [{"code": 1, "label": "Acme"}, {"code": 3, "label": "Bolt"}]
    assert community.define("Brands", "choice", label="Brands", multiple=True, choices=choices).status == 201
    return community


@pytest.fixture(scope="module")
def journeys(shared):
    community = defined(Community(shared))
    assert community.report(*PEOPLE).status == 202
    assert community.tell(*EVENTS).status == 202
    assert community.call("DELETE", "/v1/participants/u4/personal-data").status == 204
    return community


def file(community, dataset, form="csv", **more):
    """The bytes of a new export's file, and its run."""
    run = community.finished(community.save(run=True, dataset=dataset, format=form, **more)["run"])
    assert run["status"] == "completed", run
    return community.deployment.file(run), run


def csv_rows(raw):
    return list(csv.DictReader(io.StringIO(raw.decode("utf-8-sig"), newline="")))


def parquet_of(raw, folder):
    """The types of the columns, and the rows with every value as text."""
    path = folder / "file.parquet"
    path.write_bytes(raw)
    with duckdb.connect() as con:
        types = {row[0]: row[1] for row in con.execute(f"DESCRIBE SELECT * FROM '{path}'").fetchall()}
        found = con.execute(f"SELECT COLUMNS(*)::VARCHAR FROM '{path}'")
        names = [column[0] for column in found.description]
        return types, [dict(zip(names, row, strict=True)) for row in found.fetchall()]


USERS = {"kind": "users", "columns": {"system": ["Participant_Id", "CreatedAt", "MembershipStatus"],
                                      "profile": ["Age", "Brands", "Vip"], "participation": ["ChatsInvited"]}}  # fmt: skip
CREATED = "2026-01-02 03:04:05.678+00"


def test_users_have_the_id_and_the_address_unless_columns_are_chosen(journeys):
    raw, run = file(journeys, {"kind": "users"})
    assert run["file"]["columns"] == ["Participant_Id", "EmailAddress"]
    assert raw.decode() == "\ufeffParticipant_Id,EmailAddress\nu1,ann@x.example\nu10,\nu2,'=b@x.example\n"


def test_users_come_in_each_format_with_the_types_of_their_columns(journeys, tmp_path):
    plain = file(journeys, USERS, format_options={"bom": False})[0]
    assert plain.decode() == (
        "Participant_Id,CreatedAt,MembershipStatus,Age,Brands,Vip,ChatsInvited\n"
        "u1,,Subscribed,34,Acme;Bolt,true,0\n"
        "u10,,Unsubscribed,0.5,,false,0\n"
        "u2,2026-01-02 03:04:05,One-time,,,,0\n"
    )
    lines = [json.loads(line) for line in file(journeys, USERS, "ndjson")[0].splitlines()]
    assert lines[0] == {"Participant_Id": "u1", "CreatedAt": None, "MembershipStatus": "Subscribed", "Age": 34,
                        "Brands": ["Acme", "Bolt"], "Vip": True, "ChatsInvited": 0}  # fmt: skip
    assert [line["CreatedAt"] for line in lines] == [None, None, "2026-01-02T03:04:05.678000Z"]
    codes_only = file(journeys, USERS, "ndjson", format_options={"values": "codes", "compression": "gzip"})[0]
    first = json.loads(gzip.decompress(codes_only).splitlines()[0])
    assert (first["MembershipStatus"], first["Brands"]) == (1, [1, 3])
    types, rows = parquet_of(file(journeys, USERS, "parquet")[0], tmp_path)
    assert types == {"Participant_Id": "VARCHAR", "CreatedAt": "TIMESTAMP WITH TIME ZONE", "MembershipStatus": "VARCHAR",
                     "Age": "DOUBLE", "Brands": "VARCHAR[]", "Vip": "BOOLEAN", "ChatsInvited": "BIGINT"}  # fmt: skip
    assert [row["Participant_Id"] for row in rows] == ["u1", "u10", "u2"]
    assert rows[2]["CreatedAt"] == CREATED


def test_users_take_twenty_columns_and_not_one_more(journeys):
    columns = {"system": "all", "profile": ["Age"], "participation": "all"}
    body = {"title": "wide", "dataset": {"kind": "users", "columns": columns}}
    more = {**columns, "profile": ["Age", "Vip"]}
    raw, run = file(journeys, {"kind": "users", "columns": more})
    assert len(run["file"]["columns"]) == 20
    assert len(csv_rows(raw)[0]) == 20
    for profile in ("all", ["Age", "Vip", "Brands"]):
        body["dataset"]["columns"] = {**columns, "profile": profile}
        assert pointers(journeys.call("POST", "/v1/exports", body)) == ["/dataset/columns"]


def test_participants_are_exported_by_segment_and_purged_ones_where_they_match(journeys):
    memberships = ["subscribed", "unsubscribed", "one_time", "purged"]
    columns = {"system": ["Participant_Id"], "profile": [], "participation": []}
    dataset = {"kind": "participants", "memberships": memberships, "columns": columns}

    def ids(segment, **more):
        return [row["Participant_Id"] for row in journeys.rows(dataset={**dataset, "segment": segment, **more})]

    entered = {"event": "journey_entered", "range": {"last": 2, "unit": "month"}}
    assert ids(None) == ["u1", "u10", "u2", "u3", "u4"]
    assert ids(entered) == ["u1", "u2", "u3", "u4"]
    assert ids(entered, memberships=["subscribed"]) == ["u1"]
    assert ids({"all": [entered, {"attribute": "Region", "op": "eq", "values": ["BC"]}]}) == ["u1"]
    # The region of a purged participant is gone: nothing finds it by that any more.
    assert ids({"attribute": "Region", "op": "exists"}) == ["u1", "u10"]


def events(*names, **more):
    return {"kind": "events", "events": list(names), **more}


def test_events_are_sorted_by_participant_time_and_id_under_their_kept_names(journeys):
    raw, run = file(journeys, events("journey_entered", "journey_exit", ACTION, params=["journey_id", "reason"]))
    assert run["file"]["columns"] == [
        "Participant_Id", "Event", "OccurredAt", "journey_id", "reason",
        "ActionCode", "ActionName", "ChannelCode", "ChannelName",
    ]  # fmt: skip
    assert [list(row.values()) for row in csv_rows(raw)] == [
        ["u1", ACTION, "2026-10-01 00:00:00", "1421", "", "17", "UNKNOWN_17", "XY", "UNKNOWN_XY"],
        ["u1", ACTION, "2026-10-01 00:00:00", "1421", "", "2", "CLICK", "EM", "Email"],
        ["u1", "journey_enter", "2026-10-02 00:00:00", "1422", "", "", "", "", ""],
        ["u10", "journey_exit", "2026-10-03 00:00:00", "1421", "goal, reached", "", "", "", ""],
        ["u2", "journey_enter", "2026-10-02 00:00:00", "1421", "signed up", "", "", "", ""],
    ]


def test_events_without_product_actions_have_no_columns_of_codes(journeys, tmp_path):
    dataset = events("bought", params=["price", "items", "gift", "note", "none", "absent"])
    raw, run = file(journeys, dataset, timezone="America/Vancouver", format_options={"delimiter": ";"})
    assert run["file"]["rows"] == 1
    lines = raw.decode("utf-8-sig")
    assert lines == (
        "Participant_Id;Event;OccurredAt;price;items;gift;note;none;absent\n"
        'u10;bought;2026-10-02 17:00:01;9.5;3;false;"a ""b""\n;c";;\n'
    )
    (line,) = file(journeys, dataset, "ndjson")[0].splitlines()
    assert json.loads(line) == {
        "Participant_Id": "u10", "Event": "bought", "OccurredAt": "2026-10-03T00:00:01.000000Z", "price": "9.5",
        "items": "3", "gift": "false", "note": 'a "b"\n;c', "none": None, "absent": None,
    }  # fmt: skip
    types, (row,) = parquet_of(file(journeys, dataset, "parquet")[0], tmp_path)
    assert types["OccurredAt"] == "TIMESTAMP WITH TIME ZONE"
    assert row["OccurredAt"] == "2026-10-03 00:00:01+00"


@pytest.mark.parametrize(
    ("more", "ids"),
    [
        ({}, ["u1", "u1", "u1", "u10", "u2"]),
        ({"range": {"from": "2026-10-02T00:00:00Z", "to": "2026-10-03T00:00:00Z"}}, ["u1", "u2"]),
        ({"range": {"last": 51, "unit": "day"}}, ["u1", "u10", "u2"]),
        ({"where": [{"param": "journey_id", "op": "eq", "values": [1421]}]}, ["u1", "u1", "u10", "u2"]),
        ({"where": [{"param": "journey_id", "op": "eq", "values": [1421]},
                    {"param": "reason", "op": "contains", "values": ["GOAL"]}]}, ["u10"]),
        ({"where": [{"param": "action_code", "op": "eq", "values": ["CLICK"]}]}, ["u1"]),
        ({"where": [{"param": "channel_code", "op": "ne", "values": ["Email"]},
                    {"param": "channel_code", "op": "exists"}]}, ["u1"]),
        ({"segment": {"attribute": "Region", "op": "eq", "values": ["BC"]}}, ["u1", "u1", "u1"]),
        ({"segment": {"channel": "EM", "action": "VIEW"}}, []),
    ],
)  # fmt: skip
def test_events_are_chosen_by_range_by_their_params_and_by_the_segment_of_who_did_them(journeys, more, ids):
    dataset = events("journey_enter", "journey_exited", ACTION, **more)
    assert [row["Participant_Id"] for row in journeys.rows(dataset=dataset)] == ids


@pytest.mark.parametrize(
    ("dataset", "pointer"),
    [
        (events(), "/dataset/events"),
        ({"kind": "events"}, "/dataset/events"),
        (events("x", params=["journey_id", "journey_id"]), "/dataset/params/1"),
        (events("x", params=["OccurredAt"]), "/dataset/params/0"),
        (events(ACTION, params=["ActionCode"]), "/dataset/params/0"),
        (events(ACTION, where=[{"param": "action_code", "op": "eq", "values": ["NOPE"]}]), "/dataset/where/0/values/0"),
        (events("x", range={"last": 1}), "/dataset/range/unit"),
        (events("x", limit=5), "/dataset/limit"),
        (events("x", segment={"event": ""}), "/dataset/segment/event"),
        ({"kind": "raw"}, "/dataset"),
        ({"kind": "raw", "attributes": ["Nope"]}, "/dataset/attributes/0"),
        ({"kind": "raw", "attributes": "*"}, "/dataset/attributes"),
        ({"kind": "raw", "events": {"start": 5, "end": "2026-01-01T00:00:00Z", "wanted": [{"event_name": "x"}]}},
         "/dataset/events/start"),
        ({"kind": "raw", "events": {"start": "2026-01-02T00:00:00Z", "end": "2026-01-01T00:00:00Z",
                                    "wanted": [{"event_name": "x"}]}}, "/dataset/events/end"),
        ({"kind": "raw", "events": {"start": "2026-01-01T00:00:00Z", "end": "2026-01-02T00:00:00Z", "wanted": []}},
         "/dataset/events/wanted"),
        ({"kind": "raw", "attributes": ["*"], "naming": "insider"}, "/dataset/naming"),
    ],
)  # fmt: skip
def test_what_no_journey_export_can_be_is_refused_where_it_stands(journeys, dataset, pointer):
    assert pointers(journeys.call("POST", "/v1/exports", {"title": "refused", "dataset": dataset})) == [pointer]


@pytest.fixture(scope="module")
def every_code(shared):
    """A participant with one product action for each known code, each channel, and codes that have no name."""
    community = Community(shared)
    community.report({"participant_id": "u1", "membership": "subscribed"})
    numbers = count()
    actions = [{"action_code": code, "channel_code": "EM"} for code in (*codes.ACTIONS, *UNDEFINED)]
    channels = [{"action_code": 1, "channel_code": code} for code in codes.CHANNELS]
    at = "2026-10-01T00:00:00Z"
    told = [act(next(numbers), "u1", ACTION, at, **params) for params in (*actions, *channels)]
    assert community.tell(*told).status == 202
    return community, [tuple(event["params"].values()) for event in told]


def test_every_action_and_channel_is_shown_by_code_and_by_name(every_code):
    community, told = every_code
    rows = [tuple(row.values())[3:] for row in csv_rows(file(community, events(ACTION))[0])]
    assert rows == [
        (str(action), codes.ACTIONS.get(action, f"UNKNOWN_{action}"), channel, codes.CHANNELS[channel])
        for action, channel in told
    ]


@pytest.mark.parametrize("code", [*codes.ACTIONS, *UNDEFINED])
def test_an_action_is_found_by_its_code_and_by_its_name(every_code, code):
    community, _ = every_code
    found = 11 if code == 1 else 1
    for value in (code, codes.ACTIONS.get(code, f"UNKNOWN_{code}")):
        segment = {"action": value, "times": {"op": "eq", "value": found}}
        assert community.call("POST", "/v1/segments/count", {"segment": segment}).json()["users"] == 1


@pytest.mark.parametrize(("code", "name"), codes.CHANNELS.items())
def test_a_channel_is_found_by_its_code_and_by_its_name(every_code, code, name):
    community, told = every_code
    found = sum(channel == code for _, channel in told)
    for value in (code, name):
        segment = {"channel": value, "times": {"op": "eq", "value": found}}
        assert community.call("POST", "/v1/segments/count", {"segment": segment}).json()["users"] == 1


def wanted(name, params=(), filters=()):
    return {"event_name": name, "params": list(params), "filters": list(filters)}


def raw(*some, start="2026-10-01T00:00:00Z", end="2026-11-01T00:00:00Z", **more):
    return {"kind": "raw", "events": {"start": start, "end": end, "wanted": list(some)}, **more}


def test_raw_attributes_alone_are_one_row_a_user(journeys, tmp_path):
    everything = {"kind": "raw", "attributes": ["*"]}
    columns = ["iid", "a_EmailAddress", "a_MembershipStatus", "a_CreatedAt", "a_SubscribedAt", "a_SubscriptionEndedAt",
               "a_Age", "a_Brands", "a_Region", "a_Vip"]  # fmt: skip
    plain, run = file(journeys, everything)
    assert run["file"]["columns"] == columns
    assert [row["iid"] for row in csv_rows(plain)] == ["u1", "u10", "u2"]
    types, rows = parquet_of(file(journeys, everything, "parquet")[0], tmp_path)
    assert list(types) == columns
    assert rows[0]["a_Brands"] == "[Acme, Bolt]"
    assert rows[2]["a_CreatedAt"] == CREATED
    chosen = {"kind": "raw", "attributes": ["Region", "EmailAddress"]}
    chosen["segment"] = {"attribute": "Region", "op": "exists"}
    lines = [json.loads(line) for line in file(journeys, chosen, "ndjson")[0].splitlines()]
    assert lines == [
        {"iid": "u1", "a_Region": "BC", "a_EmailAddress": "ann@x.example"},
        {"iid": "u10", "a_Region": "Ontario", "a_EmailAddress": None},
    ]


def test_raw_events_are_one_row_each_with_the_attributes_beside_them(journeys):
    dataset = raw(
        wanted("journey_entered", ["journey_id", "reason"]),
        wanted(ACTION, ["action_code", "journey_id"], [{"key": "action_code", "operator": "eq", "values": ["CLICK"]}]),
        attributes=["Region"],
    )
    body, run = file(journeys, dataset, "ndjson")
    columns = ["iid", "a_Region", "event_name", "e_timestamp", "e_journey_id", "e_reason", "e_action_code"]
    assert run["file"]["columns"] == columns
    assert [tuple(json.loads(line).values()) for line in body.splitlines()] == [
        ("u1", "BC", ACTION, "2026-10-01T00:00:00.500000Z", "1421", None, "2"),
        ("u1", "BC", "journey_enter", "2026-10-02T00:00:00.000000Z", "1422", None, None),
        ("u2", None, "journey_enter", "2026-10-02T00:00:00.000000Z", "1421", "signed up", None),
    ]


@pytest.mark.parametrize(
    ("dataset", "ids"),
    [
        (raw(wanted("journey_enter")), ["u1", "u2"]),
        (raw(wanted("journey_entered")), ["u1", "u2"]),
        (raw(wanted("journey_enter"), wanted("journey_entered")), ["u1", "u2"]),
        (raw(wanted("journey_enter"), start="2026-10-02T00:00:00.000001Z"), []),
        (raw(wanted("journey_enter"), end="2026-10-02T00:00:00Z"), []),
        (raw(wanted("journey_enter"), start="2026-10-02T02:00:00+02:00", end="2026-10-01T19:00:01-05:00"), ["u1", "u2"]),
        (raw(wanted("journey_enter"), segment={"attribute": "Region", "op": "exists"}), ["u1"]),
        (raw(wanted(ACTION, (), [{"key": "channel_code", "operator": "eq", "values": ["email"]}])), ["u1"]),
        (raw(wanted(ACTION, (), [{"key": "journey_id", "operator": "eq", "values": [1, 1421]},
                                 {"key": "action_code", "operator": "ne", "values": [2]}])), ["u1"]),
    ],
)  # fmt: skip
def test_raw_events_are_chosen_from_the_start_inclusive_to_the_end_exclusive(journeys, dataset, ids):
    assert [row["iid"] for row in journeys.rows(dataset=dataset)] == ids


def test_no_journey_file_shows_a_purged_or_unknown_participant_nor_what_it_was(journeys):
    for dataset in (
        {"kind": "users", "columns": {"system": "all", "profile": "all"}},
        events("journey_enter", "journey_exit", ACTION, "bought"),
        {"kind": "raw", "attributes": ["*"]},
        raw(wanted("journey_enter"), attributes=["*"]),
    ):
        text = file(journeys, dataset)[0].decode()
        assert not any(hidden in text for hidden in ("u3", "u4", "u9", "gone@x.example", "Purged")), dataset


def test_the_same_run_again_gives_the_same_bytes_in_every_format(journeys):
    dataset = raw(wanted("journey_enter", ["journey_id"]), wanted(ACTION), attributes=["*"])
    as_of = {"as_of": "2026-11-20T00:00:00Z"}
    for form in ("csv", "ndjson", "parquet"):
        export = journeys.save(dataset=dataset, format=form)
        files = []
        for _ in range(2):
            journeys.deployment.clock.advance(minutes=1)
            run = journeys.finished(journeys.call("POST", f"/v1/exports/{export['id']}/runs", as_of).json())
            files.append(journeys.deployment.file(run))
        assert files[0] == files[1]


def test_what_happened_after_as_of_is_in_no_journey_file(journeys):
    for dataset in (events("journey_enter"), raw(wanted("journey_enter"))):
        export = journeys.save(dataset=dataset, format_options={"bom": False})
        for as_of, rows in (("2026-10-02T00:00:00Z", 2), ("2026-10-01T23:59:59.999999Z", 0)):
            run = journeys.finished(journeys.call("POST", f"/v1/exports/{export['id']}/runs", {"as_of": as_of}).json())
            assert run["file"]["rows"] == rows


def test_insiders_shape_takes_unix_seconds_and_both_spellings(shared):
    community = defined(Community(shared, "mybrand"))
    assert community.report(*PEOPLE).status == 202
    assert community.tell(*EVENTS).status == 202
    number = community.call("POST", "/v1/segments", {"name": "all", "segment": None}).json()["segment_id"]
    start = int(datetime(2026, 10, 2, tzinfo=UTC).timestamp())

    def rows(**span):
        body = {"segment": {"segment_id": number}, "attributes": ["email"], "format": "csv", "hook": "hooks.example/x",
                "events": {**span, "wanted": [{"event_name": "journey_entered", "params": ["journey_id", "timestamp"]}]}}  # fmt: skip
        headers = {"X_PARTNER_NAME": "mybrand", "X_REQUEST_TOKEN": community.key}
        answer = shared.call("POST", "/api/raw/v1/export", None, body, **headers)
        assert answer.status == 200, answer.body
        shared.drain()
        return csv_rows(shared.file({"file": {"download_url": answer.json()["url"]}}))

    found = rows(start_date=start, end_date=start + 1)
    assert [tuple(row.values()) for row in found] == [
        ("u1", "ann@x.example", "journey_entered", "2026-10-02T00:00:00.000000Z", "1422"),
        ("u2", "=b@x.example", "journey_entered", "2026-10-02T00:00:00.000000Z", "1421"),
        ("u4", "gone@x.example", "journey_entered", "2026-10-02T00:00:00.000000Z", "1421"),
    ]
    assert rows(start_date=start - 10, end_date=start) == []
