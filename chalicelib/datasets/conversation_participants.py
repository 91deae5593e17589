"""The dataset conversation_participants: which unique links of a conversation were used, how far, how it ended."""

from datetime import UTC, datetime
from typing import Literal

from chalicelib.base.table import ID_BYTES, Choice, Column, Table

Include = Literal["participated", "assigned"]

OUTCOMES = (
    Choice(1, "completed"),
    Choice(2, "disqualified"),
    Choice(3, "over_quota"),
    Choice(4, "incomplete"),
    Choice(5, "started_only"),
    Choice(6, "not_started"),
)

COLUMNS = (
    Column(
        "pid",
        "Participant link ID",
        "text",
        "link",
        "The identifier after ?pid= in the unique participant link.",
        bytes=ID_BYTES,
    ),
    Column("StartedAt", "Started at", "datetime", "link", "The first time the link was started (chat_started)."),
    Column(
        "LastAnsweredAt", "Last answered at", "datetime", "link", "The latest answer to a question (question_answered)."
    ),
    Column("QuestionsAnswered", "Questions answered", "integer", "link", "The number of distinct questions answered."),
    Column(
        "PercentAnswered",
        "Percent of questions answered",
        "number",
        "link",
        "100 x QuestionsAnswered / the conversation's question count, rounded half-up to 2 decimals; empty while the "
        "question count is unknown or 0; above 100 when more questions were answered than the conversation declares.",
        decimals=2,
    ),
    Column(
        "Outcome",
        "Outcome",
        "choice",
        "link",
        "The latest of completed, disqualified and over quota (of two at the same instant, completed, then "
        "disqualified); without one, incomplete after an interaction or an answer, started_only after a start, "
        "not_started otherwise.",
        OUTCOMES,
    ),
)
ASSIGNED_TO = Column(
    "AssignedTo", "Assigned to", "text", "link", "To whom the link was assigned, as recorded; empty when to nobody."
)

# The view links(pid, assigned_to) has one row for each issued link. A participant of the community who took part
# without a unique link is not in it. An invitation alone is no participation: one may be reported for every link.
# half-up: floor((2 x 10000 x answered + questions) / (2 x questions)) hundredths; doubles hold these integers exactly.
_SQL = """
WITH answered AS (
    SELECT
        l.pid,
        MIN(CASE WHEN p.name = 'chat_started' THEN p.occurred_at END) AS started_at,
        MAX(CASE WHEN p.name = 'question_answered' THEN p.occurred_at END) AS answered_at,
        COUNT(DISTINCT CASE WHEN p.name = 'question_answered' THEN p.question_id END) AS questions,
        MAX(CASE WHEN p.name = 'chat_completed' THEN p.occurred_at END) AS completed_at,
        MAX(CASE WHEN p.name = 'chat_disqualified' THEN p.occurred_at END) AS disqualified_at,
        MAX(CASE WHEN p.name = 'chat_over_quota' THEN p.occurred_at END) AS over_quota_at,
        MAX(CASE WHEN p.name IN ('chat_interacted', 'question_answered') THEN 1 ELSE 0 END) AS interacted
    FROM participation AS p
    INNER JOIN links AS l ON l.pid = p.participant_id
    WHERE
        p.conversation_id = $conversation_id
        AND p.occurred_at <= $as_of
        AND p.name <> 'chat_invited'
    GROUP BY l.pid
)
SELECT
    l.pid AS "pid",
    a.started_at AS "StartedAt",
    a.answered_at AS "LastAnsweredAt",
    CAST(COALESCE(a.questions, 0) AS BIGINT) AS "QuestionsAnswered",
    CASE
        WHEN CAST($question_count AS BIGINT) > 0
            THEN FLOOR(
                CAST(20000 * COALESCE(a.questions, 0) + CAST($question_count AS BIGINT) AS DOUBLE)
                / CAST(2 * CAST($question_count AS BIGINT) AS DOUBLE)
            ) / CAST(100 AS DOUBLE)
    END AS "PercentAnswered",
    CAST(CASE
        WHEN
            a.completed_at >= COALESCE(a.disqualified_at, a.completed_at)
            AND a.completed_at >= COALESCE(a.over_quota_at, a.completed_at)
            THEN 1
        WHEN a.disqualified_at >= COALESCE(a.over_quota_at, a.disqualified_at) THEN 2
        WHEN a.over_quota_at IS NOT NULL THEN 3
        WHEN a.interacted = 1 THEN 4
        WHEN a.started_at IS NOT NULL THEN 5
        ELSE 6
    END AS INTEGER) AS "Outcome"{assigned_column}
FROM links AS l
{join} JOIN answered AS a ON a.pid = l.pid
ORDER BY l.pid
"""
_SQLS: dict[Include, str] = {
    "participated": _SQL.format(assigned_column="", join="INNER"),
    "assigned": _SQL.format(assigned_column=',\n    l.assigned_to AS "AssignedTo"', join="LEFT"),
}


def table(conversation_id: str, question_count: int | None, include: Include, as_of: datetime) -> Table:
    """One row a unique link that was used up to `as_of` (aware), or with `assigned` one for every link issued.

    The query reads the views participation and links. ValueError for a naive `as_of`.
    """
    if as_of.tzinfo is None:
        raise ValueError("as_of must be aware")
    return Table(
        columns=COLUMNS if include == "participated" else (*COLUMNS, ASSIGNED_TO),
        sql=_SQLS[include],
        parameters={
            "conversation_id": conversation_id,
            "question_count": question_count,
            # The views hold UTC without a zone.
            "as_of": as_of.astimezone(UTC).replace(tzinfo=None),
        },
    )
