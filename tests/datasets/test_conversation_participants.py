"""The dataset conversation_participants against cases written out and against a plain reading of random answers."""

import random
from datetime import UTC, datetime, timedelta, timezone
from decimal import ROUND_HALF_UP, Decimal

import duckdb
import pytest

from chalicelib.base.table import PHYSICAL
from chalicelib.datasets import conversation_participants as dataset

START = datetime(2026, 3, 1, 12)
AS_OF = datetime(2026, 3, 31, 12, tzinfo=UTC)
NAMES = (
    "chat_invited",
    "chat_started",
    "chat_interacted",
    "chat_completed",
    "chat_disqualified",
    "chat_over_quota",
    "question_answered",
)
WORDS = {choice.code: choice.label for choice in dataset.OUTCOMES}


def opened(events, links):
    """A connection with the two views; events are (pid, name, minutes after START, question, conversation)."""
    connection = duckdb.connect()
    connection.execute(
        "CREATE TABLE participation (event_id VARCHAR, participant_id VARCHAR, name VARCHAR, occurred_at TIMESTAMP, "
        "conversation_id VARCHAR, question_id VARCHAR)"
    )
    connection.execute("CREATE TABLE links (pid VARCHAR, assigned_to VARCHAR)")
    rows = [
        (f"e{number}", pid, name, START + timedelta(minutes=minutes), conversation, question)
        for number, (pid, name, minutes, question, conversation) in enumerate(events)
    ]
    if rows:
        connection.executemany("INSERT INTO participation VALUES (?, ?, ?, ?, ?, ?)", rows)
    if links:
        connection.executemany("INSERT INTO links VALUES (?, ?)", links)
    return connection


def rows(events, links, *, questions=4, include="participated", as_of=AS_OF):
    table = dataset.table("cnv_1", questions, include, as_of)
    found = opened(events, links).execute(table.sql, table.parameters).fetchall()
    return [(*row[:5], WORDS[row[5]], *row[6:]) for row in found]


def one(*events, **options):
    """The only row of a conversation whose pid `p` has these (name, minutes[, question]) events."""
    (row,) = rows([("p", name, at, (*rest, None)[0], "cnv_1") for name, at, *rest in events], [("p", None)], **options)
    return row


@pytest.mark.parametrize("include", ["participated", "assigned"])
def test_the_query_yields_the_columns_named_in_their_physical_types(include):
    table = dataset.table("cnv_1", 4, include, AS_OF)
    described = opened([], [("p", None)]).execute(f"DESCRIBE {table.sql}", table.parameters).fetchall()
    assert [(name, type_) for name, type_, *_ in described] == [(c.name, PHYSICAL[c.type]) for c in table.columns]


def test_the_columns_are_those_of_the_contract():
    participated = ["pid", "StartedAt", "LastAnsweredAt", "QuestionsAnswered", "PercentAnswered", "Outcome"]
    assert [column.name for column in dataset.table("c", 1, "participated", AS_OF).columns] == participated
    assert [column.name for column in dataset.table("c", 1, "assigned", AS_OF).columns] == [*participated, "AssignedTo"]
    assert [column.decimals for column in dataset.COLUMNS if column.type == "number"] == [2]
    assert list(WORDS.values()) == [
        "completed",
        "disqualified",
        "over_quota",
        "incomplete",
        "started_only",
        "not_started",
    ]


