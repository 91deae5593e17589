"""Condition: which participants a dataset is about."""

from dataclasses import dataclass, field


@dataclass(frozen=True, slots=True)
class Condition:
    """A filter on participants: `sql` is a boolean expression over `participant_id`, such as
    `participant_id IN (SELECT ...)`, and reads only the lake's views; `parameters` are its named parameters.

    Where it joins a query with parameters of its own, a name that both use must mean the same value.
    """

    sql: str
    parameters: dict[str, object] = field(default_factory=dict)
