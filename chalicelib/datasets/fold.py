"""The fold of participation by participant and conversation, as SQL: defined in fold.sql, kept in the lake.

A column that is added, or that means something else, takes another `VERSION`: parts that were folded before are then
read from their events, until compaction has folded them again. No stored part needs to be touched by hand.
"""

from collections.abc import Sequence
from functools import cache
from pathlib import Path

VERSION = 1

COLUMNS = {
    "participant_id": "VARCHAR",
    "conversation_id": "VARCHAR",
    "invitations": "BIGINT",
    "invited_at": "TIMESTAMP",
    "started_at": "TIMESTAMP",
    "interacted_at": "TIMESTAMP",
    "completed_at": "TIMESTAMP",
    "disqualified_at": "TIMESTAMP",
    "over_quota_at": "TIMESTAMP",
}
# How the measures of folds merge, by their type; texts are the key.
_MERGED = {"BIGINT": "CAST(SUM({}) AS BIGINT)", "TIMESTAMP": "MAX({})"}


@cache
def fold() -> str:
    """The fold of the view `participation` up to the parameter $as_of."""
    return Path(__file__).with_name("fold.sql").read_text(encoding="utf-8")


def fold_of(participation: str, as_of: str) -> str:
    """The fold of the rows of a SELECT up to an instant, a literal of SQL."""
    return f"WITH participation AS ({participation}) {fold().replace('$as_of', as_of)}"


def merged(folds: Sequence[str]) -> str:
    """The fold of all events of which the SELECTs give folds, each event in one of them."""
    measures = ", ".join(f"{_MERGED[kind].format(name)} AS {name}" for name, kind in COLUMNS.items() if kind in _MERGED)
    return (
        f"SELECT participant_id, conversation_id, {measures} "
        f"FROM ({' UNION ALL '.join(f'({one})' for one in folds)}) GROUP BY participant_id, conversation_id"
    )
