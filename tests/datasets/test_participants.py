"""Claims about the participants dataset: which columns, which rows, in which order, of which types."""

import re
from datetime import UTC, date, datetime, timedelta, timezone

import duckdb
import pytest

from chalicelib.base.table import PHYSICAL, Choice, Column
from chalicelib.datasets.condition import Condition
from chalicelib.datasets.participants import MEMBERSHIPS, PARTICIPATION, SYSTEM, Selection, selected, table
from tests.datasets.oracle import Community, Happening, Person, opened

AS_OF = datetime(2026, 11, 21, 16, 36, 13, tzinfo=UTC)
ALL = tuple(MEMBERSHIPS)
PROFILE = (
    Column("Region", "Region", "text", "profile"),
    Column("Age", "Age", "number", "profile"),
    Column("Active", "Active?", "boolean", "profile"),
    Column("Born", "Born", "date", "profile"),
    Column("Seen", "Seen", "datetime", "profile"),
    Column("Gender", "Gender", "choice", "profile", choices=(Choice(1, "Female"), Choice(2, "Male"))),
    Column("Devices", "Devices", "choices", "profile", choices=(Choice(1, "Phone"), Choice(2, "Desk"))),
    # names that the query itself uses for other things
    Column("email", "Other e-mail", "text", "profile"),
    Column("membership", "Gym", "text", "profile"),
    Column("participant_number", "Number", "text", "profile"),
    Column("invited", "Invited by", "text", "profile"),
    Column("created_at", "Created", "text", "profile"),
    Column("select", "A reserved word", "text", "profile"),
)
TYPES = {column.name: PHYSICAL[column.type] for column in PROFILE}
ANSWERS = {
    "Region": "BC",
    "Age": 41.5,
    "Active": False,
    "Born": date(1985, 3, 1),
    "Seen": datetime(2026, 1, 2, 3, 4, 5, 678901),
    "Gender": 2,
    "Devices": [2, 1],
    "email": "other@example.org",
    "membership": "gold",
    "invited": "a friend",
    "created_at": "by hand",
    "select": "*",
}
SYSTEM_NAMES = (
    "Participant_Id",
    "EmailAddress",
    "MembershipStatus",
    "CreatedAt",
    "SubscribedAt",
    "SubscriptionEndedAt",
)
PARTICIPATION_NAMES = (
    "LastActiveDate",
    "LastInvitedDate",
    "LastStartedDate",
    "LastCompletionDate",
    "ChatsInvited",
    "ChatsCompleted",
    "ChatsDQ",
    "ChatsOQ",
    "ChatsStartedOnly",
    "ChatsIncomplete",
    "ResponseRate",
    "EngagementStatus",
)


def rows_of(asked, community: Community) -> tuple[list[tuple], list[str], list[str]]:
    """Rows, column names and column types as a run gets them: from a table made of the query."""
    with opened(community, TYPES) as connection:
        connection.execute(f"CREATE TEMP TABLE result AS {asked.sql}", asked.parameters)
        rows = connection.execute("FROM result").fetchall()
        shape = connection.execute("DESCRIBE result").fetchall()
    return rows, [column[0] for column in shape], [column[1] for column in shape]


def ids_of(people: tuple[Person, ...], memberships=ALL, condition=None) -> list[str]:
    asked = table(PROFILE, Selection(("Participant_Id",), (), ()), memberships, AS_OF, "UTC", condition)
    return [row[0] for row in rows_of(asked, Community(people))[0]]


def test_the_catalogue_is_the_contract_s():
    assert tuple(column.name for column in SYSTEM) == SYSTEM_NAMES
    assert tuple(column.name for column in PARTICIPATION) == PARTICIPATION_NAMES
    assert all(column.label and column.definition for column in (*SYSTEM, *PARTICIPATION))
    assert {column.source for column in SYSTEM} == {"system"}
    assert {column.source for column in PARTICIPATION} == {"participation"}
    by_name = {column.name: column for column in (*SYSTEM, *PARTICIPATION)}
    assert [(c.code, c.label) for c in by_name["MembershipStatus"].choices] == [
        (1, "Subscribed"),
        (2, "Unsubscribed"),
        (3, "Purged"),
        (4, "One-time"),
    ]
    assert [(c.code, c.label) for c in by_name["EngagementStatus"].choices] == [
        (1, "New"),
        (2, "Active"),
        (3, "Inactive"),
        (4, "Not Engaged"),
    ]
    assert (by_name["ResponseRate"].type, by_name["ResponseRate"].decimals) == ("number", 2)
    assert {by_name[name].type for name in PARTICIPATION_NAMES if name.startswith("Chats")} == {"integer"}
    assert {by_name[name].type for name in by_name if name.endswith(("Date", "At"))} == {"datetime"}


