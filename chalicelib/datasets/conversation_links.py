"""The dataset conversation_links: the first unique participant links of a conversation, in their order."""

from chalicelib.base.table import ID_BYTES, Column, Table

COLUMNS = (
    Column(
        "link",
        "Unique participant link",
        "text",
        "link",
        "The address to send to one participant. It belongs to this conversation and cannot be changed.",
    ),
    Column(
        "pid",
        "Participant link ID",
        "text",
        "link",
        "The identifier after ?pid= in the link, by which conversation_participants and question_answered events name "
        "the participant.",
        bytes=ID_BYTES,
    ),
)

# The view issued(pid) has one row for each link asked for, in their order.
_SQL = """
SELECT $stem || pid AS "link", pid AS "pid"
FROM issued
"""


def table(stem: str) -> Table:
    """One row a link; `stem` is everything in a link before its pid. The query reads the view issued."""
    return Table(columns=COLUMNS, sql=_SQL, parameters={"stem": stem})
