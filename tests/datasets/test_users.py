"""The dataset users: who is in it, which columns, and what is refused where."""

import random
from datetime import timedelta

import pytest

from chalicelib.base.table import PHYSICAL, Column
from chalicelib.datasets import segments, users
from chalicelib.datasets.participants import PARTICIPATION, SYSTEM
from tests.datasets import segment_oracle
from tests.datasets.lake_tables import event, opened, person
from tests.datasets.test_segments import AS_OF, CATALOG, PROFILE, TYPES, random_event, random_person, random_segment

MANY = tuple(Column(f"Extra{n}", f"Extra {n}", "text", "profile") for n in range(25))


def rows(con, zone="UTC", **value):
    asked, faults = users.check({"kind": "users", **value}, CATALOG)
    assert faults == []
    table = users.table(CATALOG, asked.columns, segments.compile(asked.segment, AS_OF, zone), AS_OF, zone)
    result = con.execute(table.sql, table.parameters)
    assert [column[0] for column in result.description] == [column.name for column in table.columns]
    assert [str(column[1]) for column in result.description] == [PHYSICAL[column.type] for column in table.columns]
    return result.fetchall()


def header(**value):
    asked, _ = users.check({"kind": "users", **value}, CATALOG)
    return [column.name for column in users.table(CATALOG, asked.columns, None, AS_OF, "UTC").columns]


def test_the_default_columns_are_the_id_and_the_email_address():
    assert header() == header(columns=None) == header(columns={}) == ["Participant_Id", "EmailAddress"]


def test_a_tab_that_is_not_given_stays_as_it_is_by_default():
    asked = {"profile": ["Age", "Region"], "participation": ["ResponseRate"]}
    assert header(columns=asked) == ["Participant_Id", "EmailAddress", "Age", "Region", "ResponseRate"]
    assert header(columns={"system": "all"}) == [column.name for column in SYSTEM]


def test_null_is_every_participant_that_is_not_purged_sorted_by_id():
    people = [person("b"), person("a", email="a@example.org"), person("B", "one_time"), person("gone", "purged")]
    con = opened(PROFILE, people, [])
    assert rows(con, segment=None) == [("B", None), ("a", "a@example.org"), ("b", None)]


def test_participation_columns_are_those_of_the_participants_dataset():
    people = [person("a"), person("b")]
    invited = [
        event(str(n), "a", "chat_invited", AS_OF - timedelta(days=n), conversation_id="c", question_id=None)
        for n in range(3)
    ]
    columns = {"system": ["Participant_Id"], "participation": ["ChatsInvited", "ResponseRate"]}
    found = rows(
        opened(PROFILE, people, invited),
        columns=columns,
        segment={"event": "chat_invited", "times": {"op": "lte", "value": 3}},
    )
    assert found == [("a", 3, 0.0), ("b", 0, None)]


def test_users_and_their_count_are_those_of_a_plain_reading_in_random_communities():
    some_found = 0
    for seed in range(60):
        rng = random.Random(seed)
        people = [random_person(rng, n) for n in range(16)]
        lake = [random_event(rng, n, AS_OF, "America/Vancouver") for n in range(60)]
        segment = random_segment(rng, 2)
        expected = segment_oracle.matching(segment, people, lake, TYPES, AS_OF, "America/Vancouver")
        con = opened(PROFILE, people, lake)
        found = [row[0] for row in rows(con, "America/Vancouver", segment=segment)]
        assert found == sorted(expected)
        condition = segments.compile(segments.check(segment, CATALOG)[0], AS_OF, "America/Vancouver")
        assert con.execute(segments.count_sql(condition), condition.parameters).fetchone() == (len(expected),)
        some_found += 0 < len(expected) < 13
        con.close()
    assert some_found > 20


def test_twenty_columns_are_taken_and_twenty_one_refused():
    names = [column.name for column in MANY]
    catalog = (*SYSTEM, *MANY)
    asked, faults = users.check({"kind": "users", "columns": {"profile": names[:18]}}, catalog)
    assert faults == []
    assert len(users.table(catalog, asked.columns, None, AS_OF, "UTC").columns) == 20
    for columns in ({"profile": names[:19]}, {"profile": "all"}):
        asked, faults = users.check({"kind": "users", "columns": columns}, catalog)
        assert asked is None
        assert [fault.pointer for fault in faults] == ["/dataset/columns"]
    assert len(PARTICIPATION) + len(SYSTEM) == 18


@pytest.mark.parametrize(
    ("value", "pointer"),
    [
        ({"columns": []}, "/columns"), ({"columns": {"system": "some"}}, "/columns/system"),
        ({"columns": {"profile": ["Nothing"]}}, "/columns/profile/0"),
        ({"columns": {"profile": ["age"]}}, "/columns/profile/0"),
        ({"columns": {"system": ["Age"]}}, "/columns/system/0"),
        ({"columns": {"profile": ["Age", "Age"]}}, "/columns/profile/1"),
        ({"columns": {"system": []}}, "/columns"), ({"columns": {"journey": "all"}}, "/columns/journey"),
        ({"columns": {"participation": [5]}}, "/columns/participation/0"), ({"segment": {}}, "/segment"),
        ({"memberships": ["purged"]}, "/memberships"), ({"kind": "user"}, "/kind"), ({"kind": None}, "/kind"),
    ],
)  # fmt: skip
def test_what_is_wrong_is_refused_where_it_is(value, pointer):
    asked, faults = users.check({"kind": "users", **value}, CATALOG)
    assert asked is None
    assert [fault.pointer for fault in faults] == ["/dataset" + pointer]


def test_all_faults_are_told_at_once():
    _, faults = users.check(
        {"kind": "users", "columns": {"system": 5, "profile": ["x"]}, "segment": 5, "odd": 1}, CATALOG
    )
    expected = {"/dataset/columns/system", "/dataset/columns/profile/0", "/dataset/segment", "/dataset/odd"}
    assert {fault.pointer for fault in faults} == expected