def test_by_default_all_system_and_profile_columns_and_no_participation():
    assert [column.name for column in selected(PROFILE, Selection())] == [
        *SYSTEM_NAMES,
        *(column.name for column in PROFILE),
    ]


@pytest.mark.parametrize(
    ("selection", "expected"),
    [
        (Selection((), (), "all"), list(PARTICIPATION_NAMES)),
        (Selection("all", (), ()), list(SYSTEM_NAMES)),
        (
            Selection(("CreatedAt", "Participant_Id"), ("Gender", "Region"), ("EngagementStatus", "ChatsDQ")),
            ["CreatedAt", "Participant_Id", "Gender", "Region", "EngagementStatus", "ChatsDQ"],
        ),
        (
            Selection(participation=("ResponseRate", "EngagementStatus"), profile=("Age",)),
            [*SYSTEM_NAMES, "Age", "ResponseRate", "EngagementStatus"],
        ),
    ],
)
def test_columns_come_system_profile_participation_each_in_catalogue_or_listed_order(selection, expected):
    assert [column.name for column in selected(PROFILE, selection)] == expected
    asked = table(PROFILE, selection, ALL, AS_OF, "UTC")
    _, names, types = rows_of(asked, Community((Person("p1"),)))
    assert names == [column.name for column in asked.columns] == expected
    assert types == [PHYSICAL[column.type] for column in asked.columns]


def test_every_column_has_the_type_that_writers_expect_with_and_without_rows():
    asked = table(PROFILE, Selection(participation="all"), ALL, AS_OF, "America/Vancouver")
    for people in ((), (Person("p1"),)):
        rows, names, types = rows_of(asked, Community(people))
        assert types == [PHYSICAL[column.type] for column in asked.columns]
        assert names == [column.name for column in asked.columns]
        assert len(rows) == len(people)


def test_system_and_profile_values_pass_through_unchanged():
    instants = [datetime(2020, 1, 1, 0, 0, 0, n) for n in range(3)]
    person = Person("p1", "one_time", *instants, email="a@example.org", attributes=ANSWERS)
    rows, names, _ = rows_of(table(PROFILE, Selection(), ALL, AS_OF, "UTC"), Community((person,)))
    row = dict(zip(names, rows[0], strict=True))
    assert {name: row[name] for name in SYSTEM_NAMES} == dict(
        zip(SYSTEM_NAMES, ["p1", "a@example.org", 4, *instants], strict=True)
    )
    assert {name: row[name] for name in ANSWERS} == ANSWERS
    assert row["participant_number"] is None


def test_membership_status_is_a_code():
    people = tuple(Person(word, word) for word in ALL)
    asked = table((), Selection(("Participant_Id", "MembershipStatus"), (), ()), ALL, AS_OF, "UTC")
    rows, _, _ = rows_of(asked, Community(people))
    assert dict(rows) == {"subscribed": 1, "unsubscribed": 2, "purged": 3, "one_time": 4}


@pytest.mark.parametrize(
    "memberships", [("subscribed",), ("purged",), ("one_time", "unsubscribed"), ALL, ("purged", "purged")]
)
def test_rows_are_all_of_the_memberships_asked_for_and_no_other(memberships):
    people = tuple(Person(f"{word}{n}", word) for word in ALL for n in range(2))
    assert ids_of(people, memberships) == sorted(f"{word}{n}" for word in set(memberships) for n in range(2))


def test_rows_are_sorted_by_id_in_binary_order():
    ids = ["a", "B", "b", "A", "10", "9", "_", "a.b", "a-b", "a:b", "a@b", "aa", "Z", "z9", "z10"]
    assert ids_of(tuple(Person(name) for name in ids)) == sorted(ids)


def test_a_participant_is_there_once_whatever_happened_to_it():
    people = (Person("p1"), Person("p2"), Person("p3", "purged"))
    events = tuple(
        Happening("p1", name, datetime(2026, 1, n + 1), f"c{n % 4}") for n in range(9) for name in ("chat_invited",)
    )
    asked = table((), Selection(("Participant_Id",), (), ("ChatsInvited",)), ALL, AS_OF, "UTC")
    rows, _, _ = rows_of(asked, Community(people, events))
    assert rows == [("p1", 9), ("p2", 0), ("p3", 0)]


def test_a_purged_participant_keeps_its_row_dates_and_metrics():
    then = datetime(2024, 1, 1)
    person = Person("p1", "purged", then, then, then)
    events = (Happening("p1", "chat_invited", then), Happening("p1", "chat_completed", then))
    rows, names, _ = rows_of(
        table(PROFILE, Selection(participation="all"), ["purged"], AS_OF, "UTC"), Community((person,), events)
    )
    row = dict(zip(names, rows[0], strict=True))
    assert row["EmailAddress"] is None
    assert all(row[column.name] is None for column in PROFILE)
    assert (row["CreatedAt"], row["SubscribedAt"], row["SubscriptionEndedAt"]) == (then, then, then)
    assert (row["ChatsCompleted"], row["ResponseRate"], row["LastCompletionDate"]) == (1, 100.0, then)