@pytest.mark.parametrize(
    ("events", "outcome"),
    [
        ([("chat_started", 1)], "started_only"),
        ([("chat_invited", 0), ("chat_started", 1)], "started_only"),
        ([("chat_started", 1), ("chat_interacted", 2)], "incomplete"),
        ([("chat_started", 1), ("question_answered", 2, "q1")], "incomplete"),
        ([("question_answered", 2, "q1")], "incomplete"),
        ([("chat_completed", 1)], "completed"),
        ([("chat_disqualified", 1)], "disqualified"),
        ([("chat_over_quota", 1)], "over_quota"),
        ([("chat_completed", 1), ("chat_disqualified", 2)], "disqualified"),
        ([("chat_completed", 1), ("chat_over_quota", 2)], "over_quota"),
        ([("chat_disqualified", 2), ("chat_over_quota", 1)], "disqualified"),
        ([("chat_disqualified", 1), ("chat_over_quota", 2)], "over_quota"),
        ([("chat_completed", 3), ("chat_disqualified", 2), ("chat_over_quota", 1)], "completed"),
        ([("chat_completed", 1), ("chat_disqualified", 3), ("chat_over_quota", 2)], "disqualified"),
        ([("chat_completed", 2), ("chat_disqualified", 1), ("chat_over_quota", 3)], "over_quota"),
        ([("chat_completed", 1), ("chat_disqualified", 1)], "completed"),
        ([("chat_completed", 1), ("chat_over_quota", 1)], "completed"),
        ([("chat_disqualified", 1), ("chat_over_quota", 1)], "disqualified"),
        ([("chat_completed", 1), ("chat_disqualified", 1), ("chat_over_quota", 1)], "completed"),
        ([("chat_completed", 0), ("chat_disqualified", 1), ("chat_over_quota", 1)], "disqualified"),
        ([("chat_completed", 1), ("chat_disqualified", 2), ("chat_completed", 3)], "completed"),
        ([("chat_completed", 1), ("chat_started", 2), ("chat_interacted", 3)], "completed"),
    ],
)
def test_the_outcome_is_the_latest_and_of_equals_completed_then_disqualified(events, outcome):
    assert one(*events)[5] == outcome


def test_started_is_the_first_time_and_answered_the_last():
    row = one(
        ("chat_started", 9),
        ("chat_started", 5),
        ("question_answered", 20, "q1"),
        ("question_answered", 30, "q1"),
        ("chat_interacted", 40),
    )
    assert row[1:4] == (START + timedelta(minutes=5), START + timedelta(minutes=30), 1)


@pytest.mark.parametrize(
    ("answered", "questions", "percent"),
    [
        (1, 3, 33.33),
        (2, 3, 66.67),
        (1, 1, 100.0),
        (0, 3, 0.0),
        (1, 8, 12.5),
        (1, 800, 0.13),
        (3, 800, 0.38),
        (5, 800, 0.63),
        (1, 20_000, 0.01),
        (1, 20_001, 0.0),
        (5, 4, 125.0),
        (1, 0, None),
        (1, None, None),
        (1, 10**12, 0.0),
    ],
)
def test_percent_is_rounded_half_up_to_2_decimals_and_empty_without_a_question_count(answered, questions, percent):
    events = [("chat_started", 0), *(("question_answered", 1 + at, f"q{at}") for at in range(answered))]
    assert one(*events, questions=questions)[3:5] == (answered, percent)


def test_who_took_part_without_a_unique_link_in_another_conversation_or_by_invitation_alone_is_not_listed():
    events = [
        ("member-7", "chat_started", 1, None, "cnv_1"),
        ("elsewhere", "chat_started", 1, None, "cnv_2"),
        ("invited", "chat_invited", 1, None, "cnv_1"),
        ("used", "chat_started", 1, None, "cnv_1"),
        ("used", "question_answered", 2, "q1", "cnv_2"),
    ]
    links = [("elsewhere", None), ("invited", None), ("used", None), ("unused", None)]
    assert rows(events, links) == [("used", START + timedelta(minutes=1), None, 0, 0.0, "started_only")]


def test_assigned_lists_every_issued_link_with_whom_it_was_given_to():
    events = [("b", "chat_started", 1, None, "cnv_1"), ("c", "chat_invited", 1, None, "cnv_1")]
    links = [("c", "Cleo"), ("a", None), ("b", "Ben"), ("d", "Dan")]
    assert rows(events, links, include="assigned") == [
        ("a", None, None, 0, 0.0, "not_started", None),
        ("b", START + timedelta(minutes=1), None, 0, 0.0, "started_only", "Ben"),
        ("c", None, None, 0, 0.0, "not_started", "Cleo"),
        ("d", None, None, 0, 0.0, "not_started", "Dan"),
    ]


@pytest.mark.parametrize("zone", [UTC, timezone(timedelta(hours=-8)), timezone(timedelta(hours=5, minutes=45))])
def test_events_after_as_of_are_not_seen_whatever_its_offset(zone):
    events = [("chat_started", 0), ("chat_completed", 10), ("chat_disqualified", 11)]
    until = (START + timedelta(minutes=10)).replace(tzinfo=UTC)
    assert one(*events, as_of=until.astimezone(zone))[5] == "completed"
    assert one(*events, as_of=(until - timedelta(microseconds=1)).astimezone(zone))[5] == "started_only"


def test_a_naive_as_of_is_refused():
    with pytest.raises(ValueError, match="aware"):
        dataset.table("cnv_1", 4, "participated", START)


@pytest.mark.parametrize("include", ["participated", "assigned"])
def test_nothing_used_and_nothing_issued_is_an_empty_table(include):
    assert rows([("member-7", "chat_started", 1, None, "cnv_1")], [], include=include) == []


def test_a_conversation_id_is_a_value_and_never_sql():
    events = [("p", "chat_started", 1, None, "x' OR '1'='1")]
    table = dataset.table("x' OR '1'='1", 1, "participated", AS_OF)
    assert len(opened(events, [("p", None)]).execute(table.sql, table.parameters).fetchall()) == 1
    assert rows(events, [("p", None)]) == []


def reading(events, links, questions, include, until):
    """The same, in plain Python, as the contract reads."""
    found = []
    for pid, assigned_to in sorted(links):
        own = [(at, name, question) for who, name, at, question, where in events if who == pid and where == "cnv_1"]
        own = [event for event in own if START + timedelta(minutes=event[0]) <= until and event[1] != "chat_invited"]
        if not own and include == "participated":
            continue
        ends = {"chat_completed": "completed", "chat_disqualified": "disqualified", "chat_over_quota": "over_quota"}
        latest = sorted((-at, list(ends).index(name)) for at, name, _ in own if name in ends)
        names = {name for _, name, _ in own}
        outcome = (
            list(ends.values())[latest[0][1]]
            if latest
            else "incomplete"
            if names & {"chat_interacted", "question_answered"}
            else "started_only"
            if "chat_started" in names
            else "not_started"
        )
        started = [START + timedelta(minutes=at) for at, name, _ in own if name == "chat_started"]
        answers = [
            (START + timedelta(minutes=at), question) for at, name, question in own if name == "question_answered"
        ]
        distinct = len({question for _, question in answers})
        percent = (
            float((Decimal(100 * distinct) / questions).quantize(Decimal("0.01"), ROUND_HALF_UP)) if questions else None
        )
        row = (pid, min(started, default=None), max(answers, default=(None,))[0], distinct, percent, outcome)
        found.append(row if include == "participated" else (*row, assigned_to))
    return found


@pytest.mark.parametrize("seed", range(12))
def test_random_answers_give_what_a_plain_reading_gives(seed):
    rng = random.Random(seed)
    everybody = [f"p{number:03}" for number in range(60)]
    issued = rng.sample(everybody, 45)
    events = [
        (
            rng.choice(everybody),
            name,
            rng.randrange(30),
            f"q{rng.randrange(9)}" if name == "question_answered" else None,
            rng.choice(("cnv_1", "cnv_1", "cnv_2")),
        )
        for name in rng.choices(NAMES, k=rng.choice((40, 400)))
    ]
    links = [(pid, rng.choice((None, "", f"to {pid}"))) for pid in issued]
    questions = rng.choice((7, 9, 13, 0, None))
    until = AS_OF if seed % 2 else (START + timedelta(minutes=15)).replace(tzinfo=UTC)
    for include in ("participated", "assigned"):
        expected = reading(events, links, questions, include, until.replace(tzinfo=None))
        assert rows(events, links, questions=questions, include=include, as_of=until) == expected