def test_without_a_participation_column_events_are_not_read():
    asked = table(PROFILE, Selection(), ALL, AS_OF, "UTC")
    with opened(Community((Person("p1"),)), TYPES) as connection:
        connection.execute("DROP TABLE participation")
        connection.execute("DROP TABLE other_conversations")
        assert len(connection.execute(asked.sql, asked.parameters).fetchall()) == 1
        counted = table(PROFILE, Selection(participation=("ChatsDQ",)), ALL, AS_OF, "UTC")
        with pytest.raises(duckdb.CatalogException):
            connection.execute(counted.sql, counted.parameters)


@pytest.mark.parametrize("participation", ["all", ()])
def test_a_condition_narrows_the_rows_and_brings_its_own_parameters(participation):
    people = tuple(Person(f"p{n}", word) for n, word in enumerate((*ALL, *ALL)))
    condition = Condition(
        "participant_id IN (SELECT participant_id FROM participation WHERE name = $wanted) OR participant_id = $also",
        {"wanted": "chat_started", "also": "p5"},
    )
    asked = table(
        PROFILE,
        Selection(("Participant_Id",), "all", participation),
        ["subscribed", "unsubscribed"],
        AS_OF,
        "UTC",
        condition,
    )
    events = (
        Happening("p0", "chat_started", datetime(2020, 1, 1)),
        Happening("p3", "chat_started", datetime(2020, 1, 1)),
    )
    rows, _, _ = rows_of(asked, Community(people, events))
    # p3 is one_time: the condition narrows the memberships, it never widens them
    assert [row[0] for row in rows] == ["p0", "p5"]


def test_a_condition_may_share_a_parameter_only_with_its_value():
    utc = AS_OF.replace(tzinfo=None)
    arguments = ((), Selection((), (), "all"), ["subscribed"], AS_OF, "UTC")
    assert table(*arguments, Condition("$as_of > $as_of", {"as_of": utc})).parameters["as_of"] == utc
    with pytest.raises(ValueError, match="as_of"):
        table(*arguments, Condition("$as_of > $as_of", {"as_of": utc - timedelta(days=1)}))


def test_the_parameters_are_those_of_the_query_and_the_instants_naive_utc():
    for participation in ("all", ()):
        asked = table(PROFILE, Selection(participation=participation), ["purged"], AS_OF, "UTC")
        code = re.sub(r"--.*", "", asked.sql)
        assert set(re.findall(r"\$(\w+)", code)) == asked.parameters.keys()
    elsewhere = AS_OF.astimezone(timezone(timedelta(hours=-8)))
    parameters = table((), Selection((), (), "all"), ["purged"], elsewhere, "Europe/Paris").parameters
    assert parameters == {
        "as_of": datetime(2026, 11, 21, 16, 36, 13),
        "new_since": datetime(2026, 8, 23, 16, 36, 13),
        "recent_since": datetime(2026, 5, 21, 15, 36, 13),
        "membership_1": "purged",
    }


@pytest.mark.parametrize("as_of", [datetime.min.replace(tzinfo=UTC), datetime.max.replace(tzinfo=UTC)])
def test_as_of_may_lie_at_either_end_of_the_calendar(as_of):
    asked = table((), Selection(("Participant_Id",), (), ("EngagementStatus",)), ALL, as_of, "Pacific/Auckland")
    rows, _, _ = rows_of(asked, Community((Person("p1"),)))
    assert rows == [("p1", 4)]


@pytest.mark.parametrize(
    ("selection", "memberships", "error"),
    [
        (Selection(("Nope",)), ALL, KeyError),
        (Selection(profile=("nope",)), ALL, KeyError),
        (Selection(participation=("Region",)), ALL, KeyError),
        (Selection((), (), ()), ALL, ValueError),
        (Selection(), (), ValueError),
        (Selection(), ("subscribed", "Purged"), ValueError),
    ],
)
def test_what_cannot_be_selected_is_an_error(selection, memberships, error):
    with pytest.raises(error):
        table(PROFILE, selection, memberships, AS_OF, "UTC")


def test_hostile_attribute_names_stay_names():
    name = 'x"; DROP TABLE participants; --'
    profile = (Column(name, "Hostile", "text", "profile"),)
    asked = table(profile, Selection(("Participant_Id",)), ALL, AS_OF, "UTC")
    with opened(Community((Person("p1"),))) as connection:
        connection.execute("""ALTER TABLE participants ADD COLUMN "a_x""; DROP TABLE participants; --" VARCHAR""")
        assert connection.execute(asked.sql, asked.parameters).fetchall() == [("p1", None)]
        assert connection.execute("SELECT count(*) FROM participants").fetchone() == (1,)
